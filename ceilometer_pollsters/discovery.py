# SPDX-License-Identifier: Apache-2.0

"""The whole fleet as one resource, so that one agent publishes its meters.

With ``[coordination] backend_url`` ceilometer shares resources out among the
central agents. It asks each of them first what there is, which starts the
watcher of each: those need no coordination but the store.
"""

from typing import Any

from ceilometer.polling import plugin_base

from ceilometer_pollsters import watching

FLEET = 'nova-ha-fleet'


class FleetDiscovery(plugin_base.DiscoveryBase):
    """Finds the fleet, and lets it be watched."""

    def discover(self, manager: Any, param: str | None = None) -> list[str]:
        watching.watcher_of(manager, self.conf)
        return [FLEET]
