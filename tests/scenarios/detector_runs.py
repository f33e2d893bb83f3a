# SPDX-License-Identifier: Apache-2.0

"""Runs the product's detector over made-up heartbeats, and ends hosts.

A long run looks only where a look can differ from the one before: where a
host passed one of the detector's thresholds or was heard again, and second by
second while monitoring does not see clearly. ``plain`` looks every second;
a test compares the two.
"""

import bisect
from collections.abc import Iterator
import dataclasses
import math
import random
import typing

import numpy

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import views
from tests.scenarios import detector_engine as engine
from tests.scenarios import detector_models as models

Times = models.Times
Liveness = detector.Liveness

# Beats are sent for so long before the first look.
BEFORE = 200.0
# A long run goes on in pieces of so many seconds.
PIECE = 21600
# A crashed host is waited for this long.
LONGEST = 180.0


class Heard:
    """A heartbeat of which only the age changes; a ``views.Beat`` to read."""

    __slots__ = ('age', 'boot_id', 'host', 'sequence', 'service_uuid')

    def __init__(self, host: str) -> None:
        self.host = host
        self.service_uuid = host
        # The clock of this store never jumps, so these say nothing.
        self.boot_id, self.sequence = '', 0
        self.age = 0.0


def beats_of(heard: list[Heard]) -> list[views.Beat]:
    """Return them as what the detector reads."""
    return typing.cast(list[views.Beat], heard)


@dataclasses.dataclass(frozen=True)
class Silence:
    """A living host that was called down.

    :ivar late_at: look at which it was suspected.
    :ivar down_at: look at which it was down.
    :ivar heard_at: look at which it was up again.
    :ivar fenced: what the engine did about it, had no probe been answered.
    """

    host: int
    late_at: float
    down_at: float
    heard_at: float
    fenced: engine.Fenced | None

    def dead(self) -> bool:
        """Return whether the engine was done before the host was heard."""
        return self.fenced is not None and self.fenced.at < self.heard_at


def fate(
    defaults: engine.Defaults, late_for: float, sight: engine.Sight
) -> engine.Fenced | None:
    """Return what becomes of a host that is silent to each probe.

    :param late_for: seconds from the first suspicion to 'down'.
    :param sight: of the look at which it is down.
    """
    suspect = engine.Suspect(defaults, 'host', lambda at: False)
    down = dataclasses.replace(sight.host, host='host')
    late = dataclasses.replace(down, verdict=Liveness.UP)
    at, tick = 0.0, 0.0
    while at < late_for + LONGEST:
        seen = dataclasses.replace(
            sight, host=down if at >= late_for else late
        )
        fenced = suspect.round(at, seen, at >= late_for)
        if fenced is not None:
            return fenced
        if at >= tick:
            tick += defaults.round
        at = min(tick, max(suspect.probing_ends(), at))
    return None


@dataclasses.dataclass
class _Host:
    late_at: float | None = None
    down_at: float | None = None
    fenced: engine.Fenced | None = None


@dataclasses.dataclass
class Watch:
    """The looks of one engine at one cloud, and what came of them.

    :ivar late: silences that were suspected.
    :ivar looks: how often the detector was asked.
    """

    defaults: engine.Defaults
    hosts: int
    silences: list[Silence] = dataclasses.field(default_factory=list)
    late: int = 0
    looks: int = 0

    def __post_init__(self) -> None:
        self._state = detector.begin(-math.inf)
        self._heard = [Heard(f'h{n:04}') for n in range(self.hosts)]
        self._hosts = [_Host() for _ in range(self.hosts)]
        self._fates: dict[tuple[float, int], engine.Fenced | None] = {}
        self.clear = True

    def look(self, at: float, ages: list[float]) -> detector.Look:
        """Look once; what happened since the last look changed nothing."""
        for heard, age in zip(self._heard, ages, strict=True):
            heard.age = age
        if self._state.looked_at is not None:
            self._state = dataclasses.replace(
                self._state, looked_at=at - self.defaults.round
            )
        look = detector.look(
            self._state, beats_of(self._heard), at, self.defaults.rules
        )
        self._state = look.state
        self.clear = look.sight == detector.Sight.CLEAR
        self.looks += 1
        for number, seen in enumerate(look.hosts):
            if seen.suspected or seen.verdict != Liveness.UP:
                self._is_late(number, seen, look, at)
            elif self._hosts[number].late_at is not None:
                self._is_back(number, at)
        return look

    def _is_late(
        self,
        number: int,
        seen: detector.HostLook,
        look: detector.Look,
        at: float,
    ) -> None:
        host = self._hosts[number]
        if host.late_at is None:
            if not seen.suspected:
                return
            self.late += 1
            host.late_at = at
        if seen.verdict != Liveness.DOWN or host.down_at is not None:
            return
        host.down_at = at
        sight = engine.sight_of(look, seen.host)
        key = at - host.late_at, sight.silent
        if key not in self._fates:
            self._fates[key] = fate(self.defaults, key[0], sight)
        known = self._fates[key]
        if known is not None:
            host.fenced = dataclasses.replace(
                known, at=known.at + host.late_at
            )

    def _is_back(self, number: int, at: float) -> None:
        host = self._hosts[number]
        if host.late_at is not None and host.down_at is not None:
            self.silences.append(
                Silence(number, host.late_at, host.down_at, at, host.fenced)
            )
        self._hosts[number] = _Host()


