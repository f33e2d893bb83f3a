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


@dataclasses.dataclass(frozen=True)
class HostHealth:
    """What something other than the heartbeat said of a host, and when.

    It never makes a host dead nor alive: it explains and it warns.

    :ivar age: seconds since it was stored, by the clock of the store.
    """

    host: str
    channel: str
    ok: bool
    value: float
    text: str
    age: float


@dataclasses.dataclass(frozen=True)
class Evacuation:
    """One evacuation, as ``GET /os-evacuations`` gives it to an administrator.

    Times are seconds since 1970 on nova's clock.

    :ivar status: nova's own word.
    :ivar size_class: of the amount of work, '' if it is not known.
    :ivar eta_seconds: half of its like needed no longer than that from now on.
    :ivar eta_p90_seconds: nine in ten of its like needed no longer.
    :ivar explanation: why it waits or how it ended, and what comes next.
    :ivar ahead: how many the same destination has to begin before it.
    """

    uuid: str
    server_uuid: str
    status: str
    state: str
    phase: str
    created_at: float
    source_compute: str | None = None
    dest_compute: str | None = None
    progress: int | None = None
    stalled: bool = False
    reason: str | None = None
    source_cleaned: bool = False
    disk_total_bytes: int | None = None
    disk_processed_bytes: int | None = None
    disk_remaining_bytes: int | None = None
    volumes_total: int | None = None
    volumes_done: int | None = None
    eta_seconds: int | None = None
    updated_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    project_id: str | None = None
    eta_p90_seconds: int | None = None
    eta_samples: int | None = None
    explanation: str | None = None
    storage: str = 'unknown'
    boot_source: str | None = None
    size_class: str = ''
    ahead: int | None = None
    phase_started_at: float | None = None
