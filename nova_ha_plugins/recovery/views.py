# SPDX-License-Identifier: Apache-2.0

"""What the doors show to the core: the outside world as frozen values."""

import dataclasses

from nova_ha_plugins.recovery import incident


@dataclasses.dataclass(frozen=True)
class ServiceView:
    """One nova-compute service, as ``GET /os-services`` gives it.

    :ivar host: nova's service host.
    :ivar address: the hypervisor's address from ``/os-hypervisors``, or ''.
    """

    host: str
    uuid: str
    up: bool
    forced_down: bool
    disabled: bool
    disabled_reason: str = ''
    zone: str = ''
    address: str = ''


@dataclasses.dataclass(frozen=True)
class ServerView:
    """One server, as ``GET /servers/{id}`` gives it to an administrator."""

    uuid: str
    name: str
    project_id: str
    host: str
    vm_state: str
    task_state: str | None
    metadata: dict[str, str]
    locked: bool = False


@dataclasses.dataclass(frozen=True)
class MigrationView:
    """One migration record of nova (``GET /os-migrations``).

    :ivar kind: nova's migration_type.
    """

    uuid: str
    server_uuid: str
    source_compute: str
    dest_compute: str | None
    status: str
    created_at: str
    kind: str = 'evacuation'

    def other(self, host: str) -> str | None:
        """Return the host at the other end, None before nova chose one."""
        if self.dest_compute == host:
            return self.source_compute
        return self.dest_compute

    @property
    def taken_by(self) -> str | None:
        """The host whose nova-compute took an evacuation up, if one did.

        An 'accepted' record may name a host, because somebody asked for that
        one: the work may lie in the bus, and is taken up when it comes back.
        """
        return None if self.status == 'accepted' else self.dest_compute


@dataclasses.dataclass(frozen=True)
class PowerReading:
    """What a fencing device said: power, its own identity, its raw answer."""

    power: incident.Power
    system_uuid: str
    raw: str


@dataclasses.dataclass(frozen=True)
class Beat:
    """The newest heartbeat of a host, as the liveness store knows it.

    :ivar age: seconds since the store received it, by the store's own clock.
    """

    host: str
    service_uuid: str
    boot_id: str
    sequence: int
    system_uuid: str
    age: float
