# SPDX-License-Identifier: Apache-2.0

"""Turns: one at a time may ask for something, for a short time.

A turn whose holder died is over when its time is; nobody has to clean up.
"""

from oslo_db import exception as db_exception
from oslo_utils import uuidutils
import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models

_TABLE = models.turns


def take(db: database.Database, key: str, ttl: float) -> str | None:
    """The token of a turn, None while somebody else has it."""
    token = uuidutils.generate_uuid()

    def work(connection: sa.Connection) -> bool:
        age = db.clock - _TABLE.c.taken_at
        # Below zero, the clock of the store went back since.
        over = sa.or_(age >= _TABLE.c.ttl, age < 0.0)
        columns = {'token': token, 'ttl': ttl, 'taken_at': db.clock}
        taken = connection.execute(
            sa.update(_TABLE)
            .where(_TABLE.c.name == key)
            .where(sa.or_(over, _TABLE.c.token == token))
            .values(columns)
        )
        if taken.rowcount:
            return True
        query = sa.select(_TABLE.c.name).where(_TABLE.c.name == key)
        if connection.execute(query).first() is not None:
            return False
        connection.execute(sa.insert(_TABLE).values(name=key, **columns))
        return True

    try:
        return token if db.write(work) else None
    except db_exception.DBDuplicateEntry:
        # Somebody took it between our look and our insert.
        return None


def end(db: database.Database, key: str, token: str) -> None:
    """Let the next one have it; no error when the turn was over before."""
    db.write(
        lambda connection: connection.execute(
            sa.delete(_TABLE).where(
                _TABLE.c.name == key, _TABLE.c.token == token
            )
        )
    )


def purge(connection: sa.Connection, before: float) -> None:
    """Remove turns that somebody took before then and never ended."""
    connection.execute(sa.delete(_TABLE).where(_TABLE.c.taken_at < before))
