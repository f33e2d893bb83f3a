# SPDX-License-Identifier: Apache-2.0

"""The store and the heartbeats in memory, under the rules of the real ones.

Each engine has an ``Access`` of its own, which can be cut. When an engine
starts, what is saved goes through the documents of the versioned objects: a
field that does not survive a restart is found out.
"""

from collections.abc import Callable
import dataclasses
import typing

import sqlalchemy as sa
from sqlalchemy import pool

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values
from tests.scenarios import world as world_


class Away(values.StoreError):
    """The database does not answer."""


class Store:
    """Implements ``engine.context.Store``.

    :ivar point: called before and after each save, with what is saved.
    :ivar down: why nobody reaches it, '' when it works.
    :ivar read_only: it answers and takes nothing.
    :ivar owner: who took the lease last, in truth.
    :ivar takeovers: how often it was taken.
    :ivar sql: the lease in a database, as the product keeps it.
    :ivar renewed_at: when the lease was last renewed, by its own clock.
    """

    def __init__(self, world: world_.World) -> None:
        self.world = world
        self.token = 0
        self.owner = ''
        self.takeovers = 0
        self.sql: typing.Any = None
        self.renewed_at = 0.0
        self.ttl = 0.0
        self.down = ''
        self.read_only = False
        self.newer: set[str] = set()
        self.on_brakes: dict[tuple[str, str], values.Brake] = {}
        self.engine_rows: dict[
            str, tuple[float, float, dict[str, typing.Any]]
        ] = {}
        self._last: (
            tuple[incident.Incident | None, incident.Incident] | None
        ) = None
        self.by_uuid: dict[str, incident.Incident] = {}
        self.facts: dict[str, facts.Fact] = {}
        self.hosts: dict[str, values.HostRecord] = {}
        self.arm = values.ArmState(False, 'installation', 'never armed', 0.0)
        self.status: dict[str, typing.Any] = {}
        self.epochs: dict[str, int] = {}
        self.point: Callable[[str], None] = lambda what: None
        self.saved: Callable[
            [incident.Incident | None, incident.Incident], None
        ] = lambda before, after: None

    def now(self) -> float:
        return self.world.now + self.world.clock_error

    # --- facts ------------------------------------------------------------

    def add_fact(self, fact: facts.Fact) -> None:
        if fact.uuid not in self.facts:
            stamped = dataclasses.replace(fact, received_at=self.now())
            self.facts[fact.uuid] = stamped

    def pending_facts(self) -> tuple[facts.Fact, ...]:
        return tuple(
            fact
            for fact in self.facts.values()
            if fact.state == facts.FactState.PENDING
        )

    def settle_fact(self, uuid: str, state: str, text: str) -> None:
        self.point(f'before fact {state}')
        if uuid in self.facts:
            self.facts[uuid] = dataclasses.replace(
                self.facts[uuid], state=facts.FactState(state), text=text
            )
        self.point(f'after fact {state}')

    # --- incidents --------------------------------------------------------

    def open_incidents(self) -> tuple[incident.Incident, ...]:
        return tuple(
            subject
            for subject in self.by_uuid.values()
            if subject.phase not in incident.CLOSED_PHASES
        )

    def incidents(
        self, limit: int, host: str | None = None
    ) -> tuple[incident.Incident, ...]:
        found = [
            subject
            for subject in reversed(self.by_uuid.values())
            if host in (None, subject.host)
        ]
        return tuple(found[:limit])

    def newer_incidents(self) -> tuple[str, ...]:
        """Hosts whose open incident a newer release wrote."""
        return tuple(sorted(self.newer))

    def recent_fences(self, since: float) -> tuple[gates.PastFence, ...]:
        return tuple(
            gates.PastFence(each.host, each.domain, each.fence.intended_at)
            for each in self.by_uuid.values()
            if each.phase in incident.CLOSED_PHASES
            and each.fence is not None
            and (each.closed_at or 0.0) >= since
        )

    def next_epoch(self, host: str) -> int:
        self.epochs[host] = self.epochs.get(host, 0) + 1
        return self.epochs[host]

    def create(
        self, subject: incident.Incident, lease: values.Lease | None, /
    ) -> incident.Incident:
        self.point(f'before create {subject.host}')
        if lease is not None:
            self.renew_lease(lease)
        if any(i.host == subject.host for i in self.open_incidents()):
            raise values.AlreadyOpen(subject.host)
        after = self._kept(dataclasses.replace(subject, generation=0))
        self._last = None, after
        self.saved(None, after)
        self.point(f'after create {subject.host}')
        return after

    def save(
        self, subject: incident.Incident, lease: values.Lease, /
    ) -> incident.Incident:
        self.point(f'before save {subject.host} {subject.phase}')
        self.renew_lease(lease)
        before = self.by_uuid[subject.uuid]
        if before.generation != subject.generation:
            raise values.Conflict(
                f'expected {subject.generation}, found {before.generation}'
            )
        after = self._kept(subject)
        self._last = before, after
        self.saved(before, after)
        self.point(f'after save {subject.host} {subject.phase}')
        return after

    def _kept(self, subject: incident.Incident) -> incident.Incident:
        after = dataclasses.replace(subject, generation=subject.generation + 1)
        self.by_uuid[subject.uuid] = after
        return after

    def reload(self) -> None:
        """Keep only what a restart finds: what the documents hold."""
        for uuid, subject in self.by_uuid.items():
            document = documents.dumps(subject)
            found = documents.loads(incident.Incident, document)
            if found != subject:
                raise ValueError(f'{uuid} did not survive its document')
            self.by_uuid[uuid] = found

    def lose_last(self) -> incident.Incident | None:
        """Forget the newest save, as a failover to a replica does.

        Return what the incident is now, None when it is gone.
        """
        if self._last is None:
            return None
        before, after = self._last
        self._last = None
        if before is None:
            del self.by_uuid[after.uuid]
        else:
            self.by_uuid[after.uuid] = before
        return before

    # --- operators --------------------------------------------------------

    def arm_state(self) -> values.ArmState:
        arm = self.arm
        if arm.until is None or self.now() < arm.until:
            return arm
        return values.ArmState(not arm.armed, 'until', arm.reason, arm.until)

    def brakes(self) -> tuple[values.Brake, ...]:
        return tuple(
            brake
            for brake in self.on_brakes.values()
            if brake.until is None or brake.until > self.now()
        )

    def set_brake(self, brake: values.Brake) -> values.Brake:
        brake = dataclasses.replace(brake, at=self.now())
        self.on_brakes[brake.kind, brake.name] = brake
        return brake

    def unset_brake(
        self, kind: str, name: str, by: str, reason: str = ''
    ) -> bool:
        return self.on_brakes.pop((kind, name), None) is not None

    # --- hosts and engines ------------------------------------------------

    def host_records(self) -> tuple[values.HostRecord, ...]:
        return tuple(self.hosts.values())

    def save_host_record(self, record: values.HostRecord) -> None:
        self.hosts[record.host] = record

    def save_engine_status(self, status: dict[str, typing.Any]) -> None:
        self.status = status

    def note_engine(
        self, name: str, ttl: float, told: dict[str, typing.Any]
    ) -> None:
        self.engine_rows[name] = self.now(), ttl, told

    def engines(self) -> tuple[values.EngineState, ...]:
        return tuple(
            values.EngineState(name, max(self.now() - at, 0.0), ttl, told)
            for name, (at, ttl, told) in sorted(self.engine_rows.items())
        )

    def forget_engine(self, name: str) -> None:
        self.engine_rows.pop(name, None)

    # --- the lease --------------------------------------------------------

    def lease_state(self) -> values.LeaseState:
        if self.sql is not None:
            return leases.state(self.sql)
        return values.LeaseState(
            self.token, self.owner, self.now() - self.renewed_at, self.ttl
        )

    def take_lease(
        self,
        owner: str,
        ttl: float,
        locked: bool = False,
        expected: int | None = None,
    ) -> values.Lease:
        """Take the lease with a higher token.

        :param locked: the lock of the coordination says that the engine
            before is gone: its lease is taken at once.
        :param expected: take it only from this token.
        """
        if self.sql is not None:
            lease = leases.take(self.sql, owner, ttl, locked, expected)
            self.token = lease.token
        else:
            state = self.lease_state()
            free = locked or state.is_over or state.owner == owner
            if not free or expected not in (None, state.token):
                raise values.LeaseHeld(state.owner, state.age)
            self.token += 1
            lease = values.Lease(self.token, owner, taken_from=state.owner)
        self.takeovers += 1
        self.owner, self.ttl, self.renewed_at = owner, ttl, self.now()
        return lease

    def renew_lease(self, lease: values.Lease) -> values.Lease:
        if self.sql is not None:
            return leases.renew(self.sql, lease)
        if lease.token != self.token:
            raise values.LeaseLost(f'token {lease.token}, now {self.token}')
        self.renewed_at = self.now()
        return lease

    def lease_in_sql(self) -> None:
        """Keep the lease as the product does, in a database of its own."""
        self.sql = Sql(self.now)


