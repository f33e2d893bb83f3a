# SPDX-License-Identifier: Apache-2.0

"""Brakes and their history, inside a transaction.

A row is one brake from when it was set until it ended. It is never removed;
of one kind and name at most one has not been taken off.
"""

import dataclasses
import typing

from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

# Who took off a brake whose time was over.
BY_ITSELF = 'until'

_TABLE = models.brakes


def held(
    db: database.Database, connection: sa.Connection
) -> tuple[values.Brake, ...]:
    """Every brake that holds now, in the order of kind and name."""
    rows = connection.execute(
        sa.select(_TABLE)
        .where(_TABLE.c.open_mark.is_not(None))
        .where(_not_over(db))
        .order_by(_TABLE.c.kind, _TABLE.c.name)
    )
    return tuple(_value(row) for row in rows)


def put_on(
    db: database.Database, connection: sa.Connection, brake: values.Brake
) -> values.Brake:
    """The brake as stored; it replaces the one of that kind and name."""
    at = db.now(connection)
    _end(connection, brake, at, by=brake.by, reason='set anew')
    try:
        connection.execute(
            sa.insert(_TABLE).values(
                kind=brake.kind,
                name=brake.name,
                open_mark=1,
                zone=brake.zone,
                ends_at=brake.until,
                reason=brake.reason,
                set_by=brake.by,
                set_at=at,
                unset_at=None,
                unset_by='',
                unset_reason='',
            )
        )
    except db_exception.DBDuplicateEntry as error:
        # Somebody set the same one at the same moment: end theirs first.
        raise db_exception.RetryRequest(error) from error
    return dataclasses.replace(brake, at=at)


def take_off(
    db: database.Database,
    connection: sa.Connection,
    brake: values.Brake,
    reason: str,
) -> bool:
    """Whether there was such a brake and it held."""
    ended = _end(
        connection, brake, db.now(connection), by=brake.by, reason=reason
    )
    return ended is not None and ended.ended_by != BY_ITSELF


def history(
    db: database.Database, connection: sa.Connection, limit: int
) -> tuple[values.BrakeEntry, ...]:
    """Brakes that hold and that ended, newest first."""
    rows = connection.execute(
        sa.select(_TABLE, sa.not_(_not_over(db)).label('over'))
        .order_by(_TABLE.c.id.desc())
        .limit(limit)
    )
    return tuple(_entry(row) for row in rows)


def _not_over(db: database.Database) -> sa.ColumnElement[bool]:
    return sa.or_(_TABLE.c.ends_at.is_(None), _TABLE.c.ends_at > db.clock)


def _end(
    connection: sa.Connection,
    brake: values.Brake,
    at: float,
    by: str,
    reason: str,
) -> values.BrakeEntry | None:
    """What ended: the brake of that kind and name, if one was left on."""
    row = connection.execute(
        sa.select(_TABLE)
        .where(_TABLE.c.kind == brake.kind, _TABLE.c.name == brake.name)
        .where(_TABLE.c.open_mark.is_not(None))
        .with_for_update()
    ).first()
    if row is None:
        return None
    if row.ends_at is not None and row.ends_at <= at:
        at, by, reason = row.ends_at, BY_ITSELF, ''
    connection.execute(
        sa.update(_TABLE)
        .where(_TABLE.c.id == row.id)
        .values(open_mark=None, unset_at=at, unset_by=by, unset_reason=reason)
    )
    return values.BrakeEntry(_value(row), at, by, reason)


def _entry(row: sa.Row[typing.Any]) -> values.BrakeEntry:
    if row.open_mark is not None and row.over:
        return values.BrakeEntry(_value(row), row.ends_at, BY_ITSELF)
    return values.BrakeEntry(
        _value(row), row.unset_at, row.unset_by, row.unset_reason
    )


def _value(row: sa.Row[typing.Any]) -> values.Brake:
    return values.Brake(
        kind=row.kind,
        name=row.name,
        zone=row.zone,
        until=row.ends_at,
        reason=row.reason,
        by=row.set_by,
        at=row.set_at,
    )
