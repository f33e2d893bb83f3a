# SPDX-License-Identifier: Apache-2.0

"""The shape of the status and of incidents in an answer.

Every field is named here: what the core adds is not part of the API before
somebody says so. Times are UTC; ages are seconds by the store's clock.
"""

import collections
from collections import abc
import datetime
import json
import typing

from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

Item = dict[str, typing.Any]


def arm_state(state: values.ArmState) -> Item:
    """Whether the engine acts, and who said so."""
    return {
        'armed': state.armed,
        'by': state.by,
        'reason': state.reason,
        'at': time_of(state.at),
    }


def engine(status: dict[str, typing.Any]) -> Item | None:
    """What the engine last said of itself; None if it never did."""
    if not status:
        return None
    return {
        'owner': status.get('owner'),
        'age': round(status['age'], 3),
        'reported_at': time_of(status['reported_at']),
        'watching': status.get('watching'),
        'loop_late': status.get('loop_late'),
        'sight': status.get('sight'),
        'sight_reason': status.get('sight_reason'),
    }


def host(record: values.HostRecord, beat: views.Beat | None) -> Item:
    """What is known of a host, with the age of its last heartbeat."""
    return {
        'host': record.host,
        'service_uuid': record.service_uuid,
        'zone': record.zone,
        'system_uuid': record.system_uuid or None,
        'fencing_system_uuid': record.bmc_uuid or None,
        'fencing_state': record.map_state,
        'fencing_text': record.map_text,
        'fencing_verified_at': time_of(record.verified_at),
        'heartbeat_age': round(beat.age, 3) if beat else None,
    }


def fact(value: facts.Fact) -> Item:
    """What an operator said, and what the engine made of it."""
    return {
        'uuid': value.uuid,
        'kind': str(value.kind),
        'host': value.host,
        'reason': value.reason,
        'by': value.by,
        'received_at': time_of(value.received_at),
        'state': str(value.state),
        'text': value.text,
    }


def waiting(subjects: abc.Iterable[core.Incident]) -> dict[str, int]:
    """How many servers got no further, by the code that says why."""
    codes = collections.Counter(
        server.code
        for subject in subjects
        for server in subject.servers
        if server.state == core.ServerState.PARKED
        or (
            server.state == core.ServerState.READY
            and server.retry_at is not None
        )
    )
    return dict(sorted(codes.items()))


def incident_summary(subject: core.Incident) -> Item:
    """One incident in a list."""
    counts = collections.Counter(str(s.state) for s in subject.servers)
    return {
        'uuid': subject.uuid,
        'host': subject.host,
        'service_uuid': subject.service_uuid,
        'epoch': subject.epoch,
        'phase': str(subject.phase),
        'open': subject.phase not in core.CLOSED_PHASES,
        'code': subject.code or None,
        'reason': subject.reason or None,
        'outcome': subject.outcome or None,
        'verdict': str(subject.verdict),
        'released': subject.released,
        'opened_at': time_of(subject.opened_at),
        'updated_at': time_of(subject.updated_at),
        'closed_at': time_of(subject.closed_at),
        'servers_total': len(subject.servers),
        'servers_by_state': dict(sorted(counts.items())),
    }


def incident(subject: core.Incident) -> Item:
    """One incident with everything that led to it and came of it."""
    return {
        **incident_summary(subject),
        'evidence': [_reading(reading) for reading in subject.readings],
        'fence': _fence(subject.fence) if subject.fence else None,
        'steps': {
            'forced_down': str(subject.forced_down),
            'disabled': str(subject.disabled),
            'unforced': str(subject.unforced),
            'enabled': str(subject.enabled),
        },
        'servers': [_server(server) for server in subject.servers],
        'timeline': [
            {
                'seq': entry.seq,
                'at': time_of(entry.at),
                'code': entry.code,
                'text': entry.text,
            }
            for entry in subject.timeline
        ],
    }


def _reading(reading: core.Reading) -> Item:
    return {
        'channel': reading.channel,
        'sign': str(reading.sign),
        'at': time_of(reading.at),
        'age': None if reading.age is None else round(reading.age, 3),
        'text': reading.text,
    }


def _fence(record: core.FenceRecord) -> Item:
    return {
        'state': str(record.state),
        'class': str(record.evidence_class) if record.evidence_class else None,
        'attempt': record.attempt,
        'calls': record.calls,
        'power': str(record.power),
        'driver': record.driver or None,
        'by': record.by or None,
        'system_uuid': record.system_uuid or None,
        'raw': record.raw or None,
        'intended_at': time_of(record.intended_at),
        'confirmed_at': time_of(record.confirmed_at),
    }


def _server(server: core.Server) -> Item:
    return {
        'uuid': server.uuid,
        'name': server.name,
        'project_id': server.project_id,
        'vm_state': server.vm_state,
        'priority': server.priority,
        'protected': server.protected,
        'state': str(server.state),
        'code': server.code or None,
        'reason': server.reason or None,
        'attempts': server.attempts,
        'evacuation_uuid': server.migration_uuid,
        'destination': server.destination,
        'finished_at': time_of(server.finished_at),
        'retry_at': time_of(server.retry_at),
    }


def later(subject: core.Incident) -> Item:
    """What 1.1 added to an incident, shown alone or in a list."""
    return {
        'next_look_at': time_of(subject.next_look_at),
        'dead_since': time_of(subject.dead_since),
        'beating_since': time_of(subject.beating_since),
        'networks_lost': list(subject.networks_lost),
        'quarantined': subject.quarantined,
        'engine': subject.engine or None,
        'token': subject.token or None,
    }


def incident_later(subject: core.Incident) -> Item:
    """One incident as ``incident`` gives it, with what 1.1 added."""
    item = {**incident(subject), **later(subject)}
    for line, entry in zip(item['timeline'], subject.timeline, strict=True):
        line.update(kind=str(entry.kind), input=entry.input or None)
    for shown, server in zip(item['servers'], subject.servers, strict=True):
        shown.update(
            task_state=server.task_state or None,
            locked=server.locked,
            waits=server.waits,
            reset=str(server.reset),
            restored=str(server.restored),
        )
    return item


def loaded(text: str | None) -> typing.Any:
    """What was kept as JSON; None for nothing."""
    return None if text is None else json.loads(text)


def time_of(seconds: float | None) -> datetime.datetime | None:
    """Give a time as nova writes its own; None for never."""
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
