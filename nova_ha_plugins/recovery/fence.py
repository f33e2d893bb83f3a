# SPDX-License-Identifier: Apache-2.0

"""Proof that a host is off: switch it off, read it back.

Only a power state read as Off, from a device that names itself as the host
named itself while it lived, or an operator's signed word, makes a fence
record valid. A time-out, an error or an unknown state never does.
"""

import dataclasses

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

Phase = incident.Phase
StepState = incident.StepState

# A device that read Off and whose host was heard afterwards.
DEVICE_LIED = 'device-lied'
# So late a heartbeat may come that was sent before the host was off.
LATE_HEARTBEAT = 30.0


def intent_expired(
    subject: incident.Incident, event: events.IntentExpired, _: waits.Patience
) -> incident.Incident:
    """Ask every channel and gate again: the decision is too old to act on."""
    fence = notes.fence_of(subject)
    if fence.calls or fence.attempt > 1:
        return subject
    return _ask_again(
        subject,
        event.at,
        'The decision to fence is too old to act on; all channels are asked '
        'again',
    )


def _ask_again(
    subject: incident.Incident, at: float, text: str
) -> incident.Incident:
    return notes.add(
        subject,
        at,
        'reassess',
        text,
        kind=incident.Kind.DECISION,
        phase=Phase.SUSPECTED,
        code='',
        reason='',
        silent_probes=0,
        fence=None,
        next_look_at=None,
    )


def cancel(
    subject: incident.Incident, at: float, text: str
) -> incident.Incident:
    """Close the incident with nothing evacuated."""
    fence = subject.fence
    if fence is not None:
        fence = dataclasses.replace(fence, state=incident.FenceState.VOID)
    return notes.add(
        subject,
        at,
        'cancelled',
        text,
        kind=incident.Kind.RESULT,
        phase=Phase.CANCELLED,
        code='',
        reason=text,
        fence=fence,
        closed_at=at,
        next_look_at=None,
    )


def power_called(
    subject: incident.Incident, event: events.PowerCalled, _: waits.Patience
) -> incident.Incident:
    fence = notes.fence_of(subject)
    again = ' again, it still reads On' if fence.calls else ''
    return notes.add(
        subject,
        event.at,
        'power-off',
        f'Asked {event.driver} to switch the host off{again}',
        kind=incident.Kind.INTENT,
        fence=dataclasses.replace(
            fence,
            calls=fence.calls + 1,
            called_at=event.at,
            driver=event.driver,
        ),
    )


def power_not_called(
    subject: incident.Incident, event: events.PowerNotCalled, _: waits.Patience
) -> incident.Incident:
    """Take the call back, so that it is made without the usual pause."""
    fence = notes.fence_of(subject)
    if not fence.calls:
        return subject
    return notes.add(
        subject,
        event.at,
        'power-not-asked',
        'The device was not asked: too much time had passed since that was '
        'saved. The host is looked at again first',
        kind=incident.Kind.RESULT,
        next_look_at=event.at + 1.0,
        fence=dataclasses.replace(
            fence, calls=fence.calls - 1, called_at=None
        ),
    )


