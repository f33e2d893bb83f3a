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

from nova_ha_plugins.recovery import evacuation
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

Phase = incident.Phase
StepState = incident.StepState


class Step(enum.StrEnum):
    """The calls to nova about the service of the host."""

    FORCE_DOWN = 'force-down'
    DISABLE = 'disable'
    UNFORCE = 'un-force'
    ENABLE = 'enable'


# Where an incident keeps what became of each step.
STEP_FIELDS: typing.Final = {
    Step.FORCE_DOWN: 'forced_down',
    Step.DISABLE: 'disabled',
    Step.UNFORCE: 'unforced',
    Step.ENABLE: 'enabled',
}


class Do(enum.StrEnum):
    """What the engine is asked to do next for an incident."""

    ASSESS = 'assess'
    READ_POWER = 'read-power'
    POWER_OFF = 'power-off'
    FORCE_DOWN = 'force-down'
    DISABLE = 'disable'
    LIST = 'list'
    FOLLOW = 'follow'
    WATCH_RETURN = 'watch-return'
    UNFORCE = 'un-force'
    ENABLE = 'enable'


class ImpossibleEventError(Exception):
    """An event came in a phase in which it cannot happen: a bug of ours."""


def todo(
    subject: incident.Incident,
    now: float,
    patience: waits.Patience = waits.DEFAULT,
) -> Do | None:
    """Return the next thing to do for the incident, None when it is closed
    or not yet time to look."""
    if subject.next_look_at is not None and now < subject.next_look_at:
        return None
    match subject.phase:
        case Phase.SUSPECTED | Phase.HELD:
            return Do.ASSESS
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
            return Do.WATCH_RETURN
        case Phase.RETURNING:
            return _todo_returning(subject)
        case _:
            return None


