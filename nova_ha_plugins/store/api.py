# SPDX-License-Identifier: Apache-2.0

"""The store: what must survive, in SQL.

An incident is saved by compare-and-swap on its generation, in a transaction
that also checks the engine's lease. That a host has one open incident at most
is a unique key of the database.
"""

import dataclasses
import json
import logging
import typing

from oslo_config import cfg
from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.store import arming
from nova_ha_plugins.store import brakes
from nova_ha_plugins.store import census
from nova_ha_plugins.store import database
from nova_ha_plugins.store import evacuations
from nova_ha_plugins.store import fleet
from nova_ha_plugins.store import inbox
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import ledger
from nova_ha_plugins.store import models
from nova_ha_plugins.store import turns
from nova_ha_plugins.store import values

StoreError = values.StoreError
NotConfigured = values.NotConfigured
SchemaOutdated = values.SchemaOutdated
AlreadyOpen = values.AlreadyOpen
Conflict = values.Conflict
LeaseHeld = values.LeaseHeld
LeaseLost = values.LeaseLost
Lease = values.Lease
ArmState = values.ArmState
HostRecord = values.HostRecord
Purged = values.Purged

LOG = logging.getLogger(__name__)

Value = typing.TypeVar('Value')

_DAY = 86400.0
_STATUS = 'engine'


