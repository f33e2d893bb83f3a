# SPDX-License-Identifier: Apache-2.0

"""The incident state machine: ``step`` changes an incident, ``todo`` reads it.

``step(incident, event)`` is the only thing that makes a new incident value.
``todo(incident, now)`` says what to do next, from the saved value alone, so a
crash anywhere is only a reload. Side effects that cannot be taken back (power
off, evacuate, a call to nova about the service) have an event of their own
that is saved before the call is made.
"""

from collections.abc import Callable
import dataclasses
import enum
import typing

from nova_ha_plugins.recovery import assessment
from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import evacuation
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import fence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import leaving
from nova_ha_plugins.recovery import moves
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import responses
from nova_ha_plugins.recovery import restoring
from nova_ha_plugins.recovery import takeover
from nova_ha_plugins.recovery import waits

Phase = incident.Phase
StepState = incident.StepState


# How often parked servers are looked at again: their reasons may end.
REVIEW_INTERVAL = 30.0


class Do(enum.StrEnum):
    """What the engine is asked to do next for an incident."""

    ASSESS = 'assess'
    READ_POWER = 'read-power'
    POWER_OFF = 'power-off'
    FORCE_DOWN = 'force-down'
    DISABLE = 'disable'
    LIST = 'list'
    FOLLOW = 'follow'
    REVIEW = 'review'
    WATCH_RETURN = 'watch-return'
    UNFORCE = 'un-force'
    ENABLE = 'enable'
    LEAVE = 'leave'


def todo(
    subject: incident.Incident,
    now: float,
    patience: waits.Patience = waits.DEFAULT,
) -> Do | None:
    """Return the next thing to do for the incident.

    None when it is closed, or when it is not yet time to look.
    """
    if not waits.is_over(subject.next_look_at, now):
        return None
    match subject.phase:
        case Phase.SUSPECTED | Phase.HELD:
            return Do.ASSESS
        case Phase.MIGRATING:
            return Do.LEAVE
        case Phase.FENCING:
            return _todo_fencing(subject, now, patience)
        case Phase.NEEDS_OPERATOR:
            return Do.READ_POWER
        case Phase.CONTAINING:
            if subject.forced_down != StepState.DONE:
                return Do.FORCE_DOWN
            return Do.DISABLE
        case Phase.EVACUATING:
            return Do.FOLLOW if subject.listed else Do.LIST
        case Phase.RECOVERED:
            if review_due(subject, now):
                return Do.REVIEW
            return Do.WATCH_RETURN
        case Phase.RETURNING:
            return _todo_returning(subject)
        case _:
            return None


def _todo_fencing(
    subject: incident.Incident, now: float, patience: waits.Patience
) -> Do:
    record = notes.fence_of(subject)
    if record.power != incident.Power.ON:
        return Do.READ_POWER
    if record.called_at is None:
        return Do.POWER_OFF
    if waits.is_over(record.called_at + patience.fence_repeat, now):
        return Do.POWER_OFF
    return Do.READ_POWER


def review_due(subject: incident.Incident, now: float) -> bool:
    """Return whether the servers of a contained host are looked at again."""
    last = subject.reviewed_at
    return last is None or not 0.0 <= now - last < REVIEW_INTERVAL


def _todo_returning(subject: incident.Incident) -> Do:
    if subject.unforced != StepState.DONE:
        return Do.UNFORCE
    if subject.code == 'enable':
        return Do.ENABLE
    return Do.WATCH_RETURN


