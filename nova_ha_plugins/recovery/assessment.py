# SPDX-License-Identifier: Apache-2.0

"""A suspected host: who it is, what its channels and the gates say of it.

What the gates were asked with is saved with each answer that the timeline
tells; ``replay`` makes the decision again.
"""

import dataclasses

from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import fence
from nova_ha_plugins.recovery import flapping
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

Phase = incident.Phase

# A reason to hold that comes and goes gets one line in so many seconds.
HELD_REPEAT = 60.0


def identified(
    subject: incident.Incident, event: events.Identified, _: waits.Patience
) -> incident.Incident:
    """Keep who the host is: what an alarm alone does not know."""
    return dataclasses.replace(
        subject,
        service_uuid=event.service_uuid,
        domain=event.domain,
        expected_system_uuid=event.system_uuid,
        updated_at=event.at,
    )


def listed_preview(
    subject: incident.Incident, event: events.Listed, _: waits.Patience
) -> incident.Incident:
    return dataclasses.replace(
        subject, servers=event.servers, updated_at=event.at
    )


def assessed(
    subject: incident.Incident, event: events.Assessed, _: waits.Patience
) -> incident.Incident:
    verdict = evidence.verdict(event.readings)
    dead = verdict == incident.Verdict.DEAD
    subject = dataclasses.replace(
        subject,
        readings=event.readings,
        silent_probes=event.silent_probes,
        verdict=_weighed(verdict, event),
        dead_since=_since(subject, event.at) if dead else None,
    )
    may_fence = evidence.may_fence(verdict, event.management_lost)
    if evidence.forbidding(event.readings, event.management_lost):
        subject = dataclasses.replace(subject, answered_at=event.at)
        subject = release_over(subject, event.at, 'The host answers a probe')
    if verdict == incident.Verdict.ALIVE:
        return fence.cancel(
            subject, event.at, 'the host sends heartbeats; nothing was done'
        )
    if event.hold is not None:
        return _held(subject, event.at, event.hold, event.case)
    if not may_fence:
        # The caller's gates should have held it; the core does not rely on
        # that where a host would be switched off.
        return _held(
            subject, event.at, gates.evidence_unknown(subject.host), event.case
        )
    subject = notes.add(
        subject,
        event.at,
        'corroborated',
        _why_fenced(verdict, event),
        kind=incident.Kind.EVIDENCE,
    )
    return _decided(subject, event)


def release_over(
    subject: incident.Incident, at: float, found: str
) -> incident.Incident:
    """End an operator's word on a host: it was about another silence.

    Kept, it would open the gates for a silence that may be our own.
    """
    if not subject.released:
        return subject
    return notes.add(
        subject,
        at,
        'release-over',
        f'{found}: that it was released counts no more. If it dies, release '
        'it again',
        kind=incident.Kind.EVIDENCE,
        released=False,
    )


def _weighed(
    verdict: incident.Verdict, event: events.Assessed
) -> incident.Verdict:
    """Return 'suspected' for a silence that was not seen often enough."""
    enough = event.case.limits.silent_after if event.case else 0
    if verdict == incident.Verdict.DEAD and event.silent_probes < enough:
        return incident.Verdict.SUSPECTED
    return verdict


def _since(subject: incident.Incident, at: float) -> float:
    return at if subject.dead_since is None else subject.dead_since


def _decided(
    subject: incident.Incident, event: events.Assessed
) -> incident.Incident:
    case = event.case
    if case is not None and flapping.is_flapping(
        case.scene.flaps, case.limits.flap_limit
    ):
        subject = quarantine(subject, event.at, case.scene.flaps)
    return notes.add(
        subject,
        event.at,
        'fencing',
        f"Fencing of host '{subject.host}' decided",
        kind=incident.Kind.DECISION,
        made_from=_made_from(case, None),
        phase=Phase.FENCING,
        code='',
        reason='',
        next_look_at=None,
        fence=incident.FenceRecord(
            state=incident.FenceState.INTENDED,
            epoch=subject.epoch,
            attempt=1,
            intended_at=event.at,
        ),
    )


def quarantine(
    subject: incident.Incident, at: float, failures: int
) -> incident.Incident:
    """Keep that the host is not to be let back by itself."""
    if subject.quarantined:
        return subject
    return notes.add(
        subject,
        at,
        'flapping',
        flapping.told(subject.host, failures),
        kind=incident.Kind.DECISION,
        quarantined=True,
    )


def _made_from(case: gates.Case | None, answer: gates.Hold | None) -> str:
    if case is None:
        return ''
    return decision.record(
        'fence',
        {
            'suspect': case.suspect,
            'scene': case.scene,
            'limits': case.limits,
        },
        answer,
    )


def _why_fenced(verdict: incident.Verdict, event: events.Assessed) -> str:
    told = evidence.told(event.readings)
    if verdict == incident.Verdict.DEAD:
        return f'Host is dead: {told}'
    return (
        f'Host lost its management network and runs on: {told}; it is '
        'switched off because [networks] management = '
        f'{event.management_lost}'
    )


def _held(
    subject: incident.Incident,
    at: float,
    hold: gates.Hold,
    case: gates.Case | None,
) -> incident.Incident:
    phase, code = Phase.HELD, f'held:{hold.code}'
    if hold.code == gates.CORROBORATING:
        phase, code = Phase.SUSPECTED, hold.code
    told = any(
        entry.code == code and at - entry.at < HELD_REPEAT
        for entry in subject.timeline
    )
    changed = hold.code != subject.code and not told
    subject = dataclasses.replace(
        subject,
        phase=phase,
        code=hold.code,
        reason=hold.reason,
        next_look_at=at + hold.after,
        updated_at=at,
    )
    if changed:
        subject = notes.add(
            subject,
            at,
            code,
            hold.reason,
            kind=incident.Kind.GATE,
            made_from=_made_from(case, hold),
        )
    return subject


def dismissed(
    subject: incident.Incident, event: events.Dismissed, _: waits.Patience
) -> incident.Incident:
    """There is nothing to recover: somebody named a host that is none."""
    return fence.cancel(subject, event.at, event.text)
