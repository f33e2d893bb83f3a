# SPDX-License-Identifier: Apache-2.0

"""How ``watch`` shows what it follows: bars, plain lines, or JSON lines."""

from collections import abc
import dataclasses
import datetime
import json
import textwrap
import types
import typing

from rich import cells
from rich import console as rich_console
from rich import live
from rich import text as rich_text

from nova_ha_plugins.client import quantities
from nova_ha_plugins.client import rest
from nova_ha_plugins.client import watching
from nova_ha_plugins import printable

Clock = abc.Callable[[], float]
WallClock = abc.Callable[[], datetime.datetime]

# The bar is as long as the terminal leaves room for.
_WIDE, _BAR, _SHORT_BAR = 100, 24, 12
# Of so many it is also said what is done while all goes well.
_FEW = 3
# Data that should be newer by this is said to be old.
_LATE = 3.0

_STYLES = {
    'running': 'cyan',
    'queued': 'blue',
    'succeeded': 'green',
    'failed': 'red',
    'superseded': 'red',
}


@dataclasses.dataclass
class Scene:
    """What there is to be seen.

    :ivar hosts: hosts that servers are brought away from, None when the API
        does not say.
    :ivar cells_down: how many of nova's cells did not answer.
    :ivar heard_at: when nova last answered, None before its first answer.
    :ivar trouble: why it does not answer now.
    :ivar again_at: when it is asked again.
    :ivar interval: how often it is asked.
    """

    follower: watching.Follower
    hosts: list[rest.Item] | None = None
    cells_down: int = 0
    heard_at: float | None = None
    trouble: str = ''
    again_at: float = 0.0
    interval: float = 1.0


@dataclasses.dataclass(frozen=True)
class Result:
    """How it ended.

    :ivar word: 'done', 'failed', 'timeout' or 'none'.
    """

    word: str
    text: str
    exit_code: int


def can_draw(stream: typing.TextIO) -> bool:
    """Whether bars can move there."""
    return stream.isatty() and not (
        rich_console.Console(file=stream).is_dumb_terminal
    )


class Lines:
    """Plain lines of what changed: what a pipe or a log gets."""

    def __init__(
        self,
        stream: typing.TextIO,
        scene: Scene,
        clock: Clock,
        wall: WallClock,
    ) -> None:
        self.scene = scene
        self.clock = clock
        self.wall = wall
        self._stream = stream
        self._told_hosts: object = ([], 0)
        self._told_trouble = ''

    def __enter__(self) -> 'Lines':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: types.TracebackType | None,
    ) -> None:
        return

    def answered(self, changed: list[rest.Item]) -> None:
        """Show what an answer brought."""
        if self._told_trouble:
            self._told_trouble = ''
            self.say('Nova answers again')
        news = self._news_of_hosts(step=watching.LEAP)
        for text in _host_lines(self.scene) if news else ():
            self.say(text)
        follower = self.scene.follower
        for item in changed:
            if follower.worth_a_line(item):
                self.say(watching.line(item, follower.name(item)))

    def unanswered(self) -> None:
        """Show that there is none."""
        if self.scene.trouble != self._told_trouble:
            self._told_trouble = self.scene.trouble
            self.say(_trouble(self.scene, self.clock()))

    def _news_of_hosts(self, step: int) -> bool:
        """Whether counts are new, or the progress by that much."""
        rows = [
            watching.essence_of(row, step) for row in self.scene.hosts or ()
        ]
        told = (rows, self.scene.cells_down)
        new, self._told_hosts = told != self._told_hosts, told
        return new

    def end(self, result: Result) -> None:
        """Show the result; it is the last line."""
        self._write(result.text)

    def say(self, text: str) -> None:
        self._write(f'{self.wall():%H:%M:%S}Z  {text}')

    def _write(self, text: str) -> None:
        self._stream.write(printable.line(text) + '\n')
        self._stream.flush()


