# SPDX-License-Identifier: Apache-2.0

"""Draws the Grafana dashboard from what a real Prometheus answers.

Every panel's queries are asked of Prometheus, and its answers are drawn as
Grafana would lay them out: enough to see that each panel shows something, and
what it looks like.
"""

import argparse
import dataclasses
import itertools
import json
import math
import pathlib
import re
import sys
import xml.sax.saxutils

ROOT = pathlib.Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / 'etc' / 'nova-ha' / 'grafana-dashboard.json'
RECORDED = ROOT / 'doc' / 'source' / '_static' / 'dashboard.json'
PICTURE = ROOT / 'doc' / 'source' / '_static' / 'dashboard.svg'

# Of one unit of Grafana's grid, which is 24 wide.
WIDE, HIGH, GAP, HEAD = 50, 30, 6, 46
PALETTE = (
    '#3274d9',
    '#e0752d',
    '#299c46',
    '#a352cc',
    '#d44a3a',
    '#806eb7',
    '#b7a021',
)
COLOURS = {'green': '#299c46', 'orange': '#e0752d', 'red': '#d44a3a'}
INK, PALE, LINE, PAPER, SHEET = (
    *('#222222', '#666666', '#dddddd'),
    *('#ffffff', '#f4f5f5'),
)


@dataclasses.dataclass(frozen=True)
class Series:
    """One line of a panel: what the legend says, and points (time, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


def load(path=DASHBOARD):
    """Return the dashboard."""
    return json.loads(path.read_text())


def queries(dashboard):
    """Return each query of each panel as it is written there."""
    return [
        target['expr']
        for panel in dashboard['panels']
        for target in panel['targets']
    ]


def as_asked(query, seconds):
    """Return a query without Grafana's variables.

    :param seconds: of the time that is shown.
    """
    query = query.replace('$__range', f'{max(1, round(seconds))}s')
    rate = max(10, round(seconds / 10))
    return query.replace('$__rate_interval', f'{rate}s')


def record(dashboard, ask, start, end, step):
    """Return what Prometheus answers to every query.

    :param ask: asks one query of it, from start to end.
    """
    answers = {}
    for query in queries(dashboard):
        found = ask(as_asked(query, end - start), start, end, step)
        answers[query] = [
            {
                'metric': each['metric'],
                'values': [
                    [round(float(at) - start, 2), _short(float(value))]
                    for at, value in each['values']
                ],
            }
            for each in found
        ]
    return {'seconds': round(end - start, 2), 'answers': answers}


def _short(value):
    return None if math.isnan(value) else round(value, 3)


def empty(dashboard, recorded):
    """Return the queries that have no value at all."""
    return [
        query
        for query in queries(dashboard)
        if not any(
            value is not None
            for each in recorded['answers'].get(query, ())
            for _, value in each['values']
        )
    ]


def _lines(panel, recorded):
    found = []
    for target in panel['targets']:
        for each in recorded['answers'].get(target['expr'], ()):
            name = re.sub(
                r'{{(\w+)}}',
                lambda match, each=each: each['metric'].get(match[1], ''),
                target.get('legendFormat', ''),
            )
            points = tuple(
                (at, value)
                for at, value in each['values']
                if value is not None
            )
            if points:
                found.append(Series(name, points))
    return found


def shown(value, unit):
    """Return a value as a person reads it."""
    if unit == 's':
        if value >= 120:
            return f'{value / 60:.0f} min'
        return f'{value:.2g} s' if value < 1 else f'{value:.1f} s'
    return f'{value:.0f}' if value == round(value) else f'{value:.2g}'


class Picture:
    """An SVG that grows."""

    def __init__(self, width, height):
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} '
            f'{height}" font-family="sans-serif" role="img">'
        ]

    def add(self, text):
        self._parts.append(text)

    def box(self, x, y, width, height, fill):
        self.add(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" '
            f'height="{height:g}" rx="2" fill="{fill}"/>'
        )

    def text(self, x, y, text, size=11, fill=INK, anchor='start', bold=False):
        weight = ' font-weight="bold"' if bold else ''
        self.add(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}"{weight}>'
            f'{xml.sax.saxutils.escape(text)}</text>'
        )

    def line(self, points, colour, width=1.5):
        path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        self.add(
            f'<polyline points="{path}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:g}"/>'
        )

    def whole(self):
        return '\n'.join([*self._parts, '</svg>', ''])


def draw(dashboard, recorded):
    """Return the dashboard as an SVG."""
    bottom = max(
        panel['gridPos']['y'] + panel['gridPos']['h']
        for panel in dashboard['panels']
    )
    width, height = 24 * WIDE + GAP, bottom * HIGH + HEAD + GAP
    picture = Picture(width, height)
    title = dashboard['title']
    picture.add(f'<title>{xml.sax.saxutils.escape(title)}</title>')
    picture.add('<!-- Made by tools/render-dashboard; a test compares it. -->')
    picture.box(0, 0, width, height, SHEET)
    picture.text(GAP + 4, 30, title, 20, bold=True)
    picture.text(
        width - GAP - 4,
        30,
        f'{recorded["seconds"]:.0f} seconds',
        12,
        PALE,
        'end',
    )
    for panel in dashboard['panels']:
        grid = panel['gridPos']
        x, y = grid['x'] * WIDE + GAP, grid['y'] * HIGH + HEAD
        frame = (x, y, grid['w'] * WIDE - GAP, grid['h'] * HIGH - GAP)
        picture.box(*frame, PAPER)
        picture.text(x + 8, y + 18, panel['title'], 12, bold=True)
        lines = _lines(panel, recorded)
        if not lines:
            middle = y + frame[3] / 2
            picture.text(
                x + frame[2] / 2, middle, 'No data', 14, PALE, 'middle'
            )
        elif panel['type'] == 'stat':
            _number(picture, panel, lines, frame)
        else:
            _curves(picture, panel, lines, frame, recorded['seconds'])
    return picture.whole()


def _number(picture, panel, lines, frame):
    x, y, width, height = frame
    defaults = panel['fieldConfig']['defaults']
    value = lines[0].points[-1][1]
    colour = INK
    for step in defaults['thresholds']['steps']:
        if step['value'] is None or value >= step['value']:
            colour = COLOURS[step['color']]
    text = shown(value, defaults['unit'])
    middle = y + height / 2 + 18
    picture.text(x + width / 2, middle, text, 30, colour, 'middle', True)


def _curves(picture, panel, lines, frame, seconds):
    x, y, width, height = frame
    unit = panel['fieldConfig']['defaults']['unit']
    left, top, right = x + 46, y + 30, x + width - 10
    low = y + height - 40
    highest = max(value for each in lines for _, value in each.points)
    highest = _round_up(highest)
    for part in (0, 0.5, 1):
        level = low - part * (low - top)
        picture.line([(left, level), (right, level)], LINE, 1)
        text = shown(highest * part, unit)
        picture.text(left - 5, level + 4, text, 10, PALE, 'end')

    def place(point):
        at, value = point
        return (
            left + at / seconds * (right - left),
            low - value / highest * (low - top),
        )

    at = left
    for number, each in enumerate(lines):
        colour = PALETTE[number % len(PALETTE)]
        for run in _runs(each.points, _step(lines)):
            spots = [place(point) for point in run]
            # One alone is a dot.
            x, y = spots[-1]
            picture.line([*spots, (x + 2, y)], colour)
        name = each.name or panel['title']
        if at + 14 + 5 * len(name) < right:
            picture.box(at, low + 22, 10, 3, colour)
            picture.text(at + 14, low + 27, name, 10, PALE)
        at += 24 + 5.2 * len(name)


def _step(lines):
    return min(
        (
            after[0] - before[0]
            for each in lines
            for before, after in itertools.pairwise(each.points)
        ),
        default=1.0,
    )


def _runs(points, step):
    """Return the parts of a line between which there was nothing."""
    run = [points[0]]
    for before, after in itertools.pairwise(points):
        if after[0] - before[0] > 1.5 * step:
            yield run
            run = []
        run.append(after)
    yield run


def _round_up(value):
    """Return the next number that is easy to read."""
    if value <= 0:
        return 1
    unit = 10 ** math.floor(math.log10(value))
    for step in (1, 2, 3, 5, 10):
        if value <= step * unit:
            return step * unit
    return value


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--record',
        action='store_true',
        help='let hosts fail for about two minutes before a real engine and '
        'a real Prometheus first, and keep what that answers',
    )
    chosen = parser.parse_args(argv)
    if chosen.record:
        # Only here: it needs the test bench of the engine, and Prometheus.
        from tests.functional.engine import scraped

        recorded = scraped.record(load())
        RECORDED.write_text(json.dumps(recorded, separators=(',', ':')))
    recorded = json.loads(RECORDED.read_text())
    PICTURE.write_text(draw(load(), recorded))
    print(f'{PICTURE.relative_to(ROOT)}')
    missing = empty(load(), recorded)
    for query in missing:
        print(f'No data: {query}', file=sys.stderr)
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
