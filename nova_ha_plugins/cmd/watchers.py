# SPDX-License-Identifier: Apache-2.0

"""Check of nova-ha-manage doctor: whether anybody watches, and sees."""

from collections.abc import Iterable
from collections.abc import Mapping

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import views

_CHECK = 'watchers'
_MOST_HOSTS = 5


def check(healths: Iterable[views.HostHealth]) -> list[finding.Finding]:
    """Whether a watcher looks at the heartbeats now, and another could."""
    known = health.watches(healths)
    if not known:
        return [
            finding.action(
                _CHECK,
                'no watcher has looked at the heartbeats in the last day, so '
                'no event tells that a host is down: run ceilometer-polling '
                '--polling-namespaces ha_central on the controllers, of this '
                'release and with this [nova_ha_database]',
            )
        ]
    living = [watch for watch in known if watch.age < health.SILENT_AFTER]
    if not living:
        last = min(known, key=lambda watch: watch.age)
        return [
            finding.action(
                _CHECK,
                f"watcher '{last.name}' looked last {last.age:.0f}s ago, "
                f'expected within {health.SILENT_AFTER:.0f}s, and no other '
                'one does: no event tells that a host is down. Start '
                'ceilometer-polling --polling-namespaces ha_central',
            )
        ]
    found = _sight(living)
    found += [
        finding.note(
            _CHECK,
            f"watcher '{watch.name}' looked last {watch.age:.0f}s ago; if "
            'it should, start it again',
        )
        for watch in known
        if watch.age >= health.SILENT_AFTER
    ]
    return found


def _sight(living: list[health.Watch]) -> list[finding.Finding]:
    seeing = [watch for watch in living if watch.clear]
    if not seeing:
        return [
            finding.action(
                _CHECK,
                f"watcher '{watch.name}' does not see: {watch.text}. No host "
                'is called down meanwhile',
            )
            for watch in living
        ]
    first = seeing[0]
    if len(living) == 1:
        return [
            finding.ok(
                _CHECK,
                f"one watcher, '{first.name}', of {first.hosts} hosts: "
                'nobody takes over while its machine is down',
            )
        ]
    blind = [
        finding.note(
            _CHECK, f"watcher '{watch.name}' does not see: {watch.text}"
        )
        for watch in living
        if not watch.clear
    ]
    return [
        finding.ok(
            _CHECK,
            f"{len(living)} watchers of {first.hosts} hosts, '{first.name}' "
            'sends the events',
        ),
        *blind,
    ]


def unwell(
    hosts: Mapping[str, tuple[views.HostHealth, ...]],
) -> list[finding.Finding]:
    """What probes say of hosts that is not as it should be."""
    found = [
        finding.note('probes', f"host '{host}': {_told(rows)}")
        for host, rows in sorted(hosts.items())[:_MOST_HOSTS]
    ]
    if len(hosts) > _MOST_HOSTS:
        more = len(hosts) - _MOST_HOSTS
        found.append(finding.note('probes', f'{more} hosts more'))
    return found


def _told(rows: Iterable[views.HostHealth]) -> str:
    return '; '.join(
        f'{row.channel} '
        + (
            f'silent for {row.age:.0f}s'
            if row.ok
            else f'not well {row.age:.0f}s ago'
            + (f" ('{row.text}')" if row.text else '')
        )
        for row in rows
    )
