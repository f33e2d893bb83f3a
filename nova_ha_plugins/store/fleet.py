# SPDX-License-Identifier: Apache-2.0

"""The engine processes that report, inside a transaction."""

import json
import typing

from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

_TABLE = models.engines

# A process has a new name after each restart: its old row goes after a day.
_FORGOTTEN_AFTER = 86400.0


def note(
    db: database.Database,
    connection: sa.Connection,
    name: str,
    ttl: float,
    told: dict[str, typing.Any],
) -> None:
    """Replace what an engine says of itself."""
    columns = {
        'ttl': ttl,
        'reported_at': db.clock,
        'document': json.dumps(told),
    }
    done = connection.execute(
        sa.update(_TABLE).where(_TABLE.c.name == name).values(columns)
    )
    if done.rowcount:
        return
    connection.execute(
        sa.delete(_TABLE).where(
            _TABLE.c.reported_at < db.clock - _FORGOTTEN_AFTER
        )
    )
    try:
        connection.execute(sa.insert(_TABLE).values(name=name, **columns))
    except db_exception.DBDuplicateEntry as error:
        raise db_exception.RetryRequest(error) from error


def known(
    db: database.Database, connection: sa.Connection
) -> tuple[values.EngineState, ...]:
    """Every engine that reported and was not forgotten, by name."""
    rows = connection.execute(
        sa.select(
            _TABLE, (db.clock - _TABLE.c.reported_at).label('age')
        ).order_by(_TABLE.c.name)
    )
    return tuple(
        values.EngineState(
            name=row.name,
            age=max(0.0, float(row.age)),
            ttl=row.ttl,
            told=json.loads(row.document),
        )
        for row in rows
    )


def forget(connection: sa.Connection, name: str) -> None:
    """Remove an engine that stopped in good order."""
    connection.execute(sa.delete(_TABLE).where(_TABLE.c.name == name))