def power_read(
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
    if has_lied(subject):
        # What it reads counts no more in this incident, only a signed word.
        if subject.phase == Phase.NEEDS_OPERATOR:
            return dataclasses.replace(subject, next_look_at=event.at + 10.0)
        return device_lied(subject, event.at, 'Its device lied before')
    if reading.power == incident.Power.OFF:
        record = dataclasses.replace(
            fence,
            state=incident.FenceState.VALID,
            confirmed_at=event.at,
            evidence_class=incident.FenceClass.CONFIRMED_OFF,
            beat_mark=event.beat_mark,
            off_mark=_off_mark(fence, event),
        )
        took = event.at - fence.intended_at
        return contain(
            subject,
            event.at,
            record,
            f'Power read back as Off by {event.driver} after {took:.1f} s '
            f'(system {reading.system_uuid} verified)',
        )
    if subject.code == 'identity-mismatch':
        return _right_device(subject, event.at, fence)
    if subject.code == 'power-unread':
        subject = dataclasses.replace(subject, code='', reason='')
    return _not_yet_off(
        subject, event.at, f'the device reads {reading.power}', patience
    )


def _right_device(
    subject: incident.Incident, at: float, fence: incident.FenceRecord
) -> incident.Incident:
    """Go on after the map was corrected.

    However long that took: everything is asked again, unless the host must be
    switched off because it came back.
    """
    text = 'The fencing device is now the right one'
    if fence.attempt == 1 and not fence.calls:
        return _ask_again(subject, at, text)
    return notes.add(
        subject,
        at,
        'fencing',
        f'{text}; fencing goes on',
        kind=incident.Kind.DECISION,
        phase=Phase.FENCING,
        code='',
        reason='',
        next_look_at=None,
        fence=dataclasses.replace(fence, intended_at=at),
    )


def _off_mark(
    fence: incident.FenceRecord, event: events.PowerRead
) -> tuple[str, int] | None:
    """Return what only a heartbeat can carry that was sent after now.

    Its sequence is the milliseconds since the host booted: a host whose last
    heartbeat came 8 s ago would now be 8 s further. One that was sent earlier
    may have been on its way for long, so a margin is left.
    """
    if event.beat_mark is None or event.beat_age is None:
        return fence.off_mark
    boot, sequence = event.beat_mark
    if fence.off_mark is not None and fence.off_mark[0] == boot:
        return fence.off_mark
    later = event.beat_age + LATE_HEARTBEAT
    return boot, sequence + int(later * 1000)


def has_lied(subject: incident.Incident) -> bool:
    """Return whether a host was heard that its device had read as Off."""
    return any(entry.code == DEVICE_LIED for entry in subject.timeline)


def device_lied(
    subject: incident.Incident, at: float, found: str
) -> incident.Incident:
    """Stop: the host never was off, whatever its device says.

    A heartbeat of the same boot, sent after the reading of Off, proves that.
    """
    fence = notes.fence_of(subject)
    moved = sum(server.attempts > 0 for server in subject.servers)
    text = (
        f'{found}, of the same boot as before it was read as Off: it never '
        f'was off. The device ({fence.driver}) lies, or reads another '
        'machine. '
        + (
            f'{notes.count(moved, "server")} of it may run twice! '
            if moved
            else 'Nothing was evacuated. '
        )
        + 'Nothing more is evacuated. Switch the host off by hand, then '
        f'openstack ha attest {subject.host} --off'
    )
    return notes.add(
        subject,
        at,
        DEVICE_LIED,
        text,
        kind=incident.Kind.EVIDENCE,
        phase=Phase.NEEDS_OPERATOR,
        code=DEVICE_LIED,
        reason=text,
        next_look_at=at + 10.0,
        fence=_once_more(fence, at, subject.epoch),
    )


def _once_more(
    fence: incident.FenceRecord, at: float, epoch: int
) -> incident.FenceRecord:
    """Return the record of the next attempt, void of all proof."""
    return incident.FenceRecord(
        state=incident.FenceState.INTENDED,
        epoch=epoch,
        attempt=fence.attempt + 1,
        intended_at=at,
        driver=fence.driver,
        off_mark=fence.off_mark,
    )


def power_unread(
    subject: incident.Incident,
    event: events.PowerUnread,
    patience: waits.Patience,
) -> incident.Incident:
    fence = notes.fence_of(subject)
    told = subject.code == 'power-unread'
    subject = dataclasses.replace(
        subject,
        fence=dataclasses.replace(
            fence, power=incident.Power.UNKNOWN, raw=event.text
        ),
        updated_at=event.at,
    )
    if subject.phase == Phase.FENCING:
        text = (
            f"The power of host '{subject.host}' is not certain: "
            f'{event.text}. It is read again'
        )
        if not told:
            subject = notes.add(
                subject,
                event.at,
                'power-unread',
                text,
                kind=incident.Kind.EVIDENCE,
            )
        subject = dataclasses.replace(
            subject, code='power-unread', reason=text
        )
    return _not_yet_off(subject, event.at, event.text, patience)


def _not_yet_off(
    subject: incident.Incident, at: float, found: str, patience: waits.Patience
) -> incident.Incident:
    if subject.phase == Phase.NEEDS_OPERATOR:
        return dataclasses.replace(subject, next_look_at=at + 10.0)
    fence = notes.fence_of(subject)
    if fence.intended_at > at:
        # The clock of the store went back: the time begins anew.
        fence = dataclasses.replace(fence, intended_at=at)
        subject = dataclasses.replace(subject, fence=fence)
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
        kind=incident.Kind.RESULT,
        phase=Phase.NEEDS_OPERATOR,
        code=code,
        reason=text,
        next_look_at=at + 10.0,
    )


def alive_while_fencing(
    subject: incident.Incident,
    event: events.SignOfLife,
    patience: waits.Patience,
) -> incident.Incident:
    """End a fence that has not begun, or that its device ignored."""
    fence = notes.fence_of(subject)
    if event.lied and not has_lied(subject):
        return device_lied(subject, event.at, event.text)
    if fence.attempt == 1 and fence.calls == 0:
        return cancel(
            subject,
            event.at,
            f'{event.text} before it was switched off; nothing was done',
        )
    asked_at = fence.called_at or fence.intended_at
    if (
        fence.attempt == 1
        and fence.power == incident.Power.ON
        and event.at - asked_at >= patience.fence_repeat
    ):
        return cancel(
            subject,
            event.at,
            f'{event.text}, and its device did not switch it off within '
            f'{patience.fence_repeat:.0f} s; nothing was evacuated',
        )
    # Once asked, a device may switch off at any moment: go on reading. But
    # nobody may attest that the host is off while it is heard.
    heard = incident.Reading(
        evidence.HEARTBEAT, incident.Sign.ALIVE, event.at, 0.0, event.text
    )
    others = (r for r in subject.readings if r.channel != evidence.HEARTBEAT)
    return dataclasses.replace(
        subject, readings=(heard, *others), updated_at=event.at
    )


def heard(
    subject: incident.Incident, event: events.Heard, _: waits.Patience
) -> incident.Incident:
    """Keep what the channels say now, for whoever has to decide.

    An answer counts whatever the policy is: should the host be assessed once
    more, it was heard in the course of this incident.
    """
    return dataclasses.replace(
        subject,
        readings=event.readings,
        verdict=evidence.verdict(event.readings),
        answered_at=event.at
        if evidence.answering(event.readings)
        else subject.answered_at,
        updated_at=event.at,
    )


def contain(
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
        kind=incident.Kind.RESULT,
        phase=Phase.CONTAINING,
        code='',
        reason='',
        next_look_at=None,
        fence=record,
        forced_down=StepState.NONE,
        disabled=StepState.NONE,
    )


def alive_after_fence(
    subject: incident.Incident, event: events.SignOfLife, _: waits.Patience
) -> incident.Incident:
    fence = notes.fence_of(subject)
    if event.lied:
        return device_lied(subject, event.at, event.text)
    return notes.add(
        subject,
        event.at,
        'fence-void',
        f'{event.text} after it was fenced: no new evacuation begins until '
        'it is off again',
        kind=incident.Kind.EVIDENCE,
        phase=Phase.FENCING,
        code='returned-early',
        reason=event.text,
        next_look_at=None,
        fence=_once_more(fence, event.at, subject.epoch),
    )