def step(
    subject: incident.Incident,
    event: events.Event,
    patience: waits.Patience = waits.DEFAULT,
) -> incident.Incident:
    """Return the incident as it is after the event.

    :raises events.ImpossibleEventError: the table has no such event in
        this phase.
    """
    if isinstance(event, events.Suspected):
        return _suspected(subject, event)
    if isinstance(event, events.TakenOver):
        return takeover.taken_over(subject, event)
    if isinstance(event, events.Released):
        return leaving.not_forgotten(subject, _released(subject, event))
    if isinstance(event, events.Attested):
        return _attested(subject, event)
    handler = TABLE.get(subject.phase, {}).get(type(event))
    if handler is None:
        raise events.ImpossibleEventError(
            f"Incident '{subject.uuid}' of host '{subject.host}' is "
            f'{subject.phase} and cannot take {type(event).__name__}.'
        )
    return leaving.not_forgotten(subject, handler(subject, event, patience))


# --- what anybody may say at any time -------------------------------------


def _suspected(
    subject: incident.Incident, event: events.Suspected
) -> incident.Incident:
    if any(
        entry.code == 'suspected' and entry.text == event.text
        for entry in subject.timeline
    ):
        return subject
    return notes.add(
        subject, event.at, 'suspected', event.text, kind=incident.Kind.EVIDENCE
    )


def _released(
    subject: incident.Incident, event: events.Released
) -> incident.Incident:
    returned = containment.released(subject, event)
    if returned is not None:
        return returned
    if (
        subject.phase == Phase.NEEDS_OPERATOR
        and notes.fence_of(subject).attempt == 1
        and subject.forced_down == StepState.NONE
        and not subject.listed
    ):
        return fence.cancel(
            subject,
            event.at,
            f'{event.by} dismissed it before anything was evacuated: '
            f'{event.reason}',
        )
    if subject.phase == Phase.MIGRATING:
        return leaving.released(subject, event.at, event.by, event.reason)
    if subject.phase not in (Phase.SUSPECTED, Phase.HELD):
        return notes.add(
            subject,
            event.at,
            'release-ignored',
            f'{event.by} released it, but nothing is held: it is '
            f'{subject.phase}',
            kind=incident.Kind.OPERATOR,
        )
    return notes.add(
        subject,
        event.at,
        'released',
        f'{event.by} let it pass the storm gate: {event.reason}',
        kind=incident.Kind.OPERATOR,
        released=True,
        next_look_at=None,
    )


def _attested(
    subject: incident.Incident, event: events.Attested
) -> incident.Incident:
    if event.readings:
        subject = dataclasses.replace(subject, readings=event.readings)
    refusal = event.forbidden or _why_not_attest(subject, event.power)
    if refusal:
        return notes.add(
            subject,
            event.at,
            'attest-refused',
            f'{event.by} attested that the host is off; refused: {refusal}',
            kind=incident.Kind.OPERATOR,
        )
    if subject.phase == Phase.EVACUATING:
        return _attested_again(subject, event)
    if event.failures:
        subject = assessment.quarantine(subject, event.at, event.failures)
    attempt = subject.fence.attempt if subject.fence else 1
    record = incident.FenceRecord(
        state=incident.FenceState.VALID,
        epoch=subject.epoch,
        attempt=attempt,
        intended_at=event.at,
        confirmed_at=event.at,
        evidence_class=incident.FenceClass.OPERATOR_ATTESTED,
        driver='operator',
        by=event.by,
        raw=event.reason,
        beat_mark=event.beat_mark,
    )
    return fence.contain(
        subject,
        event.at,
        record,
        f'{event.by} attested that the host is off: {event.reason}',
    )


def _attested_again(
    subject: incident.Incident, event: events.Attested
) -> incident.Incident:
    """The device of a fenced host went silent: an operator stands in."""
    return notes.add(
        subject,
        event.at,
        'attested',
        f'{event.by} attested that the host is still off: {event.reason}',
        kind=incident.Kind.OPERATOR,
        code='',
        reason='',
        next_look_at=None,
        fence=dataclasses.replace(
            notes.fence_of(subject),
            evidence_class=incident.FenceClass.OPERATOR_ATTESTED,
            confirmed_at=event.at,
            by=event.by,
            raw=event.reason,
        ),
    )


