# SPDX-License-Identifier: Apache-2.0

"""How the demo looks: a live picture, plain lines, or JSON lines."""

import json
import sys
import time
import typing

from rich import box
from rich import console
from rich import layout
from rich import live
from rich import panel
from rich import progress_bar
from rich import table
from rich import text

from lab.demo import operator
from lab.demo import watch

Servers = dict[str, operator.Wanted]


class View:
    """Plain lines: what a pipe or a log gets."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.shown: watch.Shown | None = None
        self.servers: Servers = {}
        self.host = ''

    def __enter__(self) -> 'View':
        return self

    def __exit__(self, *_: object) -> None:
        return

    def watch(self, shown: watch.Shown, servers: Servers, host: str) -> None:
        """From now on show this recovery."""
        self.shown, self.servers, self.host = shown, servers, host

    def say(self, code: str, sentence: str) -> None:
        """Tell what the demo itself does."""
        print(f'{self._clock()}  {sentence}', flush=True)

    def event(self, kind: str, data: dict[str, typing.Any]) -> None:
        """Tell what the API newly shows."""
        print(f'{self._clock()}    {self._sentence(kind, data)}', flush=True)

    def _clock(self) -> str:
        return f'{time.monotonic() - self.began:6.1f} s'

    def _sentence(self, kind: str, data: dict[str, typing.Any]) -> str:
        if kind == 'timeline':
            return f'[{data["code"]}] {data["text"]}'
        if kind == 'evacuation':
            name = self.name_of(data['server_uuid'])
            percent = data['progress']
            shown = '  -' if percent is None else f'{percent:3}'
            where = (
                f' -> {data["dest_compute"]}' if data['dest_compute'] else ''
            )
            return f'{name:10} {shown} %  {data["phase"]}{where}'
        return f'Alarm is now: {data["state"]}'

    def name_of(self, uuid: str) -> str:
        """Return the name of a server."""
        wanted = self.servers.get(uuid)
        return wanted.name if wanted else uuid

    def end(self, summary: dict[str, typing.Any]) -> None:
        """Show the summary; its line is the last one."""
        self._timeline()
        print(json.dumps(summary), flush=True)

    def _timeline(self) -> None:
        if self.shown is None or not self.shown.entries:
            return
        first = watch.epoch(self.shown.entries[0]['at'])
        print('\nTimeline of the incident (seconds since the suspicion):')
        for entry in self.shown.entries:
            print(
                f'{watch.epoch(entry["at"]) - first:8.2f}  {entry["code"]:14} '
                f'{entry["text"]}'
            )
        for error in self.shown.errors[:5]:
            print(f'An answer could not be used: {error}')


class JsonView(View):
    """Every event as one line of JSON."""

    def say(self, code: str, sentence: str) -> None:
        self._line('demo', {'code': code, 'text': sentence})

    def event(self, kind: str, data: dict[str, typing.Any]) -> None:
        self._line(kind, data)

    def _line(self, kind: str, data: dict[str, typing.Any]) -> None:
        seconds = round(time.monotonic() - self.began, 3)
        print(json.dumps({'t': seconds, 'kind': kind, **data}), flush=True)

    def _timeline(self) -> None:
        return


class LiveView(View):
    """A picture in the terminal, redrawn four times a second."""

    def __init__(self, terminal: console.Console | None = None) -> None:
        super().__init__()
        self._lines: list[tuple[str, str]] = []
        # Live draws once as it is made, so the console comes first.
        self._console = terminal or console.Console()
        self._live = live.Live(
            get_renderable=self._draw,
            refresh_per_second=4,
            console=self._console,
        )

    def __enter__(self) -> 'View':
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, code: str, sentence: str) -> None:
        self._lines.append((self._clock(), sentence))

    def event(self, kind: str, data: dict[str, typing.Any]) -> None:
        if kind != 'evacuation':
            self._lines.append((self._clock(), self._sentence(kind, data)))

    def end(self, summary: dict[str, typing.Any]) -> None:
        self._live.stop()
        super().end(summary)

    def _draw(self) -> console.RenderableType:
        height = self._console.size.height
        whole = layout.Layout()
        whole.split_column(
            layout.Layout(self._head(), size=3),
            layout.Layout(name='middle'),
            layout.Layout(self._story(max(6, height // 2 - 4)), ratio=1),
        )
        whole['middle'].split_row(
            layout.Layout(self._hosts(), ratio=2),
            layout.Layout(self._evacuations(), ratio=5),
        )
        return whole

    def _head(self) -> console.RenderableType:
        found = self.shown.incident if self.shown else None
        sentence = 'No incident'
        style = 'green'
        if found:
            sentence = f'{found["host"]}: {str(found["phase"]).upper()}'
            if found['reason']:
                sentence += f' - {found["reason"]}'
            style = 'green' if found['phase'] == 'closed' else 'bold red'
        return panel.Panel(
            text.Text(sentence, style=style, no_wrap=True),
            title=f'Instance HA {self._clock()}',
        )

    def _hosts(self) -> console.RenderableType:
        grid = table.Table(box=box.SIMPLE, expand=True)
        for column in ('host', 'last heartbeat'):
            grid.add_column(column)
        ages = self.shown.ages if self.shown else {}
        for host, age in sorted(ages.items()):
            style = 'red' if age > 3 else 'green'
            grid.add_row(host, text.Text(f'{age:5.1f} s ago', style=style))
        alarm = self.shown.alarm if self.shown else ''
        return panel.Panel(
            grid,
            title='Heartbeats',
            subtitle=f'aodh: {alarm}' if alarm else None,
        )

    def _evacuations(self) -> console.RenderableType:
        grid = table.Table(box=box.SIMPLE, expand=True)
        for column in ('server', 'progress', '', 'phase', 'to'):
            grid.add_column(column, ratio=3 if column == 'progress' else None)
        items = {
            item['server_uuid']: item
            for item in (self.shown.evacuations.values() if self.shown else ())
        }
        for uuid, wanted in self.servers.items():
            if not wanted.protected:
                policy = wanted.metadata.get('ha:policy', 'not set')
                grid.add_row(
                    wanted.name,
                    text.Text(f'ha:policy {policy}: stays', style='dim'),
                )
                continue
            item = items.get(uuid)
            percent = (item or {}).get('progress') or 0
            grid.add_row(
                wanted.name,
                progress_bar.ProgressBar(100, percent, width=None),
                f'{percent} %',
                item['phase'] if item else '-',
                (item or {}).get('dest_compute') or '',
            )
        return panel.Panel(grid, title='Evacuations')

    def _story(self, rows: int) -> console.RenderableType:
        grid = table.Table.grid(padding=(0, 1))
        for clock, sentence in self._lines[-rows:]:
            # Text, because '[code]' would be read as markup.
            grid.add_row(text.Text(clock, style='cyan'), text.Text(sentence))
        return panel.Panel(grid, title='What happens')


def choose(as_json: bool) -> View:
    """Return the view that fits where the output goes."""
    if as_json:
        return JsonView()
    return LiveView() if sys.stdout.isatty() else View()
