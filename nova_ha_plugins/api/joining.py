# SPDX-License-Identifier: Apache-2.0

"""Joining a record of nova and the evidence of its server into facts."""

import typing

from oslo_utils import timeutils

from nova_ha_plugins.api import evidence
from nova_ha_plugins.api import reading
from nova_ha_plugins.recovery import progress

# MySQL rounds to seconds: an action can seem to begin after its record.
_ROUNDING = 1.0

# Tasks in which the destination is through with the volumes.
_AFTER_VOLUMES = ('rebuild_spawning', 'powering-off', None)

_NONE = evidence.Action(0.0)


class _Volumes(typing.NamedTuple):
    total: int | None = None
    done: int | None = None


def now() -> float:
    """The time on nova's clock, in seconds since the epoch."""
    return float(timeutils.utcnow_ts(microsecond=True))


def of_server(
    ctxt: typing.Any, server_uuid: str
) -> list[tuple[reading.Record, progress.Facts]]:
    """Give the records of a server with their facts, newest first.

    :param ctxt: a context that is at the server's cell.
    """
    records = reading.of_server(ctxt, server_uuid)
    if not records:
        return []
    found = evidence.read_cell(ctxt, records)
    read_at = now()
    return [
        (record, facts_of(record, found[record.cell, server_uuid], read_at))
        for record in records
    ]


def facts_of(
    record: reading.Record, known: evidence.Evidence, read_at: float
) -> progress.Facts:
    """Give everything that is known of one evacuation."""
    created_at = evidence.seconds(record.created_at) or 0.0
    action = _action_of(created_at, known)
    is_over = record.status in reading.ENDED_STATUSES
    rival = (
        progress.Rival.NONE
        if is_over
        else _rival_of(record, created_at, known)
    )
    volumes = _volumes_of(record, known, action.rebuild, rival)
    return progress.Facts(
        status=record.status,
        source=record.source_compute,
        destination=record.dest_compute,
        guest=known.guest,
        now=read_at,
        created_at=created_at,
        updated_at=evidence.seconds(record.updated_at),
        schedule=action.schedule,
        rebuild=action.rebuild,
        destination_up=known.services_up.get(record.dest_compute or ''),
        rival=rival,
        boot=_boot_of(known),
        disk_total=record.disk_total,
        disk_processed=record.disk_processed,
        volumes_total=volumes.total,
        volumes_done=volumes.done,
        ahead=None if is_over else _ahead_of(record, action, known),
        flavor_disk=known.root_gib,
    )


def _action_of(created_at: float, known: evidence.Evidence) -> evidence.Action:
    """Find the action that made the record: the last one before it."""
    for action in reversed(known.actions):
        if action.started_at <= created_at + _ROUNDING:
            return action
    return _NONE


def _boot_of(known: evidence.Evidence) -> progress.Boot | None:
    """What nova itself decides by: the root volume, then the image."""
    if any(volume.is_root for volume in known.volumes):
        return progress.Boot.VOLUME
    return progress.Boot.IMAGE if known.has_image else None


def _volumes_of(
    record: reading.Record,
    known: evidence.Evidence,
    rebuild: progress.Event | None,
    rival: progress.Rival,
) -> _Volumes:
    """Count the volumes, and those that the destination is through with.

    Nova has no record of the volumes of that time. While the work runs those
    of now are those; when it is over only as long as the server is still
    where it was brought.
    """
    guest = known.guest
    total = len(known.volumes)
    if guest is None or record.status in ('error', 'failed'):
        return _Volumes()
    if guest.host is not None and guest.host == record.dest_compute:
        return _Volumes(total, total)
    if record.status == 'done' or rival in (
        progress.Rival.NEWER_OPEN,
        progress.Rival.NEWER_CLOSED,
    ):
        return _Volumes()
    if guest.task_state == 'rebuild_block_device_mapping':
        # The attachments of all were made anew before; since then each is
        # written once more when it is connected.
        return _Volumes(total, _written_since(known, guest.updated_at))
    if record.dest_compute is None or record.status == 'accepted':
        return _Volumes(total, 0)
    if guest.task_state == 'rebuilding':
        began = rebuild.started_at if rebuild is not None else None
        return _Volumes(total, _written_since(known, began))
    if guest.task_state in _AFTER_VOLUMES:
        return _Volumes(total, total)
    return _Volumes(total)


def _written_since(known: evidence.Evidence, since: float | None) -> int:
    # Where the database rounds to seconds the same second proves nothing.
    if since is None:
        return 0
    return sum(
        volume.updated_at is not None and volume.updated_at > since
        for volume in known.volumes
    )


def _ahead_of(
    record: reading.Record,
    action: evidence.Action,
    known: evidence.Evidence,
) -> int | None:
    """Count who has to claim resources of the destination before this one."""
    if record.status != 'accepted':
        return None if record.dest_compute is None else 0
    host = record.dest_compute or action.host
    if host is None:
        return None
    queue = known.queues.get(host, [])
    for place, waiting in enumerate(queue):
        if waiting.uuid == record.uuid:
            return place
    # It is on its way to the host: all that wait there came before.
    return len(queue)


def _rival_of(
    record: reading.Record, created_at: float, known: evidence.Evidence
) -> progress.Rival:
    own = (created_at, record.id)
    newer = [
        sibling
        for sibling in known.siblings
        if (sibling.created_at, sibling.id) > own
    ]
    if any(item.status in progress.OPEN_STATUSES for item in newer):
        return progress.Rival.NEWER_OPEN
    if newer:
        return progress.Rival.NEWER_CLOSED
    for sibling in known.siblings:
        if (
            sibling.uuid != record.uuid
            and sibling.status in progress.OPEN_STATUSES
            and known.services_up.get(sibling.destination or '', True)
        ):
            return progress.Rival.OLDER_OPEN
    return progress.Rival.NONE
