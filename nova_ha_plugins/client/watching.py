# SPDX-License-Identifier: Apache-2.0

"""What ``watch`` follows and how it is said; no terminal, no clock."""

from collections import abc
import dataclasses

from nova_ha_plugins.client import quantities
from nova_ha_plugins.client import rest

OPEN = ('queued', 'running')
_ENDED = frozenset({'succeeded', 'failed', 'superseded'})
# Of these nova's own records can still say more.
_UNSETTLED = frozenset({'accepted', 'pre-migrating', 'completed'})

# In the order of the work; other phases are no step.
_STEPS = (
    'accepted',
    'scheduling',
    'claiming',
    'preparing',
    'volumes',
    'spawning',
    'finishing',
    'done',
)

# What is different in each answer without any news in it; the sentence says
# in words what other fields have, and the time left.
_RESTLESS = frozenset(
    {
        'eta_seconds',
        'eta_p90_seconds',
        'eta_samples',
        'explanation',
        'updated_at',
    }
)

# A line is worth this much progress, when nothing else is new.
LEAP = 10

_COUNTS = (
    ('succeeded', 'back'),
    ('running', 'running'),
    ('queued', 'queued'),
    ('failed', 'failed'),
    ('superseded', 'superseded'),
    ('unknown', 'unknown'),
)


