# SPDX-License-Identifier: Apache-2.0

"""What is told of hosts, when, how often, and by which of the watchers.

Everything is told by level, not by edge: again and again while it holds, and
until the outside was told that it is over. What was told is kept in the store,
where all watchers find it, so that the one that takes over tells what is still
to be told and does not repeat the rest.
"""

from collections.abc import Iterable
import dataclasses

from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import sighting
from nova_ha_plugins.recovery import views

Announcement = sighting.Announcement
HostLook = sighting.HostLook
Kind = sighting.Kind
Liveness = sighting.Liveness
Rules = sighting.Rules
Sight = sighting.Sight
State = sighting.State
Worry = sighting.Worry

# Of the timeout: a host is suspected from half of it on, which happens to each
# some times a day, and most are heard at once. News is what comes later.
_WORTH_TELLING = 0.75


def recall(
    state: State, healths: Iterable[views.HostHealth], at: float
) -> State:
    """Return the state with what any watcher told, as the store keeps it."""
    rows = tuple(healths)
    announced = dict(state.announced)
    for host, row in health.told(rows, health.TOLD_DOWN).items():
        told_at = at - row.age
        before = announced.get(host, float('-inf'))
        if before > told_at:
            continue
        if row.ok:
            announced.pop(host, None)
        else:
            announced[host] = told_at
    worries = dict(state.worries)
    for host, row in health.told(rows, health.TOLD_DEGRADED).items():
        told_at = at - row.age
        known = worries.get(host)
        if known is not None and known.told_at > told_at:
            continue
        if row.ok:
            worries.pop(host, None)
            continue
        named = frozenset(row.text.split(', '))
        worries[host] = Worry(
            told_at,
            known.channels | named if known else named,
            known.well_since if known else None,
        )
    return dataclasses.replace(state, announced=announced, worries=worries)


def untold(state: State, before: State) -> State:
    """Return the state after a look of which nothing was told.

    :param before: the state that the look began with.
    """
    worries = {
        host: dataclasses.replace(
            worry,
            well_since=state.worries[host].well_since
            if host in state.worries
            else worry.well_since,
        )
        for host, worry in before.worries.items()
    }
    return dataclasses.replace(
        state, announced=before.announced, worries=worries
    )


def announce(
    state: State,
    sight: Sight,
    hosts: Iterable[HostLook],
    at: float,
    rules: Rules,
) -> Iterable[Announcement]:
    for host in hosts:
        kind, repeated = _news(state, sight, host, at, rules)
        if kind is not None:
            yield Announcement(
                kind=kind,
                verdict=host.verdict,
                host=host.host,
                service_uuid=host.service_uuid,
                silent_for=host.silent_for,
                repeated=repeated,
                channels=_named(state, host, kind),
            )


def _news(
    state: State, sight: Sight, host: HostLook, at: float, rules: Rules
) -> tuple[Kind | None, bool]:
    """Return what is to be told of a host, and whether it is a repetition."""
    told_at = state.announced.get(host.host)
    if host.verdict == Liveness.DOWN:
        due = told_at is None or at - told_at >= rules.reemit_interval
        return (Kind.DOWN if due else None), told_at is not None
    if host.verdict == Liveness.UP and told_at is not None:
        return Kind.UP, False
    if host.suspected:
        fresh = told_at is None and host.host not in state.suspected
        worth = host.silent_for >= _WORTH_TELLING * rules.timeout
        return (Kind.SUSPECTED if fresh and worth else None), False
    if host.verdict == Liveness.UP and sight == Sight.CLEAR:
        return _worry(state.worries.get(host.host), host, at, rules)
    return None, False


def _named(state: State, host: HostLook, kind: Kind) -> tuple[str, ...]:
    if kind == Kind.DEGRADED:
        return host.degraded
    worry = state.worries.get(host.host)
    if kind != Kind.UP or worry is None or host.host in state.announced:
        return ()
    return tuple(sorted(worry.channels))


def _worry(
    worry: Worry | None, host: HostLook, at: float, rules: Rules
) -> tuple[Kind | None, bool]:
    if not host.degraded:
        well = worry is not None and worry.well_since is not None
        if worry is None or not well or worry.well_since is None:
            return None, False
        settled = at - worry.well_since >= rules.settled_after
        return (Kind.UP if settled else None), False
    if worry is None or not worry.channels.issuperset(host.degraded):
        return Kind.DEGRADED, False
    due = at - worry.told_at >= rules.degraded_interval
    return (Kind.DEGRADED if due else None), True


def remember(
    state: State,
    hosts: Iterable[HostLook],
    announcements: Iterable[Announcement],
    at: float,
) -> State:
    """Return the state with what was told; forgotten hosts are dropped."""
    known = {host.host: host for host in hosts}
    told = {h: when for h, when in state.announced.items() if h in known}
    worries = {
        name: _aged(worry, known[name], at)
        for name, worry in state.worries.items()
        if name in known
    }
    suspected = {
        name
        for name in state.suspected
        if name in known
        and (known[name].suspected or known[name].verdict != Liveness.UP)
    }
    for item in announcements:
        if item.kind == Kind.SUSPECTED:
            suspected.add(item.host)
        elif item.kind == Kind.DOWN:
            told[item.host] = at
            worries.pop(item.host, None)
        elif item.kind == Kind.UP:
            told.pop(item.host, None)
            worries.pop(item.host, None)
        else:
            before = worries.get(item.host)
            named = before.channels if before else frozenset()
            worries[item.host] = Worry(at, named.union(item.channels))
    return dataclasses.replace(
        state,
        announced=told,
        suspected=frozenset(suspected),
        worries=worries,
        looked_at=at,
    )


def _aged(worry: Worry, host: HostLook, at: float) -> Worry:
    """Return a worry with the time since when nothing is wrong any more."""
    if host.verdict != Liveness.UP or host.degraded:
        return dataclasses.replace(worry, well_since=None)
    if worry.well_since is not None:
        return worry
    return dataclasses.replace(worry, well_since=at)
