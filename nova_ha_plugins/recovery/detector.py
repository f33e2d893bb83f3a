# SPDX-License-Identifier: Apache-2.0

"""Who has fallen silent: heartbeats into a verdict per host.

The silence of a host is measured against the *watermark*, the newest
heartbeat of anybody, never against a clock: a pipe that stalls makes nobody
silent. More brakes stand before the word 'down':

- *stall*: nobody was heard for half a timeout. Monitoring is blind, and
  afterwards nobody is convicted until every reporter had time to reconnect.
- *own stall*: the watcher itself looks too late after its last look. What
  happened meanwhile it did not see, so it behaves as after a stall.
- *jump*: a heartbeat has aged by more than the time between two looks: the
  clock of the store was set. Those who were heard since look young, and
  the others old, so nobody is convicted until all were heard again.
- *mass silence*: at least two hosts, and more than ``mass_silence_share`` of
  those that were not down before, go silent at once. That is evidence about
  the collector. One silent host of a cloud of two or three is not mass; two
  of three are, and then a person has to look. A host counts as going silent
  from half a timeout on, so that hosts which fall together are counted
  together although their last heartbeats lie one interval apart. The
  heartbeat interval must therefore be shorter than half the timeout.
- *warm-up*: a watcher that has just begun convicts nobody for one timeout.

While monitoring is blind a silent host is 'unknown', also one that was down
before; nothing turns unknown into down by waiting.

From half a timeout on a host is *suspected*: others may be asked about it. A
host whose heartbeats come while a probe on it says that something is wrong
is *degraded*, which is news for people and changes no verdict.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import math

from nova_ha_plugins.recovery import announcing
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import sighting
from nova_ha_plugins.recovery import views

Liveness = sighting.Liveness
Kind = sighting.Kind
Sight = sighting.Sight
Rules = sighting.Rules
Worry = sighting.Worry
State = sighting.State
HostLook = sighting.HostLook
Announcement = sighting.Announcement
Look = sighting.Look

# Fewer than this are never called a mass: 1 of 3 hosts is an ordinary death.
MASS_MINIMUM = 2
# A host that was silent this long before anybody watched it is not a new
# failure but a host that was taken away: it neither blinds nor is announced.
RETIRED_AFTER = 86400.0


def begin(at: float) -> State:
    """Return the state of a watcher that begins now."""
    return State(began_at=at)


def look(
    state: State,
    beats: Iterable[views.Beat],
    at: float,
    rules: Rules,
    healths: Iterable[views.HostHealth] = (),
) -> Look:
    """Return verdicts and announcements for a snapshot of the heartbeats.

    :param healths: what else is said of hosts; explains, never decides.
    :param at: the watcher's own monotonic clock. It times warm-up, hold-off,
        repetition and lateness only; whether a host is silent depends on ages
        alone.
    """
    known = sorted(beats, key=lambda beat: beat.host)
    newest = min((max(beat.age, 0.0) for beat in known), default=0.0)
    silences = {beat.host: max(beat.age, 0.0) - newest for beat in known}
    reason = (
        _lateness(state, at, rules)
        or _jump(state, known, at, rules)
        or _blindness(state, silences, newest, rules)
    )
    state = _see(state, reason, newest, at, rules)
    sight = _sight(state, at, rules)
    unwell = health.unwell(healths, rules.health_timeout)
    hosts = tuple(
        _host(state, sight, beat, silences[beat.host], rules, unwell)
        for beat in known
    )
    announcements = tuple(announcing.announce(state, sight, hosts, at, rules))
    return Look(
        state=dataclasses.replace(
            announcing.remember(state, hosts, announcements, at),
            heard={beat.host: beat for beat in known},
        ),
        sight=sight,
        reason=reason or _patience(sight, state, at, rules),
        hosts=hosts,
        announcements=announcements,
    )


def soonest(hosts: Iterable[HostLook], rules: Rules) -> float:
    """Return in how many seconds one of the hosts may be called down.

    Infinite if none of them is suspected and not down yet. It may be later,
    since silence counts up to the newest heartbeat of anybody.
    """
    return min(
        (
            max(0.0, rules.timeout - host.silent_for)
            for host in hosts
            if host.suspected and host.verdict != Liveness.DOWN
        ),
        default=math.inf,
    )


def _host(
    state: State,
    sight: Sight,
    beat: views.Beat,
    silence: float,
    rules: Rules,
    unwell: Mapping[str, tuple[views.HostHealth, ...]],
) -> HostLook:
    verdict = _verdict(state, sight, beat, silence, rules)
    wrong = unwell.get(beat.host, ()) if verdict == Liveness.UP else ()
    return HostLook(
        host=beat.host,
        service_uuid=beat.service_uuid,
        verdict=verdict,
        age=beat.age,
        silent_for=silence,
        suspected=_suspected(state, sight, beat, silence, rules),
        degraded=tuple(each.channel for each in wrong),
    )


def _lateness(state: State, at: float, rules: Rules) -> str:
    """Return that the watcher itself was stalled, '' if it was not."""
    if state.looked_at is None or at - state.looked_at <= rules.late_after:
        return ''
    return (
        f'The watcher itself did not look for {at - state.looked_at:.1f}s, '
        f'expected a look within {rules.late_after:.1f}s'
    )


def _jump(
    state: State, beats: Iterable[views.Beat], at: float, rules: Rules
) -> str:
    """Return that the clock of the store jumped ahead, '' if it did not."""
    if state.looked_at is None:
        return ''
    passed = at - state.looked_at
    ahead = 0.0
    for beat in beats:
        before = state.heard.get(beat.host)
        if before is None:
            continue
        same = (before.boot_id, before.sequence) == (
            beat.boot_id,
            beat.sequence,
        )
        # What was heard since the last look cannot be older than that.
        oldest = passed + (before.age if same else 0.0)
        ahead = max(ahead, beat.age - oldest)
    if ahead < rules.quiet:
        return ''
    return (
        f'The clock of the store jumped {ahead:.1f}s ahead, so silence '
        'cannot be told from it'
    )


def _blindness(
    state: State, silences: Mapping[str, float], newest: float, rules: Rules
) -> str:
    """Return why monitoring is blind, '' when it sees."""
    if newest >= rules.quiet:
        return (
            f'No host of {len(silences)} was heard for {newest:.1f}s, '
            f'expected one within {rules.quiet:.1f}s'
        )
    present = {
        host: silence
        for host, silence in silences.items()
        if host not in state.announced and silence < RETIRED_AFTER
    }
    quiet = [host for host in present if present[host] >= rules.quiet]
    # Hosts that are merely late blind nobody while none is past the timeout.
    if all(present[host] < rules.timeout for host in quiet):
        return ''
    if len(quiet) < MASS_MINIMUM:
        return ''
    if len(quiet) <= rules.mass_silence_share * len(present):
        return ''
    return (
        f'{len(quiet)} of {len(present)} hosts went silent at once, more '
        f'than {rules.mass_silence_share:.0%}'
    )


def _see(
    state: State, reason: str, newest: float, at: float, rules: Rules
) -> State:
    """Return the state with blindness and hold-off brought up to date."""
    if reason:
        if state.blind_since is not None:
            return state
        since = at - newest
        if state.looked_at is not None and _lateness(state, at, rules):
            since = min(since, state.looked_at)
        return dataclasses.replace(state, blind_since=since)
    if state.blind_since is None:
        return state
    # A reporter that tried for N seconds pauses for at most N seconds more
    # (linear back-off), and never longer than the configured maximum.
    lasted = at - state.blind_since
    hold = rules.timeout + min(lasted, rules.reconnect_max)
    return dataclasses.replace(state, blind_since=None, hold_until=at + hold)


def _sight(state: State, at: float, rules: Rules) -> Sight:
    if state.blind_since is not None:
        return Sight.BLIND
    if at < state.hold_until:
        return Sight.HOLDING_OFF
    if at - state.began_at < rules.timeout:
        return Sight.WARMING_UP
    return Sight.CLEAR


def _patience(sight: Sight, state: State, at: float, rules: Rules) -> str:
    if sight == Sight.HOLDING_OFF:
        left = state.hold_until - at
        return f'Reporters get {left:.1f}s more to reconnect after a stall'
    if sight == Sight.WARMING_UP:
        left = state.began_at + rules.timeout - at
        return f'The watcher began just now, verdicts in {left:.1f}s'
    return ''


def _verdict(
    state: State,
    sight: Sight,
    beat: views.Beat,
    silence: float,
    rules: Rules,
) -> Liveness:
    if beat.age < rules.timeout:
        return Liveness.UP
    if silence < rules.timeout or sight != Sight.CLEAR:
        return Liveness.UNKNOWN
    if silence >= RETIRED_AFTER and beat.host not in state.announced:
        return Liveness.UNKNOWN
    return Liveness.DOWN


def _suspected(
    state: State,
    sight: Sight,
    beat: views.Beat,
    silence: float,
    rules: Rules,
) -> bool:
    if silence < rules.quiet or sight != Sight.CLEAR:
        return False
    return silence < RETIRED_AFTER or beat.host in state.announced
