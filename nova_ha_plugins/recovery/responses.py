# SPDX-License-Identifier: Apache-2.0

"""What is done about a living host that lost a network: alert, migrate, fence.

Only a network's policy can make a host be switched off that sends heartbeats
(S4 names that exception), and the timeline says which evidence and which
policy it was.
"""

import dataclasses

from nova_ha_plugins.recovery import assessment
from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import fence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import leaving
from nova_ha_plugins.recovery import moves
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import observer
from nova_ha_plugins.recovery import waits

Kind = incident.Kind
Phase = incident.Phase
Response = evidence.Response

# The name under which such a decision is saved.
MIGRATE = 'migrate'

# A held incident of a lost network is looked at again after so many seconds:
# it ends by itself when the host answers.
AFTER = 2.0
# A reason to hold that comes and goes gets one line in so many seconds.
_REPEAT = 60.0


def assessed(
    subject: incident.Incident,
    event: network_events.NetworksAssessed,
    _: waits.Patience,
) -> incident.Incident:
    """Do what the policy of the lost network says, if every gate is open."""
    answer = event.answer
    if leaving.unfinished(subject):
        return leaving.resumed(subject, event.at, answer.lost)
    subject = dataclasses.replace(
        subject,
        readings=event.readings,
        silent_probes=0,
        verdict=evidence.verdict(event.readings),
        networks_lost=answer.lost,
        networks_heard=_heard(subject, answer),
    )
    if answer.response == Response.ALERT:
        subject = assessment.release_over(
            subject, event.at, 'The host sends heartbeats'
        )
        hold = gates.Hold(answer.code, answer.text, AFTER)
        return _held(subject, event, hold, Kind.EVIDENCE)
    if event.hold is not None:
        return _held(subject, event, event.hold, Kind.GATE)
    if answer.response == Response.MIGRATE:
        return _migrate(subject, event)
    return _fence(subject, event)


def _heard(
    subject: incident.Incident, answer: networks.Answer
) -> tuple[str, ...]:
    """Return the lost networks on which it was heard, by whatever engine."""
    known = {*subject.networks_heard, *answer.heard}
    return tuple(name for name in answer.lost if name in known)


def _held(
    subject: incident.Incident,
    event: network_events.NetworksAssessed,
    hold: gates.Hold,
    kind: Kind,
) -> incident.Incident:
    code = f'held:{hold.code}'
    told = any(
        entry.code == code and event.at - entry.at < _REPEAT
        for entry in subject.timeline
    )
    changed = hold.code != subject.code and not told
    subject = dataclasses.replace(
        subject,
        phase=Phase.HELD,
        code=hold.code,
        reason=hold.reason,
        next_look_at=event.at + hold.after,
        updated_at=event.at,
    )
    if changed:
        return notes.add(
            subject,
            event.at,
            code,
            hold.reason,
            kind=kind,
            made_from=_made_from(event, hold),
        )
    return subject


def _made_from(
    event: network_events.NetworksAssessed, hold: gates.Hold | None
) -> str:
    if event.case is None:
        return ''
    migrates = event.answer.response == Response.MIGRATE
    return decision.record(
        MIGRATE if migrates else 'fence',
        {
            'suspect': event.case.suspect,
            'scene': event.case.scene,
            'limits': event.case.limits,
        },
        hold,
    )


def hold_migration(case: gates.Case) -> gates.Hold | None:
    """Return why no server may begin to leave now, None if it may.

    The gates of a fence, without those that are about the fence itself.
    """
    suspect, scene, limits = case.suspect, case.scene, case.limits
    return (
        suspect.found
        or observer.healthy(suspect, scene, limits)
        or brakes.maintenance(suspect, scene)
        or observer.watched_enough(suspect, scene, limits)
        or brakes.paused(suspect, scene)
        or _disarmed(suspect, scene)
    )


def _disarmed(suspect: gates.Suspect, scene: gates.Scene) -> gates.Hold | None:
    if scene.armed:
        return None
    return gates.Hold(
        'disarmed',
        f'The engine observes ({scene.arm_text}). Armed, it would now '
        f"live-migrate the servers of '{suspect.host}' that ask for recovery:"
        ' openstack ha arm',
    )


def _migrate(
    subject: incident.Incident, event: network_events.NetworksAssessed
) -> incident.Incident:
    leave = moves.moves_of(event.servers)
    return notes.add(
        subject,
        event.at,
        'migrating',
        f'{event.answer.text}: {notes.count(len(leave), "server")} that ask '
        'for recovery and run leave it by live migration',
        kind=Kind.DECISION,
        made_from=_made_from(event, None),
        phase=Phase.MIGRATING,
        code='',
        reason='',
        released=False,
        moves=leave,
        next_look_at=None,
    )


def _fence(
    subject: incident.Incident, event: network_events.NetworksAssessed
) -> incident.Incident:
    answer = event.answer
    subject = notes.add(
        subject,
        event.at,
        'corroborated',
        f'{answer.text}: {evidence.told(event.readings)}. It lives and is '
        'switched off, because the policy of that network says so',
        kind=Kind.EVIDENCE,
    )
    return notes.add(
        subject,
        event.at,
        'fencing',
        f"Fencing of host '{subject.host}' decided",
        kind=Kind.DECISION,
        made_from=_made_from(event, None),
        phase=Phase.FENCING,
        code='',
        reason='',
        next_look_at=None,
        fence=incident.FenceRecord(
            state=incident.FenceState.INTENDED,
            epoch=subject.epoch,
            attempt=1,
            intended_at=event.at,
            networks=answer.acting,
        ),
    )


def heard(
    subject: incident.Incident,
    event: events.Assessed,
    patience: waits.Patience,
) -> incident.Incident:
    """Assess as ever; what a lost network left behind comes to its end."""
    verdict = evidence.verdict(event.readings)
    if verdict != incident.Verdict.ALIVE:
        # From here on it is a host that is not heard, like any other.
        if subject.networks_lost and not leaving.unfinished(subject):
            subject = dataclasses.replace(subject, networks_lost=())
        return assessment.assessed(subject, event, patience)
    if leaving.unfinished(subject):
        return leaving.resumed(subject, event.at, ())
    if subject.networks_lost:
        names = evidence.quoted(subject.networks_lost)
        return fence.cancel(
            dataclasses.replace(
                subject, readings=event.readings, networks_lost=()
            ),
            event.at,
            f'the host answers on network {names} again; nothing was done',
        )
    return assessment.assessed(subject, event, patience)
