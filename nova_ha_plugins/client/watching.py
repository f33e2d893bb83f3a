# SPDX-License-Identifier: Apache-2.0

"""What ``watch`` follows and how it is drawn; no terminal, no clock."""

import dataclasses

from nova_ha_plugins.client import rest

ENDED = frozenset({'succeeded', 'failed', 'superseded'})

_BAR_WIDTH = 24


@dataclasses.dataclass
class Follower:
    """The evacuations that are being followed: the newest of each server.

    :ivar everything: also follow those that had ended before.
    """

    everything: bool = False
    items: dict[str, rest.Item] = dataclasses.field(default_factory=dict)

    def update(self, found: list[rest.Item]) -> list[rest.Item]:
        """Take the newest answer; give the items that look different now.

        :param found: evacuations, newest first.
        """
        newest: dict[str, rest.Item] = {}
        for item in found:
            newest.setdefault(item['server_uuid'], item)
        changed = []
        for server, item in newest.items():
            last = self.items.get(server)
            if last is None and item['state'] in ENDED and not self.everything:
                continue
            item = _never_back(last, item)
            if last is None or line(last) != line(item):
                changed.append(item)
            self.items[server] = item
        return changed

    @property
    def open(self) -> int:
        """How many have not ended."""
        return sum(item['state'] not in ENDED for item in self.items.values())

    @property
    def bad(self) -> int:
        """How many ended without success."""
        return sum(
            item['state'] in ENDED and item['state'] != 'succeeded'
            for item in self.items.values()
        )


def _never_back(last: rest.Item | None, item: rest.Item) -> rest.Item:
    """Keep the percentage of one record from going back.

    Two API servers can give answers of different age.
    """
    if (
        last is None
        or last['uuid'] != item['uuid']
        or last['progress'] is None
        or item['progress'] is None
        or item['progress'] >= last['progress']
    ):
        return item
    return {**item, 'progress': last['progress']}


def line(item: rest.Item) -> str:
    """One evacuation as one plain line."""
    percent = item['progress']
    parts = [
        item['server_uuid'],
        f'{item["phase"]:<10}',
        '  - ' if percent is None else f'{percent:3d}%',
        _way(item),
    ]
    remark = _remark(item)
    return '  '.join([part for part in parts if part] + [remark]).rstrip()


def bar(item: rest.Item) -> str:
    """One evacuation as one line with a bar."""
    percent = item['progress'] or 0
    filled = round(_BAR_WIDTH * percent / 100)
    drawn = '#' * filled + '.' * (_BAR_WIDTH - filled)
    number = '  - ' if item['progress'] is None else f'{percent:3d}%'
    text = (
        f'{item["server_uuid"]} [{drawn}] {number} {item["phase"]:<10} '
        f'{_way(item)} {_remark(item)}'
    )
    return text.rstrip()


def summary(follower: Follower) -> str:
    """Counts by state, for the last line."""
    counts: dict[str, int] = {}
    for item in follower.items.values():
        counts[item['state']] = counts.get(item['state'], 0) + 1
    told = ', '.join(f'{n} {state}' for state, n in sorted(counts.items()))
    return told or 'no evacuation'


def _way(item: rest.Item) -> str:
    if not item['source_compute']:
        return ''
    return f'{item["source_compute"]} -> {item["dest_compute"] or "?"}'


def _remark(item: rest.Item) -> str:
    remark = str(item['reason'] or '')
    if item['stalled']:
        remark = f'stalled: {remark}'
    return remark
