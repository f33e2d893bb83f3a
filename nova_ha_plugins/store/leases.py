# SPDX-License-Identifier: Apache-2.0

"""The lease: which engine may act.

Each take-over has a higher token. Whoever saves an incident shows the token in
the same transaction, so that an engine that slept through its own end cannot
write any more.
"""

import os
import socket

from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

_NAME = 'engine'
_TABLE = models.leases
_ROW = _TABLE.c.name == _NAME
_NOBODY = ''


def own_name(host: str = '') -> str:
    """Owner of a lease that is taken by this process.

    The pid's namespace is part of it: two containers on one machine may share
    a host name and a pid.

    :param host: what to call this machine; its host name where it is empty.
    """
    return f'{host or socket.gethostname()}:{os.getpid()}@{_pid_namespace()}'


def take(
    db: database.Database,
    owner: str,
    ttl: float,
    locked: bool = False,
    expected: int | None = None,
) -> values.Lease:
    """The lease, with a token higher than any before.

    :param locked: a coordination service says that the engine before is gone,
        so its lease is taken at once.
    :param expected: take it only from this token: somebody else may have
        taken it since the look at it.
    :raises LeaseHeld: another engine renewed it less than its ttl ago, and
        its process is not known to be gone; or it took it just now.
    """

    def work(connection: sa.Connection) -> values.Lease:
        row = connection.execute(
            sa.select(_TABLE, (db.clock - _TABLE.c.renewed_at).label('age'))
            .where(_ROW)
            .with_for_update()
        ).first()
        if row is None:
            return _first(db, connection, owner, ttl)
        free = (
            locked
            or row.owner in (_NOBODY, owner)
            # Below it, the clock went back since: see LeaseState.is_over.
            or not -row.ttl < row.age < row.ttl
            or process_is_gone(row.owner)
        )
        if not free or expected not in (None, row.token):
            raise values.LeaseHeld(row.owner, max(0.0, float(row.age)))
        token = row.token + 1
        connection.execute(
            sa.update(_TABLE)
            .where(_ROW)
            .values(token=token, owner=owner, ttl=ttl, renewed_at=db.clock)
        )
        return values.Lease(token=token, owner=owner, taken_from=row.owner)

    return db.write(work)


def state(db: database.Database) -> values.LeaseState:
    """Who holds the lease now."""
    query = sa.select(
        _TABLE, (db.clock - _TABLE.c.renewed_at).label('age')
    ).where(_ROW)
    row = db.read(lambda connection: connection.execute(query).first())
    if row is None:
        return values.LeaseState()
    return values.LeaseState(
        token=row.token,
        owner=row.owner,
        # Below zero when the clock went back; see LeaseState.is_over.
        age=float(row.age),
        ttl=row.ttl,
    )


def renew(db: database.Database, lease: values.Lease) -> values.Lease:
    """The same lease, good for another ttl.

    :raises LeaseLost: another engine took it over.
    """

    def work(connection: sa.Connection) -> values.Lease:
        check(db, connection, lease)
        return lease

    return db.write(work)


def release(db: database.Database, lease: values.Lease) -> None:
    """Let another engine take the lease at once."""
    db.write(
        lambda connection: connection.execute(
            sa.update(_TABLE)
            .where(_ROW, _TABLE.c.token == lease.token)
            .where(_TABLE.c.owner == lease.owner)
            .values(owner=_NOBODY)
        )
    )


def check(
    db: database.Database, connection: sa.Connection, lease: values.Lease
) -> None:
    """Make sure, until the transaction ends, that a lease is still good.

    It is renewed as well: whoever saves is alive. A take-over waits for the
    row, so that it cannot slip in between this look and the commit.

    :raises LeaseLost: another engine took it over.
    """
    renewed = connection.execute(
        sa.update(_TABLE)
        .where(_ROW, _TABLE.c.token == lease.token)
        .where(_TABLE.c.owner == lease.owner)
        .values(renewed_at=db.clock)
    )
    if not renewed.rowcount:
        raise _lost(connection, lease)


def ask(connection: sa.Connection, lease: values.Lease) -> None:
    """Make sure that a lease was good just now; nobody waits for its row.

    Enough only for what does no harm when it is written a moment too late.

    :raises LeaseLost: another engine took it over.
    """
    query = sa.select(_TABLE.c.token, _TABLE.c.owner).where(_ROW)
    row = connection.execute(query).first()
    if row is None or (row.token, row.owner) != (lease.token, lease.owner):
        raise _lost(connection, lease)


def process_is_gone(owner: str) -> bool:
    """Whether an owner is known to be a dead process of this machine.

    False for another machine, another pid namespace, or anything unclear.
    """
    name, _, process = owner.rpartition(':')
    pid, _, namespace = process.partition('@')
    if name != socket.gethostname() or not pid.isdecimal() or int(pid) < 1:
        return False
    if namespace and namespace != _pid_namespace():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _first(
    db: database.Database,
    connection: sa.Connection,
    owner: str,
    ttl: float,
) -> values.Lease:
    try:
        connection.execute(
            sa.insert(_TABLE).values(
                name=_NAME, token=1, owner=owner, ttl=ttl, renewed_at=db.clock
            )
        )
    except db_exception.DBDuplicateEntry as error:
        raise db_exception.RetryRequest(error) from error
    return values.Lease(token=1, owner=owner)


def _lost(connection: sa.Connection, lease: values.Lease) -> values.LeaseLost:
    row = connection.execute(
        sa.select(_TABLE.c.owner, _TABLE.c.token).where(_ROW)
    ).first()
    found = f'{row.owner!r} with token {row.token}' if row else 'nobody'
    return values.LeaseLost(
        f'Lease of engine {lease.owner!r} with token {lease.token} is lost: '
        f'it belongs to {found}; nothing was saved'
    )


def _pid_namespace() -> str:
    try:
        return str(os.stat('/proc/self/ns/pid').st_ino)
    except OSError:
        return '0'
