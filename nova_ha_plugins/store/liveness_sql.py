# SPDX-License-Identifier: Apache-2.0

"""Signs of life in the store's database, by the database's clock."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import functools
import logging
import operator
import typing

from oslo_config import cfg
from oslo_db import exception as db_exception
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite

from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import database
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

LOG = logging.getLogger(__name__)

Item = typing.TypeVar('Item')

# Heartbeats in one transaction: a short one, for others wait for its rows.
_TOGETHER = 1000


class SqlLiveness(liveness.Liveness):
    """The heartbeats in a table, some statements per batch."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._database = database.Database(conf)
        dialect = self._database.engine.dialect.name
        self._put_beats = _upsert(models.heartbeats, dialect)
        self._put_healths = _upsert(models.healths, dialect)

    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life, all stored at once.

        The order of the hosts is the same in every process, so that two
        batches cannot lock each other's rows.
        """
        batch = sorted(heard, key=operator.attrgetter('host', 'sequence'))
        return sum(
            self._database.write(functools.partial(self._hear, part))
            for part in _parts(batch)
        )

    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, read and aged in one query."""
        table = models.heartbeats
        age = (self._database.clock - table.c.seen_at).label('age')
        query = sa.select(
            table.c.host,
            table.c.service_uuid,
            table.c.boot_id,
            table.c.sequence,
            table.c.system_uuid,
            age,
        ).order_by(table.c.host)
        rows = self._read(query)
        if any(row.age < -liveness.AHEAD for row in rows):
            self._clock_went_back(table)
        return tuple(
            views.Beat(
                host=row.host,
                service_uuid=row.service_uuid,
                boot_id=row.boot_id,
                sequence=row.sequence,
                system_uuid=row.system_uuid,
                age=max(0.0, float(row.age)),
            )
            for row in rows
        )

    def healths(self, seen: Iterable[values.Health]) -> None:
        """Keep what was said last of each channel of each host."""
        fresh = list(liveness.newest(seen).values())
        for part in _parts(fresh):
            self._database.write(functools.partial(self._note, part))

    def read_healths(self) -> tuple[views.HostHealth, ...]:
        """What was said last, in the order of host and channel."""
        table = models.healths
        age = (self._database.clock - table.c.seen_at).label('age')
        query = sa.select(
            table.c.host,
            table.c.channel,
            table.c.ok,
            table.c.value,
            table.c.text,
            age,
        ).order_by(table.c.host, table.c.channel)
        rows = self._read(query)
        if any(row.age < -liveness.AHEAD for row in rows):
            self._clock_went_back(table)
        if any(row.age >= liveness.HEALTH_KEPT for row in rows):
            self._drop_old()
        return tuple(
            views.HostHealth(
                host=row.host,
                channel=row.channel,
                ok=row.ok,
                value=row.value,
                text=row.text,
                age=max(0.0, float(row.age)),
            )
            for row in rows
            if row.age < liveness.HEALTH_KEPT
        )

    def forget(self, host: str) -> None:
        """Drop a host that left the cloud, with its health."""

        def work(connection: sa.Connection) -> None:
            for table in (models.heartbeats, models.healths):
                connection.execute(
                    sa.delete(table).where(table.c.host == host)
                )

        self._database.write(work)

    def _read(self, query: sa.Select[typing.Any]) -> Sequence[typing.Any]:
        return self._database.read(
            lambda connection: connection.execute(query).all()
        )

    def _clock_went_back(self, table: sa.Table) -> None:
        """Let silence count from now, instead of from a time to come.

        Otherwise a host that dies now would look alive until the clock has
        caught up.
        """
        clock = self._database.clock
        self._database.write(
            lambda connection: connection.execute(
                sa.update(table)
                .where(table.c.seen_at > clock + liveness.AHEAD)
                .values(seen_at=clock)
            )
        )
        LOG.warning(
            "Clock of the store's database went back: silence of hosts is "
            'counted from now'
        )

    def _drop_old(self) -> None:
        table = models.healths
        oldest = self._database.clock - liveness.HEALTH_KEPT
        self._database.write(
            lambda connection: connection.execute(
                sa.delete(table).where(table.c.seen_at <= oldest)
            )
        )

    def _hear(
        self, batch: Sequence[values.Heard], connection: sa.Connection
    ) -> int:
        known = self._known(connection, {one.host for one in batch})
        changed, count = liveness.follow_all(known, batch)
        if not changed:
            return 0
        # Asked after the rows were waited for: who waits is not stamped old.
        now = self._database.now(connection)
        rows = [_row(row, now) for row in changed.values()]
        new = [row for row in rows if row['host'] not in known]
        if new:
            try:
                connection.execute(sa.insert(models.heartbeats), new)
            except db_exception.DBDuplicateEntry as error:
                # Two collectors heard the host for the first time together.
                raise db_exception.RetryRequest(error) from error
        if old := [row for row in rows if row['host'] in known]:
            connection.execute(self._put_beats, old)
        return count

    def _known(
        self, connection: sa.Connection, hosts: set[str]
    ) -> dict[str, liveness.Row]:
        """What is stored of the hosts, which others may not change now."""
        table = models.heartbeats
        query = (
            sa.select(
                table.c.host,
                table.c.boot_id,
                table.c.sequence,
                table.c.system_uuid,
                table.c.service_uuid,
                table.c.past_boots,
            )
            .where(table.c.host.in_(sorted(hosts)))
            .order_by(table.c.host)
            .with_for_update()
        )
        return {
            row.host: liveness.Row(
                values.Heard(
                    host=row.host,
                    boot_id=row.boot_id,
                    sequence=row.sequence,
                    system_uuid=row.system_uuid,
                    service_uuid=row.service_uuid,
                ),
                tuple(row.past_boots.split()),
            )
            for row in connection.execute(query)
        }

    def _note(
        self, batch: Sequence[values.Health], connection: sa.Connection
    ) -> None:
        now = self._database.now(connection)
        connection.execute(
            self._put_healths,
            [
                {
                    'host': one.host,
                    'channel': one.channel,
                    'ok': one.ok,
                    'value': one.value,
                    'text': one.text,
                    'seen_at': now,
                }
                for one in batch
            ],
        )


def _parts(batch: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (
        batch[begin : begin + _TOGETHER]
        for begin in range(0, len(batch), _TOGETHER)
    )


def _row(row: liveness.Row, now: float) -> dict[str, typing.Any]:
    return {
        'host': row.heard.host,
        'service_uuid': row.heard.service_uuid,
        'boot_id': row.heard.boot_id,
        'past_boots': ' '.join(row.past),
        'sequence': row.heard.sequence,
        'system_uuid': row.heard.system_uuid,
        'seen_at': now,
    }


def _upsert(table: sa.Table, dialect: str) -> sa.Insert:
    """The statement that writes whole rows, whether they were there or not.

    Drivers send many rows of it together, which they do with no UPDATE.
    """
    keys = [column.name for column in table.primary_key]
    rest = [column.name for column in table.c if column.name not in keys]
    if dialect in ('mysql', 'mariadb'):
        into = mysql.insert(table)
        return into.on_duplicate_key_update(
            {name: into.inserted[name] for name in rest}
        )
    insert = postgresql.insert if dialect == 'postgresql' else sqlite.insert
    put = insert(table)
    return put.on_conflict_do_update(
        index_elements=keys, set_={name: put.excluded[name] for name in rest}
    )