class Sql:
    """The part of ``store.database`` that the lease needs, on our clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._engine = sa.create_engine('sqlite://', poolclass=pool.StaticPool)
        models.leases.create(self._engine)

    @property
    def clock(self) -> sa.ColumnElement[float]:
        return sa.literal(self._now(), sa.Float)

    def write(self, work: Callable[[sa.Connection], typing.Any]) -> typing.Any:
        with self._engine.begin() as connection:
            return work(connection)

    read = write


_READING = frozenset(
    {
        'now',
        'pending_facts',
        'open_incidents',
        'incidents',
        'arm_state',
        'brakes',
        'engines',
        'lease_state',
        'newer_incidents',
        'recent_fences',
        'host_records',
    }
)


class Access:
    """The way of one engine to the store.

    :ivar cut: this engine does not reach the store, others do.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cut = False

    def __getattr__(self, name: str) -> typing.Any:
        store = self._store
        found = getattr(store, name)
        if not callable(found):
            return found

        def call(*args: typing.Any, **more: typing.Any) -> typing.Any:
            if self.cut or store.down:
                raise Away('connection to the database refused')
            if store.read_only and name not in _READING:
                raise Away('the database is read-only')
            return found(*args, **more)

        return call


class Liveness:
    """The newest heartbeat of each host, aged by the store's clock.

    :ivar away: why nobody reaches the database, '' when it works.
    :ivar lag: seconds by which reads come from a replica that is behind.
    """

    def __init__(self, world: world_.World) -> None:
        self.world = world
        self.newest: dict[str, tuple[world_.Heard, float]] = {}
        self.boots: dict[tuple[str, str], int] = {}
        self.away: Callable[[], str] = lambda: ''
        self.lag = 0.0
        self._past: list[tuple[float, str, tuple[world_.Heard, float]]] = []
        world.on_beat = self.hear

    def hear(self, beat: world_.Heard) -> None:
        if self.away():
            return
        key = (beat.host, beat.boot_id)
        if beat.sequence <= self.boots.get(key, -1):
            return
        newest = self.newest.get(beat.host)
        if newest and newest[0].boot_id != beat.boot_id and key in self.boots:
            return
        self.boots[key] = beat.sequence
        self.newest[beat.host] = (beat, self._now())
        self._past.append((self.world.now, beat.host, self.newest[beat.host]))
        del self._past[: -100 * len(self.newest)]

    def _now(self) -> float:
        return self.world.now + self.world.clock_error

    def read(self) -> tuple[views.Beat, ...]:
        # As the real one: silence counts from now when the clock went back.
        self.newest = {
            host: (beat, min(at, self._now()))
            for host, (beat, at) in self.newest.items()
        }
        newest = self.newest
        if self.lag:
            newest = {
                host: heard
                for at, host, heard in self._past
                if at <= self.world.now - self.lag
            }
        return tuple(
            views.Beat(
                host=host,
                service_uuid=f'svc-{host}',
                boot_id=beat.boot_id,
                sequence=beat.sequence,
                system_uuid=beat.system_uuid,
                age=self._now() - at,
            )
            for host, (beat, at) in sorted(newest.items())
        )
