# SPDX-License-Identifier: Apache-2.0

"""Reading, for many servers at once, what nova recorded of an evacuation.

Four statements per cell, however many evacuations are asked for. The records
themselves are read before: what is read here is never older than they are.
"""

import collections
from collections import abc
import dataclasses
import datetime
import typing

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_ha_plugins.api import compat
from nova_ha_plugins.recovery import progress

# MySQL rounds to seconds: an action can seem to begin after its record.
_ROUNDING = 1.0

_SCHEDULE_EVENT = 'rebuild_server'
_REBUILD_EVENT = 'compute_rebuild_instance'


@dataclasses.dataclass
class Action:
    """One ``evacuate`` action of a server with its events by name."""

    started_at: float
    events: dict[str, progress.Event] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sibling:
    """One evacuation record of a server, in the words that rivals need."""

    created_at: float
    id: int
    uuid: str
    status: str
    destination: str | None


@dataclasses.dataclass
class Evidence:
    """What one cell knows of a server that is or was evacuated."""

    project_id: str | None = None
    guest: progress.Guest | None = None
    actions: list[Action] = dataclasses.field(default_factory=list)
    siblings: list[Sibling] = dataclasses.field(default_factory=list)
    services_up: dict[str, bool] = dataclasses.field(default_factory=dict)


def seconds(value: datetime.datetime | None) -> float | None:
    """Give seconds since the epoch of one of nova's UTC times."""
    if value is None:
        return None
    return value.replace(tzinfo=datetime.UTC).timestamp()


def read_cell(
    ctxt: typing.Any, server_uuids: abc.Collection[str]
) -> dict[str, Evidence]:
    """Read the evidence of these servers in the cell of the context."""
    found: dict[str, Evidence] = collections.defaultdict(Evidence)
    manager = compat.main_db.get_context_manager(ctxt)
    with manager.reader.using(ctxt) as session:
        _read_guests(session, server_uuids, found)
        _read_actions(session, server_uuids, found)
        _read_siblings(session, server_uuids, found)
    if any(_needs_services(evidence) for evidence in found.values()):
        up = compat.compute_services_up(ctxt)
        for evidence in found.values():
            evidence.services_up = up
    return dict(found)


def read_all_cells(
    ctxt: typing.Any, server_uuids: abc.Collection[str]
) -> dict[str, Evidence]:
    """Read the evidence of these servers in every cell that answers."""
    found: dict[str, Evidence] = {}
    if server_uuids:
        uuids = sorted(set(server_uuids))
        for result in compat.each_cell(ctxt, read_cell, uuids)[0]:
            for uuid, evidence in result.items():
                # A server that was resized into another cell has left rows in
                # the first one.
                if uuid not in found or evidence.guest is not None:
                    found[uuid] = evidence
    return found


def facts_of(record: typing.Any, evidence: Evidence) -> progress.Facts:
    """Put one record of nova and the evidence of its server together.

    :param record: a ``nova.objects.Migration``.
    """
    created_at = seconds(record.created_at) or 0.0
    action = _action_of(created_at, evidence)
    return progress.Facts(
        status=record.status,
        source=record.source_compute,
        destination=record.dest_compute,
        guest=evidence.guest,
        now=timeutils.utcnow_ts(microsecond=True),
        created_at=created_at,
        updated_at=seconds(record.updated_at),
        schedule=action.events.get(_SCHEDULE_EVENT),
        rebuild=action.events.get(_REBUILD_EVENT),
        destination_up=evidence.services_up.get(record.dest_compute or ''),
        rival=_rival_of(record, created_at, evidence),
    )


def _read_guests(
    session: typing.Any,
    uuids: abc.Collection[str],
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
            model.hidden,
        ).where(model.uuid.in_(uuids))
    )
    for row in rows:
        found[row.uuid].project_id = row.project_id
        if row.deleted or row.hidden:
            continue
        found[row.uuid].guest = progress.Guest(
            host=row.host,
            vm_state=row.vm_state,
            task_state=row.task_state,
            updated_at=seconds(row.updated_at),
        )


def _read_actions(
    session: typing.Any,
    uuids: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    action, event = (
        compat.models.InstanceAction,
        compat.models.InstanceActionEvent,
    )
    rows = session.execute(
        sa.select(
            action.id,
            action.instance_uuid,
            action.start_time.label('action_start'),
            event.event,
            event.start_time,
            event.finish_time,
            event.result,
        )
        .join(event, event.action_id == action.id, isouter=True)
        .where(action.instance_uuid.in_(uuids), action.action == 'evacuate')
        .order_by(action.start_time, action.id, event.id)
    )
    actions: dict[int, Action] = {}
    for row in rows:
        if row.id not in actions:
            actions[row.id] = Action(seconds(row.action_start) or 0.0)
            found[row.instance_uuid].actions.append(actions[row.id])
        if row.event is not None:
            actions[row.id].events[row.event] = progress.Event(
                started_at=seconds(row.start_time),
                finished_at=seconds(row.finish_time),
                result=row.result,
            )


def _read_siblings(
    session: typing.Any,
    uuids: abc.Collection[str],
    found: dict[str, Evidence],
) -> None:
    model = compat.models.Migration
    rows = session.execute(
        sa.select(
            model.id,
            model.uuid,
            model.instance_uuid,
            model.status,
            model.dest_compute,
            model.created_at,
        ).where(
            model.instance_uuid.in_(uuids),
            model.migration_type == 'evacuation',
            model.deleted == 0,
        )
    )
    for row in rows:
        found[row.instance_uuid].siblings.append(
            Sibling(
                created_at=seconds(row.created_at) or 0.0,
                id=row.id,
                uuid=row.uuid,
                status=row.status,
                destination=row.dest_compute,
            )
        )


def _needs_services(evidence: Evidence) -> bool:
    """Whether a destination is alive matters for unfinished work only."""
    return any(
        sibling.destination is not None
        and sibling.status in (*progress.OPEN_STATUSES, 'completed')
        for sibling in evidence.siblings
    )


def _action_of(created_at: float, evidence: Evidence) -> Action:
    """Find the action that made the record: the last one before it."""
    before = [
        action
        for action in evidence.actions
        if action.started_at <= created_at + _ROUNDING
    ]
    return before[-1] if before else Action(created_at)


def _rival_of(
    record: typing.Any, created_at: float, evidence: Evidence
) -> progress.Rival:
    own = (created_at, record.id)
    newer = [
        sibling
        for sibling in evidence.siblings
        if (sibling.created_at, sibling.id) > own
    ]
    if any(item.status in progress.OPEN_STATUSES for item in newer):
        return progress.Rival.NEWER_OPEN
    if newer:
        return progress.Rival.NEWER_CLOSED
    for sibling in evidence.siblings:
        if (
            sibling.uuid != record.uuid
            and sibling.status in progress.OPEN_STATUSES
            and evidence.services_up.get(sibling.destination or '', True)
        ):
            return progress.Rival.OLDER_OPEN
    return progress.Rival.NONE
