# SPDX-License-Identifier: Apache-2.0

"""Prints the phases of an evacuation, as a picture or as tables.

States and percentages are not written here: for each phase there is what nova
has recorded by then, and the assessment of the product is asked about it.
"""

import argparse
from collections.abc import Iterator
import dataclasses
import html
import itertools
import sys
import typing

from nova_ha_plugins.recovery import explain
from nova_ha_plugins.recovery import progress

Phase = progress.Phase
Reason = progress.Reason
State = progress.State

_RUNS = progress.Event(1.0)
_SUCCESS = progress.Event(1.0, 2.0, 'Success')


@dataclasses.dataclass(frozen=True)
class Step:
    """One phase of the way.

    :ivar who: the service that is at work.
    :ivar evidence: how it is known that the phase has begun, in short lines.
    :ivar moved_by: what moves the percentage within it.
    :ivar record: what differs in nova's records from the phase before.
    """

    phase: Phase
    who: str
    evidence: tuple[str, ...]
    record: dict[str, typing.Any]
    moved_by: str = ''


_DESTINATION = 'nova-compute there'

STEPS = (
    Step(Phase.ACCEPTED, 'nova-api', ('record', 'accepted'), {}),
    Step(
        Phase.SCHEDULING,
        'nova-scheduler',
        ('event', 'rebuild_server', 'began'),
        {'schedule': _RUNS},
    ),
    Step(
        Phase.CLAIMING,
        _DESTINATION,
        ('event', 'rebuild_server', 'succeeded'),
        {'schedule': _SUCCESS, 'rebuild': _RUNS},
    ),
    Step(
        Phase.PREPARING,
        _DESTINATION,
        ('record', 'pre-migrating'),
        {'status': 'pre-migrating', 'destination': 'there'},
        'volumes',
    ),
    Step(
        Phase.VOLUMES,
        _DESTINATION,
        ('task', 'rebuild_block_', 'device_mapping'),
        {'guest': 'rebuild_block_device_mapping'},
        'volumes',
    ),
    Step(
        Phase.SPAWNING,
        _DESTINATION,
        ('task', 'rebuild_spawning'),
        {'guest': 'rebuild_spawning'},
        'bytes of an image',
    ),
    Step(
        Phase.FINISHING,
        _DESTINATION,
        ('no task, or', 'powering-off;', 'still at the source'),
        {'guest': None},
    ),
    Step(
        Phase.DONE,
        '',
        ('record done, or', 'no task and at', 'the destination'),
        {'status': 'done'},
    ),
)


def assessed(step: Step, *, counted: bool) -> progress.Assessment:
    """Return what the product says in that phase.

    :param counted: whether all volumes and bytes were counted.
    """
    known: dict[str, typing.Any] = {
        'status': 'accepted',
        'guest': 'rebuilding',
    }
    for earlier in STEPS[: STEPS.index(step) + 1]:
        known |= earlier.record
    known['guest'] = progress.Guest('here', 'active', known['guest'])
    count = 4 if counted else 0
    facts = progress.Facts(
        source='here',
        now=2.0,
        created_at=1.0,
        disk_total=4,
        disk_processed=count,
        volumes_total=4,
        volumes_done=count,
        **{'destination': None, **known},
    )
    found = progress.assess(facts)
    if found.phase is not step.phase:
        raise SystemExit(
            f'The assessment calls phase {step.phase!r} {found.phase!r}: '
            f'change its step in {__file__}'
        )
    return found


def span(step: Step) -> str:
    """Return the percentages that the phase can have."""
    first = assessed(step, counted=False).progress
    last = assessed(step, counted=True).progress
    return f'{first}' if first == last else f'{first}\u2013{last}'


# ---- the picture ------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _COLUMN, _BOX = 1000, 400, 20, 120, 108
_COLORS = {
    State.QUEUED: '#8fa3ad',
    State.RUNNING: '#2d7fb8',
    State.SUCCEEDED: '#3c8d4f',
    State.FAILED: '#b03a3a',
    State.SUPERSEDED: '#7a6a8c',
}


def _text(
    x: float,
    y: float,
    words: str,
    size: int = 12,
    fill: str = '#222222',
    anchor: str = 'middle',
    weight: str = 'normal',
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" '
        f'text-anchor="{anchor}" font-weight="{weight}">'
        f'{html.escape(words)}</text>'
    )


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'rx="5" fill="{fill}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, arrow: str = '') -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" '
        f'stroke="#555555" stroke-width="1.2"{arrow}/>'
    )


