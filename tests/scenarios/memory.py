# SPDX-License-Identifier: Apache-2.0

"""The store and the heartbeats in memory, under the rules of the real ones.

When an engine starts, what is saved goes through the documents of the
versioned objects: a field that does not survive a restart is found out.
"""

from collections.abc import Callable
import dataclasses
import typing

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values
from tests.scenarios import world as world_


class Store:
    """Implements ``engine.context.Store``.

    :ivar point: called before and after each save, with what is saved.
    """

    def __init__(self, world: world_.World) -> None:
        self.world = world
        self.token = 0
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

    # --- the rest ---------------------------------------------------------

    def arm_state(self) -> values.ArmState:
        return self.arm

    def host_records(self) -> tuple[values.HostRecord, ...]:
        return tuple(self.hosts.values())

    def save_host_record(self, record: values.HostRecord) -> None:
        self.hosts[record.host] = record

    def save_engine_status(self, status: dict[str, typing.Any]) -> None:
        self.status = status

    def take_lease(self, owner: str) -> values.Lease:
        self.token += 1
        return values.Lease(self.token, owner)

    def renew_lease(self, lease: values.Lease) -> values.Lease:
        if lease.token != self.token:
            raise values.LeaseLost(f'token {lease.token}, now {self.token}')
        return lease


class Liveness:
    """The newest heartbeat of each host, aged by the store's clock."""

    def __init__(self, world: world_.World) -> None:
        self.world = world
        self.newest: dict[str, tuple[world_.Heard, float]] = {}
        self.boots: dict[tuple[str, str], int] = {}
        world.on_beat = self.hear

    def hear(self, beat: world_.Heard) -> None:
        key = (beat.host, beat.boot_id)
        if beat.sequence <= self.boots.get(key, -1):
            return
        newest = self.newest.get(beat.host)
        if newest and newest[0].boot_id != beat.boot_id and key in self.boots:
            return
        self.boots[key] = beat.sequence
        self.newest[beat.host] = (beat, self._now())

    def _now(self) -> float:
        return self.world.now + self.world.clock_error

    def read(self) -> tuple[views.Beat, ...]:
        # As the real one: silence counts from now when the clock went back.
        self.newest = {
            host: (beat, min(at, self._now()))
            for host, (beat, at) in self.newest.items()
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
            for host, (beat, at) in sorted(self.newest.items())
        )
