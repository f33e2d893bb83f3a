# SPDX-License-Identifier: Apache-2.0

"""What can happen to an incident: every event carries its own time."""

import dataclasses

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views


class ImpossibleEventError(Exception):
    """An event came where it cannot happen: a bug of ours, nothing moved."""


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened, at a time of the store's clock."""

    at: float


@dataclasses.dataclass(frozen=True)
class Intent(Event):
    """A call that cannot be taken back is about to be made.

    Its save is what lets the engine make that one call; see
    ``engine.permits``.
    """


@dataclasses.dataclass(frozen=True)
class Suspected(Event):
    """An alarm, or the periodic round, says that the host is silent."""

    channel: str
    text: str


@dataclasses.dataclass(frozen=True)
class TakenOver(Event):
    """Another engine acts for the incident from now on.

    :ivar token: of its lease; higher than that of the one before.
    """

    engine: str
    token: int


@dataclasses.dataclass(frozen=True)
class Identified(Event):
    """Who the host is: read from nova and from its own heartbeats."""

    service_uuid: str
    domain: str
    system_uuid: str


@dataclasses.dataclass(frozen=True)
class Listed(Event):
    """The servers of the host, already judged by ``policy.admit``."""

    servers: tuple[incident.Server, ...]


@dataclasses.dataclass(frozen=True)
class Assessed(Event):
    """All channels were read and the gates looked at.

    :ivar hold: why not to fence now; None means every gate is open.
    :ivar management_lost: the policy for a host whose management network
        alone is lost, as it was when the gates were asked.
    :ivar case: what the gates were asked with; it is saved with what the
        timeline tells of their answer.
    """

    readings: tuple[incident.Reading, ...]
    silent_probes: int
    hold: gates.Hold | None
    management_lost: evidence.Response = evidence.Response.ALERT
    case: gates.Case | None = None


@dataclasses.dataclass(frozen=True)
class Dismissed(Event):
    """What was reported is no host that could be recovered."""

    text: str


@dataclasses.dataclass(frozen=True)
class IntentExpired(Event):
    """Fencing was decided too long ago and nothing was done since."""


@dataclasses.dataclass(frozen=True)
class Heard(Event):
    """The channels were read again while an operator is asked."""

    readings: tuple[incident.Reading, ...]


@dataclasses.dataclass(frozen=True)
class PowerCalled(Intent):
    """The device is about to be asked to switch the host off."""

    driver: str


@dataclasses.dataclass(frozen=True)
class PowerNotCalled(Event):
    """The device was not asked after all: the engine came too late for it."""


@dataclasses.dataclass(frozen=True)
class PowerRead(Event):
    """The device said what the power is.

    :ivar beat_mark: the newest heartbeat known when it was read.
    :ivar beat_age: how long ago that was received.
    """

    driver: str
    reading: views.PowerReading
    beat_mark: tuple[str, int] | None
    beat_age: float | None = None


@dataclasses.dataclass(frozen=True)
class PowerUnread(Event):
    """The device gave no usable answer. This is never success."""

    text: str


@dataclasses.dataclass(frozen=True)
class Attested(Event):
    """An operator says that the host is off, and signs for it.

    :ivar readings: what the channels say at this moment; () if they were not
        asked.
    :ivar power: what the host's own device says at this moment.
    :ivar forbidden: why no word may stand for a fence now, '' if it may.
    :ivar failures: how often the host failed within the last hour, when that
        is too often; else 0.
    """

    by: str
    reason: str
    beat_mark: tuple[str, int] | None
    readings: tuple[incident.Reading, ...] = ()
    power: incident.Power = incident.Power.UNKNOWN
    forbidden: str = ''
    failures: int = 0


@dataclasses.dataclass(frozen=True)
class Released(Event):
    """An operator lets a held incident pass the storm gate."""

    by: str
    reason: str


@dataclasses.dataclass(frozen=True)
class SignOfLife(Event):
    """A host that should be off was heard or read as on.

    :ivar lied: it never was off, although its device said so.
    """

    text: str
    lied: bool = False


@dataclasses.dataclass(frozen=True)
class StepIntended(Intent):
    """A call to nova about the host's service is about to be made."""

    step: str


@dataclasses.dataclass(frozen=True)
class StepDone(Event):
    """Nova did what the step asked."""

    step: str


@dataclasses.dataclass(frozen=True)
class StepRefused(Event):
    """Nova said no to the step; it is tried again."""

    step: str
    text: str


@dataclasses.dataclass(frozen=True)
class EvacuationSeen(Event):
    """What nova's records say of one server.

    :ivar record: newest evacuation record of the server away from this
        host, None when there is none.
    :ivar server: the server, None when nova has no such server any more.
    :ivar destination_off: the destination of the record is a host that was
        itself fenced after the record was made.
    :ivar move: its newest live migration, cold migration or resize from or
        to this host that nova has not ended.
    :ivar other_off: the other host of that move was fenced and is off.
    """

    server_uuid: str
    record: views.MigrationView | None
    server: views.ServerView | None
    destination_off: bool = False
    move: views.MigrationView | None = None
    other_off: bool = False


@dataclasses.dataclass(frozen=True)
class Appeared(Event):
    """Servers that nova places on the host only now: late moves to it."""

    servers: tuple[incident.Server, ...]


@dataclasses.dataclass(frozen=True)
class Reviewed(Event):
    """Parked servers were looked at again, or could not be."""


@dataclasses.dataclass(frozen=True)
class Uncontained(Event):
    """Nova's service of the host is no longer forced down, not by us."""


@dataclasses.dataclass(frozen=True)
class BatchHeld(Event):
    """No evacuation begins: it is not certain that the host is still off."""

    code: str
    text: str


@dataclasses.dataclass(frozen=True)
class EvacuateIntended(Intent):
    """Nova is about to be asked to evacuate one server."""

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class EvacuateAccepted(Event):
    """Nova took the evacuation; its record tells the rest."""

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class EvacuateRefused(Event):
    """Nova said no to the evacuation: nothing happened.

    :ivar busy: it said so because of its load, not because of the server.
    :ivar guarded: the guard said so: an evacuation of the server is open.
    """

    server_uuid: str
    text: str
    busy: bool = False
    guarded: bool = False


@dataclasses.dataclass(frozen=True)
class ResetIntended(Intent):
    """Nova is about to be asked to call a server active.

    It evacuates no server in the state that this one has.
    """

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class ResetDone(Event):
    """Nova calls the server active now."""

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class RestoreIntended(Intent):
    """A server is about to be put back into the state that it had."""

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class HostSeen(Event):
    """How a contained host looks while it may return.

    :ivar beating: a heartbeat newer than the fence record was heard.
    :ivar service: nova's view, None when nova has no such service any more.
    :ivar uncleaned: evacuation records of the host that nova-compute has not
        yet marked completed: guests it has not yet removed.
    :ivar evacuating: servers that are still on it and on their way, whoever
        asked for that.
    :ivar silent: it was heard after the fence and fell silent again.
    :ivar lied: it never was off, although its device said so.
    """

    beating: bool
    service: views.ServiceView | None
    uncleaned: int
    evacuating: int = 0
    silent: bool = False
    lied: bool = False
