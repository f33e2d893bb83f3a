# SPDX-License-Identifier: Apache-2.0

"""Who has fallen silent: heartbeats into a verdict per host.

The silence of a host is measured against the *watermark*, the newest
heartbeat of anybody, never against a clock: a pipe that stalls makes nobody
silent. Three more brakes stand before the word 'down':

- *stall*: nobody was heard for half a timeout. Monitoring is blind, and
  afterwards nobody is convicted until every reporter had time to reconnect.
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
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum

from nova_ha_plugins.recovery import views

# Fewer than this are never called a mass: 1 of 3 hosts is an ordinary death.
MASS_MINIMUM = 2
# A host that was silent this long before anybody watched it is not a new
# failure but a host that was taken away: it neither blinds nor is announced.
RETIRED_AFTER = 86400.0


class Liveness(enum.StrEnum):
    """What the heartbeat alone says of a host."""

    UP = 'up'
    DOWN = 'down'
    UNKNOWN = 'unknown'


class Sight(enum.StrEnum):
    """How well the watcher sees: only CLEAR convicts."""

    CLEAR = 'clear'
    WARMING_UP = 'warming-up'
    BLIND = 'blind'
    HOLDING_OFF = 'holding-off'


@dataclasses.dataclass(frozen=True)
class Rules:
    """When silence counts.

    :ivar timeout: silence in seconds from which a host is down.
    :ivar reemit_interval: seconds between two announcements of one host that
        stays down; a lost announcement is repaired by the next one.
    :ivar mass_silence_share: more than this share of the hosts silent at
        once means that monitoring is blind.
    :ivar reconnect_max: the longest pause of a reporter between two attempts
        to reach the message bus (``rabbit_interval_max``).
    """

    timeout: float
    reemit_interval: float
    mass_silence_share: float
    reconnect_max: float = 30.0

    @property
    def quiet(self) -> float:
        """Return the silence from which a host, or all, look suspicious."""
        return self.timeout / 2


@dataclasses.dataclass(frozen=True)
class State:
    """What one look hands to the next. Times are the watcher's own.

    :ivar began_at: when the watcher began.
    :ivar blind_since: when the present blindness began, None when it sees.
    :ivar hold_until: nobody is convicted before this.
    :ivar announced: host to the time of its last 'down' announcement.
    """

    began_at: float
    blind_since: float | None = None
    hold_until: float = float('-inf')
    announced: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class HostLook:
    """One host in one look.

    :ivar age: seconds since the store heard it.
    :ivar silent_for: the same, measured against the watermark.
    :ivar suspected: silent long enough to ask others about it, while
        monitoring sees; also true once it is down.
    :ivar degraded: the channels that say that something is wrong with a host
        whose heartbeats come. They never change the verdict.
    """

    host: str
    service_uuid: str
    verdict: Liveness
    age: float
    silent_for: float
    suspected: bool = False
    degraded: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Announcement:
    """Something to tell the outside: a host went down, stays so, came back.

    :ivar repeated: the host was announced before and still is down.
    """

    verdict: Liveness
    host: str
    service_uuid: str
    silent_for: float
    repeated: bool = False


@dataclasses.dataclass(frozen=True)
class Look:
    """Everything that one look at the heartbeats gave."""

    state: State
    sight: Sight
    reason: str
    hosts: tuple[HostLook, ...]
    announcements: tuple[Announcement, ...]


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
    :param at: the watcher's own monotonic clock. It times warm-up, hold-off
        and repetition only; whether a host is silent depends on ages alone.
    """
    known = sorted(beats, key=lambda beat: beat.host)
    newest = min((max(beat.age, 0.0) for beat in known), default=0.0)
    silences = {beat.host: max(beat.age, 0.0) - newest for beat in known}
    reason = _blindness(state, silences, newest, rules)
    state = _see(state, reason, newest, at, rules)
    sight = _sight(state, at, rules)
    hosts = tuple(
        HostLook(
            host=beat.host,
            service_uuid=beat.service_uuid,
            verdict=_verdict(state, sight, beat, silences[beat.host], rules),
            age=beat.age,
            silent_for=silences[beat.host],
            suspected=_suspected(
                state, sight, beat, silences[beat.host], rules
            ),
        )
        for beat in known
    )
    announcements = tuple(_announce(state, hosts, at, rules))
    return Look(
        state=_remember(state, silences, announcements, at),
        sight=sight,
        reason=reason or _patience(sight, state, at, rules),
        hosts=hosts,
        announcements=announcements,
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
        return dataclasses.replace(state, blind_since=at - newest)
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


def _announce(
    state: State, hosts: Iterable[HostLook], at: float, rules: Rules
) -> Iterable[Announcement]:
    for host in hosts:
        before = state.announced.get(host.host)
        told = before is not None
        if host.verdict == Liveness.DOWN:
            due = before is None or at - before >= rules.reemit_interval
        else:
            due = told and host.verdict == Liveness.UP
        if due:
            yield Announcement(
                verdict=host.verdict,
                host=host.host,
                service_uuid=host.service_uuid,
                silent_for=host.silent_for,
                repeated=told and host.verdict == Liveness.DOWN,
            )


def _remember(
    state: State,
    silences: Mapping[str, float],
    announcements: Iterable[Announcement],
    at: float,
) -> State:
    """Return the state with what was told; forgotten hosts are dropped."""
    told = {
        host: when
        for host, when in state.announced.items()
        if host in silences
    }
    for item in announcements:
        if item.verdict == Liveness.DOWN:
            told[item.host] = at
        else:
            told.pop(item.host, None)
    return dataclasses.replace(state, announced=told)
