# SPDX-License-Identifier: Apache-2.0

"""Evacuation records of nova, by columns, of all cells in one order.

Newest first: by time of creation, then by nova's number, then by uuid. Cells
count their migrations each on its own, so that time and number can be the same
in two of them; only with the uuid every page begins where the last one ended.
"""

from collections import abc
import dataclasses
import datetime
import typing

import sqlalchemy as sa

from nova_ha_plugins.api import candidates
from nova_ha_plugins.api import compat
from nova_ha_plugins.recovery import progress

EVENT_SCHEDULE = 'rebuild_server'
EVENT_REBUILD = 'compute_rebuild_instance'

# The status alone tells how these ended.
ENDED_STATUSES = ('done', 'error', 'failed')
_RETURNED = 'completed'

# More than that are not read one by one, but with the whole table.
_FEW = 5_000


class Record(typing.NamedTuple):
    """One evacuation as nova recorded it, without the weight of its objects.

    Names and meanings are those of ``nova.objects.Migration``; times have no
    zone and are UTC. It is a tuple because thousands are made per answer.

    :ivar cell: uuid of the cell in which it was found.
    """

    id: int
    uuid: str
    instance_uuid: str
    migration_type: str
    status: str
    source_compute: str | None
    source_node: str | None
    dest_compute: str | None
    dest_node: str | None
    dest_host: str | None
    user_id: str | None
    project_id: str | None
    memory_total: int | None
    memory_processed: int | None
    memory_remaining: int | None
    disk_total: int | None
    disk_processed: int | None
    disk_remaining: int | None
    created_at: datetime.datetime
    updated_at: datetime.datetime | None
    cell: str

    @property
    def place(self) -> tuple[datetime.datetime, int, str]:
        """Where it stands in the order of all cells."""
        return (self.created_at, self.id, self.uuid)


# Of nova's table; the cell is not in it.
COLUMNS = Record._fields[:-1]


class Page(list[Record]):
    """Records in their order.

    :ivar cells_down: how many cells did not answer; theirs are missing.
    :ivar cells_up: how many answered.
    """

    def __init__(
        self,
        records: abc.Iterable[Record] = (),
        cells_up: int = 1,
        cells_down: int = 0,
    ) -> None:
        super().__init__(records)
        self.cells_up = cells_up
        self.cells_down = cells_down


class MarkerUnreadable(Exception):
    """No cell that answered has the marker, and one did not answer."""


@dataclasses.dataclass(frozen=True)
class Filters:
    """What the records have to be like; what is not said does not matter.

    :ivar states: what their assessment may say. A record that is found could
        be in one of them, as far as a database can tell; look at each.
    :ivar host: source or destination.
    :ivar changes_since: nova wrote to the record then or later; with
        ``changes_before`` then or earlier. Without a zone, UTC.
    :ivar fresh_since: it was created then or later, or may be under way.
    """

    states: frozenset[progress.State] = frozenset()
    statuses: frozenset[str] = frozenset()
    source: str | None = None
    destination: str | None = None
    host: str | None = None
    server: str | None = None
    changes_since: datetime.datetime | None = None
    changes_before: datetime.datetime | None = None
    fresh_since: datetime.datetime | None = None


OPEN_STATES = frozenset({progress.State.QUEUED, progress.State.RUNNING})


def page(
    ctxt: typing.Any,
    filters: Filters,
    limit: int | None = None,
    marker: str | None = None,
) -> Page:
    """Give the newest records of all cells that answer.

    :param limit: no more than that many, None for all.
    :param marker: uuid of the record after which the page begins.
    :raises nova.exception.MarkerNotFound: if no cell has that record.
    :raises MarkerUnreadable: if the cell that has it may not have answered.
    """
    after = None if marker is None else _place_of(ctxt, marker)
    if limit == 0:
        return Page()
    answers, down = compat.each_cell(ctxt, _read_page, filters, limit, after)
    records = [record for found in answers for record in found]
    if len(answers) > 1:
        records.sort(key=lambda record: record.place, reverse=True)
        records = records[:limit]
    return Page(records, len(answers), down)


