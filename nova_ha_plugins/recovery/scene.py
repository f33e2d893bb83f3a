# SPDX-License-Identifier: Apache-2.0

"""What a decision to fence is made from: a few small frozen values.

They hold what the gates read and nothing else, whatever the size of the
cloud: they are saved with each decision, so that it can be made again.
"""

import dataclasses

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident


@dataclasses.dataclass(frozen=True)
class Hold:
    """Why not now.

    :ivar after: seconds until it is worth looking again.
    """

    code: str
    reason: str
    after: float = 2.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the operator configured; see the options of the same names.

    :ivar silent_after: looks in a row with silent probes that count.
    :ivar answer_quiet: seconds of silence asked of a host that a probe heard
        in the course of the incident: its channels come and go.
    :ivar services_fresh: nova's list of services may be so many seconds old.
    :ivar management_lost: what is done when the management network of a host
        is lost, and another one is not.
    """

    storm_max_hosts: int = 1
    storm_max_share: float = 0.10
    storm_window: float = 600.0
    storm_max_domains: int = 2
    storm_interval: float = 10.0
    storm_cooldown: float = 60.0
    loop_late_max: float = 10.0
    blind_share: float = 0.5
    warm_up: float = 60.0
    take_over_quiet: float = 10.0
    services_fresh: float = 30.0
    silent_after: int = 3
    answer_quiet: float = 30.0
    kdump_wait: float = 0.0
    flap_limit: int = 3
    minimum_evidence: incident.FenceClass = (
        incident.FenceClass.OPERATOR_ATTESTED
    )
    management_lost: evidence.Response = evidence.Response.ALERT


@dataclasses.dataclass(frozen=True)
class Brake:
    """What an operator put on: maintenance of a host, or a named pause.

    :ivar kind: 'maintenance' or 'pause'.
    :ivar name: the host, or the name of the pause.
    :ivar zone: the failure domain of a pause, '' for the whole cloud.
    :ivar until: when it ends by itself; None for never.
    """

    kind: str
    name: str
    zone: str = ''
    until: float | None = None
    reason: str = ''
    by: str = ''


@dataclasses.dataclass(frozen=True)
class PastFence:
    """A fence that was begun, whatever came of it."""

    host: str
    domain: str
    at: float


@dataclasses.dataclass(frozen=True)
class Waiter:
    """Another host that waits at the storm gate, and since when."""

    host: str
    since: float


@dataclasses.dataclass(frozen=True)
class Domain:
    """A failure domain, in numbers.

    :ivar silent: hosts that fell silent within the storm window and were not
        fenced since, nor put into maintenance.
    :ivar waiting: of the hosts that waited at the storm gate before the host
        of this decision did, the first one.
    """

    name: str
    hosts: int
    silent: int = 0
    waiting: Waiter | None = None


@dataclasses.dataclass(frozen=True)
class Own:
    """What is known of the host itself, besides its channels.

    :ivar known: nova has such a compute service.
    :ivar mapped: its fencing device proved to be its own, while it lived.
    :ivar foreign: nova's service was forced down by somebody else.
    :ivar incoming: servers of other failed hosts on their way to it.
    """

    known: bool = True
    mapped: bool = True
    map_text: str = ''
    foreign: bool = False
    incoming: int = 0


@dataclasses.dataclass(frozen=True)
class Suspect:
    """The host that may have to be fenced, and what its channels say.

    :ivar protected: its servers that would be evacuated, of so many servers.
    :ivar released: an operator let it pass the storm gate.
    :ivar dead_since: since when every look said that it is dead, this one
        included; None if this one does not.
    :ivar found: what already keeps it before any gate is asked.
    :ivar networks: lost ones for which the policy wants it switched off
        although it lives; empty for a host that may be dead.
    """

    host: str
    domain: str
    readings: tuple[incident.Reading, ...]
    silent_probes: int
    protected: int
    servers: int
    released: bool = False
    answered_at: float | None = None
    dead_since: float | None = None
    found: Hold | None = None
    networks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """The rest of the cloud at that moment, as far as it matters.

    :ivar watching: seconds since this engine began to watch.
    :ivar since_take_over: seconds since it took over from another engine
        whose last call may still be under way; None if it did not.
    :ivar loop_late: seconds by which the engine's own round is late.
    :ivar services_age: seconds since nova last listed its services.
    :ivar blind: the detector does not see clearly enough to convict.
    :ivar newer_release: an incident was written by a newer release, and what
        it says cannot be read.
    :ivar hosts: so many are there, ``silent`` of them silent and no fence
        accounts for that.
    :ivar newest_silence: seconds since the last host fell silent.
    :ivar fences: of the storm window, one for each other host.
    :ivar flaps: failures of this host within the last hour, this one
        included.
    """

    now: float
    armed: bool
    arm_text: str
    watching: float
    loop_late: float = 0.0
    blind: bool = False
    services_age: float = 0.0
    since_take_over: float | None = None
    newer_release: bool = False
    brakes: tuple[Brake, ...] = ()
    own: Own = dataclasses.field(default_factory=Own)
    hosts: int = 1
    silent: int = 0
    newest_silence: float | None = None
    domains: tuple[Domain, ...] = ()
    fences: tuple[PastFence, ...] = ()
    flaps: int = 1


@dataclasses.dataclass(frozen=True)
class Case:
    """Everything that the gates were asked with."""

    suspect: Suspect
    scene: Scene
    limits: Limits
