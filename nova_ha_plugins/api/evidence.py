# SPDX-License-Identifier: Apache-2.0

"""Reading, for many servers at once, what nova recorded of an evacuation.

A few statements per cell, however many evacuations are asked for, by columns
and without nova's objects. The records themselves are read before: what is
read here is never older than they are.
"""

import collections
from collections import abc
import dataclasses
import datetime
import functools
import typing

import sqlalchemy as sa

from nova_ha_plugins.api import compat
from nova_ha_plugins.api import reading
from nova_ha_plugins.recovery import progress

_EPOCH = datetime.datetime(1970, 1, 1)

_BEFORE_CLAIM = 'accepted'


@dataclasses.dataclass(slots=True)
class Action:
    """One ``evacuate`` action of a server with its events.

    :ivar host: where the rebuild began, known before nova's record has it.
    """

    started_at: float
    schedule: progress.Event | None = None
    rebuild: progress.Event | None = None
    host: str | None = None


class Sibling(typing.NamedTuple):
    """One evacuation record of a server, in the words that rivals need."""

    created_at: float
    id: int
    uuid: str
    status: str
    destination: str | None


class Volume(typing.NamedTuple):
    """One attached volume."""

    is_root: bool
    updated_at: float | None


class Waiting(typing.NamedTuple):
    """A destination's work that waits for its turn to claim resources."""

    since: float
    uuid: str


@dataclasses.dataclass(slots=True)
class Evidence:
    """What one cell knows of a server that is or was evacuated.

    :ivar siblings: all of its records, if there are several and one of them
        may be under way.
    :ivar services_up: of the destinations that matter, of all servers.
    :ivar queues: who waits at each destination, of all servers.
    """

    guest: progress.Guest | None = None
    has_image: bool = False
    root_gib: int | None = None
    actions: list[Action] = dataclasses.field(default_factory=list)
    siblings: list[Sibling] = dataclasses.field(default_factory=list)
    volumes: list[Volume] = dataclasses.field(default_factory=list)
    services_up: dict[str, bool] = dataclasses.field(default_factory=dict)
    queues: dict[str, list[Waiting]] = dataclasses.field(default_factory=dict)


# By cell and server: two cells can both have rows of a server that moved.
Found = dict[tuple[str, str], Evidence]


def seconds(value: datetime.datetime | None) -> float | None:
    """Give seconds since the epoch of a time of nova's database, in UTC."""
    if value is None:
        return None
    return (value - _EPOCH).total_seconds()


def read_cell(
    ctxt: typing.Any, records: abc.Sequence[reading.Record]
) -> Found:
    """Read the evidence for these records in the cell of the context."""
    servers = sorted({record.instance_uuid for record in records})
    found = {server: Evidence() for server in servers}
    not_over = [
        record
        for record in records
        if record.status not in reading.ENDED_STATUSES
    ]
    with compat.reader(ctxt) as session:
        _read_guests(session, servers, found)
        _read_actions(session, servers, found)
        _read_volumes(session, servers, found)
        if not_over:
            _read_rivals(session, not_over, found)
    cell = ctxt.cell_uuid or ''
    return {(cell, server): evidence for server, evidence in found.items()}


def read_all_cells(
    ctxt: typing.Any, records: abc.Sequence[reading.Record]
) -> Found:
    """Read the evidence for these records, each in the cell it came from.

    That of a cell which does not answer any more is missing.
    """
    by_cell: dict[str, list[reading.Record]] = collections.defaultdict(list)
    for record in records:
        by_cell[record.cell].append(record)
    found: Found = {}
    if by_cell:
        answers, _down = compat.each_cell(ctxt, _read_own, by_cell)
        for answer in answers:
            found.update(answer)
    return found


def _read_own(
    ctxt: typing.Any, by_cell: dict[str, list[reading.Record]]
) -> Found:
    own = by_cell.get(ctxt.cell_uuid)
    return read_cell(ctxt, own) if own else {}