def of_server(ctxt: typing.Any, server_uuid: str) -> Page:
    """Give all records of a server, newest first.

    :param ctxt: a context that is at the server's cell.
    """
    return Page(_read_page(ctxt, Filters(server=server_uuid), None, None))


def _place_of(
    ctxt: typing.Any, uuid: str
) -> tuple[datetime.datetime, int, str]:
    answers, down = compat.each_cell(ctxt, _read_place, uuid)
    for place in answers:
        if place is not None:
            return place
    if down:
        raise MarkerUnreadable(
            f"Evacuation '{uuid}' is in none of the cells that answer, and "
            f'{down} of them did not answer'
        )
    raise compat.exception.MarkerNotFound(marker=uuid)


def _read_place(
    ctxt: typing.Any, uuid: str
) -> tuple[datetime.datetime, int, str] | None:
    model = compat.models.Migration.__table__.c
    with compat.reader(ctxt) as session:
        row = session.execute(
            sa.select(model.created_at, model.id, model.uuid).where(
                model.uuid == uuid, model.migration_type == 'evacuation'
            )
        ).first()
    return None if row is None else tuple(row)


def _read_page(
    ctxt: typing.Any,
    filters: Filters,
    limit: int | None,
    after: tuple[datetime.datetime, int, str] | None,
) -> list[Record]:
    cell = ctxt.cell_uuid or ''
    with compat.reader(ctxt) as session:
        rows = _rows(session, filters, limit, after)
    return [Record._make((*row, cell)) for row in rows]


def _rows(
    session: typing.Any,
    filters: Filters,
    limit: int | None,
    after: tuple[datetime.datetime, int, str] | None,
) -> abc.Sequence[typing.Any]:
    model = compat.models.Migration.__table__.c
    found = statement(filters, after)
    selects = _candidates(filters, session.get_bind().dialect.name)
    numbers = _few(session, selects) if selects else None
    if numbers is not None:
        found = found.where(model.id.in_(numbers))
    newest_first = (
        model.created_at.desc(),
        model.id.desc(),
        model.uuid.desc(),
    )
    return list(session.execute(found.order_by(*newest_first).limit(limit)))


def _few(session: typing.Any, selects: list[typing.Any]) -> list[int] | None:
    """Give the numbers that are selected, None for too many to be of use.

    They are asked for beforehand, because an optimizer that does not know how
    few there will be reads the whole table instead.
    """
    numbers = session.execute(sa.union(*selects).limit(_FEW + 1)).scalars()
    found = list(numbers)
    return found if len(found) <= _FEW else None


def statement(
    filters: Filters,
    after: tuple[datetime.datetime, int, str] | None = None,
) -> typing.Any:
    """Give the select of the columns of records, in no order."""
    model = compat.models.Migration.__table__.c
    found = sa.select(*(getattr(model, name) for name in COLUMNS)).where(
        model.migration_type == 'evacuation',
        # A deleted server takes its records with it, until nova archives
        # them; that an evacuation ended so is worth telling.
        sa.or_(model.hidden.is_(None), model.hidden == sa.false()),
        # MariaDB takes "is not null" for a reason to go through the index
        # of uuids, which has all of them.
        sa.func.coalesce(model.uuid, '') != '',
        *_conditions(model, filters),
    )
    return found if after is None else found.where(_is_after(model, *after))


def _candidates(filters: Filters, dialect: str) -> list[typing.Any]:
    """Give selects of numbers that the filters leave, if they leave few."""
    model = compat.models.Migration.__table__.c
    if filters.server is not None:
        return []
    if candidates.is_open_status(filters.statuses):
        return [*candidates.of_statuses(filters.statuses, dialect)]
    if filters.source is not None:
        return [*candidates.of_host(model.source_compute, filters.source)]
    if filters.destination is not None:
        return [*candidates.of_host(model.dest_compute, filters.destination)]
    if filters.host is not None:
        return [
            *candidates.of_host(model.source_compute, filters.host),
            *candidates.of_host(model.dest_compute, filters.host),
        ]
    if filters.changes_since is not None:
        return [*candidates.changed_since(filters.changes_since)]
    return []


