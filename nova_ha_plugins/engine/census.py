# SPDX-License-Identifier: Apache-2.0

"""Counts the servers that would be recovered, and why the others would not.

The acting engine asks nova for the servers of one host after the other, so
slowly that nobody notices: once per ``[metrics] census_interval``. It is a
thread of its own, and no recovery waits for it.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
import threading
import typing

from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# Between two calls of nova, however many hosts there are.
_SHORTEST_PAUSE = 0.2
# After a round that could not begin.
_AGAIN = 30.0

_TO_COME = incident.ServerState.QUEUED


class Store(typing.Protocol):
    """The part of the store that the census needs."""

    def host_records(self) -> tuple[values.HostRecord, ...]: ...
    def save_census(self, census: values.Census) -> None: ...


class Nova(typing.Protocol):
    """The part of ``doors.Nova`` that the census needs."""

    def servers_on(self, host: str) -> tuple[views.ServerView, ...]: ...


def count(
    found: Iterable[views.ServerView], map_state: str, default: str
) -> collections.Counter[str]:
    """Return how many servers of a host there are, by why not; '' if they are.

    :param map_state: whether its power device is known to be its own.
    :param default: what becomes of servers without a tag.
    """
    counts: collections.Counter[str] = collections.Counter()
    for server in policy.admit_all(found, default):
        if not server.protected or server.state != _TO_COME:
            counts[server.code] += 1
        elif map_state != 'verified':
            counts[f'fencing-{map_state}'] += 1
        else:
            counts[''] += 1
    return counts


class Census:
    """Goes from host to host; a whole round is one count."""

    def __init__(
        self, store: Store, nova: Nova, interval: float, default: str
    ) -> None:
        self._store = store
        self._nova = nova
        self._interval = interval
        self._default = default
        self._away = ''

    def run(self, wait: Callable[[float], object]) -> None:
        """Count all servers once.

        :param wait: lets so many seconds pass; true ends the round, and
            nothing is stored of it.
        """
        try:
            records = self._store.host_records()
        except errors.AWAY as error:
            self._trouble(f'the store does not answer: {error}')
            wait(min(_AGAIN, self._interval))
            return
        pause = max(_SHORTEST_PAUSE, self._interval / max(1, len(records)))
        counts: collections.Counter[str] = collections.Counter()
        for record in records:
            servers = doors.attempt(self._nova.servers_on, record.host)
            if isinstance(servers, doors.DoorError):
                self._trouble(str(servers))
                wait(min(_AGAIN, self._interval))
                return
            counts += count(servers, record.map_state, self._default)
            if wait(pause):
                return
        self._save(counts, len(records))
        if not records:
            wait(min(_AGAIN, self._interval))

    def _save(self, counts: collections.Counter[str], hosts: int) -> None:
        protected = counts.pop('', 0)
        try:
            self._store.save_census(
                values.Census(protected, dict(counts), hosts)
            )
        except errors.AWAY as error:
            self._trouble(f'the store does not answer: {error}')
            return
        if self._away:
            LOG.info('Servers are counted again')
            self._away = ''

    def _trouble(self, text: str) -> None:
        if not self._away:
            LOG.warning(
                'How many servers are protected is not counted: %s. It is '
                'tried again; recovery goes on',
                text.rstrip('.'),
            )
        self._away = text


def start(conf: cfg.ConfigOpts, nova: Nova, stop: threading.Event) -> None:
    """Count again and again until told to stop; never raise.

    Only where somebody is told of it: with [metrics] port and
    census_interval.
    """
    group = conf.metrics
    if not (group.port and group.census_interval):
        return
    census = Census(
        store_api.open_store(conf),
        nova,
        group.census_interval,
        conf.engine.default_policy,
    )
    # A daemon: a call that hangs must not keep a process that is told to
    # stop.
    threading.Thread(
        target=_repeat, args=(census, stop), name='census', daemon=True
    ).start()


def _repeat(census: Census, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            census.run(stop.wait)
        except Exception:
            LOG.exception('Servers could not be counted; it is tried again')
            stop.wait(_AGAIN)