def where(ages: Times, rules: detector.Rules) -> list[int]:
    """Return the looks that can differ from the ones before.

    :param ages: by look and host.
    """
    newest = ages.min(axis=1)
    silences = ages - newest[:, None]
    sides = (
        (silences >= rules.quiet).astype(numpy.int8)
        + 2 * (silences >= rules.timeout)
        + 4 * (ages >= rules.timeout)
    )
    changes = (sides[1:] != sides[:-1]).any(axis=1)
    blind = newest >= rules.quiet
    changes |= blind[1:] != blind[:-1]
    return [0, *(numpy.flatnonzero(changes) + 1).tolist()]


def ages_at(arrive: Times, ticks: Times) -> Times:
    """Return how old the newest beat is at each tick."""
    last = arrive[numpy.searchsorted(arrive, ticks, 'right') - 1]
    return typing.cast(Times, ticks - last)


def pieces(
    pipes: list[models.Pipe], seconds: float
) -> Iterator[tuple[float, float, list[Times]]]:
    """Return the arrivals of all hosts, piece by piece."""
    at = 0.0
    while at < seconds:
        end = min(at + PIECE, seconds)
        yield at, end, [pipe.until(end) for pipe in pipes]
        at = end


def watch(
    watching: Watch,
    begin: float,
    end: float,
    arrivals: list[Times],
    plain: bool = False,
) -> None:
    """Look at a piece.

    :param arrivals: of each host, one from before the piece at the least.
    """
    every = watching.defaults.round
    ticks = numpy.arange(begin + every, end + every / 2, every)
    ages = numpy.stack([ages_at(a, ticks) for a in arrivals], axis=1)
    worth = where(ages, watching.defaults.rules)
    number, last = 0, len(ticks)
    while number < last:
        watching.look(float(ticks[number]), ages[number].tolist())
        if plain or not watching.clear:
            number += 1
            continue
        following = bisect.bisect_right(worth, number)
        number = worth[following] if following < len(worth) else last


# --- real crashes -----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Found:
    """How long a crashed host went unnoticed.

    :ivar down: until the watcher called it down; inf for never.
    :ivar dead: until the engine decided to fence it.
    """

    down: float
    dead: float


class Trace:
    """The arrivals of all hosts in a short while, for looks at any time."""

    def __init__(self, arrivals: list[Times]) -> None:
        self._arrivals = [a.tolist() for a in arrivals]
        self._heard = [Heard(f'h{n:04}') for n in range(len(arrivals))]

    def crash(self, number: int, at: float) -> None:
        """Nothing of a host arrives any more."""
        known = self._arrivals[number]
        del known[bisect.bisect_right(known, at) :]

    def beats(self, at: float) -> list[views.Beat]:
        """Return the newest beats, by their age."""
        for heard, known in zip(self._heard, self._arrivals, strict=True):
            number = bisect.bisect_right(known, at)
            heard.age, heard.sequence = at - known[number - 1], number
        return beats_of(self._heard)


