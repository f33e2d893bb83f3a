# SPDX-License-Identifier: Apache-2.0

"""Nova's live migration as it behaves.

The conductor makes the record and checks that the source is up; the source
does the work. The guest runs at the source until it is paused there and goes
on at the destination, in one moment; only afterwards does the source's
nova-compute write where it is. A source that dies in between leaves a guest
that runs where nova's database does not say, and a record that stays open.
"""

import dataclasses
import typing

from tests.scenarios import cloud as cloud_

if typing.TYPE_CHECKING:
    from collections.abc import Callable

_PREPARING = 1.0
_POST = 1.0


@dataclasses.dataclass
class _Work:
    """A live migration under way.

    :ivar starts: of the source's nova-compute: another process knows nothing
        of it.
    """

    record: cloud_.Migration
    server: cloud_.Server
    starts: int = 0


class Live:
    """The live migrations of a cloud.

    :ivar fault: source host to 'fail' (nova rolls back) or 'hang' (goes on
        for ever, until the fault ends).
    :ivar seconds: from the start of the copy to the switch.
    """

    def __init__(self, cloud: cloud_.Cloud) -> None:
        self.cloud = cloud
        self.world = cloud.world
        self.records: list[cloud_.Migration] = []
        self.fault: dict[str, str] = {}
        self.seconds = 4.0
        started = self.world.on_compute_start

        def on_compute_start(name: str) -> None:
            self._restarted(name)
            started(name)

        self.world.on_compute_start = on_compute_start

    def migrate(self, uuid: str, by: str) -> None:
        """Accept the call, as nova does: nothing is checked but the state.

        :raises NovaError: 404 or 409.
        """
        server = self.cloud.get(uuid)
        if (
            server.vm_state not in ('active', 'paused')
            or server.task_state is not None
        ):
            raise cloud_.NovaError(
                409, f'{server.vm_state}/{server.task_state}'
            )
        server.task_state = 'migrating'
        self.world.later(
            self.cloud.schedule_seconds, lambda: self._schedule(server, by)
        )

    def open_of(self, uuid: str) -> list[cloud_.Migration]:
        return [
            record
            for record in self.records
            if record.server == uuid
            and record.status not in (*cloud_.CLOSED, 'cancelled')
        ]

    def _schedule(self, server: cloud_.Server, by: str) -> None:
        if self._gone(server):
            return
        record = cloud_.Migration(
            1000 + len(self.records),
            server.uuid,
            server.host,
            self.world.now,
            by,
            kind='live-migration',
        )
        self.records.append(record)
        work = _Work(record, server)
        if not self.cloud.up(server.host):
            self._failed(work)
            return
        record.dest = self.cloud.choose(server.host)
        if record.dest is None:
            self._failed(work)
            return
        self.cloud.cast(server.host, lambda: self._prepare(work))

    def _gone(self, server: cloud_.Server) -> bool:
        return (
            self.cloud.servers.get(server.uuid) is not server
            or server.task_state != 'migrating'
        )

    def _failed(self, work: _Work) -> None:
        work.record.status, work.record.running = 'error', False
        if not self._gone(work.server):
            work.server.task_state = None

    def _prepare(self, work: _Work) -> None:
        source, dest = work.record.source, work.record.dest
        assert dest is not None
        work.starts = self.world.hosts[source].starts
        if self._gone(work.server) or work.server.host != source:
            self._failed(work)
        elif not self.cloud.serves(dest) or not self._runs(work, source):
            self._failed(work)
        else:
            work.record.status = 'preparing'
            self.world.later(_PREPARING, lambda: self._copy(work))

    def _runs(self, work: _Work, host: str) -> bool:
        return self.world.hosts[host].guests.get(work.server.uuid, False)

    def _copy(self, work: _Work) -> None:
        work.record.status = 'running'
        self.world.later(self.seconds, lambda: self._switch(work))

    def _again(self, work: _Work, what: 'Callable[[_Work], None]') -> None:
        self.world.later(1.0, lambda: what(work))

    def _switch(self, work: _Work) -> None:
        """Pause at the source and go on at the destination: one moment."""
        uuid, source_name = work.server.uuid, work.record.source
        source = self.world.hosts[source_name]
        dest = self.world.hosts[work.record.dest or '']
        if work.record.status != 'running' or not source.power:
            # Nova-compute started anew and gave it up, or the source is off:
            # it never comes to the switch.
            work.record.running = False
            return
        if not source.kernel or self.fault.get(source_name) == 'hang':
            self._again(work, self._switch)
            return
        if (
            self.fault.get(source_name) == 'fail'
            or not dest.running
            or not self._runs(work, source_name)
        ):
            if self.fault.get(source_name) == 'fail':
                del self.fault[source_name]
            self._roll_back(work)
            return
        del source.guests[uuid]
        dest.guests[uuid] = True
        self.world.watch(f'{uuid} goes on at {dest.name}')
        work.record.status = 'post-migrating'
        self.world.later(_POST, lambda: self._post(work))

    def _roll_back(self, work: _Work) -> None:
        if self.world.hosts[work.record.source].starts != work.starts:
            work.record.running = False
        elif not self.cloud.serves(work.record.source):
            self._again(work, self._roll_back)
        else:
            self._failed(work)

    def _post(self, work: _Work) -> None:
        source = self.world.hosts[work.record.source]
        if not source.power or source.starts != work.starts:
            # Nobody writes where the guest is: the record stays open.
            work.record.running = False
        elif not self.cloud.serves(work.record.source):
            self._again(work, self._post)
        elif self.cloud.servers.get(work.server.uuid) is work.server:
            assert work.record.dest is not None
            work.server.host = work.record.dest
            work.server.task_state = None
            work.record.status, work.record.running = 'completed', False

    def _restarted(self, name: str) -> None:
        """As nova does at its start: what was running is aborted."""
        for record in self.records:
            server = self.cloud.servers.get(record.server)
            if record.source != name or server is None:
                continue
            if server.host != name or server.task_state != 'migrating':
                continue
            if record.status == 'running':
                record.status = 'error'
            server.task_state = None

    def end_lost(self) -> None:
        """A person looks where the guests are, and tells nova."""
        for record in self.records:
            server = self.cloud.servers.get(record.server)
            if record.running or not self.open_of(record.server):
                continue
            if record.status in (*cloud_.CLOSED, 'cancelled'):
                continue
            dest = self.world.hosts[record.dest] if record.dest else None
            moved = dest is not None and record.server in dest.guests
            record.status = 'completed' if moved else 'error'
            if server is None or server.host != record.source:
                continue
            if server.task_state in ('migrating', None):
                server.task_state = None
                if moved and record.dest is not None:
                    server.host = record.dest
