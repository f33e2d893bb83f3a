# SPDX-License-Identifier: Apache-2.0

"""The shape of an evacuation in an answer: nova's migration fields, then ours.

A field that nothing measures yet is null; nothing is invented. Times are text
already: to find out again and again what each value is takes the serializer
longer than all that is done here.
"""

import datetime
import math
import typing

from nova_ha_plugins.api import told

# The operator's business: null for who has no right to see hosts. Nova's
# record carries the user and project of who *asked* for the evacuation. Its
# number counts the migrations of everybody.
_HOST_FIELDS = (
    'id',
    'source_compute',
    'source_node',
    'dest_compute',
    'dest_node',
    'dest_host',
    'user_id',
    'project_id',
)
_NO_HOST = dict.fromkeys(_HOST_FIELDS)


def evacuation(
    subject: told.Told, *, with_host: bool, later: bool
) -> dict[str, typing.Any]:
    """One evacuation as a dictionary.

    :param later: whether with what version 1.2 brought.
    """
    record, facts, found = subject.record, subject.facts, subject.found
    item = {
        **(_hosts(record) if with_host else _NO_HOST),
        'uuid': record.uuid,
        'server_uuid': record.instance_uuid,
        'migration_type': record.migration_type,
        'status': record.status,
        'memory_total_bytes': record.memory_total,
        'memory_processed_bytes': record.memory_processed,
        'memory_remaining_bytes': record.memory_remaining,
        'disk_total_bytes': record.disk_total,
        'disk_processed_bytes': record.disk_processed,
        'disk_remaining_bytes': record.disk_remaining,
        'created_at': _text(record.created_at),
        'updated_at': _text(record.updated_at),
        'state': found.state.value,
        'phase': found.phase.value,
        'progress': found.progress,
        'stalled': found.stalled,
        'reason': found.reason.value if found.reason else None,
        'source_cleaned': found.source_cleaned,
        'volumes_total': facts.volumes_total,
        'volumes_done': facts.volumes_done,
        'eta_seconds': None,
        # When the destination began to work.
        'started_at': moment(
            facts.rebuild.started_at if facts.rebuild else None
        ),
        'finished_at': moment(subject.finished_at),
    }
    if subject.left is not None:
        item['eta_seconds'] = whole(subject.left.p50)
    if later:
        item.update(_later(subject, with_host=with_host))
    return item


def _hosts(record: typing.Any) -> dict[str, typing.Any]:
    return {
        'id': record.id,
        'source_compute': record.source_compute,
        'source_node': record.source_node,
        'dest_compute': record.dest_compute,
        'dest_node': record.dest_node,
        'dest_host': record.dest_host,
        'user_id': record.user_id,
        'project_id': record.project_id,
    }


def _later(subject: told.Told, *, with_host: bool) -> dict[str, typing.Any]:
    left, kind = subject.left, subject.kind
    return {
        'eta_p90_seconds': None if left is None else whole(left.p90),
        'eta_samples': None if left is None else left.samples,
        'explanation': subject.explanation(with_host=with_host),
        'storage': kind.storage.value,
        'boot_source': kind.boot.value if kind.boot else None,
        'size_class': kind.size or None,
        # Those ahead are everybody's.
        'ahead': subject.facts.ahead if with_host else None,
        'phase_started_at': moment(subject.phase_since),
    }


def whole(seconds: float) -> int:
    """Give whole seconds; 0 only when nothing is left."""
    return max(math.ceil(seconds), 0)


def moment(seconds: float | None) -> str | None:
    """Give the text of a time in seconds since the epoch."""
    if seconds is None:
        return None
    # In the format of nova's other times, which has no zone and is UTC.
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.replace(tzinfo=None).isoformat(timespec='microseconds')


def _text(at: datetime.datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec='microseconds')