def _todo_fencing(
    subject: incident.Incident, now: float, patience: waits.Patience
) -> Do:
    fence = notes.fence_of(subject)
    if fence.power != incident.Power.ON:
        return Do.READ_POWER
    if fence.called_at is None:
        return Do.POWER_OFF
    if now - fence.called_at >= patience.fence_repeat:
        return Do.POWER_OFF
    return Do.READ_POWER


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

    :raises ImpossibleEventError: the table has no such event in this phase.
    """
    if isinstance(event, events.Suspected):
        return _suspected(subject, event)
    if isinstance(event, events.Released):
        return _released(subject, event)
    if isinstance(event, events.Attested):
        return _attested(subject, event)
    handler = TABLE.get(subject.phase, {}).get(type(event))
    if handler is None:
        raise ImpossibleEventError(
            f"Incident '{subject.uuid}' of host '{subject.host}' is "
            f'{subject.phase} and cannot take {type(event).__name__}.'
        )
    return handler(subject, event, patience)


# --- what anybody may say at any time -------------------------------------


def _suspected(
    subject: incident.Incident, event: events.Suspected
) -> incident.Incident:
    if any(
        entry.code == 'suspected' and entry.text == event.text
        for entry in subject.timeline
    ):
        return subject
    return notes.add(subject, event.at, 'suspected', event.text)


def _released(
    subject: incident.Incident, event: events.Released
) -> incident.Incident:
    if subject.phase == Phase.RECOVERED and subject.code == 'parked-servers':
        return notes.add(
            subject,
            event.at,
            'return-released',
            f'{event.by} lets the host return: {event.reason}',
            return_released=True,
            next_look_at=None,
        )
    if subject.phase not in (Phase.SUSPECTED, Phase.HELD):
        return notes.add(
            subject,
            event.at,
            'release-ignored',
            f'{event.by} released it, but nothing is held: it is '
            f'{subject.phase}',
        )
    return notes.add(
        subject,
        event.at,
        'released',
        f'{event.by} let it pass the storm gate: {event.reason}',
        released=True,
        next_look_at=None,
    )


def _attested(
    subject: incident.Incident, event: events.Attested
) -> incident.Incident:
    refusal = _why_not_attest(subject)
    if refusal:
        return notes.add(
            subject,
            event.at,
            'attest-refused',
            f'{event.by} attested that the host is off; refused: {refusal}',
        )
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
    return _contain(
        subject,
        event.at,
        record,
        f'{event.by} attested that the host is off: {event.reason}',
    )


def _why_not_attest(subject: incident.Incident) -> str:
    if subject.phase not in (
        Phase.SUSPECTED,
        Phase.HELD,
        Phase.FENCING,
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
    if subject.fence and subject.fence.power == incident.Power.ON:
        return 'its fencing device reads On'
    return ''


# --- suspected, held ------------------------------------------------------


def _listed_preview(
    subject: incident.Incident, event: events.Listed, _: waits.Patience
) -> incident.Incident:
    return dataclasses.replace(
        subject, servers=event.servers, updated_at=event.at
    )


def _assessed(
    subject: incident.Incident, event: events.Assessed, _: waits.Patience
) -> incident.Incident:
    verdict = evidence.verdict(event.readings)
    subject = dataclasses.replace(
        subject,
        readings=event.readings,
        silent_probes=event.silent_probes,
        verdict=verdict,
    )
    if verdict == incident.Verdict.ALIVE:
        return _cancel(
            subject, event.at, 'the host sends heartbeats; nothing was done'
        )
    if event.hold is not None:
        changed = event.hold.code != subject.code
        subject = dataclasses.replace(
            subject,
            phase=Phase.HELD,
            code=event.hold.code,
            reason=event.hold.reason,
            next_look_at=event.at + event.hold.after,
            updated_at=event.at,
        )
        if changed:
            subject = notes.add(
                subject, event.at, f'held:{event.hold.code}', subject.reason
            )
        return subject
    silent = ', '.join(
        f'{r.channel} silent'
        + (f' {r.age:.1f} s' if r.age is not None else '')
        for r in event.readings
        if r.sign == incident.Sign.SILENT
    )
    subject = notes.add(
        subject, event.at, 'corroborated', f'Host is dead: {silent}'
    )
    return notes.add(
        subject,
        event.at,
        'fencing',
        f"Fencing of host '{subject.host}' decided",
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


def _cancel(
    subject: incident.Incident, at: float, text: str
) -> incident.Incident:
    return notes.add(
        subject,
        at,
        'cancelled',
        text,
        phase=Phase.CANCELLED,
        code='',
        reason=text,
        closed_at=at,
        next_look_at=None,
    )


# --- fencing --------------------------------------------------------------


def _power_called(
    subject: incident.Incident, event: events.PowerCalled, _: waits.Patience
) -> incident.Incident:
    fence = notes.fence_of(subject)
    again = ' again, it still reads On' if fence.calls else ''
    return notes.add(
        subject,
        event.at,
        'power-off',
        f'Asked {event.driver} to switch the host off{again}',
        fence=dataclasses.replace(
            fence,
            calls=fence.calls + 1,
            called_at=event.at,
            driver=event.driver,
        ),
    )


def _power_read(
    subject: incident.Incident,
    event: events.PowerRead,
    patience: waits.Patience,
) -> incident.Incident:
    fence = notes.fence_of(subject)
    reading = event.reading
    if (
        not subject.expected_system_uuid
        or reading.system_uuid != subject.expected_system_uuid
    ):
        return _ask_operator(
            subject,
            event.at,
            'identity-mismatch',
            f"The fencing device of host '{subject.host}' says it is system "
            f"'{reading.system_uuid or 'unknown'}', the host said "
            f"'{subject.expected_system_uuid or 'nothing'}' while it lived. "
            'It is not touched. Correct the fencing map, or switch the host '
            f'off by hand: openstack ha attest {subject.host} --off',
        )
    fence = dataclasses.replace(
        fence,
        power=reading.power,
        driver=event.driver,
        raw=reading.raw,
        system_uuid=reading.system_uuid,
    )
    subject = dataclasses.replace(subject, fence=fence, updated_at=event.at)
    if reading.power == incident.Power.OFF:
        record = dataclasses.replace(
            fence,
            state=incident.FenceState.VALID,
            confirmed_at=event.at,
            evidence_class=incident.FenceClass.CONFIRMED_OFF,
            beat_mark=event.beat_mark,
        )
        took = event.at - fence.intended_at
        return _contain(
            subject,
            event.at,
            record,
            f'Power read back as Off by {event.driver} after {took:.1f} s '
            f'(system {reading.system_uuid} verified)',
        )
    return _not_yet_off(
        subject, event.at, f'the device reads {reading.power}', patience
    )


def _power_unread(
    subject: incident.Incident,
    event: events.PowerUnread,
    patience: waits.Patience,
) -> incident.Incident:
    fence = notes.fence_of(subject)
    subject = dataclasses.replace(
        subject,
        fence=dataclasses.replace(
            fence, power=incident.Power.UNKNOWN, raw=event.text
        ),
        updated_at=event.at,
    )
    return _not_yet_off(subject, event.at, event.text, patience)


def _not_yet_off(
    subject: incident.Incident, at: float, found: str, patience: waits.Patience
) -> incident.Incident:
    if subject.phase == Phase.NEEDS_OPERATOR:
        return dataclasses.replace(subject, next_look_at=at + 10.0)
    fence = notes.fence_of(subject)
    if at - fence.intended_at < patience.fence_timeout:
        return dataclasses.replace(subject, next_look_at=None)
    return _ask_operator(
        subject,
        at,
        'fence-unconfirmed',
        f"Host '{subject.host}' was not read back as Off within "
        f'{patience.fence_timeout:.0f} s: {found}. Nothing is evacuated. '
        'Switch it off by hand; the engine goes on reading. If the device '
        f'is gone: openstack ha attest {subject.host} --off',
    )


def _ask_operator(
    subject: incident.Incident, at: float, code: str, text: str
) -> incident.Incident:
    if subject.phase == Phase.NEEDS_OPERATOR and subject.code == code:
        return dataclasses.replace(subject, next_look_at=at + 10.0)
    return notes.add(
        subject,
        at,
        code,
        text,
        phase=Phase.NEEDS_OPERATOR,
        code=code,
        reason=text,
        next_look_at=at + 10.0,
    )


def _alive_while_fencing(
    subject: incident.Incident, event: events.SignOfLife, _: waits.Patience
) -> incident.Incident:
    fence = notes.fence_of(subject)
    if fence.attempt == 1 and fence.calls == 0:
        return _cancel(
            dataclasses.replace(
                subject,
                fence=dataclasses.replace(
                    fence, state=incident.FenceState.VOID
                ),
            ),
            event.at,
            f'{event.text} before it was switched off; nothing was done',
        )
    # Once asked, a device may switch off at any moment: go on to Off.
    return subject


def _contain(
    subject: incident.Incident,
    at: float,
    record: incident.FenceRecord,
    text: str,
) -> incident.Incident:
    return notes.add(
        subject,
        at,
        'fenced',
        text,
        phase=Phase.CONTAINING,
        code='',
        reason='',
        next_look_at=None,
        fence=record,
        forced_down=StepState.NONE,
        disabled=StepState.NONE,
    )


def _alive_after_fence(
    subject: incident.Incident, event: events.SignOfLife, _: waits.Patience
) -> incident.Incident:
    fence = notes.fence_of(subject)
    return notes.add(
        subject,
        event.at,
        'fence-void',
        f'{event.text} after it was fenced: no new evacuation begins until '
        'it is off again',
        phase=Phase.FENCING,
        code='returned-early',
        reason=event.text,
        next_look_at=None,
        fence=incident.FenceRecord(
            state=incident.FenceState.INTENDED,
            epoch=subject.epoch,
            attempt=fence.attempt + 1,
            intended_at=event.at,
            driver=fence.driver,
        ),
    )


# --- steps about the service ----------------------------------------------


def _step_intended(
    subject: incident.Incident, event: events.StepIntended, _: waits.Patience
) -> incident.Incident:
    field = STEP_FIELDS[Step(event.step)]
    return _set_step(subject, event.at, field, StepState.INTENDED)


def _set_step(
    subject: incident.Incident, at: float, field: str, state: StepState
) -> incident.Incident:
    changes: dict[str, typing.Any] = {field: state, 'updated_at': at}
    return dataclasses.replace(subject, **changes)


def _step_done(
    subject: incident.Incident, event: events.StepDone, _: waits.Patience
) -> incident.Incident:
    which = Step(event.step)
    subject = _set_step(subject, event.at, STEP_FIELDS[which], StepState.DONE)
    match which:
        case Step.FORCE_DOWN:
            return notes.add(
                subject,
                event.at,
                'forced-down',
                "Nova's service was forced down",
                next_look_at=None,
            )
        case Step.DISABLE:
            return notes.add(
                subject,
                event.at,
                'evacuating',
                "Nova's service was disabled; evacuation begins",
                phase=Phase.EVACUATING,
                code='',
                reason='',
                next_look_at=None,
            )
        case Step.UNFORCE:
            return notes.add(
                subject,
                event.at,
                'un-forced',
                "Nova's service is no longer forced down",
                code='wait-up',
                reason='waiting for nova to see the service up',
                next_look_at=None,
            )
        case Step.ENABLE:
            return _returned(subject, event.at, 'and enabled again')


def _step_refused(
    subject: incident.Incident, event: events.StepRefused, _: waits.Patience
) -> incident.Incident:
    if subject.reason != event.text:
        subject = notes.add(
            subject, event.at, f'{event.step}-refused', event.text
        )
    return dataclasses.replace(
        subject,
        reason=event.text,
        next_look_at=event.at + 5.0,
        updated_at=event.at,
    )


# --- the return -----------------------------------------------------------


def _host_seen(
    subject: incident.Incident, event: events.HostSeen, _: waits.Patience
) -> incident.Incident:
    blocked = _why_contained(subject, event)
    if subject.phase == Phase.RECOVERED:
        if blocked:
            code, text = blocked
            if subject.code != code:
                subject = notes.add(subject, event.at, code, text)
            return dataclasses.replace(
                subject,
                code=code,
                reason=text,
                next_look_at=event.at + 1.0,
                updated_at=event.at,
            )
        return notes.add(
            subject,
            event.at,
            'returning',
            'The host is back and nova-compute has removed its old guests',
            phase=Phase.RETURNING,
            code='un-force',
            reason='clearing forced_down',
            next_look_at=None,
        )
    service = event.service
    if service is None or not service.up:
        return dataclasses.replace(
            subject, next_look_at=event.at + 1.0, updated_at=event.at
        )
    if service.disabled and service.disabled_reason == owner(subject):
        return dataclasses.replace(
            subject,
            code='enable',
            reason='enabling the service that we disabled',
            next_look_at=None,
            updated_at=event.at,
        )
    kept = (
        f"; it stays disabled: '{service.disabled_reason}'"
        if service.disabled
        else ''
    )
    return _returned(subject, event.at, f'and up{kept}')


def _why_contained(
    subject: incident.Incident, event: events.HostSeen
) -> tuple[str, str] | None:
    if not event.beating:
        return (
            'contained',
            'The host stays off and forced down until somebody switches it on',
        )
    if not subject.return_released and any(
        server.code == 'destination-unproven' for server in subject.servers
    ):
        return (
            'parked-servers',
            'Parked servers may have a guest left on another host: look at '
            'them first, leave nova-compute of this host stopped, then '
            f'openstack ha release {subject.host}',
        )
    if event.service is None:
        return (
            'service-gone',
            f"Nova has no compute service '{subject.service_uuid}' any more; "
            'nothing is left to bring back',
        )
    if event.uncleaned:
        return (
            'cleaning',
            f'{event.uncleaned} evacuated servers are not yet cleaned up on '
            'the host: start nova-compute there and leave it forced down',
        )
    return None


def _returned(
    subject: incident.Incident, at: float, how: str
) -> incident.Incident:
    return notes.add(
        subject,
        at,
        'closed',
        f"Host '{subject.host}' is back in service {how}",
        phase=Phase.CLOSED,
        code='',
        reason=subject.outcome,
        closed_at=at,
        next_look_at=None,
    )


def owner(subject: incident.Incident) -> str:
    """Return the disabled_reason by which we know our own disable."""
    return f'nova-ha: incident {subject.uuid}'


# --- the table ------------------------------------------------------------

Handler = Callable[
    [incident.Incident, typing.Any, waits.Patience], incident.Incident
]

_LOOKING: dict[type[events.Event], Handler] = {
    events.Listed: _listed_preview,
    events.Assessed: _assessed,
}

_POWER: dict[type[events.Event], Handler] = {
    events.PowerCalled: _power_called,
    events.PowerRead: _power_read,
    events.PowerUnread: _power_unread,
    events.SignOfLife: _alive_while_fencing,
}

_STEPS: dict[type[events.Event], Handler] = {
    events.StepIntended: _step_intended,
    events.StepDone: _step_done,
    events.StepRefused: _step_refused,
}

TABLE: typing.Final[dict[Phase, dict[type[events.Event], Handler]]] = {
    Phase.SUSPECTED: _LOOKING,
    Phase.HELD: _LOOKING,
    Phase.FENCING: _POWER,
    Phase.NEEDS_OPERATOR: _POWER,
    Phase.CONTAINING: {**_STEPS, events.SignOfLife: _alive_after_fence},
    Phase.EVACUATING: {
        events.SignOfLife: _alive_after_fence,
        events.Listed: evacuation.listed,
        events.EvacuationSeen: evacuation.seen,
        events.EvacuateIntended: evacuation.intended,
        events.EvacuateAccepted: evacuation.accepted,
        events.EvacuateRefused: evacuation.refused,
        events.StopIntended: evacuation.stop_intended,
    },
    Phase.RECOVERED: {events.HostSeen: _host_seen},
    Phase.RETURNING: {events.HostSeen: _host_seen, **_STEPS},
}