def crash(
    defaults: engine.Defaults, trace: Trace, at: float, chance: random.Random
) -> Found:
    """End the first host of a cloud, and wait until it is fenced.

    :param trace: from at least ``BEFORE`` before the crash.
    """
    trace.crash(0, at)
    name = 'h0000'
    answers: dict[float, bool] = {}

    def answer(began: float) -> bool:
        if began >= at:
            return False
        if began not in answers:
            answers[began] = chance.random() >= defaults.chance
        return answers[began]

    suspect = engine.Suspect(defaults, name, answer)
    watcher = own = detector.begin(-math.inf)
    looks = due = at - 70.0 - chance.random() * defaults.look
    rounds = at - 70.0 - chance.random() * defaults.round
    down = dead = alarmed = woken = math.inf
    while min(looks, rounds, woken) < at + LONGEST:
        if max(down, dead) < math.inf:
            break
        now = min(looks, rounds, woken)
        beats = trace.beats(now)
        if now == looks:
            due = due + defaults.look if now >= due else due
            look = detector.look(watcher, beats, now, defaults.rules)
            watcher = look.state
            soon = detector.soonest(look.hosts, defaults.rules)
            looks = min(due, now + max(defaults.look / 5, soon))
            for told in look.announcements:
                if told.host == name and told.verdict == Liveness.DOWN:
                    alarmed = min(alarmed, now + engine.ALARM)
                    down = now if now >= at and down == math.inf else down
            if look.hosts[0].verdict == Liveness.UP:
                alarmed = math.inf
            elif look.hosts[0].verdict == Liveness.DOWN and now >= at:
                down = min(down, now)
            continue
        if now == rounds:
            rounds += defaults.round
        look = detector.look(own, beats, now, defaults.rules)
        own = look.state
        fenced = suspect.round(
            now, engine.sight_of(look, name), alarmed <= now
        )
        woken = suspect.probing_ends()
        woken = woken if woken > now else math.inf
        if fenced is not None:
            dead = fenced.at
            rounds = woken = math.inf
    return Found(down - at, dead - at)


def crashes(
    defaults: engine.Defaults,
    model: models.Model,
    hosts: int,
    seed: int,
    count: int,
) -> list[Found]:
    """Return how long so many crashes went unnoticed, each by itself."""
    chance = random.Random(f'{seed} crashes {model.name}')
    found = []
    for number in range(count):
        pipes = models.pipes(
            seed * 1000003 + number + 1, model, defaults.beat, hosts, -BEFORE
        )
        trace = Trace([pipe.until(LONGEST + 10.0) for pipe in pipes])
        at = chance.random() * defaults.beat
        found.append(crash(defaults, trace, at, chance))
    return found


# --- the pipe of all hosts stalls -------------------------------------------


@dataclasses.dataclass(frozen=True)
class Stall:
    """One stall of the pipe.

    :ivar arrivals: of each host.
    :ivar healthy: the same without the stall.
    """

    begin: float
    end: float
    arrivals: list[Times]
    healthy: list[Times]


def stalls(
    model: models.Model,
    interval: float,
    hosts: int,
    seed: int,
    count: int,
    before: float = BEFORE,
) -> Iterator[Stall]:
    """Return so many stalls, each in a cloud of its own."""
    chance = random.Random(f'{seed} stalls {model.name}')
    for number in range(count):
        begin = 30.0 + chance.random() * interval
        lasts = chance.uniform(models.STALL_SHORTEST, models.STALL_LONGEST)
        pipes = models.pipes(
            seed * 1000003 + number + 1, model, interval, hosts, -before
        )
        healthy = [pipe.until(begin + lasts + 200.0) for pipe in pipes]
        end = begin + lasts
        yield Stall(
            begin,
            end,
            [models.stalled_pipe(one, begin, end) for one in healthy],
            healthy,
        )


def blamed(defaults: engine.Defaults, stall: Stall) -> list[Silence]:
    """Return the hosts that were called down because of a stall."""
    watching = Watch(defaults, len(stall.arrivals))
    end = math.floor(stall.end + 150.0)
    watch(watching, 0.0, end, stall.arrivals, plain=True)
    found = []
    for silence in watching.silences:
        at = numpy.array([silence.down_at])
        age = float(ages_at(stall.healthy[silence.host], at)[0])
        if stall.begin <= silence.down_at and age < defaults.rules.timeout:
            found.append(silence)
    return found
