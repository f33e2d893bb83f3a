# SPDX-License-Identifier: Apache-2.0
"""Which engine of a lab acts, as the row in its database says.

Read past the product, in one statement and by the database's own clock.
"""

import contextlib
import dataclasses
import re

import pymysql
import pymysql.connections

from lab import plan as planning

DATABASE = 'nova_ha'

_NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000000"
_QUERY = (
    f'SELECT owner, token, {_NOW} - renewed_at < ttl FROM leases '
    "WHERE name = 'engine'"
)
_NAME = re.compile(r'nova-ha-engine-\d+')


@dataclasses.dataclass(frozen=True)
class Lease:
    """What the row says.

    :ivar engine: the name of the engine's service, '' for nobody.
    :ivar token: rises with each take-over; 0 before the first.
    :ivar valid: whether it was renewed less than its ttl ago.
    """

    engine: str = ''
    token: int = 0
    valid: bool = False


def connect(plan: planning.Plan) -> pymysql.connections.Connection:
    """Return a connection to the store that sees each commit at once."""
    return pymysql.connect(
        host=planning.CONTROLLER,
        port=planning.PORTS['mariadb'],
        user='lab',
        password=plan.passwords['database'],
        database=DATABASE,
        autocommit=True,
        connect_timeout=2,
        read_timeout=2,
        write_timeout=2,
    )


def read(connection: pymysql.connections.Connection) -> Lease:
    """Return the lease."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERY)
        row = cursor.fetchone()
    if row is None:
        return Lease()
    owner, token, valid = row
    found = _NAME.search(owner)
    return Lease(found.group() if found else '', token, bool(valid))


def acting(plan: planning.Plan) -> str:
    """Return the name of the engine that acts, '' for none or unknown."""
    with (
        contextlib.suppress(OSError, pymysql.MySQLError),
        connect(plan) as connection,
    ):
        found = read(connection)
        return found.engine if found.valid else ''
    return ''
