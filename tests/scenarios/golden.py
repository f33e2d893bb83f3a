# SPDX-License-Identifier: Apache-2.0

"""Golden timelines: what happens in a story, second by second, as a text.

``timeline`` in the folder of a story says everything that the world, the
engine and the persons did, with the seconds of the story. Whoever changes the
engine sees in the diff what that changes for an operator.
``tools/simulate --golden [STORY...]`` writes them anew.
"""

import pathlib
import re

from tests.scenarios import language
from tests.scenarios import simulation

_UUID = re.compile(r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')


def path(name: str) -> pathlib.Path:
    """Where the timeline of a story stands."""
    return language.HERE / name / 'timeline'


def names() -> list[str]:
    """Every story that has one."""
    return [name for name in language.names() if path(name).exists()]


def write(name: str) -> None:
    """Write the timeline of a story anew."""
    path(name).write_text(told(name))


def told(name: str) -> str:
    """What happens in a story now."""
    return readable(language.play(language.load(name)))


def readable(sim: simulation.Simulation) -> str:
    """Everything that happened, the same each time."""
    known: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return known.setdefault(match[0], f'<uuid {len(known) + 1}>')

    lines = []
    for line in sim.log:
        at, _, text = line.lstrip().partition('  ')
        lines.append(f't={at:<6} {_UUID.sub(number, text)}'.rstrip())
    return '\n'.join(lines) + '\n'
