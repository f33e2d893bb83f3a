# SPDX-License-Identifier: Apache-2.0

"""What can happen to an incident of a host that lives and lost a network."""

import dataclasses

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import views


@dataclasses.dataclass(frozen=True)
class NetworksAssessed(events.Event):
    """A living host is still silent on networks, and the gates were asked.

    :ivar hold: why not to do what the policy wants; None when all gates are
        open, and always for an alert.
    :ivar servers: of the host, judged by ``policy.admit``, when something is
        to be done to them.
    :ivar case: what the gates were asked with; saved with their answer.
    """

    readings: tuple[incident.Reading, ...]
    answer: networks.Answer
    hold: gates.Hold | None = None
    servers: tuple[incident.Server, ...] = ()
    case: gates.Case | None = None


@dataclasses.dataclass(frozen=True)
class NetworksSeen(events.Event):
    """The networks were looked at while servers leave.

    :ivar answer: None when all of them answer again.
    :ivar hold: why no further server may begin to leave.
    """

    answer: networks.Answer | None
    hold: gates.Hold | None = None


@dataclasses.dataclass(frozen=True)
class HostSilent(events.Event):
    """The heartbeats of a host that servers were leaving stopped."""

    readings: tuple[incident.Reading, ...]


@dataclasses.dataclass(frozen=True)
class MoveSeen:
    """What nova says of one server that leaves.

    :ivar record: its newest live migration away from the host.
    :ivar server: None when nova has no such server any more.
    """

    server_uuid: str
    record: views.MigrationView | None
    server: views.ServerView | None


@dataclasses.dataclass(frozen=True)
class MovesSeen(events.Event):
    """Nova's records and servers were read."""

    seen: tuple[MoveSeen, ...]


@dataclasses.dataclass(frozen=True)
class MoveIntended(events.Intent):
    """Nova is about to be asked to live-migrate one server."""

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class MoveAccepted(events.Event):
    """Nova took the call; its record tells the rest."""

    server_uuid: str


@dataclasses.dataclass(frozen=True)
class MoveRefused(events.Event):
    """Nova said no to the live migration: nothing happened.

    :ivar busy: it was not the server's fault; it is no failed attempt.
    """

    server_uuid: str
    text: str
    busy: bool = False
