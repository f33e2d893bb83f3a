# SPDX-License-Identifier: Apache-2.0

"""The shape of an evacuation in an answer: nova's migration fields, then ours.

A field that nothing measures yet is null; nothing is invented.
"""

import datetime
import typing

from nova_ha_plugins.recovery import progress

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


def evacuation(
    record: typing.Any,
    facts: progress.Facts,
    found: progress.Assessment,
    *,
    with_host: bool,
) -> dict[str, typing.Any]:
    """One evacuation as a dictionary.

    :param record: a ``nova.objects.Migration``.
    """
    item = {
        'id': None,
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
        'created_at': record.created_at,
        'updated_at': record.updated_at,
        'state': str(found.state),
        'phase': str(found.phase),
        'progress': found.progress,
        'stalled': found.stalled,
        'reason': str(found.reason) if found.reason else None,
        'source_cleaned': found.source_cleaned,
        'volumes_total': None,
        'volumes_done': None,
        'eta_seconds': None,
        'started_at': _started_at(facts),
        'finished_at': _finished_at(facts, found),
    }
    for name in _HOST_FIELDS:
        item[name] = getattr(record, name) if with_host else None
    return item


def _started_at(facts: progress.Facts) -> datetime.datetime | None:
    """When the destination began to work."""
    if facts.rebuild is None:
        return None
    return _time(facts.rebuild.started_at)


def _finished_at(
    facts: progress.Facts, found: progress.Assessment
) -> datetime.datetime | None:
    """When the work ended; not ``updated_at``, which a return moves."""
    if found.state not in (progress.State.SUCCEEDED, progress.State.FAILED):
        return None
    for event in (facts.rebuild, facts.schedule):
        if event is not None and event.finished_at is not None:
            return _time(event.finished_at)
    return None


def _time(seconds: float | None) -> datetime.datetime | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