def svg() -> Iterator[str]:
    """Return the picture, line by line."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'role="img">'
    )
    yield '<title>The phases of an evacuation</title>'
    yield '<!-- Made by tools/evacuation-phases; a test compares it. -->'
    yield (
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" '
        'refY="4" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555555"/>'
        '</marker></defs>'
    )
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    for index, step in enumerate(STEPS):
        yield from _column(index, step)
    yield from _scale()
    yield from _ends()
    yield '</svg>'


def _column(index: int, step: Step) -> Iterator[str]:
    left = _LEFT + index * _COLUMN
    middle = left + _BOX / 2
    state = assessed(step, counted=False).state
    yield _text(middle, 30, step.who, 11, '#555555')
    yield _box(left, 40, _BOX, 52, _COLORS[state])
    yield _text(middle, 62, step.phase, 14, '#ffffff', weight='bold')
    yield _text(middle, 82, f'{span(step)} %', 12, '#ffffff')
    if index:
        yield _line(
            left - (_COLUMN - _BOX),
            66,
            left - 1,
            66,
            ' marker-end="url(#tip)"',
        )
    for number, words in enumerate(step.evidence):
        yield _text(middle, 112 + 15 * number, words, 11)
    if step.moved_by:
        yield _text(middle, 162, 'moves with', 11, '#2d7fb8')
        yield _text(middle, 176, step.moved_by, 11, '#2d7fb8')


def _scale() -> Iterator[str]:
    """Return the percentages true to scale."""
    width = _WIDTH - 2 * _LEFT
    for phase, following in itertools.pairwise(STEPS):
        first, last = (
            progress.PERCENT[step.phase] for step in (phase, following)
        )
        left = _LEFT + width * first / 100
        state = assessed(phase, counted=False).state
        share = width * (last - first) / 100
        yield (
            f'<rect x="{left:g}" y="200" width="{share:g}" height="16" '
            f'fill="{_COLORS[state]}" stroke="#ffffff"/>'
        )
        yield _text(left, 230, str(first), 10, '#555555')
    yield _text(_LEFT + width, 230, '100', 10, '#555555')


def _ends() -> Iterator[str]:
    """Return how it can end otherwise, and what may hold it."""
    top = 268
    kinds = (
        (State.FAILED, explain.FAILED, 'from any phase; no percentage'),
        (
            State.SUPERSEDED,
            explain.SUPERSEDED,
            'a newer record tells; no percentage',
        ),
        (None, explain.STALLED, 'not an end: the percentage stays'),
    )
    for index, (state, reasons, note) in enumerate(kinds):
        left = _LEFT + index * 320
        name, color = (
            (state, _COLORS[state]) if state else ('stalled', '#c9821c')
        )
        yield _box(left, top, _BOX, 30, color)
        yield _text(
            left + _BOX / 2, top + 20, name, 14, '#ffffff', weight='bold'
        )
        yield _text(left + _BOX + 8, top + 20, note, 11, '#555555', 'start')
        for number, reason in enumerate(reasons):
            yield _text(
                left + 4, top + 50 + 17 * number, reason, 12, anchor='start'
            )


# ---- the tables -------------------------------------------------------------

_MEANINGS = {
    State.QUEUED: 'Nova has it; no host has begun with it.',
    State.RUNNING: 'A host builds the server.',
    State.SUCCEEDED: 'The server is on its new host. Always 100 %.',
    State.FAILED: 'It ended without the server on a new host.',
    State.SUPERSEDED: (
        'The record tells no more: a newer one of the same server does.'
    ),
    State.UNKNOWN: (
        "Nova's records do not tell, or the server is busy with something "
        'else.'
    ),
}


def rst() -> Iterator[str]:
    """Return the tables of states, phases and reasons, line by line."""
    yield '.. Made by tools/evacuation-phases; a test compares it.'
    yield from _table(
        ('State', 'Meaning'),
        ((f'``{state}``', text) for state, text in _MEANINGS.items()),
        '20 80',
    )
    yield from _table(
        ('Phase', 'Percent', 'State', 'Begins with', 'Moves with'),
        (
            (
                f'``{step.phase}``',
                span(step),
                f'``{assessed(step, counted=False).state}``',
                ' '.join(step.evidence).replace(
                    'block_ device', 'block_device'
                ),
                step.moved_by or 'nothing: it stays',
            )
            for step in STEPS
        ),
        '15 12 15 36 22',
    )
    yield from _table(
        ('Reason', 'State', 'Why', 'What to do'), _reasons(), None
    )


def _reasons() -> Iterator[tuple[str, ...]]:
    words = {
        'there': 'the destination',
        'worker': 'the service that has it',
        'minutes': str(int(progress.QUIET_SECONDS) // 60),
    }
    for name, table in (
        ('``failed``', explain.FAILED),
        ('``superseded``', explain.SUPERSEDED),
        ('stalled', explain.STALLED),
    ):
        for reason, why in table.items():
            yield (
                f'``{reason}``',
                name,
                why.text.format(**words),
                why.operator.format(**words),
            )
    for reason, text in explain.GOING_ON.items():
        yield f'``{reason}``', 'it goes on', text, 'Look at the hosts, below.'
    yield (
        f'``{Reason.RECORD_LEFT_OPEN}``',
        '``succeeded``',
        'Nova made the record again when the source came back, and never '
        'closes it.',
        'Nothing.',
    )


def _table(
    head: tuple[str, ...],
    rows: Iterator[tuple[str, ...]],
    widths: str | None,
) -> Iterator[str]:
    yield ''
    yield '.. list-table::'
    yield '   :header-rows: 1'
    yield f'   :widths: {widths or "22 13 35 30"}'
    yield ''
    for row in (head, *rows):
        for index, cell in enumerate(row):
            yield f'   {"*" if index == 0 else " "} - {cell}'


FORMATS = {'svg': svg, 'rst': rst}


def main(arguments: list[str]) -> int:
    """Print the phases in the format that was asked for."""
    parser = argparse.ArgumentParser(
        prog='tools/evacuation-phases', description=__doc__
    )
    parser.add_argument('format', nargs='?', choices=FORMATS, default='svg')
    chosen = parser.parse_args(arguments).format
    print('\n'.join(FORMATS[chosen]()))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
