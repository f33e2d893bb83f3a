# SPDX-License-Identifier: Apache-2.0

"""How good the time that is told for an evacuation turns out to be.

Waves of evacuations are simulated (or replayed from what a cloud recorded)
and looked at once a second, through the product's own assessment, follower
and estimate. At each look the estimate knows only the waves before it. Beside
it stand two that need no history of their kind: the mean of all that was seen
so far, and what is left if the percentage goes on as it did.

The simulated cloud: a host with 8 to 40 servers fails, its servers are built
on 2 to 5 others, each of which claims for one server at a time. Half of the
servers boot from an image, of which two thirds have to be copied (256 MiB to
8 GiB, at 30 to 300 MiB/s, a rate that changes on the way); half boot from one
to six volumes. One in fifty waits a minute or more for its network. The last
line is the same cloud without samplers: nobody knows who has to copy how much.
"""

import argparse
import bisect
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import json
import math
import pathlib
import random
import statistics
import sys

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery import views

Phase = progress.Phase
_MIB = 1024**2

# The first waves make the history and are not judged.
WARM_UP = 6

_TASKS = {
    Phase.PREPARING: 'rebuilding',
    Phase.VOLUMES: 'rebuild_block_device_mapping',
    Phase.SPAWNING: 'rebuild_spawning',
    Phase.FINISHING: None,
}


@dataclasses.dataclass(frozen=True)
class Course:
    """How one evacuation really went.

    :ivar seconds: how long each phase took, in their order.
    :ivar copied: seconds of the spawning phase until all bytes were there.
    :ivar bend: share of the bytes that was there after half of that time.
    :ivar begins: when the destination began with each that came before it,
        None if nobody knows.
    """

    uuid: str
    boot: progress.Boot | None
    created_at: float
    seconds: tuple[tuple[Phase, float], ...]
    disk_total: int | None = None
    copied: float = 0.0
    bend: float = 0.5
    volumes: int = 0
    begins: tuple[float, ...] | None = None

    @property
    def end(self) -> float:
        """When it was done."""
        return self.created_at + sum(took for _, took in self.seconds)

    def at(self, now: float) -> tuple[Phase, float]:
        """Give its phase at that time, and for how long it is in that."""
        since = self.created_at
        for phase, took in self.seconds:
            if now < since + took:
                return phase, now - since
            since += took
        return Phase.DONE, now - since

    def copied_at(self, spent: float) -> int:
        """Give the bytes that are there after so long in spawning."""
        if not self.disk_total or spent >= self.copied:
            return self.disk_total or 0
        share = 2.0 * spent / self.copied
        if share < 1.0:
            return int(self.disk_total * share * self.bend)
        rest = (share - 1.0) * (1.0 - self.bend)
        return int(self.disk_total * (self.bend + rest))


# ---- the simulated cloud ----------------------------------------------------


def _about(chance: random.Random, median: float, spread: float) -> float:
    return median * math.exp(chance.gauss(0.0, spread))


def _work(
    chance: random.Random,
) -> tuple[dict[Phase, float], dict[str, object]]:
    """Give what comes after the claim, and what it is."""
    start = _about(chance, 3.0, 0.3)
    if chance.random() < 0.02:
        start += chance.uniform(60.0, 300.0)
    seconds = {
        Phase.PREPARING: _about(chance, 1.0, 0.3),
        Phase.VOLUMES: 0.2,
        Phase.FINISHING: _about(chance, 0.6, 0.3),
    }
    if chance.random() < 0.5:
        volumes = chance.randint(1, 6)
        seconds[Phase.PREPARING] += volumes * _about(chance, 0.6, 0.2)
        seconds[Phase.VOLUMES] += volumes * _about(chance, 1.2, 0.2)
        seconds[Phase.SPAWNING] = start + volumes * 0.3
        return seconds, {'boot': progress.Boot.VOLUME, 'volumes': volumes}
    total, copied = 0, 0.0
    if chance.random() < 2 / 3:
        total = int(_MIB * 256 * 2 ** chance.uniform(0.0, 5.0))
        rate = min(max(_about(chance, 100.0, 0.4), 30.0), 300.0)
        copied = total / _MIB / rate
    seconds[Phase.SPAWNING] = copied + start
    return seconds, {
        'boot': progress.Boot.IMAGE,
        'disk_total': total,
        'copied': copied,
        'bend': min(max(chance.gauss(0.5, 0.08), 0.2), 0.8),
    }