class Json(Lines):
    """One JSON object per line of what changed, the result last."""

    def answered(self, changed: list[rest.Item]) -> None:
        if self._told_trouble:
            self._told_trouble = ''
            self._event('answered')
        if self._news_of_hosts(step=1):
            self._event(
                'summary',
                hosts=self.scene.hosts,
                cells_down=self.scene.cells_down,
            )
        for item in changed:
            name = self.scene.follower.names.get(item['server_uuid'])
            self._event('evacuation', server_name=name, evacuation=item)

    def unanswered(self) -> None:
        heard = self.scene.heard_at
        self._told_trouble = self.scene.trouble
        self._event(
            'unanswered',
            text=self.scene.trouble,
            data_age_seconds=(
                None if heard is None else round(self.clock() - heard, 1)
            ),
        )

    def end(self, result: Result) -> None:
        follower = self.scene.follower
        self._event(
            'result',
            result=result.word,
            exit_code=result.exit_code,
            text=result.text,
            counts=follower.counts,
            failed=[
                {
                    'server_uuid': item['server_uuid'],
                    'server_name': follower.names.get(item['server_uuid']),
                    'uuid': item['uuid'],
                    'state': item['state'],
                    'reason': item['reason'],
                    'explanation': item.get('explanation'),
                }
                for item in follower.failed
            ],
            hosts=self.scene.hosts,
        )

    def _event(self, event: str, **words: typing.Any) -> None:
        at = f'{self.wall():%Y-%m-%dT%H:%M:%S}Z'
        # JSON escapes what a terminal would obey.
        line = json.dumps({'event': event, 'at': at, **words})
        self._stream.write(line + '\n')
        self._stream.flush()


