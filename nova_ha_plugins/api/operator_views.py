# SPDX-License-Identifier: Apache-2.0

"""The shape of what operators set, and of what they have to know for it.

As in ``recovery_views`` every field is named, times are UTC and ages are
seconds by the store's clock.
"""

from collections import abc
import typing

from nova_ha_plugins.api import recovery_views
from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import arming
from nova_ha_plugins.recovery import evidence as channels
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

Item = dict[str, typing.Any]

_time = recovery_views.time_of


def in_flight(subject: core.Incident) -> bool:
    """Whether the engine goes on with an incident although it is disarmed."""
    return subject.phase in arming.IN_FLIGHT


def standing(
    state: values.ArmState,
    subjects: abc.Collection[core.Incident],
    records: abc.Collection[values.HostRecord],
) -> Item:
    """What the arm state comes to, with all that is still under way."""
    moving = [subject for subject in subjects if in_flight(subject)]
    found = arming.look(
        state.armed,
        state.until,
        len(moving),
        *arming.fenceable(
            {each.host: each.map_state == 'verified' for each in records},
            {subject.host for subject in subjects},
        ),
    )
    return {
        'until': _time(state.until),
        'state': str(found.state),
        'state_reason': found.reason or None,
        'in_flight': [standing_of(subject) for subject in moving],
    }


def standing_of(subject: core.Incident | None) -> Item | None:
    """Where an incident stands, in a few words; None for none."""
    if subject is None:
        return None
    final = sum(
        server.state in core.FINAL_SERVER_STATES for server in subject.servers
    )
    return {
        'uuid': subject.uuid,
        'host': subject.host,
        'phase': str(subject.phase),
        'code': subject.code or None,
        'reason': subject.reason or None,
        'servers_total': len(subject.servers),
        'servers_done': final,
    }


def wait(subject: core.Incident) -> Item:
    """Why an incident gets no further, and when it is looked at again."""
    return {
        'uuid': subject.uuid,
        'host': subject.host,
        'phase': str(subject.phase),
        'code': subject.code or None,
        'reason': subject.reason or None,
        'next_look_at': _time(subject.next_look_at),
    }


def waits(subjects: abc.Iterable[core.Incident]) -> list[Item]:
    """Every open incident that says what it waits for."""
    return [wait(subject) for subject in subjects if subject.code]


def engine(state: values.EngineState) -> Item:
    """One engine process, as it last said of itself."""
    told = state.told
    return {
        'name': state.name,
        'role': 'acting' if told.get('acting') else 'watching',
        'alive': state.age < state.ttl,
        'warm': bool(told.get('warm')),
        'token': told.get('token') or None,
        'release': told.get('release'),
        'age': round(state.age, 3),
        'ttl': state.ttl,
    }


def watcher(watch: health.Watch) -> Item:
    """One watcher of the heartbeats, as it last said of itself."""
    return {
        'name': watch.name,
        'alive': watch.age < health.SILENT_AFTER,
        'sees': watch.clear,
        'reason': watch.text or None,
        'hosts': watch.hosts,
        'age': round(watch.age, 3),
    }


def brake(value: values.Brake) -> Item:
    """A maintenance or a pause that holds."""
    who = {
        'until': _time(value.until),
        'reason': value.reason,
        'by': value.by,
        'at': _time(value.at),
    }
    if value.kind == 'maintenance':
        return {'host': value.name, **who}
    return {'name': value.name, 'zone': value.zone or None, **who}


def brakes(found: abc.Iterable[values.Brake]) -> list[Item]:
    """Maintenance and pauses in one list."""
    return [
        {
            'kind': value.kind,
            'name': value.name,
            'zone': value.zone or None,
            'until': _time(value.until),
            'reason': value.reason,
            'by': value.by,
            'at': _time(value.at),
        }
        for value in found
    ]


