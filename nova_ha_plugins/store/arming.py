# SPDX-License-Identifier: Apache-2.0

"""The arm state and its history, inside a transaction.

Rows are only added. A state with an end turns into its opposite at that time,
by the database server's clock, without anybody writing a row.
"""

import typing

import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

# Who changed the state when its time was over.
BY_ITSELF = 'until'

_TABLE = models.arm_history
_NEVER_SET = values.ArmState(
    armed=False, by='installation', reason='never armed', at=0.0
)


def state(db: database.Database, connection: sa.Connection) -> values.ArmState:
    """What holds now."""
    row = connection.execute(
        sa.select(_TABLE, db.clock.label('clock'))
        .order_by(_TABLE.c.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return _NEVER_SET
    if row.ends_at is None or row.clock < row.ends_at:
        return _value(row)
    return values.ArmState(
        armed=not row.armed,
        by=BY_ITSELF,
        reason=(
            f'{"armed" if row.armed else "disarmed"} by {row.set_by} for a '
            f'time that is over: {row.reason}'
        ),
        at=row.ends_at,
    )


def change(
    db: database.Database, connection: sa.Connection, wanted: values.ArmState
) -> values.ArmState:
    """The state as stored, stamped with the store's clock."""
    at = db.now(connection)
    connection.execute(
        sa.insert(_TABLE).values(
            armed=wanted.armed,
            set_by=wanted.by,
            reason=wanted.reason,
            set_at=at,
            ends_at=wanted.until,
        )
    )
    return values.ArmState(
        armed=wanted.armed,
        by=wanted.by,
        reason=wanted.reason,
        at=at,
        until=wanted.until,
    )


def history(
    connection: sa.Connection, limit: int
) -> tuple[values.ArmState, ...]:
    """What somebody set, newest first."""
    rows = connection.execute(
        sa.select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
    )
    return tuple(_value(row) for row in rows)


def _value(row: sa.Row[typing.Any]) -> values.ArmState:
    return values.ArmState(
        armed=bool(row.armed),
        by=row.set_by,
        reason=row.reason,
        at=row.set_at,
        until=row.ends_at,
    )
