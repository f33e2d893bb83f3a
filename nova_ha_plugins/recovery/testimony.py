# SPDX-License-Identifier: Apache-2.0

"""What the watcher says of a host, and by what it knows, in sentences."""

from collections.abc import Iterable
from collections.abc import Mapping

from nova_ha_plugins.recovery import sighting
from nova_ha_plugins.recovery import views

Kind = sighting.Kind

# What probes say is somebody else's text: as much as a person reads.
_LONGEST_TEXT = 80
_MOST_PROBES = 5


def reason(item: sighting.Announcement, rules: sighting.Rules) -> str:
    """Return what is told of the host, in a few words."""
    if item.kind == Kind.DEGRADED:
        named = ', '.join(item.channels)
        return f'Heartbeats arrive, but not all is well: {named}'
    if item.kind == Kind.UP:
        if item.channels:
            named = ', '.join(item.channels)
            return f'All is well again: {named}'
        return 'Heartbeats arrive again'
    within = rules.timeout if item.kind == Kind.DOWN else rules.quiet
    return (
        f'No heartbeat for {item.silent_for:.1f}s, expected one within '
        f'{within:.1f}s'
    )


def evidence(
    item: sighting.Announcement,
    look: sighting.Look,
    beats: Mapping[str, views.Beat],
    probes: Mapping[str, tuple[views.HostHealth, ...]],
    rules: sighting.Rules,
) -> str:
    """Return in one sentence what was heard of the host, and of the others.

    :param probes: what the probes of each host say.
    """
    beat = beats[item.host]
    heard = (
        f'last heard {beat.age:.1f}s ago (boot {beat.boot_id}, heartbeat '
        f'{beat.sequence})'
    )
    others = [host for host in look.hosts if host.host != item.host]
    fresh = [host.age for host in others if host.age < rules.quiet]
    among = 'no other host is watched'
    if others:
        newest = min(host.age for host in others)
        among = (
            f'{len(fresh)} of {len(others)} others within {rules.quiet:.1f}s, '
            f'the newest {newest:.1f}s ago'
        )
    said = _said(probes.get(item.host, ()), item.channels)
    return f"'{item.host}' was {heard}, {among}{said}."


def _said(
    probes: Iterable[views.HostHealth], channels: tuple[str, ...]
) -> str:
    told = [
        _probe(each)
        for each in probes
        if not each.ok or each.channel in channels
    ]
    if not told:
        return ''
    rest = len(told) - _MOST_PROBES
    more = f'; and {rest} more' if rest > 0 else ''
    return f'; its probes: {"; ".join(told[:_MOST_PROBES])}{more}'


def _probe(row: views.HostHealth) -> str:
    text = row.text[:_LONGEST_TEXT]
    state = 'well' if row.ok else f"not well, '{text}'" if text else 'not well'
    return f'{row.channel} {state} {row.age:.0f}s ago'
