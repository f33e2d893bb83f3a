# SPDX-License-Identifier: Apache-2.0

"""Our store inside nova-api: opened when first asked for, never required.

Without it evacuations are shown all the same; only the resources that need it
answer 503, with a sentence that says what is missing.
"""

from collections import abc
import contextlib
import logging
import threading

from webob import exc

from nova_ha_plugins.api import compat
from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness

LOG = logging.getLogger(__name__)

_lock = threading.Lock()
_stores: dict[str, store_api.Store] = {}
_beats: dict[str, liveness.Liveness] = {}


@contextlib.contextmanager
def store() -> abc.Iterator[store_api.Store]:
    """Give the store that nova's configuration names.

    :raises webob.exc.HTTPServiceUnavailable: if there is none, or it does not
        answer while the body of the ``with`` uses it.
    """
    with _answering():
        yield open_store()


def is_configured() -> bool:
    """Tell whether nova's configuration names a store at all."""
    database_conf.register_opts(compat.CONF)
    return bool(compat.CONF[database_conf.GROUP].connection)


def beats() -> dict[str, views.Beat]:
    """Give the newest heartbeat of each host, by its name."""
    with _answering():
        open_store()
        return {beat.host: beat for beat in _open_liveness().read()}


def watches() -> tuple[health.Watch, ...]:
    """Give the watchers that looked within a day, by their names."""
    with _answering():
        open_store()
        return health.watches(_open_liveness().read_healths())


def _connection() -> str:
    database_conf.register_opts(compat.CONF)
    return str(compat.CONF[database_conf.GROUP].connection)


def open_store() -> store_api.Store:
    """Give the store of nova's configuration, for who handles its failures.

    :raises store_api.NotConfigured: it names none.
    """
    # Not when the filter is made: nova-api may fork after that.
    key = _connection()
    with _lock:
        if key not in _stores:
            _stores[key] = store_api.open_store(compat.CONF)
        return _stores[key]


def _open_liveness() -> liveness.Liveness:
    key = _connection()
    with _lock:
        if key not in _beats:
            _beats[key] = liveness.open_liveness(compat.CONF)
        return _beats[key]


@contextlib.contextmanager
def _answering() -> abc.Iterator[None]:
    try:
        yield
    except (store_api.NotConfigured, store_api.SchemaOutdated) as error:
        raise exc.HTTPServiceUnavailable(explanation=str(error)) from error
    except errors.AWAY as error:
        # The text of a driver can name hosts and statements: for the log.
        LOG.warning('The store of nova-ha-plugins did not answer: %s', error)
        raise exc.HTTPServiceUnavailable(
            explanation=(
                'The database of nova-ha-plugins does not answer: '
                f'{type(error).__name__}. Nothing was changed; evacuations '
                'are shown without it'
            )
        ) from error
