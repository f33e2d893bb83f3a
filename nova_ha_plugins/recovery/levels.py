# SPDX-License-Identifier: Apache-2.0

"""How well a recovery went: seconds per stage, counts, what was in vain.

Everything is read from the incident and its timeline, which is append-only:
an engine that watches it grow and a reader that finds it in the store after a
restart come to the same figures. Each stage is measured once, at its first
end; what is repeated later (a fence that became void) is counted instead.

The stages ``detect``, ``corroborate``, ``hold``, ``fence`` and ``force-down``
follow each other. ``first-server`` and ``last-server`` count from the last
heartbeat of the host, as its users do.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import pacing

Phase = incident.Phase
ServerState = incident.ServerState


class Stage(enum.StrEnum):
    """A part of a recovery that is measured in seconds."""

    DETECT = 'detect'
    CORROBORATE = 'corroborate'
    HOLD = 'hold'
    FENCE = 'fence'
    FORCE_DOWN = 'force-down'
    FIRST_SERVER = 'first-server'
    LAST_SERVER = 'last-server'


class Vain(enum.StrEnum):
    """How far a suspicion of a host came that lived.

    DECIDED had every channel against it and was heard before it was switched
    off. DISMISSED was given up by an operator because its power device would
    not say that it is off.
    """

    SUSPECTED = 'suspected'
    DECIDED = 'decided'
    DISMISSED = 'dismissed'


# Codes of a timeline that say that a fence did not succeed, or did not last.
FENCE_FAILURES = (
    'fence-unconfirmed',
    'identity-mismatch',
    'device-lied',
    'fence-void',
)
# Of these, those with which an operator is asked.
_ASKED = frozenset(FENCE_FAILURES) - {'fence-void'}

_WAITING = frozenset({ServerState.QUEUED, ServerState.READY})

# What is final of a server; a line of the timeline says so.
OUTCOMES = (ServerState.RECOVERED, ServerState.LEFT, ServerState.PARKED)


@dataclasses.dataclass(frozen=True)
class Reached:
    """A stage that came to its end.

    :ivar seconds: how long it took.
    :ivar at: when it ended, on the clock of the store.
    :ivar seq: the line of the timeline that ended it.
    """

    stage: Stage
    seconds: float
    at: float
    seq: int


@dataclasses.dataclass(frozen=True)
class Change:
    """What a save added to the figures of an incident.

    :ivar vain: the incident turned out to be a false suspicion.
    :ivar failures: codes of fences that failed, one per failure.
    :ivar outcomes: how many servers came to which end.
    """

    reached: tuple[Reached, ...] = ()
    vain: Vain | None = None
    failures: tuple[str, ...] = ()
    outcomes: Mapping[ServerState, int] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Standing:
    """All open incidents in numbers.

    :ivar phases: how many incidents are in which phase.
    :ivar held: how many are held for which reason.
    :ivar waiting: how many servers wait, for which reason.
    :ivar evacuating: how many servers are being evacuated now.
    """

    phases: Mapping[Phase, int]
    held: Mapping[str, int]
    waiting: Mapping[str, int]
    evacuating: int


def reached(subject: incident.Incident) -> tuple[Reached, ...]:
    """Return the stages that ended, in their order."""
    first = _first(subject.timeline)
    opened, heard = subject.opened_at, heard_at(subject)
    decided, held = first.get('corroborated'), _first_held(subject.timeline)
    if decided and held and held.seq > decided.seq:
        held = None
    found = []

    def ended(stage: Stage, since: float, by: incident.Entry) -> None:
        seconds = max(0.0, by.at - since)
        found.append(Reached(stage, seconds, by.at, by.seq))

    if decided:
        if heard is not None:
            took = max(0.0, opened - heard)
            found.append(Reached(Stage.DETECT, took, decided.at, decided.seq))
        upto = held or decided
        took = max(0.0, upto.at - opened)
        found.append(Reached(Stage.CORROBORATE, took, decided.at, decided.seq))
        if held:
            ended(Stage.HOLD, held.at, decided)
    fencing, fenced = first.get('fencing'), first.get('fenced')
    if fencing and fenced and fencing.seq < fenced.seq:
        ended(Stage.FENCE, fencing.at, fenced)
    if fenced and (forced := first.get('forced-down')):
        ended(Stage.FORCE_DOWN, fenced.at, forced)
    since = opened if heard is None else heard
    if fenced and (server := first.get('server-recovered')):
        ended(Stage.FIRST_SERVER, since, server)
        if over := first.get('recovered'):
            last = max(
                entry.at
                for entry in subject.timeline
                if entry.code == 'server-recovered' and entry.seq < over.seq
            )
            took = max(0.0, last - since)
            found.append(Reached(Stage.LAST_SERVER, took, over.at, over.seq))
    return tuple(found)


def heard_at(subject: incident.Incident) -> float | None:
    """Return when the host was last heard before the incident, if known."""
    for reading in subject.readings:
        if reading.channel != evidence.HEARTBEAT or reading.age is None:
            continue
        if reading.sign == incident.Sign.ALIVE:
            return None
        heard = reading.at - reading.age
        return heard if heard <= subject.opened_at else None
    return None


def vain(subject: incident.Incident) -> Vain | None:
    """Return how far a false suspicion came; None for any other incident.

    A host of which nova knows nothing was never looked at, and one that lost
    a network did lose it: neither is a false suspicion.
    """
    if subject.phase != Phase.CANCELLED:
        return None
    if not subject.readings or subject.networks_lost:
        return None
    codes = {entry.code for entry in subject.timeline}
    if codes & _ASKED:
        return Vain.DISMISSED
    return Vain.DECIDED if 'corroborated' in codes else Vain.SUSPECTED


def change(
    before: incident.Incident | None, after: incident.Incident
) -> Change:
    """Return what a save added; of a new incident, all that it has."""
    known = len(before.timeline) if before else 0
    new = [entry for entry in after.timeline if entry.seq > known]
    codes = collections.Counter(entry.code for entry in new)
    was_vain = before is not None and vain(before) is not None
    return Change(
        reached=tuple(r for r in reached(after) if r.seq > known),
        vain=None if was_vain else vain(after),
        failures=tuple(e.code for e in new if e.code in FENCE_FAILURES),
        outcomes={
            state: codes[f'server-{state}']
            for state in OUTCOMES
            if codes[f'server-{state}']
        },
    )


def standing(subjects: Iterable[incident.Incident]) -> Standing:
    """Return what the open incidents amount to."""
    phases: collections.Counter[Phase] = collections.Counter()
    held: collections.Counter[str] = collections.Counter()
    waiting: collections.Counter[str] = collections.Counter()
    evacuating = 0
    for subject in subjects:
        phases[subject.phase] += 1
        if subject.phase == Phase.HELD:
            held[subject.code] += 1
        if subject.phase != Phase.EVACUATING:
            continue
        for server in subject.servers:
            if server.state in pacing.OPEN_STATES:
                evacuating += 1
            elif server.state in _WAITING:
                waiting[server.code or 'turn'] += 1
    return Standing(phases, held, waiting, evacuating)


def _first(
    timeline: Iterable[incident.Entry],
) -> dict[str, incident.Entry]:
    found: dict[str, incident.Entry] = {}
    for entry in timeline:
        found.setdefault(entry.code, entry)
    return found


def _first_held(timeline: Iterable[incident.Entry]) -> incident.Entry | None:
    for entry in timeline:
        if entry.code.startswith('held:'):
            return entry
    return None