def _is_after(
    model: typing.Any, created_at: datetime.datetime, id: int, uuid: str
) -> typing.Any:
    return sa.or_(
        model.created_at < created_at,
        sa.and_(
            model.created_at == created_at,
            sa.or_(model.id < id, sa.and_(model.id == id, model.uuid < uuid)),
        ),
    )


def _conditions(
    model: typing.Any, filters: Filters
) -> abc.Iterator[typing.Any]:
    if filters.statuses:
        yield model.status.in_(sorted(filters.statuses))
    if filters.states:
        yield _could_be(model, filters.states)
    if filters.source is not None:
        yield model.source_compute == filters.source
    if filters.destination is not None:
        yield model.dest_compute == filters.destination
    if filters.host is not None:
        yield sa.or_(
            model.source_compute == filters.host,
            model.dest_compute == filters.host,
        )
    if filters.server is not None:
        yield model.instance_uuid == filters.server
    written = sa.func.coalesce(model.updated_at, model.created_at)
    if filters.changes_since is not None:
        yield sa.or_(
            model.updated_at >= filters.changes_since,
            sa.and_(
                model.updated_at.is_(None),
                model.created_at >= filters.changes_since,
            ),
            model.deleted_at >= filters.changes_since,
        )
    if filters.changes_before is not None:
        yield written <= filters.changes_before
    if filters.fresh_since is not None:
        yield sa.or_(
            model.created_at >= filters.fresh_since,
            _could_be(model, OPEN_STATES),
        )


def _could_be(
    model: typing.Any, states: abc.Collection[progress.State]
) -> typing.Any:
    """Leave out what the status alone decides, and most of what is over.

    When a source comes back it closes all its records: a cloud has thousands
    of 'completed' ones, and hardly ever one of them that is still under way.
    """
    is_open = model.status.in_(sorted(progress.OPEN_STATUSES))
    returned = model.status == _RETURNED
    conditions = {
        progress.State.QUEUED: sa.or_(
            is_open,
            sa.and_(
                returned,
                candidates.may_be_at_work(model),
                ~_is_finished(model),
            ),
        ),
        progress.State.SUPERSEDED: sa.and_(
            sa.or_(is_open, returned), _is_replaced(model)
        ),
        progress.State.SUCCEEDED: sa.or_(
            model.status == 'done', is_open, returned
        ),
        progress.State.FAILED: sa.or_(
            model.status.in_(('error', 'failed')), is_open, returned
        ),
        progress.State.UNKNOWN: model.status.not_in(ENDED_STATUSES),
    }
    conditions[progress.State.RUNNING] = conditions[progress.State.QUEUED]
    return sa.or_(*(conditions[state] for state in sorted(states)))


def _is_finished(model: typing.Any) -> typing.Any:
    """Whether a destination ended its work since the record was made."""
    action = compat.models.InstanceAction.__table__
    event = compat.models.InstanceActionEvent.__table__
    return sa.exists().where(
        action.c.instance_uuid == model.instance_uuid,
        action.c.action == 'evacuate',
        event.c.action_id == action.c.id,
        event.c.event == EVENT_REBUILD,
        event.c.result.is_not(None),
        event.c.finish_time >= model.created_at,
    )


def _is_replaced(model: typing.Any) -> typing.Any:
    newer = compat.models.Migration.__table__.alias('newer').c
    return sa.exists().where(
        newer.instance_uuid == model.instance_uuid,
        newer.migration_type == 'evacuation',
        sa.or_(
            newer.created_at > model.created_at,
            sa.and_(newer.created_at == model.created_at, newer.id > model.id),
        ),
    )
