# SPDX-License-Identifier: Apache-2.0

"""What ``tools/simulate`` runs: random faults, a story, the detector, all.

Without an option 1000 random clouds with random faults are played.
"""

import argparse
import logging
import os
import sys
import time
import typing

from tests.scenarios import detector_report
from tests.scenarios import expectations
from tests.scenarios import golden
from tests.scenarios import invariants
from tests.scenarios import language
from tests.scenarios import mutations
from tests.scenarios import random_runs
from tests.scenarios import report
from tests.scenarios import search

_SEEDS = 1000
# As many as each run of the tests plays.
_REPORTED_SEEDS = 300


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tools/simulate', description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add('--seeds', type=int, metavar='N', help='play so many random clouds')
    add('--first', type=int, default=0, metavar='N', help='the first seed')
    add(
        '--search',
        type=int,
        metavar='N',
        help='let hypothesis look at so many, and shorten what fails',
    )
    add('--workers', type=int, default=os.cpu_count(), metavar='N')
    add('--keep-going', action='store_true', help='do not stop at a failure')
    add(
        '--report',
        action='store_true',
        help='play all stories, crashes, bugs and seeds, and count',
    )
    add(
        '--json',
        action='store_true',
        help='the last line of that, or of --detector, as JSON',
    )
    add('--story', metavar='NAME', help='play a story and tell it')
    add('--mutation', metavar='NAME', help='plant a bug and look for it')
    add(
        '--detector',
        action='store_true',
        help='how soon hosts that die are found, and how often ones that '
        'live are taken for dead, beside other detectors',
    )
    _add_detector(add)
    add(
        '--golden',
        nargs='*',
        metavar='NAME',
        help='write the golden timelines anew, of these stories or of all '
        'that have one',
    )
    return parser


def _add_detector(add: typing.Callable[..., object]) -> None:
    """Add the options that go with --detector."""
    add('--years', type=float, default=detector_report.YEARS, metavar='N')
    add('--hosts', type=int, default=detector_report.HOSTS, metavar='N')
    add('--seed', type=int, default=detector_report.SEED, metavar='N')
    add(
        '--beat',
        type=float,
        metavar='SECONDS',
        help='another interval of heartbeats than that of polling_ha.yaml',
    )
    add(
        '--timeout',
        type=float,
        metavar='SECONDS',
        help='another [nova_ha] heartbeat_timeout; two and a half intervals '
        'if only --beat is given',
    )


def main(arguments: list[str] | None = None) -> int:
    """Do what the options say; return 1 if something went wrong."""
    options = _parser().parse_args(arguments)
    logging.disable(logging.CRITICAL)
    if options.story:
        return _story(options.story)
    if options.mutation:
        mutation = mutations.by_name(options.mutation)
        found = mutations.find(mutation)
        sys.stdout.write(f'{mutation.text}: {found or "NOT FOUND"}\n')
        return 0 if found else 1
    if options.golden is not None:
        for name in options.golden or golden.names():
            golden.write(name)
            sys.stdout.write(f'{golden.path(name)}\n')
        return 0
    if options.search:
        return _search(options.search)
    if options.detector:
        return detector_report.everything(
            options.years,
            options.hosts,
            options.seed,
            options.json,
            detector_report.changed(
                detector_report.defaults(), options.beat, options.timeout
            ),
        )
    if options.report:
        return report.everything(
            options.first,
            options.seeds or _REPORTED_SEEDS,
            options.json,
            options.workers,
        )
    return _seeds(options)


def _story(name: str) -> int:
    story = language.load(name)
    try:
        wrong = expectations.failures(language.play(story), story)
    except invariants.Violation as error:
        wrong = [str(error)]
    sys.stdout.write(language.LAST[-1].told() + '\n')
    sys.stdout.write(''.join(f'{line}\n' for line in wrong))
    return 1 if wrong else 0


def _search(examples: int) -> int:
    story = search.failing(examples)
    if story is None:
        sys.stdout.write(f'{examples} stories, nothing found\n')
        return 0
    sys.stdout.write(random_runs.told(story, None) + '\n')
    return 1


def _seeds(options: argparse.Namespace) -> int:
    began = time.monotonic()
    count = _SEEDS if options.seeds is None else options.seeds
    done = report.parts(
        report.split(report.seeds, options.first, count), options.workers
    )
    wrong = [line for part in done for line in part.wrong]
    for line in wrong:
        sys.stdout.write(f'{line}\n')
    if wrong and not options.keep_going:
        seed = int(wrong[0].split(':')[0].removeprefix('seed '))
        sys.stdout.write(random_runs.told_of(seed) + '\n')
    took = time.monotonic() - began
    sys.stdout.write(f'{count} seeds, {len(wrong)} wrong, {took:.1f} s\n')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
