# SPDX-License-Identifier: Apache-2.0

"""The whole fleet as one resource, so that exactly one agent watches it.

With ``[coordination] backend_url`` ceilometer shares resources out among the
central agents; one resource means one watcher, and another takes over when
it is gone. Two watchers would only repeat each other's events.
"""

from typing import Any

from ceilometer.polling import plugin_base

FLEET = 'nova-ha-fleet'


class FleetDiscovery(plugin_base.DiscoveryBase):
    """Finds the fleet."""

    def discover(self, manager: Any, param: str | None = None) -> list[str]:
        return [FLEET]
