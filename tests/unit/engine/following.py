# SPDX-License-Identifier: Apache-2.0

"""What the follower works with, without nova, database, bus and clock."""

import dataclasses

from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import evacuations
from nova_ha_plugins.store import values

LEASE = values.Lease(token=1, owner='engine:1')
BEGAN = 1_000_000.0


def an_evacuation(uuid='mig-1', **fields):
    given = {
        'server_uuid': f'vm-of-{uuid}',
        'status': 'pre-migrating',
        'state': 'running',
        'phase': 'preparing',
        'created_at': BEGAN,
        'source_compute': 'cmp-1',
        'dest_compute': 'cmp-2',
        'progress': 14,
        'boot_source': 'image',
        **fields,
    }
    return views.Evacuation(uuid=uuid, **given)


class Clock:
    """One clock for everybody; we turn it."""

    def __init__(self):
        self.at = BEGAN

    def __call__(self):
        return self.at

    def pass_(self, seconds):
        self.at += seconds


class Nova:
    """Shows evacuations as nova does.

    :ivar away: raised instead of an answer.
    :ivar takes: seconds that each list takes.
    :ivar takes_server: seconds that each other answer takes.
    """

    def __init__(self, clock):
        self._clock = clock
        self.records = {}
        self.unlisted = set()
        self.away = None
        self.away_servers = {}
        self.takes = 0.0
        self.takes_server = 0.0
        self.calls = []

    def show(self, uuid='mig-1', **fields):
        before = self.records.get(uuid)
        if before is None:
            self.records[uuid] = an_evacuation(uuid, **fields)
        else:
            self.records[uuid] = dataclasses.replace(before, **fields)

    def end(self, uuid='mig-1', **fields):
        self.show(
            uuid,
            **{
                'status': 'done',
                'state': 'succeeded',
                'phase': 'done',
                'progress': 100,
                'updated_at': self._clock(),
                'finished_at': self._clock(),
                **fields,
            },
        )

    def open(self):
        self._answer('open')
        return tuple(
            one
            for one in self.records.values()
            if one.status in ('accepted', 'pre-migrating')
            and one.uuid not in self.unlisted
        )

    def changed_since(self, at):
        self._answer('changed')
        return tuple(
            one
            for one in self.records.values()
            if (one.updated_at or 0.0) >= at and one.uuid not in self.unlisted
        )

    def of_server(self, uuid):
        self.calls.append(uuid)
        self._clock.pass_(self.takes_server)
        if uuid in self.away_servers:
            raise self.away_servers[uuid]
        found = tuple(
            one for one in self.records.values() if one.server_uuid == uuid
        )
        if not found:
            raise doors.Refused('no such server', 404)
        return found

    def _answer(self, call):
        self.calls.append(call)
        self._clock.pass_(self.takes)
        if self.away is not None:
            raise self.away


class Store:
    """Keeps traces in memory.

    :ivar saves: what each save brought.
    """

    def __init__(self, clock):
        self.now = clock
        self.traces = {}
        self.saves = []
        self.lost = False
        self.purged = []

    def evacuation_traces(self, uuids):
        return {
            uuid: self.traces[uuid] for uuid in uuids if uuid in self.traces
        }

    def open_evacuation_traces(self):
        return tuple(
            trace
            for trace in self.traces.values()
            if evacuations.is_followed(trace)
        )

    def save_evacuation_traces(self, traces, lease):
        if self.lost:
            raise values.LeaseLost('it belongs to somebody else')
        self.saves.append(traces)
        self.traces.update({trace.uuid: trace for trace in traces})

    def purge_evacuations(self, days):
        self.purged.append(days)
        return 0


class Bus:
    """Hears what is told.

    :ivar refuses: raised instead of taking it.
    """

    def __init__(self):
        self.heard = []
        self.refuses = None
        self.closed = False

    def tell(self, word, subject):
        if self.refuses is not None:
            raise self.refuses
        self.heard.append((word, subject.uuid, subject.progress))

    def close(self):
        self.closed = True

    def words(self, uuid='mig-1'):
        return [word for word, whose, _ in self.heard if whose == uuid]