class Store(evacuations.Evacuations, census.Censuses):
    """Incidents, facts, evacuations, hosts, the lease and the arm state.

    Every method is one transaction. None waits longer than the options of
    [nova_ha_database] allow.
    """

    def __init__(self, db: database.Database) -> None:
        self._db = db

    def now(self) -> float:
        """Seconds since 1970 by the database server: the one clock."""
        return self._db.read(self._db.now)

    # Facts

    def add_fact(self, fact: facts.Fact) -> facts.Fact:
        """A fact in the engine's inbox, stamped with the store's clock.

        A fact whose uuid is known and that waits is left as it was; an
        alarm's that was settled waits again. One that is unconfirmed waits
        for ``confirm_fact`` and is not handed to the engine before.
        """

        def work(connection: sa.Connection) -> facts.Fact:
            try:
                return inbox.add(self._db, connection, fact)
            except db_exception.DBDuplicateEntry as error:
                raise db_exception.RetryRequest(error) from error

        return self._db.write(work)

    def confirm_fact(self, uuid: str, by: str) -> facts.Fact | None:
        """The fact, pending from now on; the second step of two.

        None, and nothing changed, when no fact of that uuid waits to be
        confirmed, or it waited longer than ``facts.CONFIRM_WITHIN``.
        """
        return self._db.write(
            lambda connection: inbox.confirm(self._db, connection, uuid, by)
        )

    def pending_facts(self, limit: int = 1000) -> tuple[facts.Fact, ...]:
        """Facts that nobody settled yet.

        All verified ones, oldest first, then a few of those whose sender
        still has to be looked at.
        """
        found = self._db.read(
            lambda connection: inbox.pending(connection, limit)
        )
        return ledger.known(facts.Fact, found)

    def fact(self, uuid: str) -> facts.Fact | None:
        """One fact, pending or settled."""
        query = sa.select(models.facts.c.document).where(
            models.facts.c.uuid == uuid
        )
        found = self._load(facts.Fact, query)
        return found[0] if found else None

    def settle_fact(
        self, uuid: str, state: facts.FactState | str, text: str
    ) -> None:
        """Say what became of a fact; it leaves the inbox."""
        became = facts.FactState(state)
        self._db.write(
            lambda connection: inbox.settle(connection, uuid, became, text)
        )

    # Incidents

    def open_incidents(self) -> tuple[core.Incident, ...]:
        """Every incident that is not closed, oldest first.

        But for those that a newer release has written; see
        ``newer_incidents``.
        """
        table = models.incidents
        return self._load(
            core.Incident,
            sa.select(table.c.document)
            .where(table.c.open_key.is_not(None))
            .order_by(table.c.opened_at, table.c.uuid),
        )

    def newer_incidents(self) -> tuple[str, ...]:
        """Hosts with an open incident that only a newer release can read."""
        return self._db.read(ledger.newer)

    def open_incident_of(self, host: str) -> core.Incident | None:
        """The open incident of a host."""
        return self._one(models.incidents.c.open_key == host)

    def incident(self, uuid: str) -> core.Incident | None:
        """One incident, open or closed."""
        return self._one(models.incidents.c.uuid == uuid)

    def incidents(
        self, limit: int = 100, host: str | None = None
    ) -> tuple[core.Incident, ...]:
        """Incidents, newest first, open and closed."""
        table = models.incidents
        query = sa.select(table.c.document)
        if host is not None:
            query = query.where(table.c.host == host)
        query = query.order_by(table.c.opened_at.desc(), table.c.uuid)
        return self._load(core.Incident, query.limit(limit))

    def recent_fences(self, since: float) -> tuple[gates.PastFence, ...]:
        """Fences of incidents that are over, but were not before ``since``."""
        return self._db.read(lambda found: ledger.fences(found, since))

    def create(
        self, incident: core.Incident, lease: Lease | None
    ) -> core.Incident:
        """The incident as stored, in its first generation.

        :raises AlreadyOpen: the host has another open incident.
        :raises LeaseLost: another engine took over.
        """
        first = dataclasses.replace(incident, generation=1)

        def work(connection: sa.Connection) -> core.Incident:
            if lease is not None:
                leases.check(self._db, connection, lease)
            connection.execute(
                sa.insert(models.incidents).values(
                    uuid=first.uuid, **ledger.columns(first)
                )
            )
            return first

        try:
            return self._db.write(work)
        except db_exception.DBDuplicateEntry as error:
            stored = self.incident(first.uuid)
            if stored == first:
                # Our own: the answer to its commit had been lost.
                return first
            # By its uuid: a newer release may have written it.
            query = sa.select(models.incidents.c.uuid).where(
                models.incidents.c.open_key == first.host
            )
            other = self._db.read(lambda found: found.execute(query).scalar())
            raise AlreadyOpen(
                f'Host {first.host!r} has open incident '
                f'{other or "(just closed)"!r}: '
                f'incident {first.uuid!r} was not stored'
            ) from error

    def save(self, incident: core.Incident, lease: Lease) -> core.Incident:
        """The incident in its next generation.

        :raises Conflict: somebody saved it since it was loaded.
        :raises LeaseLost: another engine took over.
        """
        table = models.incidents
        following = dataclasses.replace(
            incident, generation=incident.generation + 1
        )
        columns = ledger.columns(following)

        def work(connection: sa.Connection) -> core.Incident:
            leases.check(self._db, connection, lease)
            done = connection.execute(
                sa.update(table)
                .where(table.c.uuid == incident.uuid)
                .where(table.c.generation == incident.generation)
                .values(columns)
            )
            if not done.rowcount:
                raise ledger.conflict(connection, incident)
            return following

        return self._db.write(work)

    def next_epoch(self, host: str) -> int:
        """The next epoch of a host; nobody else gets the same."""
        return self._db.write(
            lambda connection: ledger.next_epoch(connection, host)
        )

    def report(self, fact: facts.Fact) -> str:
        """Uuid of the incident that a verified fact belongs to.

        The fact joins the open incident of its host or opens one. It also goes
        to the engine's inbox. Needs no lease: an incident that is only
        suspected does nothing.

        :raises ValueError: the fact is not a verified report of a host.
        """
        if not (
            fact.verified
            and fact.host
            and fact.kind is facts.FactKind.HOST_DOWN
        ):
            raise ValueError(
                f'Fact {fact.uuid!r} opens no incident: expected a verified '
                f'host-down with a host, found {fact.kind.value!r} of host '
                f'{fact.host!r}, verified={fact.verified}'
            )

        query = sa.select(models.incidents.c.uuid).where(
            models.incidents.c.open_key == fact.host
        )

        def work(connection: sa.Connection) -> tuple[str, bool]:
            try:
                uuid = connection.execute(query).scalar_one_or_none()
                opened = uuid is None
                if uuid is None:
                    uuid = ledger.open_for(self._db, connection, fact)
                inbox.add(self._db, connection, fact)
            except db_exception.DBDuplicateEntry as error:
                # Somebody reported the same at the same moment: join.
                raise db_exception.RetryRequest(error) from error
            return str(uuid), opened

        uuid, opened = self._db.write(work)
        if opened:
            LOG.info(
                'Host %(host)s suspected in new incident %(uuid)s',
                {'host': fact.host, 'uuid': uuid},
            )
        return uuid

    # The lease

    def lease_state(self) -> values.LeaseState:
        """Who has the right to act, and the newest token."""
        return leases.state(self._db)

    def take_lease(
        self,
        owner: str,
        ttl: float,
        locked: bool = False,
        expected: int | None = None,
    ) -> Lease:
        """The right to act; see ``leases`` for owner and arguments.

        :raises LeaseHeld: another engine is at work.
        """
        return leases.take(self._db, owner, ttl, locked, expected)

    def renew_lease(self, lease: Lease) -> Lease:
        """The lease for another ttl.

        :raises LeaseLost: another engine took over.
        """
        return leases.renew(self._db, lease)

    def release_lease(self, lease: Lease) -> None:
        """Give the lease back; no error when it is lost already."""
        leases.release(self._db, lease)

    # Operators

    def arm_state(self) -> ArmState:
        """Whether the engine may act. Not before somebody said so.

        The opposite of what was said once its time is over.
        """
        return self._db.read(
            lambda connection: arming.state(self._db, connection)
        )

    def arm_history(self, limit: int = 100) -> tuple[ArmState, ...]:
        """Who armed and disarmed, newest first."""
        return self._db.read(
            lambda connection: arming.history(connection, limit)
        )

    def set_arm_state(
        self, armed: bool, by: str, reason: str, until: float | None = None
    ) -> ArmState:
        """The new arm state; the old ones stay in the history.

        :param until: when the opposite begins, by the store's clock.
        """
        wanted = ArmState(armed, by, reason, 0.0, until)
        return self._db.write(
            lambda connection: arming.change(self._db, connection, wanted)
        )

    def brakes(self) -> tuple[values.Brake, ...]:
        """What holds now, in the order of kind and name."""
        return self._db.read(
            lambda connection: brakes.held(self._db, connection)
        )

    def set_brake(self, brake: values.Brake) -> values.Brake:
        """The brake as stored; replaces the one of that kind and name."""
        return self._db.write(
            lambda connection: brakes.put_on(self._db, connection, brake)
        )

    def unset_brake(
        self, kind: str, name: str, by: str, reason: str = ''
    ) -> bool:
        """Whether there was such a brake to take off."""
        brake = values.Brake(kind, name, by=by)
        return self._db.write(
            lambda connection: brakes.take_off(
                self._db, connection, brake, reason
            )
        )

    def brake_history(self, limit: int = 100) -> tuple[values.BrakeEntry, ...]:
        """Brakes that hold and that ended, newest first."""
        return self._db.read(
            lambda connection: brakes.history(self._db, connection, limit)
        )

    # Engines

    def note_engine(
        self, name: str, ttl: float, told: dict[str, typing.Any]
    ) -> None:
        """Replace what an engine says of itself: JSON values only."""
        self._db.write(
            lambda connection: fleet.note(
                self._db, connection, name, ttl, told
            )
        )

    def engines(self) -> tuple[values.EngineState, ...]:
        """Engines that reported within the last day, by name.

        Those too that died without a word: compare ``age`` with ``ttl``.
        """
        return self._db.read(
            lambda connection: fleet.known(self._db, connection)
        )

    def forget_engine(self, name: str) -> None:
        """An engine stopped in good order; no error when it is unknown."""
        self._db.write(lambda connection: fleet.forget(connection, name))

    # Hosts, and what the acting engine says

    def host_records(self) -> tuple[HostRecord, ...]:
        """What is known of every host, in the order of its name."""
        table = models.hosts
        return self._load(
            HostRecord, sa.select(table.c.document).order_by(table.c.host)
        )

    def save_host_record(self, record: HostRecord) -> None:
        """Replace what is known of a host."""
        self._replace(
            models.hosts, 'host', record.host, document=documents.dumps(record)
        )

    def engine_status(self) -> dict[str, typing.Any]:
        """What the engine last said of itself; {} if it never did.

        Brings ``reported_at`` and ``age``, both by the store's clock.
        """
        table = models.engine_status
        query = sa.select(
            table, (self._db.clock - table.c.reported_at).label('age')
        ).where(table.c.name == _STATUS)
        row = self._db.read(lambda found: found.execute(query).first())
        if row is None:
            return {}
        return {
            **json.loads(row.document),
            'reported_at': row.reported_at,
            'age': max(0.0, float(row.age)),
        }

    def save_engine_status(self, status: dict[str, typing.Any]) -> None:
        """Replace what the engine says of itself: JSON values only."""
        self._replace(
            models.engine_status,
            'name',
            _STATUS,
            reported_at=self._db.clock,
            document=json.dumps(status),
        )

    def purge(self, days: float) -> Purged:
        """How much was removed: closed incidents, settled facts and so on.

        Epochs, everything open and what operators said stay.
        """

        def work(connection: sa.Connection) -> Purged:
            before = self._db.now(connection) - days * _DAY
            closed = connection.execute(
                sa.delete(models.incidents)
                .where(models.incidents.c.open_key.is_(None))
                .where(models.incidents.c.closed_at < before)
            )
            settled = inbox.purge(connection, before)
            ended = evacuations.purge(connection, before)
            turns.purge(connection, before)
            return Purged(closed.rowcount, settled, ended)

        return self._db.write(work)

    # Inside a transaction

    def _replace(
        self, table: sa.Table, key: str, name: str, **columns: object
    ) -> None:
        def work(connection: sa.Connection) -> None:
            done = connection.execute(
                sa.update(table).where(table.c[key] == name).values(columns)
            )
            if done.rowcount:
                return
            try:
                connection.execute(
                    sa.insert(table).values(**{key: name}, **columns)
                )
            except db_exception.DBDuplicateEntry as error:
                raise db_exception.RetryRequest(error) from error

        self._db.write(work)

    def _load(
        self, kind: type[Value], query: sa.Select[typing.Any]
    ) -> tuple[Value, ...]:
        found = self._db.read(
            lambda connection: connection.execute(query).scalars().all()
        )
        return ledger.known(kind, found)

    def _one(self, clause: sa.ColumnElement[bool]) -> core.Incident | None:
        query = sa.select(models.incidents.c.document).where(clause)
        text = self._db.read(lambda found: found.execute(query).scalar())
        return None if text is None else ledger.read(text)


def open_store(conf: cfg.ConfigOpts) -> Store:
    """The store of [nova_ha_database] connection.

    Connects with the first call, not here.

    :raises NotConfigured: no database is named.
    """
    return Store(database.Database(conf))
