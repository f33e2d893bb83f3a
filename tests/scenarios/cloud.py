# SPDX-License-Identifier: Apache-2.0

"""Nova as it behaves: services, servers, evacuation records, their life.

It imitates what nova 34 was seen to do, the bad sides included: it takes a
second evacuation while the first one runs, leaves a guest behind when
something fails after the spawn, and leaves records open for ever.
"""

from collections.abc import Callable
import dataclasses

from tests.scenarios import world as world_

CLOSED = ('done', 'completed', 'error', 'failed')
_CLAIMING = 1.0
_PREPARING = 1.0
_FINISHING = 1.0


class NovaError(Exception):
    """Nova answers with a status that is not a success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f'{status}: {text}')
        self.status = status


@dataclasses.dataclass
class Service:
    """One nova-compute service row."""

    host: str
    uuid: str
    forced_down: bool = False
    disabled: bool = False
    reason: str = ''
    last_seen: float = 0.0


@dataclasses.dataclass
class Server:
    """One instance row, and what it was before anything failed.

    :ivar touched: its owner changed its state: the old one counts no more.
    """

    uuid: str
    host: str
    vm_state: str
    metadata: dict[str, str]
    task_state: str | None = None
    origin: str = ''
    first_state: str = ''
    touched: bool = False
    changed_at: float = 0.0


@dataclasses.dataclass
class Migration:
    """One evacuation record.

    :ivar by: who asked: 'engine' or 'operator', or nova's 'tracker'.
    :ivar running: a process of nova still works on it.
    """

    number: int
    server: str
    source: str
    created_at: float
    by: str
    status: str = 'accepted'
    dest: str | None = None
    running: bool = True
    kind: str = 'evacuation'

    @property
    def uuid(self) -> str:
        return f'mig-{self.number}'


@dataclasses.dataclass
class _Work:
    """A rebuild under way.

    :ivar record: what the compute service knows of as its record; None after
        the source closed it before the conductor looked.
    """

    migration: Migration
    server: Server
    original: str
    record: Migration | None
    dest: str = ''
    starts: int = 0


class Cloud:
    """Nova's database and what works on it.

    :ivar spawn_fault: host to 'fail' (before the guest), 'stray' (after it),
        'claim' (no claim); applies to the next rebuild there.
    :ivar poison: servers of which no claim ever succeeds.
    """

    def __init__(self, world: world_.World) -> None:
        self.world = world
        self.services = {
            name: Service(name, f'svc-{name}', last_seen=world.now)
            for name in world.hosts
        }
        self.servers: dict[str, Server] = {}
        self.migrations: list[Migration] = []
        self.spawn_fault: dict[str, str] = {}
        self.poison: set[str] = set()
        self.schedule_seconds = 1.0
        self.spawn_seconds = 3.0
        self.no_capacity = False
        self._queue: dict[str, list[Callable[[], None]]] = {}

        world.on_compute_start = self._compute_started
        world.on_power_off = self._power_lost
        self._report()

    def boot(
        self, uuid: str, host: str, metadata: dict[str, str], vm_state: str
    ) -> None:
        self.servers[uuid] = Server(
            uuid,
            host,
            vm_state,
            metadata,
            origin=host,
            first_state=vm_state,
        )
        # The domain of a paused server has its disk open.
        self.world.hosts[host].guests[uuid] = vm_state in (
            'active',
            'paused',
            'rescued',
        )

    # --- services ---------------------------------------------------------

    def _report(self) -> None:
        for name, service in self.services.items():
            if self.serves(name):
                service.last_seen = self.world.now
                self._take(name)
        self.world.later(10.0, self._report)

    def serves(self, name: str) -> bool:
        """Whether nova-compute of the host takes and does work."""
        host = self.world.hosts[name]
        return host.running and host.compute and host.bus and self.world.bus

    def up(self, name: str) -> bool:
        service = self.services[name]
        if service.forced_down:
            return False
        age = self.world.now - service.last_seen
        return age < world_.SERVICE_DOWN_TIME

    def by_uuid(self, uuid: str) -> Service:
        for service in self.services.values():
            if service.uuid == uuid:
                return service
        raise NovaError(404, f'no service {uuid}')

    def force_down(self, uuid: str, forced: bool) -> None:
        service = self.by_uuid(uuid)
        if not forced and any(
            m.source == service.host and m.status == 'done'
            for m in self.migrations
        ):
            raise NovaError(
                400, 'Unable to set forced_down: evacuations not cleaned up'
            )
        service.forced_down = forced

    def disable(self, uuid: str, reason: str) -> None:
        service = self.by_uuid(uuid)
        service.disabled, service.reason = True, reason

    def enable(self, uuid: str) -> None:
        service = self.by_uuid(uuid)
        service.disabled, service.reason = False, ''

    def _compute_started(self, name: str) -> None:
        """Remove the guests that were evacuated; then take old messages."""
        self.services[name].last_seen = self.world.now
        for migration in self.migrations:
            if migration.source != name:
                continue
            if migration.status in ('accepted', 'pre-migrating', 'done'):
                migration.status = 'completed'
                self.world.hosts[name].guests.pop(migration.server, None)
        self._take(name)

    def _take(self, name: str) -> None:
        """Take the messages that waited in the bus."""
        for message in self._queue.pop(name, []):
            message()

    def _power_lost(self, name: str) -> None:
        for migration in self.migrations:
            if migration.dest == name:
                migration.running = False

    # --- what tenants and operators do ------------------------------------

    def delete(self, uuid: str) -> None:
        self.servers.pop(uuid, None)
        for host in self.world.hosts.values():
            if host.running and host.compute:
                host.guests.pop(uuid, None)

    def get(self, uuid: str) -> Server:
        if uuid not in self.servers:
            raise NovaError(404, f'no server {uuid}')
        return self.servers[uuid]

    def stop(self, uuid: str) -> None:
        server = self.get(uuid)
        if server.vm_state != 'active' or server.task_state is not None:
            raise NovaError(409, f'{server.vm_state}/{server.task_state}')
        server.task_state = 'powering-off'
        if self.serves(server.host):
            host = server.host
            self.world.later(1.0, lambda: self._stopped(uuid, host))

    def _stopped(self, uuid: str, host: str) -> None:
        server = self.servers.get(uuid)
        if server is None or server.host != host or not self.serves(host):
            return
        self.world.hosts[host].guests[uuid] = False
        server.vm_state, server.task_state = 'stopped', None

    def start(self, uuid: str) -> None:
        self._change(uuid, 'stopped', 'powering-on', 'active')

    def pause(self, uuid: str) -> None:
        self._change(uuid, 'active', 'pausing', 'paused')

    def _change(self, uuid: str, was: str, task: str, becomes: str) -> None:
        server = self.get(uuid)
        if server.vm_state != was or server.task_state is not None:
            raise NovaError(409, f'{server.vm_state}/{server.task_state}')
        server.task_state = task
        host = server.host

        def end() -> None:
            there = self.servers.get(uuid)
            if there is None or there.host != host or not self.serves(host):
                return
            self.world.hosts[host].guests[uuid] = True
            there.vm_state, there.task_state = becomes, None

        if self.serves(host):
            self.world.later(1.0, end)

    def reset(self, uuid: str) -> None:
        """os-resetState: written to the database at once, nothing is done."""
        server = self.get(uuid)
        server.vm_state, server.task_state = 'active', None

    def asked(self, uuid: str, task: str, becomes: str = '') -> None:
        """Its owner asked for something that the host never did."""
        server = self.get(uuid)
        server.task_state = task
        if becomes:
            server.first_state = becomes

    # --- evacuation -------------------------------------------------------

    def evacuate(self, uuid: str, by: str) -> Migration:
        server = self.get(uuid)
        if server.vm_state not in ('active', 'stopped', 'error'):
            raise NovaError(409, f'Cannot evacuate: {server.vm_state}')
        if self.up(server.host):
            raise NovaError(
                400, f'Compute service of {server.host} is still in use'
            )
        server.task_state = 'rebuilding'
        migration = Migration(
            len(self.migrations) + 1, uuid, server.host, self.world.now, by
        )
        self.migrations.append(migration)
        work = _Work(migration, server, server.vm_state, migration)
        self.world.later(self.schedule_seconds, lambda: self._schedule(work))
        return migration

    def open_of(self, uuid: str) -> list[Migration]:
        return [
            m
            for m in self.migrations
            if m.server == uuid and m.status not in CLOSED
        ]

    def _gone(self, work: _Work) -> bool:
        return self.servers.get(work.server.uuid) is not work.server

    def _schedule(self, work: _Work) -> None:
        if work.migration.status != 'accepted':
            work.record = None
        if self._gone(work):
            return self._end(work, 'error')
        dest = self.choose(work.server.host)
        if dest is None:
            work.server.vm_state, work.server.task_state = 'error', None
            return self._end(work, 'error')
        work.dest = dest
        self.cast(dest, lambda: self._claim(work))
        return None

    def choose(self, source: str) -> str | None:
        best: list[tuple[int, str]] = []
        for name, host in self.world.hosts.items():
            load = sum(s.host == name for s in self.servers.values())
            load += sum(
                m.dest == name and m.status not in CLOSED
                for m in self.migrations
            )
            if name == source or self.services[name].disabled:
                continue
            if self.up(name) and load < host.capacity and not self.no_capacity:
                best.append((load, name))
        return min(best)[1] if best else None

    def cast(self, name: str, message: Callable[[], None]) -> None:
        """Send to nova-compute; it waits in the bus while nobody listens."""
        if self.serves(name):
            self.world.later(_CLAIMING, lambda: self._receive(name, message))
        else:
            self._queue.setdefault(name, []).append(message)

    def _receive(self, name: str, message: Callable[[], None]) -> None:
        if self.serves(name):
            message()
        else:
            self._queue.setdefault(name, []).append(message)

    def _claim(self, work: _Work) -> None:
        if self._gone(work):
            return self._end(work, 'failed')
        fault = self.spawn_fault.get(work.dest)
        if fault == 'claim' or work.server.uuid in self.poison:
            if fault == 'claim':
                del self.spawn_fault[work.dest]
            work.server.task_state = None
            return self._end(work, 'failed')
        if work.record is None:
            # The resource tracker makes a record of its own, which nobody
            # will ever close.
            work.migration.running = False
            work.migration = work.record = Migration(
                len(self.migrations) + 1,
                work.server.uuid,
                work.migration.source,
                self.world.now,
                'tracker',
            )
            self.migrations.append(work.record)
        work.starts = self.world.hosts[work.dest].starts
        work.record.status, work.record.dest = 'pre-migrating', work.dest
        self._on_dest(work, _PREPARING, self._spawn)
        return None

    def _on_dest(
        self, work: _Work, seconds: float, what: Callable[[_Work], None]
    ) -> None:
        """Go on at the destination, if it is still the same process.

        A host whose kernel hangs stands still, and goes on where it was.
        """

        def go_on() -> None:
            host = self.world.hosts[work.dest]
            if not host.compute or host.starts != work.starts:
                work.migration.running = False
            elif not host.kernel or not (host.bus and self.world.bus):
                self.world.later(1.0, go_on)
            else:
                what(work)

        self.world.later(seconds, go_on)

    def _spawn(self, work: _Work) -> None:
        if self._gone(work):
            return self._end(work, 'failed')
        work.server.task_state = 'rebuild_spawning'
        return self._on_dest(work, self.spawn_seconds, self._spawned)

    def _spawned(self, work: _Work) -> None:
        if self._gone(work):
            return self._end(work, 'failed')
        fault = self.spawn_fault.pop(work.dest, '')
        if fault != 'fail':
            self.world.hosts[work.dest].guests[work.server.uuid] = True
        if fault in ('fail', 'stray'):
            work.server.vm_state, work.server.task_state = 'error', None
            return self._end(work, 'failed')
        if work.original == 'stopped':
            self.world.hosts[work.dest].guests[work.server.uuid] = False
            work.server.vm_state = 'stopped'
        else:
            work.server.vm_state = 'active'
        # The task ends before the host changes: that looks finished but is
        # not.
        work.server.task_state = None
        return self._on_dest(work, _FINISHING, self._finish)

    def _finish(self, work: _Work) -> None:
        if self._gone(work):
            return self._end(work, 'failed')
        work.server.host = work.dest
        return self._end(work, 'done')

    @staticmethod
    def _end(work: _Work, status: str) -> None:
        work.migration.running = False
        if work.record is not None and work.record.by != 'tracker':
            work.record.status = status
