# SPDX-License-Identifier: Apache-2.0

"""Records an evacuation on real hypervisors and draws how it went on.

The samples are kept as they came from the APIs, and the picture is drawn from
nothing else.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import html
import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
import typing

STATIC = pathlib.Path('doc/source/_static')
PICTURE = STATIC / 'evacuation-progress.svg'
SAMPLES = STATIC / 'evacuation-progress.json'
STORY = 'tests.lab.test_progress'

Sample = dict[str, typing.Any]
Take = Callable[[Sample], float | None]

_MIB = 2**20
_WIDTH, _LEFT, _RIGHT = 960, 70, 20
_PANEL, _GAP, _TOP = 150, 42, 92
_BLUE, _GREEN, _ORANGE, _GRAY = '#2d7fb8', '#2f8f4e', '#c9821c', '#777777'
# Of the bands behind the lines, by turns.
_SHADES = ('#f2f4f7', '#e3e8ef')


def _scale(most: float, steps: int = 4) -> list[float]:
    """Return round marks from 0 to beyond the largest value."""
    step = next(
        factor * 10**power
        for power in range(-1, 9)
        for factor in (1, 2, 2.5, 5)
        if factor * 10**power * steps >= most
    )
    return [number * step for number in range(math.ceil(most / step) + 1)]


def _text(
    x: float, y: float, words: str, fill: str = '#333333', anchor: str = 'end'
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="11" fill="{fill}" '
        f'text-anchor="{anchor}">{html.escape(words)}</text>'
    )


class Picture:
    """Three panels over one axis of time."""

    def __init__(self, recording: dict[str, typing.Any]) -> None:
        samples: list[Sample] = recording['samples']
        # What was asked after the end says the same again and again.
        last = next(
            number
            for number, each in enumerate(samples)
            if each['state'] not in ('queued', 'running')
        )
        self.samples = samples[: last + 1]
        self.end = float(self.samples[-1]['time'])
        self.marks = _scale(self.end, 8)

    def x(self, seconds: float) -> float:
        width = _WIDTH - _LEFT - _RIGHT
        return _LEFT + width * seconds / self.marks[-1]

    def draw(self) -> Iterator[str]:
        """Return the picture, line by line."""
        height = _TOP + 3 * (_PANEL + _GAP) + 10
        yield (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 '
            f'{_WIDTH} {height}" font-family="sans-serif" role="img">'
        )
        yield '<title>One evacuation, as the APIs told it</title>'
        yield '<!-- Made by tools/record-progress; a test compares it. -->'
        yield f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
        yield from self._bands(height)
        yield from self._panel(
            0,
            [
                ('progress, %', _BLUE, lambda each: each['progress']),
                (
                    'progress of the server in nova, %',
                    _ORANGE,
                    lambda each: each['server']['progress'],
                ),
            ],
            100.0,
        )
        yield from self._panel(
            1,
            [
                (
                    'disk_processed_bytes, MiB',
                    _BLUE,
                    lambda each: _mib(each['disk_processed_bytes']),
                ),
                (
                    'disk_total_bytes, MiB',
                    _GRAY,
                    lambda each: _mib(each['disk_total_bytes']),
                ),
            ],
        )
        yield from self._panel(
            2,
            [
                ('eta_seconds', _BLUE, lambda each: each['eta_seconds']),
                (
                    'eta_p90_seconds',
                    _ORANGE,
                    lambda each: each['eta_p90_seconds'],
                ),
                (
                    'what it really took',
                    _GREEN,
                    lambda each: self.end - each['time'],
                ),
            ],
        )
        yield '</svg>'

    def _bands(self, height: int) -> Iterator[str]:
        """Return the phases, behind everything."""
        grouped = itertools.groupby(self.samples, key=lambda s: s['phase'])
        begins = [(phase, next(each)['time']) for phase, each in grouped]
        following = [*(began for _, began in begins[1:]), self.marks[-1]]
        free = [0.0, 0.0, 0.0, 0.0]
        for number, ((phase, began), ends) in enumerate(
            zip(begins, following, strict=True)
        ):
            left, right = self.x(began), self.x(ends)
            yield (
                f'<rect x="{left:g}" y="{_TOP - 22}" '
                f'width="{right - left:g}" height="{height - _TOP + 10}" '
                f'fill="{_SHADES[number % 2]}"/>'
            )
            # Short ones stand close together: their names do not.
            row = next((n for n, end in enumerate(free) if left > end), 0)
            free[row] = left + 7.0 * len(phase)
            place = min(left + 2, _WIDTH - 4 - 6.4 * len(phase))
            yield _text(place, 16 + 15 * row, phase, '#555555', 'start')

    def _panel(
        self,
        place: int,
        lines: list[tuple[str, str, Take]],
        most: float | None = None,
    ) -> Iterator[str]:
        top = _TOP + place * (_PANEL + _GAP)
        bottom = top + _PANEL
        if most is None:
            most = max(
                take(each) or 0.0
                for _, _, take in lines
                for each in self.samples
            )
        scale = _scale(most)
        for mark in scale:
            y = bottom - _PANEL * mark / scale[-1]
            yield (
                f'<path d="M{_LEFT},{y:g} H{_WIDTH - _RIGHT}" '
                'stroke="#cccccc" stroke-width="0.5"/>'
            )
            yield _text(_LEFT - 6, y + 4, f'{mark:g}')
        for mark in self.marks:
            yield _text(self.x(mark), bottom + 14, f'{mark:g} s', _GRAY)
        x = float(_WIDTH - _RIGHT - 6)
        for name, color, take in reversed(lines):
            yield _text(x, top - 7, name, color)
            x -= 6.4 * len(name) + 10
            yield self._line(take, color, bottom, scale[-1])

    def _line(self, take: Take, color: str, bottom: float, most: float) -> str:
        """Return one line; where nothing was told there is none."""
        path, pen = [], 'M'
        for each in self.samples:
            value = take(each)
            if value is None:
                pen = 'M'
                continue
            y = bottom - _PANEL * value / most
            path.append(f'{pen}{self.x(each["time"]):.1f},{y:.1f}')
            pen = 'L'
        return (
            f'<path d="{" ".join(path)}" fill="none" stroke="{color}" '
            'stroke-width="1.6"/>'
        )


def _mib(number: int | None) -> float | None:
    return None if number is None else number / _MIB


def draw(recording: dict[str, typing.Any]) -> str:
    """Return the SVG of what was recorded."""
    return '\n'.join(Picture(recording).draw()) + '\n'


def main(arguments: list[str]) -> int:
    """Record and draw; the exit status is that of the story."""
    parser = argparse.ArgumentParser(
        prog='tools/record-progress', description=__doc__
    )
    parser.add_argument(
        '--samples', type=pathlib.Path, default=SAMPLES, help='%(default)s'
    )
    parser.add_argument(
        '--output', type=pathlib.Path, default=PICTURE, help='%(default)s'
    )
    parser.add_argument(
        '--draw-only',
        action='store_true',
        help='draw what is recorded already: no lab, a second',
    )
    chosen = parser.parse_args(arguments)
    if not chosen.draw_only:
        done = subprocess.run(
            [sys.executable, '-m', 'unittest', '-v', STORY],
            env={
                **os.environ,
                'NOVA_HA_LAB_PROGRESS': str(chosen.samples.absolute()),
            },
        )
        if done.returncode:
            return done.returncode
    recording = json.loads(chosen.samples.read_text(encoding='utf-8'))
    chosen.output.write_text(draw(recording), encoding='utf-8')
    print(f'{chosen.output}: {len(recording["samples"])} samples')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
