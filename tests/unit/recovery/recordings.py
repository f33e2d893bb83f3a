# SPDX-License-Identifier: Apache-2.0

"""Runs of evacuations on a real nova, kept as what changed from look to look.

``tests/functional/nova`` writes them when ``NOVA_HA_RECORD=1`` is set. A file
is one server; a look is all of its evacuation records at one moment, under the
number of the record in the order of their creation. Times are seconds since
the first record.
"""

from collections import abc
import dataclasses
import itertools
import json
import pathlib
import typing

from nova_ha_plugins.recovery import progress

FOLDER = pathlib.Path(__file__).parent / 'recorded'

_NESTED = {
    'guest': progress.Guest,
    'schedule': progress.Event,
    'rebuild': progress.Event,
}
_WORDS = {'rival': progress.Rival, 'boot': progress.Boot}
_TIMES = {'now', 'created_at'}


@dataclasses.dataclass(frozen=True)
class Look:
    """All evacuation records of a server at one moment, oldest first.

    :ivar there: the server is where its newest record takes it, and runs or
        rests there without a task; the driver has the guest.
    """

    facts: tuple[progress.Facts, ...]
    there: bool


@dataclasses.dataclass(frozen=True)
class Run:
    """One server from before its first evacuation on.

    :ivar end: state and reason of each record, newest first.
    :ivar phases: those that its newest record was seen in, in their order.
    """

    name: str
    about: str
    end: tuple[tuple[str, str | None], ...]
    phases: tuple[str, ...]
    looks: tuple[Look, ...]


def turns(looks: abc.Sequence[Look]) -> list[list[int]]:
    """Give the indexes of the looks at each newest record in turn.

    Without the moment in which nova has begun once more and its record is not
    written yet: the server's task is the new one's, and so it goes back.
    """
    found = [
        list(group)
        for _, group in itertools.groupby(
            range(len(looks)), lambda index: len(looks[index].facts)
        )
    ]
    for turn, following in itertools.pairwise(found):
        begun = looks[following[0]].facts[-1].guest
        same = [
            index for index in turn if looks[index].facts[-1].guest == begun
        ]
        if same != turn:
            del turn[len(turn) - len(same) :]
    return found


def names() -> list[str]:
    """Names of the runs that were recorded."""
    return sorted(path.stem for path in FOLDER.glob('*.json'))


def read(name: str) -> Run:
    """Give one recorded run."""
    saved = json.loads((FOLDER / f'{name}.json').read_text())
    return Run(
        name=name,
        about=saved['about'],
        end=tuple((state, reason) for state, reason in saved['end']),
        phases=tuple(saved['phases']),
        looks=tuple(_looks(saved['looks'])),
    )


def write(run: Run) -> None:
    """Keep a run, in place of the one with its name."""
    zero = run.looks[0].facts[0].created_at
    head = {'about': run.about, 'end': run.end, 'phases': run.phases}
    lines = [json.dumps(line) for line in _lines(run.looks, zero)]
    text = json.dumps(head)[:-1] + ', "looks": [\n  '
    path = FOLDER / f'{run.name}.json'
    path.write_text(text + ',\n  '.join(lines) + '\n]}\n')


def _lines(
    looks: abc.Iterable[Look], zero: float
) -> abc.Iterator[dict[str, typing.Any]]:
    known: list[dict[str, typing.Any]] = []
    there = False
    for look in looks:
        line: dict[str, typing.Any] = {
            'now': round(look.facts[-1].now - zero, 3)
        }
        if look.there is not there:
            line['there'] = there = look.there
        for number, facts in enumerate(look.facts):
            if number == len(known):
                known.append({})
            found = _plain(facts, zero)
            changed = {
                key: value
                for key, value in found.items()
                if known[number].get(key) != value
            }
            known[number] = found
            if changed:
                line[str(number + 1)] = changed
        yield line


def _looks(
    lines: abc.Iterable[dict[str, typing.Any]],
) -> abc.Iterator[Look]:
    known: dict[str, dict[str, typing.Any]] = {}
    there = False
    for line in lines:
        there = line.get('there', there)
        for number, changed in line.items():
            if number.isdigit():
                known.setdefault(number, {}).update(changed)
        yield Look(
            tuple(
                _facts(known[number], line['now'])
                for number in sorted(known, key=int)
            ),
            there,
        )


def _plain(facts: progress.Facts, zero: float) -> dict[str, typing.Any]:
    found = dataclasses.asdict(facts)
    del found['now']
    return typing.cast(dict[str, typing.Any], _since(found, zero))


def _since(value: typing.Any, zero: float, name: str = '') -> typing.Any:
    """The value, its times counted from the first record."""
    if isinstance(value, dict):
        return {key: _since(item, zero, key) for key, item in value.items()}
    if isinstance(value, float) and (name.endswith('_at') or name == 'now'):
        return round(value - zero, 3)
    return value


def _facts(found: dict[str, typing.Any], now: float) -> progress.Facts:
    arguments = {'destination': None, 'guest': None, **found}
    for name, kind in _NESTED.items():
        if arguments.get(name) is not None:
            arguments[name] = kind(**arguments[name])
    for name, word in _WORDS.items():
        if arguments.get(name) is not None:
            arguments[name] = word(arguments[name])
    return progress.Facts(now=now, **arguments)
