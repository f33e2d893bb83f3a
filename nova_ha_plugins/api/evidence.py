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
import typing

import sqlalchemy as sa

from nova_ha_plugins.api import compat
from nova_ha_plugins.api import reading
from nova_ha_plugins.recovery import progress

_EPOCH = datetime.datetime(1970, 1, 1)

_BEFORE_CLAIM = 'accepted'


@dataclasses.dataclass(slots=True)
class Action:
    """One ``evacuate`` action of a server with its events by name.

    :ivar host: where the rebuild began, known before nova's record has it.
    """

    started_at: float
    events: dict[str, progress.Event] = dataclasses.field(default_factory=dict)
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

    :ivar siblings: read only where one of its records may be under way.
    :ivar services_up: of the destinations that matter, of all servers.
    :ivar queues: who waits at each destination, of all servers.
    """

    project_id: str | None = None
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
    """Give seconds since the epoch of one of nova's UTC times."""
    if value is None:
        return None
    return (value.replace(tzinfo=None) - _EPOCH).total_seconds()


def read_cell(
    ctxt: typing.Any, records: abc.Sequence[reading.Record]
) -> Found:
    """Read the evidence for these records in the cell of the context."""
    found: dict[str, Evidence] = collections.defaultdict(Evidence)
    servers = sorted({record.instance_uuid for record in records})
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
    """Read the evidence for these records, each in the cell it came from."""
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
    model = compat.models.Instance
    rows = session.execute(
        sa.select(
            model.uuid,
            model.project_id,
            model.host,
            model.vm_state,
            model.task_state,
            model.updated_at,
            model.deleted,
            model.image_ref,
            model.root_gb,
        ).where(model.uuid.in_(servers))
    )
    for uuid, project, host, vm, task, updated, deleted, image, root in rows:
        evidence = found[uuid]
        evidence.project_id = project
        evidence.has_image = bool(image)
        evidence.root_gib = root
        if not deleted:
            evidence.guest = progress.Guest(host, vm, task, seconds(updated))


def _read_actions(
    session: typing.Any,
    servers: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    action = compat.models.InstanceAction
    event = compat.models.InstanceActionEvent
    rows = session.execute(
        sa.select(
            action.id,
            action.instance_uuid,
            action.start_time,
            event.event,
            event.start_time,
            event.finish_time,
            event.result,
            event.host,
        )
        .join(event, event.action_id == action.id, isouter=True)
        .where(action.instance_uuid.in_(servers), action.action == 'evacuate')
        .order_by(action.start_time, action.id, event.id)
    )
    actions: dict[int, Action] = {}
    for id, server, began, name, started, finished, result, host in rows:
        if id not in actions:
            actions[id] = Action(seconds(began) or 0.0)
            found[server].actions.append(actions[id])
        if name is not None:
            actions[id].events[name] = progress.Event(
                seconds(started), seconds(finished), result
            )
        if name == reading.EVENT_REBUILD:
            actions[id].host = host


def _read_volumes(
    session: typing.Any,
    servers: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    model = compat.models.BlockDeviceMapping
    rows = session.execute(
        sa.select(model.instance_uuid, model.boot_index, model.updated_at)
        .where(model.instance_uuid.in_(servers))
        .where(model.destination_type == 'volume', model.deleted == 0)
    )
    for server, index, updated in rows:
        found[server].volumes.append(Volume(index == 0, seconds(updated)))


def _read_rivals(
    session: typing.Any,
    records: abc.Sequence[reading.Record],
    found: dict[str, Evidence],
) -> None:
    """What matters only while the work may be under way."""
    servers = sorted({record.instance_uuid for record in records})
    _read_siblings(session, servers, found)
    hosts = {
        sibling.destination
        for server in servers
        for sibling in found[server].siblings
        if sibling.destination is not None
        and sibling.status not in reading.ENDED_STATUSES
    }
    up = compat.compute_services_up(session, sorted(hosts)) if hosts else {}
    queues: dict[str, list[Waiting]] = {}
    if any(record.status == _BEFORE_CLAIM for record in records):
        queues = _read_queues(session)
    for server in servers:
        found[server].services_up = up
        found[server].queues = queues


def _read_siblings(
    session: typing.Any,
    servers: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    model = compat.models.Migration
    rows = session.execute(
        sa.select(
            model.created_at,
            model.id,
            model.uuid,
            model.status,
            model.dest_compute,
            model.instance_uuid,
        ).where(
            model.instance_uuid.in_(servers),
            model.migration_type == 'evacuation',
        )
    )
    for created, id, uuid, status, destination, server in rows:
        found[server].siblings.append(
            Sibling(seconds(created) or 0.0, id, uuid, status, destination)
        )


def _read_queues(session: typing.Any) -> dict[str, list[Waiting]]:
    """Who waits at each destination, first come first.

    A record has no destination until the claim is done; but the event of the
    work that waits for the claim names the host that has begun it.
    """
    migration = compat.models.Migration
    action = compat.models.InstanceAction
    event = compat.models.InstanceActionEvent
    rows = session.execute(
        sa.select(migration.uuid, event.host, event.start_time)
        .join(action, action.instance_uuid == migration.instance_uuid)
        .join(event, event.action_id == action.id)
        .where(
            migration.migration_type == 'evacuation',
            migration.status == _BEFORE_CLAIM,
            migration.deleted == 0,
            action.action == 'evacuate',
            event.event == reading.EVENT_REBUILD,
            event.finish_time.is_(None),
            event.start_time >= migration.created_at,
        )
    )
    queues: dict[str, list[Waiting]] = collections.defaultdict(list)
    for uuid, host, started in rows:
        queues[host].append(Waiting(seconds(started) or 0.0, uuid))
    return {host: sorted(queue) for host, queue in queues.items()}