def _read_guests(
    session: typing.Any,
    servers: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    rows = session.execute(_guests(), {'servers': servers})
    for uuid, deleted, image, root, *guest in rows:
        evidence = found[uuid]
        evidence.has_image = bool(image)
        evidence.root_gib = root
        if not deleted:
            host, vm, task, updated, launched = guest
            evidence.guest = progress.Guest(
                host, vm, task, seconds(updated), seconds(launched)
            )


def _read_actions(
    session: typing.Any,
    servers: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    rows = session.execute(_actions(), {'servers': servers})
    actions: dict[int, Action] = {}
    for id, server, began, *events in rows:
        action = actions.get(id)
        if action is None:
            action = actions[id] = Action(seconds(began) or 0.0)
            found[server].actions.append(action)
        scheduled, schedule_end, result, started, end, outcome, host = events
        if scheduled is not None:
            action.schedule = progress.Event(
                seconds(scheduled), seconds(schedule_end), result
            )
        if started is not None:
            action.rebuild = progress.Event(
                seconds(started), seconds(end), outcome, host
            )
            action.host = host


def _read_volumes(
    session: typing.Any,
    servers: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    for server, index, updated in session.execute(
        _volumes(), {'servers': servers}
    ):
        found[server].volumes.append(Volume(index == 0, seconds(updated)))


def _read_rivals(
    session: typing.Any,
    records: abc.Sequence[reading.Record],
    found: dict[str, Evidence],
) -> None:
    """What matters only while the work may be under way."""
    servers = sorted({record.instance_uuid for record in records})
    hosts = {record.dest_compute for record in records}
    for created, id, uuid, status, destination, server in session.execute(
        _siblings(), {'servers': servers}
    ):
        found[server].siblings.append(
            Sibling(seconds(created) or 0.0, id, uuid, status, destination)
        )
        if status not in reading.ENDED_STATUSES:
            hosts.add(destination)
    named = sorted(host for host in hosts if host is not None)
    up = compat.compute_services_up(session, named) if named else {}
    queues: dict[str, list[Waiting]] = {}
    if any(record.status == _BEFORE_CLAIM for record in records):
        queues = _read_queues(session)
    for server in servers:
        found[server].services_up = up
        found[server].queues = queues


def _read_queues(session: typing.Any) -> dict[str, list[Waiting]]:
    queues: dict[str, list[Waiting]] = collections.defaultdict(list)
    for uuid, host, started in session.execute(_queues()):
        queues[host].append(Waiting(seconds(started) or 0.0, uuid))
    return {host: sorted(queue) for host, queue in queues.items()}


# The statements are made once: to put them together for each answer takes as
# long as to read a hundred rows. They are of tables, not of mapped classes,
# for the same reason.
_SERVERS: typing.Any = sa.bindparam('servers', expanding=True)


@functools.cache
def _guests() -> typing.Any:
    table = compat.models.Instance.__table__.c
    return sa.select(
        table.uuid,
        table.deleted,
        table.image_ref,
        table.root_gb,
        table.host,
        table.vm_state,
        table.task_state,
        table.updated_at,
        table.launched_at,
    ).where(table.uuid.in_(_SERVERS))


@functools.cache
def _actions() -> typing.Any:
    action = compat.models.InstanceAction.__table__
    events = compat.models.InstanceActionEvent.__table__
    joined, columns = action, [action.c.id, action.c.instance_uuid]
    columns.append(action.c.start_time)
    order = [action.c.start_time, action.c.id]
    for name in (reading.EVENT_SCHEDULE, reading.EVENT_REBUILD):
        event = events.alias()
        joined = joined.outerjoin(
            event,
            sa.and_(event.c.action_id == action.c.id, event.c.event == name),
        )
        columns += [event.c.start_time, event.c.finish_time, event.c.result]
        order.append(event.c.id)
    return (
        sa.select(*columns, event.c.host)
        .select_from(joined)
        .where(
            action.c.instance_uuid.in_(_SERVERS),
            action.c.action == 'evacuate',
        )
        .order_by(*order)
    )


@functools.cache
def _volumes() -> typing.Any:
    table = compat.models.BlockDeviceMapping.__table__.c
    return sa.select(
        table.instance_uuid, table.boot_index, table.updated_at
    ).where(
        table.instance_uuid.in_(_SERVERS),
        table.destination_type == 'volume',
        table.deleted == 0,
    )


@functools.cache
def _siblings() -> typing.Any:
    """Records of servers that have more than one; most have not."""
    table = compat.models.Migration.__table__
    other = table.alias('other')
    several = (
        sa.select(other.c.instance_uuid)
        .where(
            other.c.instance_uuid.in_(_SERVERS),
            other.c.migration_type == 'evacuation',
        )
        .group_by(other.c.instance_uuid)
        .having(sa.func.count() > 1)
    )
    return sa.select(
        table.c.created_at,
        table.c.id,
        table.c.uuid,
        table.c.status,
        table.c.dest_compute,
        table.c.instance_uuid,
    ).where(
        table.c.instance_uuid.in_(several),
        table.c.migration_type == 'evacuation',
    )


@functools.cache
def _queues() -> typing.Any:
    """Who waits for a destination that has begun, but not claimed, its work.

    A record has no destination until the claim is done; but the event of the
    work that waits for the claim names the host that has begun it.
    """
    migration = compat.models.Migration.__table__
    action = compat.models.InstanceAction.__table__
    event = compat.models.InstanceActionEvent.__table__
    return (
        sa.select(migration.c.uuid, event.c.host, event.c.start_time)
        .select_from(
            migration.join(
                action, action.c.instance_uuid == migration.c.instance_uuid
            ).join(event, event.c.action_id == action.c.id)
        )
        .where(
            migration.c.migration_type == 'evacuation',
            migration.c.status == _BEFORE_CLAIM,
            migration.c.deleted == 0,
            action.c.action == 'evacuate',
            event.c.event == reading.EVENT_REBUILD,
            event.c.finish_time.is_(None),
            event.c.start_time >= migration.c.created_at,
        )
    )