def wave(chance: random.Random, number: int) -> list[Course]:
    """Return the evacuations of one failed host."""
    free = [0.0] * chance.randint(2, 5)
    residents = [chance.randint(0, 30) for _ in free]
    begins: list[list[float]] = [[] for _ in free]
    found = []
    for index in range(chance.randint(8, 40)):
        created_at = 1000.0 + 0.35 * index
        accepted = _about(chance, 0.3, 0.3)
        scheduling = _about(chance, 0.5, 0.3)
        ready = created_at + accepted + scheduling
        where = index % len(free)
        begin = max(ready, free[where])
        free[where] = begin + 0.2 + 0.03 * residents[where]
        residents[where] += 1
        seconds, what = _work(chance)
        seconds[Phase.ACCEPTED] = accepted
        seconds[Phase.SCHEDULING] = scheduling
        seconds[Phase.CLAIMING] = free[where] - ready
        course = Course(
            uuid=f'{number}-{index}',
            created_at=created_at,
            seconds=tuple(
                (phase, seconds[phase])
                for phase in progress.PERCENT
                if phase in seconds
            ),
            begins=tuple(begins[where]),
            **what,  # type: ignore[arg-type]
        )
        begins[where].append(begin)
        found.append(course)
    return found


def simulated(seed: int, waves: int) -> Iterator[list[Course]]:
    """Return waves that are the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    for number in range(waves):
        yield wave(chance, number)


def unmeasured(courses: list[Course]) -> list[Course]:
    """Return the same wave on hosts without samplers."""
    return [dataclasses.replace(each, disk_total=None) for each in courses]


def recorded(lines: Iterable[str], size: int = 20) -> Iterator[list[Course]]:
    """Return what a cloud recorded, in the order in which it happened.

    :param lines: ``following.Trace`` as JSON, one per line.
    """
    traces = [following.Trace(**json.loads(line)) for line in lines]
    courses = []
    for trace in sorted(traces, key=lambda each: each.created_at):
        past = following.past_of(trace)
        if past is None:
            continue
        total = None
        if past.kind.storage is not progress.Storage.UNKNOWN:
            total = trace.disk_processed or 0
        courses.append(
            Course(
                uuid=trace.uuid,
                boot=past.kind.boot,
                created_at=trace.created_at,
                seconds=past.seconds,
                disk_total=total,
                copied=past.copied or 0.0,
            )
        )
    for first in range(0, len(courses), size):
        yield courses[first : first + size]


# ---- looking at it ----------------------------------------------------------


def facts_at(course: Course, now: float) -> progress.Facts:
    """Return what nova would show at that time."""
    phase, spent = course.at(now)
    order = list(progress.PERCENT)
    step = order.index(phase)
    claimed = step >= order.index(Phase.PREPARING)
    event = progress.Event(now - 1.0, now - 1.0, 'Success')
    runs = progress.Event(now - 1.0)
    schedule = runs if phase is Phase.SCHEDULING else event
    share = _share(course, phase, spent)
    status = 'pre-migrating' if claimed else 'accepted'
    copying = phase is Phase.SPAWNING
    return progress.Facts(
        status='done' if phase is Phase.DONE else status,
        source='source',
        destination='destination' if claimed else None,
        guest=progress.Guest('source', 'active', _task(phase), now),
        now=now,
        created_at=course.created_at,
        schedule=None if phase is Phase.ACCEPTED else schedule,
        boot=course.boot,
        disk_total=course.disk_total if claimed else None,
        disk_processed=course.copied_at(spent) if copying else None,
        volumes_total=course.volumes,
        volumes_done=int(share * course.volumes),
        ahead=_ahead(course.begins, now),
    )


def _ahead(begins: tuple[float, ...] | None, now: float) -> int | None:
    if begins is None:
        return None
    return len(begins) - bisect.bisect_right(begins, now)


def _task(phase: Phase) -> str | None:
    return _TASKS.get(phase, 'rebuilding')


def _share(course: Course, phase: Phase, spent: float) -> float:
    took = dict(course.seconds).get(phase, 0.0)
    return min(1.0, spent / took) if took else 0.0


def view_of(
    course: Course, facts: progress.Facts, found: progress.Assessment
) -> views.Evacuation:
    """Return what the resource would show of it."""
    kind = estimate.kind_of(facts)
    return views.Evacuation(
        uuid=course.uuid,
        server_uuid=course.uuid,
        status=facts.status,
        state=found.state,
        phase=found.phase,
        created_at=course.created_at,
        progress=found.progress,
        disk_total_bytes=facts.disk_total,
        disk_processed_bytes=facts.disk_processed,
        finished_at=course.end if found.phase is Phase.DONE else None,
        boot_source=kind.boot,
        storage=kind.storage,
        size_class=kind.size,
    )


@dataclasses.dataclass(frozen=True)
class Guess:
    """One look: what was told, and what was true."""

    kind: str
    left: float
    told: estimate.Estimate | None
    mean: float
    extrapolated: float | None


def replay(
    course: Course, book: estimate.Book, mean: float
) -> tuple[following.Trace, list[Guess]]:
    """Look at one evacuation once a second until it is done."""
    trace: following.Trace | None = None
    guesses: list[Guess] = []
    now = course.created_at + 0.5
    while True:
        facts = facts_at(course, now)
        found = progress.assess(facts)
        seen = view_of(course, facts, found)
        trace = following.follow(trace, seen, now).trace
        if found.phase is Phase.DONE:
            return trace, guesses
        elapsed = now - course.created_at
        copying = facts.disk_processed is not None
        told = book.estimate(
            estimate.kind_of(facts),
            found.phase,
            elapsed,
            now - trace.phase_since,
            bytes_left=(
                (facts.disk_total or 0) - (facts.disk_processed or 0)
                if copying
                else None
            ),
            rate=trace.rate,
            ahead=facts.ahead,
        )
        percent = found.progress or 0
        guesses.append(
            Guess(
                kind=_name(course),
                left=course.end - now,
                told=told,
                mean=max(0.0, mean - elapsed),
                extrapolated=(
                    elapsed * (100 - percent) / percent if percent else None
                ),
            )
        )
        now += 1.0


def _name(course: Course) -> str:
    if course.boot is progress.Boot.VOLUME:
        return 'volumes'
    if course.disk_total is None:
        return 'image, unmeasured'
    return 'image, copied' if course.disk_total else 'image, in place'


def run(waves: Iterable[list[Course]], warm_up: int) -> list[Guess]:
    """Return every guess after the first waves."""
    pasts: list[estimate.Past] = []
    lasted: list[float] = []
    guesses: list[Guess] = []
    for number, courses in enumerate(waves):
        book = estimate.Book(pasts)
        mean = statistics.fmean(lasted) if lasted else 0.0
        traces = []
        for course in courses:
            trace, found = replay(course, book, mean)
            traces.append(trace)
            lasted.append(course.end - course.created_at)
            if number >= warm_up:
                guesses += found
        pasts += filter(None, map(following.past_of, traces))
    return guesses


# ---- what is printed --------------------------------------------------------


def line(name: str, guesses: list[Guess]) -> str:
    """Return the figures of one kind, side by side."""
    told = [each for each in guesses if each.told is not None]
    if not told:
        return f'{name}: {len(guesses)} looks, no estimate yet'
    pairs = [(each.told, each.left) for each in guesses if each.told]
    off = _median(abs(estimated.p50 - left) for estimated, left in pairs)
    within = sum(left <= estimated.p90 for estimated, left in pairs)
    mean = _median(abs(each.mean - each.left) for each in told)
    percent = _median(
        abs(each.extrapolated - each.left)
        for each in told
        if each.extrapolated is not None
    )
    return (
        f'{name}: {len(guesses)} looks, {100 * len(told) // len(guesses)} % '
        f'with an estimate, of {_median(x.left for x in told):.1f} s left; '
        f'median absolute error {off:.2f} s, truth within p90 in '
        f'{100 * within / len(told):.0f} %; mean of all {mean:.2f} s '
        f'({_times(mean, off)}), percentage {percent:.2f} s '
        f'({_times(percent, off)})'
    )


def _times(other: float, ours: float) -> str:
    return f'{other / ours:.1f} times ours' if ours else 'ours is exact'


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else math.nan


def main(arguments: list[str]) -> int:
    """Print the errors per kind, and of all."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.eta', description=__doc__
    )
    parser.add_argument('--seed', type=int, default=5)
    parser.add_argument('--waves', type=int, default=30)
    parser.add_argument(
        '--recorded',
        type=pathlib.Path,
        metavar='FILE',
        help='traces of a cloud, one JSON object per line, instead',
    )
    chosen = parser.parse_args(arguments)
    if chosen.recorded:
        with chosen.recorded.open() as lines:
            guesses = run(recorded(lines), warm_up=1)
        without: list[Guess] = []
    else:
        waves = list(simulated(chosen.seed, chosen.waves))
        guesses = run(waves, WARM_UP)
        without = run(map(unmeasured, waves), WARM_UP)
    for kind in sorted({each.kind for each in guesses}):
        print(line(kind, [each for each in guesses if each.kind == kind]))
    print(line('all', guesses))
    images = [each for each in without if each.kind != 'volumes']
    if images:
        print(line('image, unmeasured', images))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