@dataclasses.dataclass
class Follower:
    """The evacuations that are being followed: the newest of each server.

    :ivar everything: also follow those that had ended before.
    :ivar names: what is shown instead of a server's id, by id.
    """

    everything: bool = False
    items: dict[str, rest.Item] = dataclasses.field(default_factory=dict)
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    _told: dict[str, rest.Item] = dataclasses.field(default_factory=dict)

    def update(self, found: abc.Iterable[rest.Item]) -> list[rest.Item]:
        """Take the newest answer; give the items with any news.

        :param found: evacuations, newest first.
        """
        newest: dict[str, rest.Item] = {}
        for item in found:
            newest.setdefault(item['server_uuid'], item)
        changed = []
        for server, item in newest.items():
            last = self.items.get(server)
            if last is None and has_ended(item) and not self.everything:
                continue
            item = _never_back(last, item)
            if last is None or _news(last) != _news(item):
                changed.append(item)
            self.items[server] = item
        return changed

    def vanished(self, found: abc.Iterable[rest.Item]) -> list[rest.Item]:
        """Give the open items that are not among the open ones any more."""
        servers = {item['server_uuid'] for item in found}
        return [
            item
            for server, item in self.items.items()
            if not has_ended(item) and server not in servers
        ]

    def worth_a_line(self, item: rest.Item) -> bool:
        """Whether it is to be printed anew; a bar moves, a log does not."""
        last = self._told.get(item['server_uuid'])
        if last is not None and _essence(last) == _essence(item):
            percent, before = item['progress'], last['progress']
            if (percent is None) == (before is None) and (
                percent is None or percent < before + LEAP
            ):
                return False
        self._told[item['server_uuid']] = item
        return True

    def name(self, item: rest.Item) -> str:
        """Give the name of the server, or its id while nobody knows it."""
        return self.names.get(item['server_uuid']) or str(item['server_uuid'])

    def ordered(self) -> list[rest.Item]:
        """Give the items as one wants to see them: trouble comes first."""
        return sorted(
            self.items.values(),
            key=lambda item: (
                _rank(item),
                -(item['progress'] or 0),
                item['created_at'],
                item['uuid'],
            ),
        )

    @property
    def open(self) -> int:
        """How many have not ended."""
        return sum(not has_ended(item) for item in self.items.values())

    @property
    def failed(self) -> list[rest.Item]:
        """Those that ended without success."""
        return [
            item
            for item in self.items.values()
            if has_ended(item) and item['state'] != 'succeeded'
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many there are in each state."""
        found: dict[str, int] = {}
        # Another thread draws while an answer is taken in.
        for item in list(self.items.values()):
            found[item['state']] = found.get(item['state'], 0) + 1
        return dict(sorted(found.items()))


def has_ended(item: rest.Item) -> bool:
    """Whether nothing new is to be expected of it."""
    if item['state'] == 'unknown':
        return item['status'] not in _UNSETTLED
    return item['state'] in _ENDED


def deleted(item: rest.Item) -> rest.Item:
    """Give what became of an evacuation whose server is not there any more."""
    return {
        **item,
        'state': 'failed',
        'phase': 'failed',
        'progress': None,
        'stalled': False,
        'reason': 'server_deleted',
        'eta_seconds': None,
        'eta_p90_seconds': None,
        'explanation': (
            'The server was deleted while it was being evacuated. Nothing is '
            'left to be done.'
        ),
    }


def _never_back(last: rest.Item | None, item: rest.Item) -> rest.Item:
    """Keep the numbers of one record from going back.

    Two API servers can give answers of different age.
    """
    if last is None or last['uuid'] != item['uuid']:
        return item
    kept = {
        name: last[name]
        for name in ('progress', 'disk_processed_bytes')
        if last.get(name) is not None
        and item.get(name) is not None
        and item[name] < last[name]
    }
    return {**item, **kept}


def _news(item: rest.Item) -> rest.Item:
    return {key: item[key] for key in item if key not in _RESTLESS}


def _essence(item: rest.Item) -> tuple[object, ...]:
    return tuple(
        item.get(key)
        for key in (
            'uuid',
            'state',
            'phase',
            'stalled',
            'reason',
            'dest_compute',
        )
    )


def in_trouble(item: rest.Item) -> bool:
    """Whether somebody has to look at it."""
    return bool(item['stalled']) or item['state'] in ('failed', 'superseded')


def _rank(item: rest.Item) -> int:
    if in_trouble(item):
        return 0
    return {'running': 1, 'queued': 2, 'succeeded': 4}.get(item['state'], 3)


def percent(item: rest.Item) -> str:
    """Give the percentage, four columns wide."""
    number = item['progress']
    return '  - ' if number is None else f'{number:3d}%'


def step(item: rest.Item) -> str:
    """Give the phase with its place among all: ``6/8 spawning``."""
    phase = str(item['phase'])
    if phase not in _STEPS:
        return phase
    return f'{_STEPS.index(phase) + 1}/{len(_STEPS)} {phase}'


def amount(item: rest.Item) -> str:
    """Give how much is copied, or how many volumes are through."""
    total, done = item['disk_total_bytes'], item['disk_processed_bytes']
    if total:
        return quantities.part(done or 0, total)
    volumes = item['volumes_total']
    if volumes and item['phase'] in ('preparing', 'volumes'):
        return f'{item["volumes_done"] or 0} of {volumes} volumes'
    return ''


def left(item: rest.Item, short: bool = False) -> str:
    """Give how long it takes still; nothing once it has ended.

    :param short: leave out how exactly that is known.
    """
    if has_ended(item):
        return ''
    if item['stalled']:
        return 'stalled'
    return time_left(item, short) or 'no estimate yet'


def time_left(item: rest.Item, short: bool = False) -> str:
    """Give the estimate of one evacuation, or of all of a host."""
    p50, p90 = item.get('eta_seconds'), item.get('eta_p90_seconds')
    if p50 is None:
        return ''
    text = f'about {quantities.duration(p50)} left'
    if p90 is None or short:
        return text
    return f'{text} (9 in 10: {quantities.duration(p90)})'


def way(item: rest.Item) -> str:
    """Give source and destination, to who may see hosts."""
    if not item['source_compute']:
        return ''
    return f'{item["source_compute"]} -> {item["dest_compute"] or "?"}'


def remark(item: rest.Item, always: bool = False) -> str:
    """Say why it waits or how it ended; nothing while all goes well.

    An older API has no sentence: then its word has to do.

    :param always: say also what is done while all goes well.
    """
    if item['state'] == 'succeeded':
        return ''
    if item['state'] == 'running' and not (item['reason'] or always):
        return ''
    text = str(item.get('explanation') or item['reason'] or '')
    return f'stalled: {text}' if item['stalled'] else text


def line(item: rest.Item, name: str) -> str:
    """One evacuation as one plain line."""
    told = remark(item)
    # The sentence about one that waits says how long, too.
    silent = item['stalled'] or (item['state'] == 'queued' and told)
    parts = [
        name,
        f'{step(item):<14}',
        percent(item),
        amount(item),
        way(item),
        '' if silent else left(item),
        told,
    ]
    return '  '.join(part for part in parts if part).rstrip()


def host_line(row: rest.Item) -> str:
    """One host that servers are brought away from, as one plain line."""
    return '  '.join(part for part in host_parts(row) if part)


def host_parts(row: rest.Item) -> tuple[str, str]:
    """Give the counts of a host, and its percentage and estimate."""
    states = row['states']
    told = [f'{states[key]} {word}' for key, word in _COUNTS if states[key]]
    if row['planned']:
        told.append(f'{row["planned"]} not asked for yet')
    if row['stalled']:
        told.append(f'{row["stalled"]} stalled')
    servers = row['total'] + (row['planned'] or 0)
    head = f'{row["source_compute"]}: {servers} server'
    counts = '  '.join((head + 's' * (servers != 1), ', '.join(told)))
    number = '' if row['progress'] is None else f'{row["progress"]}%'
    rest_of_it = '  '.join(part for part in (number, host_left(row)) if part)
    return counts.rstrip(), rest_of_it


def essence_of(row: rest.Item, step: int) -> tuple[object, ...]:
    """Give what is news of a host, with its progress in such steps."""
    return (
        row['source_compute'],
        tuple(row['states'].values()),
        row['planned'],
        row['stalled'],
        (row['progress'] or 0) // step,
    )


def is_open(row: rest.Item) -> bool:
    """Whether something is still to be done for a host."""
    states = row['states']
    return bool(states['queued'] or states['running'] or row['planned'])


def host_left(row: rest.Item) -> str:
    """Give how long a host takes still; nothing once it has ended."""
    if not is_open(row):
        return ''
    return time_left(row) or 'no estimate yet'


def bad_of(row: rest.Item) -> int:
    """How many servers of a host are not back and do not move either."""
    states = row['states']
    return int(states['failed'] + states['superseded'] + states['unknown'])


def counts_line(follower: Follower) -> str:
    """Counts by state, for the last line."""
    told = ', '.join(f'{n} {state}' for state, n in follower.counts.items())
    return told or 'no evacuation'
