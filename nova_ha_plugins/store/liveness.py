# SPDX-License-Identifier: Apache-2.0

"""The newest heartbeat of each host, aged by one clock.

A heartbeat counts when it is received, never when it was sent, and only if it
is newer than the last one: a higher sequence of the same boot, or a boot that
was not seen before. Anything else is a replay and no sign of life.
"""

import abc
from collections.abc import Iterable
import dataclasses
import logging
import threading
import time
import typing

from oslo_config import cfg
from oslo_db import exception as db_exception
import sqlalchemy as sa
from stevedore import driver

from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

LOG = logging.getLogger(__name__)

NAMESPACE = 'nova_ha.liveness'

# Boots that are remembered per host, to know a late heartbeat of one.
_PAST_BOOTS = 8
# Seconds that a heartbeat may be ahead of the clock before the clock is known
# to have been set back.
_AHEAD = 1.0


class Liveness(abc.ABC):
    """What every backend does."""

    def beat(
        self,
        host: str,
        *,
        boot_id: str,
        sequence: int,
        system_uuid: str,
        service_uuid: str = '',
    ) -> bool:
        """Whether the heartbeat was a sign of life, which is now stored."""
        return bool(
            self.beats(
                [
                    values.Heard(
                        host=host,
                        boot_id=boot_id,
                        sequence=sequence,
                        system_uuid=system_uuid,
                        service_uuid=service_uuid,
                    )
                ]
            )
        )

    @abc.abstractmethod
    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life, all stored at once.

        An empty system_uuid or service_uuid leaves what is known.
        """

    @abc.abstractmethod
    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, in the order of its name."""

    @abc.abstractmethod
    def forget(self, host: str) -> None:
        """Drop a host that left the cloud."""


class SqlLiveness(Liveness):
    """The heartbeats in the store's database, by the database's clock."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._database = database.Database(conf)

    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life, all stored at once.

        The order of the hosts is the same in every process, so that two
        batches cannot lock each other's rows.
        """
        batch = sorted(heard, key=lambda one: (one.host, one.sequence))

        def work(connection: sa.Connection) -> int:
            return sum(self._hear(connection, one) for one in batch)

        return self._database.write(work) if batch else 0

    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, read and aged in one query."""
        table = models.heartbeats
        age = (self._database.clock - table.c.seen_at).label('age')
        query = sa.select(table, age).order_by(table.c.host)
        rows = self._database.read(
            lambda connection: connection.execute(query).all()
        )
        if any(row.age < -_AHEAD for row in rows):
            self._clock_went_back()
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

    def forget(self, host: str) -> None:
        """Drop a host that left the cloud."""
        table = models.heartbeats
        self._database.write(
            lambda connection: connection.execute(
                sa.delete(table).where(table.c.host == host)
            )
        )

    def _clock_went_back(self) -> None:
        """Let silence count from now, instead of from a time to come.

        Otherwise a host that dies now would look alive until the clock has
        caught up.
        """
        table = models.heartbeats
        clock = self._database.clock
        self._database.write(
            lambda connection: connection.execute(
                sa.update(table)
                .where(table.c.seen_at > clock + _AHEAD)
                .values(seen_at=clock)
            )
        )
        LOG.warning(
            "Clock of the store's database went back: silence of hosts is "
            'counted from now'
        )

    def _hear(self, connection: sa.Connection, heard: values.Heard) -> bool:
        table = models.heartbeats
        fresh: dict[str, object] = {
            'sequence': heard.sequence,
            'seen_at': self._database.clock,
        }
        if heard.system_uuid:
            fresh['system_uuid'] = heard.system_uuid
        if heard.service_uuid:
            fresh['service_uuid'] = heard.service_uuid
        newer = connection.execute(
            sa.update(table)
            .where(table.c.host == heard.host)
            .where(table.c.boot_id == heard.boot_id)
            .where(table.c.sequence < heard.sequence)
            .values(fresh)
        )
        if newer.rowcount:
            return True
        known = connection.execute(
            sa.select(table.c.boot_id, table.c.past_boots).where(
                table.c.host == heard.host
            )
        ).first()
        if known is None:
            return self._first(connection, heard, fresh)
        past = known.past_boots.split()
        if heard.boot_id == known.boot_id or heard.boot_id in past:
            return False
        booted = connection.execute(
            sa.update(table)
            .where(table.c.host == heard.host)
            .where(table.c.boot_id == known.boot_id)
            .values(
                **fresh,
                boot_id=heard.boot_id,
                past_boots=_remember(past, known.boot_id),
            )
        )
        return bool(booted.rowcount)

    @staticmethod
    def _first(
        connection: sa.Connection,
        heard: values.Heard,
        fresh: dict[str, object],
    ) -> bool:
        row = {'system_uuid': '', 'service_uuid': '', **fresh}
        try:
            connection.execute(
                sa.insert(models.heartbeats).values(
                    host=heard.host,
                    boot_id=heard.boot_id,
                    past_boots='',
                    **row,
                )
            )
        except db_exception.DBDuplicateEntry as error:
            # Two collectors heard the host for the first time together.
            raise db_exception.RetryRequest(error) from error
        return True


class MemoryLiveness(Liveness):
    """The heartbeats in this object, by the monotonic clock; for tests."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[values.Heard, list[str], float]] = {}

    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life."""
        with self._lock:
            return sum(
                self._hear(one)
                for one in sorted(heard, key=lambda one: one.sequence)
            )

    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, in the order of its name."""
        with self._lock:
            now = time.monotonic()
            return tuple(
                views.Beat(
                    host=host,
                    service_uuid=heard.service_uuid,
                    boot_id=heard.boot_id,
                    sequence=heard.sequence,
                    system_uuid=heard.system_uuid,
                    age=now - seen_at,
                )
                for host, (heard, _, seen_at) in sorted(self._rows.items())
            )

    def forget(self, host: str) -> None:
        """Drop a host that left the cloud."""
        with self._lock:
            self._rows.pop(host, None)

    def _hear(self, heard: values.Heard) -> bool:
        past: list[str] = []
        if known := self._rows.get(heard.host):
            last, past, _ = known
            if heard.boot_id in past or (
                heard.boot_id == last.boot_id
                and heard.sequence <= last.sequence
            ):
                return False
            if heard.boot_id != last.boot_id:
                past = _remember(past, last.boot_id).split()
            heard = dataclasses.replace(
                heard,
                system_uuid=heard.system_uuid or last.system_uuid,
                service_uuid=heard.service_uuid or last.service_uuid,
            )
        self._rows[heard.host] = (heard, past, time.monotonic())
        return True


def open_liveness(conf: cfg.ConfigOpts) -> Liveness:
    """The backend that [nova_ha] liveness_backend names."""
    nova_ha_conf.register_opts(conf)
    manager: driver.DriverManager[Liveness] = driver.DriverManager(
        NAMESPACE,
        conf[nova_ha_conf.GROUP].liveness_backend,
        invoke_on_load=True,
        invoke_args=(conf,),
    )
    # invoke_on_load makes it an instance, which the type does not say.
    return typing.cast(Liveness, manager.driver)


def _remember(past: list[str], boot_id: str) -> str:
    return ' '.join([*past, boot_id][-_PAST_BOOTS:])