class Bars(Lines):
    """Bars that move, redrawn four times a second.

    They are also redrawn while a call hangs, so that the age of what is shown
    is seen to grow.
    """

    def __init__(
        self,
        stream: typing.TextIO,
        scene: Scene,
        clock: Clock,
        wall: WallClock,
        terminal: rich_console.Console | None = None,
    ) -> None:
        super().__init__(stream, scene, clock, wall)
        self._console = terminal or rich_console.Console(file=stream)
        self._done, self._rest = '#', '.'
        if self._console.encoding.startswith('utf'):
            self._done, self._rest = '━', '─'
        # It draws once as it is made.
        self._live = live.Live(
            get_renderable=self.draw,
            console=self._console,
            refresh_per_second=4,
        )

    def __enter__(self) -> 'Bars':
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def answered(self, changed: list[rest.Item]) -> None:
        self._live.refresh()

    def unanswered(self) -> None:
        self._live.refresh()

    def end(self, result: Result) -> None:
        self._live.stop()
        for item in self.scene.follower.failed:
            name = self.scene.follower.name(item)
            self._write(watching.line(item, name))
        self._write(result.text)

    def draw(self) -> rich_console.RenderableType:
        """Give the picture of this moment."""
        scene, now = self.scene, self.clock()
        width, height = self._console.size
        hosts = _host_lines(scene, wide=len(scene.hosts or ()) == 1)
        if len(hosts) > height // 3:
            kept = max(1, height // 3 - 1)
            more = len(hosts) - kept
            hosts = [*hosts[:kept], f'... and {more} more lines of hosts']
        lines = [rich_text.Text(text, style='bold') for text in hosts]
        stale = bool(scene.trouble) or (
            scene.heard_at is not None
            and now - scene.heard_at > scene.interval + _LATE
        )
        last = []
        if stale:
            last = [rich_text.Text(_trouble(scene, now), style='yellow')]
        room = height - len(lines) - len(last) - 2
        lines += self._items(room, width, stale) + last
        for text in lines:
            text.truncate(width - 1, overflow='ellipsis')
        return rich_text.Text('\n').join(lines)

    def _items(
        self, room: int, width: int, stale: bool
    ) -> list[rich_text.Text]:
        follower = self.scene.follower
        items = follower.ordered()
        if not items:
            return [] if stale else [rich_text.Text('No evacuation yet')]
        column = _name_column([follower.name(item) for item in items], width)
        blocks = [
            [
                self._bar(item, column, stale),
                *self._note(item, len(items) <= _FEW),
            ]
            for item in items
        ]
        if sum(map(len, blocks)) > room:
            # Every bar, and a second line only where something is wrong.
            blocks = [
                block if watching.in_trouble(item) else block[:1]
                for block, item in zip(blocks, items, strict=True)
            ]
        found: list[rich_text.Text] = []
        for number, block in enumerate(blocks):
            last = number == len(blocks) - 1
            if len(found) + len(block) > max(2, room) - (not last):
                more = len(blocks) - number
                counts = watching.counts_line(follower)
                found.append(
                    rich_text.Text(f'... and {more} more; all: {counts}')
                )
                break
            found += block
        return found

    def _note(self, item: rest.Item, few: bool) -> list[rich_text.Text]:
        """Give the lines below: how much, when, and why."""
        told = watching.remark(item, always=few)
        facts = (watching.way(item), watching.amount(item), self._by(item))
        text = ', '.join(part for part in facts if part)
        text = ': '.join(part for part in (text, told) if part)
        lines = textwrap.wrap(printable.line(text), self._console.width - 3)
        return [rich_text.Text(f'  {line}', style='dim') for line in lines[:3]]

    def _bar(
        self, item: rest.Item, column: int, stale: bool
    ) -> rich_text.Text:
        style = _STYLES.get(item['state'], 'default')
        if item['stalled']:
            style = 'yellow'
        if stale:
            style = 'dim'
        name = printable.line(self.scene.follower.name(item))
        length = _BAR if self._console.width >= _WIDE else _SHORT_BAR
        filled = round(length * (item['progress'] or 0) / 100)
        told = (
            watching.percent(item),
            f'{watching.step(item):<14}',
            watching.left(item, short=True),
        )
        line = rich_text.Text(cells.set_cell_size(name, column) + ' ')
        line.append(self._done * filled, style)
        line.append(self._rest * (length - filled), 'dim')
        line.append(' ' + '  '.join(part for part in told if part), style)
        return line

    def _by(self, item: rest.Item) -> str:
        """Give what the clock will say when it is back."""
        p50, p90 = item['eta_seconds'], item.get('eta_p90_seconds')
        if p50 is None or not watching.left(item) or item['stalled']:
            return ''
        now = self.wall()
        text = f'back at {now + datetime.timedelta(seconds=p50):%H:%M:%S}Z'
        if p90 is None:
            return text
        late = now + datetime.timedelta(seconds=p90)
        return f'{text} (9 in 10 by {late:%H:%M:%S}Z)'


def _name_column(names: list[str], width: int) -> int:
    longest = max(cells.cell_len(printable.line(name)) for name in names)
    # An id is shown whole where there is room for it.
    return min(longest, 36 if width >= _WIDE else 20)


def _host_lines(scene: Scene, wide: bool = False) -> list[str]:
    """Give the lines above the servers.

    :param wide: a host has a second line for its estimate.
    """
    lines = []
    for row in scene.hosts or ():
        counts, estimate = watching.host_parts(row)
        if wide and estimate:
            lines += [counts, f'  {estimate}']
        else:
            lines.append(watching.host_line(row))
    lines = [printable.line(text) for text in lines]
    if scene.cells_down:
        one = scene.cells_down == 1
        lines.append(
            f'{scene.cells_down} cell{" does" if one else "s do"} not answer: '
            f'{"its" if one else "their"} servers are missing here'
        )
    return lines


def _trouble(scene: Scene, now: float) -> str:
    """Say why there is no new data, how old it is, and what happens next."""
    told = printable.line(scene.trouble) or 'Waiting for an answer of nova'
    if scene.heard_at is None:
        age = 'It has not answered yet'
    else:
        age = (
            f'What is shown is {quantities.duration(now - scene.heard_at)} old'
        )
    after = max(0.0, scene.again_at - now)
    then = f'; asking again in {quantities.duration(after)}' if after else ''
    return f'{told}. {age}{then}'
