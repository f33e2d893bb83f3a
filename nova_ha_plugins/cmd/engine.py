# SPDX-License-Identifier: Apache-2.0

"""nova-ha-engine: fences failed hypervisors and evacuates their servers.

Ends with 0 after an ordered stop, with 1 when the configuration is wrong, and
with 78 when another engine is at work that it does not share a coordination
with.
"""

import sys

from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import coordination
from nova_ha_plugins.engine import service
from nova_ha_plugins.fencing import door
from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors

LOG = log.getLogger(__name__)


def wrong(conf: cfg.ConfigOpts) -> str:
    """Return what an operator must correct before the engine can run.

    A database that is away is not wrong: the engine waits for it.
    """
    try:
        door.FencingDoor(conf)
        store_api.open_store(conf).arm_state()
        unusable = _coordination(conf.coordination.backend_url or '')
        if unusable:
            return unusable
    except (
        fencing_map.MapError,
        store_api.NotConfigured,
        store_api.SchemaOutdated,
    ) as error:
        return str(error)
    except errors.AWAY as error:
        LOG.warning('The store does not answer, the engine waits: %s', error)
    return ''


def _coordination(backend_url: str) -> str:
    """Return why there is no driver for a backend, '' if there is one."""
    if not backend_url:
        return ''
    try:
        coordination.open_coordinator(backend_url, 'check')
    # Each driver has needs of its own, and says so in its own way.
    except Exception as error:
        return (
            'Option [coordination] backend_url cannot be used: no driver for '
            f"'{coordination.label(backend_url)}' ({error}); expected one of "
            "tooz, such as 'mysql://', with its library installed"
        )
    return ''


def main() -> int:
    """Run the engine; when the configuration is wrong nothing is started."""
    try:
        conf = config.load(sys.argv[1:], about=__doc__)
    except cfg.Error as error:
        print(f'Configuration cannot be read: {error}', file=sys.stderr)
        return 1
    log.setup(conf, config.PROJECT)
    sentence = wrong(conf)
    if sentence:
        LOG.error('nova-ha-engine does not start: %s', sentence)
        return 1
    service.serve(conf)
    return 0


if __name__ == '__main__':
    sys.exit(main())