def _why_not_attest(subject: incident.Incident, power: incident.Power) -> str:
    if subject.phase == Phase.FENCING:
        return 'its power is being switched off and read; wait for that'
    unread = subject.phase == Phase.EVACUATING and subject.code in (
        'power-unread',
        'identity-mismatch',
    )
    if not unread and subject.phase not in (
        Phase.SUSPECTED,
        Phase.HELD,
        Phase.NEEDS_OPERATOR,
    ):
        return f'the incident is {subject.phase}'
    for reading in subject.readings:
        if (
            reading.channel != evidence.NOVA
            and reading.sign == incident.Sign.ALIVE
        ):
            return f'the {reading.channel} still hears the host'
    if not subject.readings:
        return 'no channel has been read yet; try again in a few seconds'
    last = subject.fence.power if subject.fence else incident.Power.UNKNOWN
    if incident.Power.ON in (power, last):
        return 'its fencing device reads On'
    return ''


# --- the table ------------------------------------------------------------

Handler = Callable[
    [incident.Incident, typing.Any, waits.Patience], incident.Incident
]

_LOOKING: dict[type[events.Event], Handler] = {
    events.Identified: assessment.identified,
    events.Listed: assessment.listed_preview,
    events.Assessed: responses.heard,
    network_events.NetworksAssessed: responses.assessed,
    events.Dismissed: assessment.dismissed,
}

_POWER: dict[type[events.Event], Handler] = {
    events.PowerCalled: fence.power_called,
    events.PowerRead: fence.power_read,
    events.PowerUnread: fence.power_unread,
    events.SignOfLife: fence.alive_while_fencing,
    events.Heard: fence.heard,
}

_STEPS: dict[type[events.Event], Handler] = {
    events.StepIntended: containment.step_intended,
    events.StepDone: containment.step_done,
    events.StepRefused: containment.step_refused,
}

_LEAVING: dict[type[events.Event], Handler] = {
    events.Identified: assessment.identified,
    network_events.NetworksSeen: leaving.networks_seen,
    network_events.HostSilent: leaving.host_silent,
    network_events.MovesSeen: leaving.moves_seen,
    network_events.MoveIntended: leaving.move_intended,
    network_events.MoveAccepted: moves.move_accepted,
    network_events.MoveRefused: moves.move_refused,
    events.StepIntended: leaving.step_intended,
    events.StepDone: leaving.step_done,
    events.StepRefused: containment.step_refused,
}

TABLE: typing.Final[dict[Phase, dict[type[events.Event], Handler]]] = {
    Phase.SUSPECTED: _LOOKING,
    Phase.HELD: _LOOKING,
    Phase.MIGRATING: _LEAVING,
    Phase.FENCING: {
        **_POWER,
        events.PowerNotCalled: fence.power_not_called,
        events.IntentExpired: fence.intent_expired,
    },
    Phase.NEEDS_OPERATOR: _POWER,
    Phase.CONTAINING: {**_STEPS, events.SignOfLife: fence.alive_after_fence},
    Phase.EVACUATING: {
        events.SignOfLife: fence.alive_after_fence,
        events.Listed: evacuation.listed,
        events.Uncontained: containment.uncontained,
        events.EvacuationSeen: records.seen,
        events.Appeared: evacuation.appeared,
        events.Reviewed: evacuation.reviewed,
        events.BatchHeld: evacuation.batch_held,
        events.EvacuateIntended: evacuation.intended,
        events.EvacuateAccepted: evacuation.accepted,
        events.EvacuateRefused: evacuation.refused,
        events.ResetIntended: evacuation.reset_intended,
        events.ResetDone: evacuation.reset_done,
        events.RestoreIntended: restoring.intended,
    },
    Phase.RECOVERED: {
        events.HostSeen: containment.host_seen,
        events.EvacuationSeen: records.seen,
        events.Appeared: evacuation.appeared,
        events.Reviewed: evacuation.reviewed,
    },
    Phase.RETURNING: {events.HostSeen: containment.host_seen, **_STEPS},
}
