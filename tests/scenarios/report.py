# SPDX-License-Identifier: Apache-2.0

"""Plays everything that there is and counts: ``tools/simulate --report``.

Each part is work for one of several processes; what a part gives is numbers
and the texts of what went wrong. Nothing is taken from labels: whether
nothing was fenced is asked of the devices, a crash counts when the engine was
killed, a planted bug counts as found when a run broke a law because of it.
"""

from collections.abc import Iterable
from concurrent import futures
import dataclasses
import json
import logging
import os
import sys
import time
import typing

from tests.scenarios import crashes
from tests.scenarios import expectations
from tests.scenarios import invariants
from tests.scenarios import language
from tests.scenarios import liveness
from tests.scenarios import mutations
from tests.scenarios import random_runs
from tests.scenarios import rows

_SEEDS_AT_ONCE = 50
# One takes six times as long as a seed without.
_MOST_BOUNDS = 500


@dataclasses.dataclass
class Part:
    """What one piece of work gave."""

    what: str
    cpu: float = 0.0
    runs: int = 0
    quiet: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    found: str = ''


def story(name: str) -> Part:
    """Play a story once."""
    part, began = Part('story', runs=1), time.process_time()
    try:
        told = language.load(name)
        sim = language.play(told)
        wrong = expectations.failures(sim, told)
        part.wrong = [f'{name}: {line}' for line in wrong]
        part.quiet = not any(act.call == 'power-off' for act in sim.acts)
    except (invariants.Violation, Exception) as error:
        part.wrong = [f'{name}: {type(error).__name__}: {error}']
    part.cpu = time.process_time() - began
    return part


def crash(name: str) -> Part:
    """Kill the engine before and after each side effect of a story."""
    part = Part('crash')
    killed = crashes.Killed(language.load(name))
    for point in killed.side_effects():
        part.runs += 1
        try:
            found = killed.differences(point)
        except (invariants.Violation, Exception) as error:
            found = [f'{type(error).__name__}: {error}']
        part.wrong += [f'{name}: {line}' for line in found]
    return part


def seeds(first: int, count: int) -> Part:
    """Play random faults."""
    part = Part('seeds')
    for seed in range(first, first + count):
        part.runs += 1
        wrong = random_runs.why(
            random_runs.plan(seed), random_runs.crash_of(seed)
        )
        if wrong is not None:
            part.wrong.append(f'seed {seed}: {wrong}')
    return part


def bounds(first: int, count: int) -> Part:
    """Play random faults of which a part never heals."""
    part = Part('bounds')
    for seed in range(first, first + count):
        part.runs += 1
        wrong = liveness.why(seed)
        if wrong is not None:
            part.wrong.append(f'liveness seed {seed}: {wrong}')
    return part


def mutation(name: str) -> Part:
    """Plant a bug and look for it."""
    found = mutations.find(mutations.by_name(name))
    return Part('mutation', runs=1, found=f'{name}: {found}' if found else '')


def parts(work: Iterable[tuple[typing.Any, ...]], workers: int) -> list[Part]:
    """Do the work in so many processes."""
    logging.disable(logging.CRITICAL)
    with futures.ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(what, *args) for what, *args in work]
        return [job.result() for job in jobs]


def split(
    what: typing.Any, first: int, count: int
) -> list[tuple[typing.Any, ...]]:
    """Return the work of many seeds, some at a time."""
    return [
        (what, at, min(_SEEDS_AT_ONCE, first + count - at))
        for at in range(first, first + count, _SEEDS_AT_ONCE)
    ]


def everything(
    first: int, count: int, as_json: bool, workers: int | None = None
) -> int:
    """Play everything, print what came of it; return 1 if a law was broken.

    The last line is one line of JSON when that is asked for.
    """
    names = language.names()
    done = parts(
        [
            *((crash, name) for name in names),
            *((mutation, each.name) for each in mutations.ALL),
            *split(seeds, first, count),
            *split(bounds, first, min(count // 5, _MOST_BOUNDS)),
            *((story, name) for name in names),
        ],
        workers or os.cpu_count() or 1,
    )
    by = {
        what: [part for part in done if part.what == what]
        for what in ('story', 'crash', 'seeds', 'bounds', 'mutation')
    }
    wrong = [line for part in done for line in part.wrong]
    told = [row for name in names for row in language.load(name).rows]
    told += random_runs.ROWS
    counts = {
        'stories': len(names),
        'stories_nothing_fenced': sum(part.quiet for part in by['story']),
        'cpu_s': round(sum(part.cpu for part in by['story']), 1),
        'seeds': sum(part.runs for part in by['seeds']),
        'violations': len(wrong),
        'crash_points': sum(part.runs for part in by['crash']),
        'mutations': len(mutations.ALL),
        'mutations_found': sum(bool(p.found) for p in by['mutation']),
        'rows_covered': list(rows.covered(told)),
    }
    _tell(counts, by, wrong, rows.missing(told))
    if as_json:
        sys.stdout.write(json.dumps(counts) + '\n')
    survived = counts['mutations'] != counts['mutations_found']
    return 1 if wrong or survived else 0


def _tell(
    counts: dict[str, typing.Any],
    by: dict[str, list[Part]],
    wrong: list[str],
    missing: tuple[str, ...],
) -> None:
    lines = [
        f'{counts["stories"]} stories in {counts["cpu_s"]} s of CPU, in '
        f'{counts["stories_nothing_fenced"]} of them nothing was fenced',
        f'{counts["crash_points"]} times killed before or after a side effect',
        f'{counts["seeds"]} random runs, and '
        f'{sum(part.runs for part in by["bounds"])} in which a part never '
        'heals',
        f'{counts["mutations_found"]} of {counts["mutations"]} planted bugs '
        'found',
        *(f'    {part.found}' for part in by['mutation'] if part.found),
    ]
    found = {part.found.partition(':')[0] for part in by['mutation']}
    lines += [
        f'    NOT FOUND: {each.name}: {each.text}'
        for each in mutations.ALL
        if each.name not in found
    ]
    lines.append(
        f'{len(counts["rows_covered"])} of {len(rows.LEVEL_D)} rows of level '
        'D are covered'
    )
    lines += [f'    missing: {row} {rows.LEVEL_D[row]}' for row in missing]
    lines.append(f'{len(wrong)} violations')
    lines += [f'    {line}' for line in wrong]
    sys.stdout.write('\n'.join(lines) + '\n')