def history(
    armed: abc.Iterable[values.ArmState],
    entries: abc.Iterable[values.BrakeEntry],
    now: float,
) -> list[Item]:
    """What operators said, newest first.

    :param armed: newest first; the next newer one ended the one before.
    """
    states = list(armed)
    found = [
        (
            state.at,
            {
                'kind': 'arm' if state.armed else 'disarm',
                'name': None,
                'zone': None,
                'at': _time(state.at),
                'by': state.by,
                'reason': state.reason,
                'until': _time(state.until),
                **_end_of(state, newer, now),
            },
        )
        for newer, state in zip([None, *states], states, strict=False)
    ]
    found += [
        (
            entry.brake.at,
            {
                **brakes([entry.brake])[0],
                'ended_at': _time(entry.ended_at),
                'ended_by': entry.ended_by or None,
                'ended_reason': entry.ended_reason or None,
            },
        )
        for entry in entries
    ]
    return [
        item
        for _, item in sorted(found, key=lambda pair: pair[0], reverse=True)
    ]


def _end_of(
    state: values.ArmState, newer: values.ArmState | None, now: float
) -> Item:
    """When an arm state ended, and by whom; nothing while it holds."""
    ended: float | None = None
    by: str | None = None
    reason: str | None = None
    if newer is not None and (state.until is None or newer.at < state.until):
        ended, by, reason = newer.at, newer.by, newer.reason
    elif state.until is not None and state.until <= now:
        ended, by = state.until, 'until'
    return {'ended_at': _time(ended), 'ended_by': by, 'ended_reason': reason}


def evidence(
    subject: core.Incident, beat: views.Beat | None, now: float
) -> list[Item]:
    """What there is to know before somebody says that a host is off.

    ``read_age`` is for how many seconds the engine has not asked the channel,
    ``heard_age`` for how many the channel has not heard the host.
    """
    found = [
        _channel(reading, now)
        for reading in subject.readings
        if reading.channel != channels.HEARTBEAT
    ]
    return [_heartbeat(subject, beat, now), *found, _power(subject, now)]


def _heartbeat(
    subject: core.Incident, beat: views.Beat | None, now: float
) -> Item:
    """What is heard at this moment: asking costs nothing, and it decides."""
    item: Item = {
        'channel': channels.HEARTBEAT,
        'sign': str(core.Sign.UNKNOWN),
        'read_age': None,
        'heard_age': None,
        'text': '' if beat else 'never heard',
    }
    for reading in subject.readings:
        if reading.channel == channels.HEARTBEAT:
            item = _channel(reading, now)
    if beat is None:
        return item
    item['heard_age'] = _age(beat.age)
    if item['read_age'] is not None and beat.age < item['read_age']:
        item.update(
            sign=str(core.Sign.ALIVE),
            read_age=0.0,
            text='heard again since the engine asked',
        )
    return item


def _channel(reading: core.Reading, now: float) -> Item:
    asked = max(0.0, now - reading.at)
    return {
        'channel': reading.channel,
        'sign': str(reading.sign),
        'read_age': _age(asked),
        'heard_age': (
            None if reading.age is None else _age(reading.age + asked)
        ),
        'text': reading.text,
    }


def _power(subject: core.Incident, now: float) -> Item:
    fence = subject.fence
    item: Item = {
        'channel': 'power',
        'sign': str(core.Power.UNKNOWN),
        'read_age': None,
        'heard_age': None,
        'text': 'no device was asked in this incident',
    }
    if fence is None:
        return item
    if fence.confirmed_at:
        item['read_age'] = _age(now - fence.confirmed_at)
    if fence.driver:
        item['text'] = fence.raw or f'device {fence.driver}'
    return {**item, 'sign': str(fence.power)}


def fact(req: typing.Any, value: facts.Fact) -> Item:
    """What an operator said, with the steps it took from 1.1 on."""
    shown = recovery_views.fact(value)
    if versions.at_least(req, versions.BRAKES):
        shown.update(_steps(value))
    return shown


def _steps(value: facts.Fact) -> Item:
    until = None
    if value.state == facts.FactState.UNCONFIRMED:
        until = value.received_at + facts.CONFIRM_WITHIN
    detail = value.detail
    confirmed = detail.get('confirmed_at')
    return {
        'incident': detail.get('incident'),
        'confirm_until': _time(until),
        'confirmed_by': detail.get('confirmed_by'),
        'confirmed_at': _time(float(confirmed)) if confirmed else None,
        'evidence': recovery_views.loaded(detail.get('evidence')),
    }


def _age(seconds: float) -> float:
    return round(max(0.0, seconds), 1)
