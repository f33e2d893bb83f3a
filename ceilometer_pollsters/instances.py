# SPDX-License-Identifier: Apache-2.0

"""The meters of servers: what libvirt knows of them that nova does not say.

They belong to the project of the server, as ceilometer's own do.
"""

from collections.abc import Iterable
from typing import Any

from ceilometer.polling import plugin_base
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import libvirt
from ceilometer_pollsters import meters
from ceilometer_pollsters import probes
from ceilometer_pollsters import servers
from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins.conf import nova_ha_libvirt

LOG = log.getLogger(__name__)


class ServerPollster(plugin_base.PollsterBase):
    """One meter of every server of a host."""

    meter: str

    def setup_environment(self) -> None:
        nova_ha_conf.register_opts(self.conf)
        nova_ha_libvirt.register_opts(self.conf)
        self.host: str = self.conf.nova_ha.host or self.conf.host
        self._row = meters.of(self.meter)

    @property
    def default_discovery(self) -> str:
        return 'local_node'

    def value(self, server: servers.Server) -> float | None:
        """Return what this meter says of a server, None for nothing."""
        raise NotImplementedError

    def told(self, server: servers.Server) -> dict[str, Any]:
        """Return what is sent along with the value."""
        return {}

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[str]
    ) -> Iterable[sample.Sample]:
        ours = libvirt.libvirt_of(manager, self.conf, self.host)
        shared = probes.shared_of(manager)
        why = ''
        found: tuple[servers.Server, ...] = ()
        if ours.libvirtd.is_down:
            why = 'libvirt does not answer'
        else:
            try:
                found = ours.servers.look(cache)
            except probes.Absent as error:
                why = str(error)
        if shared.is_news('servers', why) and why:
            LOG.warning(
                "Host '%s' publishes nothing of its servers: %s",
                self.host,
                why,
            )
        return [
            self._sample(server, value)
            for server in found
            if (value := self.value(server)) is not None
        ]

    def _sample(self, server: servers.Server, value: float) -> sample.Sample:
        known = {
            'instance_host': self.host,
            'display_name': server.display_name,
            'flavor_id': server.flavor_id,
            'flavor_name': server.flavor_name,
        }
        return sample.Sample(
            name=self.meter,
            type=str(self._row.kind),
            unit=self._row.unit,
            volume=value,
            user_id=server.user_id or None,
            project_id=server.project_id or None,
            resource_id=server.id,
            # What is not known must not replace what somebody else knew.
            resource_metadata={
                **{name: text for name, text in known.items() if text},
                **self.told(server),
            },
        )


class StatePollster(ServerPollster):
    """The state of a server."""

    meter = 'instance.state'

    def value(self, server: servers.Server) -> float:
        return server.state

    def told(self, server: servers.Server) -> dict[str, Any]:
        return {'state': server.state_word, 'reason': server.reason_word}


class StateReasonPollster(ServerPollster):
    """Why it is in that state."""

    meter = 'instance.state.reason'

    def value(self, server: servers.Server) -> float:
        return server.reason

    def told(self, server: servers.Server) -> dict[str, Any]:
        return {'state': server.state_word, 'reason': server.reason_word}


class DiskErrorsPollster(ServerPollster):
    """How many of its disks have an error."""

    meter = 'instance.disk.errors'

    def value(self, server: servers.Server) -> float | None:
        return None if server.disks is None else len(server.disks)

    def told(self, server: servers.Server) -> dict[str, Any]:
        disks = sorted((server.disks or {}).items())
        if not disks:
            return {}
        return {'reason': ', '.join(f'{disk}: {what}' for disk, what in disks)}


class AgentConnectedPollster(ServerPollster):
    """1 if its agent is connected, 0 if not, nothing if it has none."""

    meter = 'instance.agent.connected'

    def value(self, server: servers.Server) -> float | None:
        return None if server.agent is None else int(server.agent)


class AgentPingPollster(ServerPollster):
    """1 if its agent answered a ping, 0 if not."""

    meter = 'instance.agent.ping'

    def value(self, server: servers.Server) -> float | None:
        return None if server.ping is None else int(server.ping)


class MonitorStuckPollster(ServerPollster):
    """For how long its QEMU has not answered libvirt."""

    meter = 'instance.monitor.stuck'

    def value(self, server: servers.Server) -> float | None:
        return server.stuck

    def told(self, server: servers.Server) -> dict[str, Any]:
        return {'monitor': server.monitor}
