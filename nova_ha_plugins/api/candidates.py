# SPDX-License-Identifier: Apache-2.0

"""Where to look for evacuations in nova's table, so that few rows are read.

Nova's indexes of ``migrations`` begin with ``deleted`` or are of the uuid or
of the time of the last change; none has the type or the time of creation. An
optimizer makes little of conditions that are joined by "or". Told as selects
of numbers, one for each index, they are answered by the indexes alone.
"""

from collections import abc
import datetime
import typing

import sqlalchemy as sa

from nova_ha_plugins.api import compat
from nova_ha_plugins.recovery import progress


def of_statuses(
    statuses: abc.Iterable[str], dialect: str
) -> abc.Iterator[typing.Any]:
    """Give selects of the numbers of all migrations with such a status.

    Worth it for statuses that few migrations have.
    """
    table = compat.models.Migration.__table__
    if dialect == 'postgresql':
        # It has no need of help, and cannot use an index for "the same or
        # both null".
        yield sa.select(table.c.id).where(table.c.status.in_(sorted(statuses)))
        return
    # Where migrations came from is read off by hops through the index, and
    # with it, status by status, the end of the same index.
    columns = (table.c.deleted, table.c.source_compute, table.c.source_node)
    for status in sorted(statuses):
        places = sa.select(*columns).distinct().subquery()
        yield sa.select(table.c.id).where(
            table.c.status == status,
            *(
                column.is_not_distinct_from(places.c[column.name])
                for column in columns
            ),
        )


def of_host(column: typing.Any, host: str) -> abc.Iterator[typing.Any]:
    """Give selects of the numbers of all migrations from, or to, a host.

    :param column: source_compute or dest_compute of nova's table.
    """
    for deleted in _any_deleted(column.table.c):
        yield sa.select(column.table.c.id).where(deleted, column == host)


def changed_since(at: datetime.datetime) -> abc.Iterator[typing.Any]:
    """Give selects of the numbers of all that nova wrote then or later."""
    table = compat.models.Migration.__table__.c
    yield sa.select(table.id).where(table.updated_at >= at)
    yield sa.select(table.id).where(
        table.updated_at.is_(None), table.created_at >= at
    )
    yield sa.select(table.id).where(table.deleted > 0, table.deleted_at >= at)


def may_be_at_work(table: typing.Any) -> typing.Any:
    """Tell whether its server is being rebuilt, or did not leave the source.

    It leaves out nearly all of those that are over, with one look each into
    the index of uuids of servers. Which work has ended, as the events of the
    action tell, costs more: PostgreSQL has no index of nova for that.

    :param table: columns of nova's migrations.
    """
    server = compat.models.Instance.__table__.c
    return sa.exists().where(
        server.uuid == table.instance_uuid,
        sa.or_(
            server.task_state.is_not(None),
            server.host.is_(None),
            server.host == table.source_compute,
        ),
    )


def is_open_status(statuses: abc.Collection[str]) -> bool:
    """Tell whether all of them are of records that nova will close."""
    return bool(statuses) and progress.OPEN_STATUSES.issuperset(statuses)


def _any_deleted(table: typing.Any) -> tuple[typing.Any, ...]:
    return (table.deleted == 0, table.deleted > 0, table.deleted.is_(None))
