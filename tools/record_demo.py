# SPDX-License-Identifier: Apache-2.0

"""Runs the demo and keeps what its live picture showed as one moving SVG.

Every frame is what the demo really drew at that moment. Viewers that move
nothing, and readers who asked for no motion, see one frame from the middle
of the evacuation.
"""

import argparse
import io
import pathlib
import re
import sys
import threading
import unittest.mock

from lab.demo import __main__ as demo
from lab.demo import screen
from rich import console

PICTURE = pathlib.Path('doc/source/_static/demo.svg')

WIDTH, HEIGHT = 110, 34
# Seconds between two frames, and for how long the last one stays.
INTERVAL = 1.0
LAST = 5.0

# rich's own template fetches a font from the network; any monospaced font of
# the reader does, because rich gives every piece of text its exact length.
_FRAME = """\
<g class="frame" id="{unique_id}">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px monospace; }}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})"
 clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
<desc>{width} {height}</desc>
</g>
"""


def _blank() -> console.Console:
    return console.Console(
        record=True,
        file=io.StringIO(),
        width=WIDTH,
        height=HEIGHT,
        force_terminal=True,
        color_system='truecolor',
        legacy_windows=False,
    )


class Recorder(screen.LiveView):
    """The demo's live picture, drawn into memory once per interval."""

    def __init__(self) -> None:
        super().__init__(_blank())
        self.frames: list[console.Console] = []
        self.bars: list[int] = []
        self._ended = threading.Event()
        self._camera = threading.Thread(target=self._film, daemon=True)

    def __enter__(self) -> screen.View:
        self._camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._camera.join()
        self._take()

    def say(self, code: str, sentence: str) -> None:
        super().say(code, sentence)
        print(f'{self._clock()}  {sentence}', file=sys.stderr, flush=True)

    def _film(self) -> None:
        while not self._ended.wait(INTERVAL):
            # Before there is something to watch the picture is empty.
            if self.shown is not None:
                self._take()

    def _take(self) -> None:
        frame = _blank()
        frame.print(self._draw())
        self.frames.append(frame)
        shown = self.shown.highest if self.shown else {}
        self.bars.append(sum(0 < value < 100 for value in shown.values()))


def picture(frames: list[console.Console], still: int) -> str:
    """Return the SVG; ``still`` is the frame that those see who see one."""
    parts = [
        frame.export_svg(
            title='tools/demo', code_format=_FRAME, unique_id=f'f{number}'
        )
        for number, frame in enumerate(frames)
    ]
    size = re.search(r'<desc>(\S+) (\S+)</desc>', parts[0])
    assert size is not None
    parts = [re.sub(r'<desc>.*</desc>\n', '', part) for part in parts]
    total = len(parts) * INTERVAL + LAST
    rules = ['.frame { opacity: 0; }', f'#f{still} {{ opacity: 1; }}']
    moving = []
    for number in range(len(parts)):
        begins = number * INTERVAL / total * 100
        ends = (number + 1) * INTERVAL / total * 100
        if number == len(parts) - 1:
            ends = 100.0
        moving.append(
            f'#f{number} {{ animation: f{number} {total}s step-end '
            'infinite; }'
        )
        # A frame from the first one on: 0 % needs no rule of its own there.
        hidden = '' if number == 0 else '0% { opacity: 0; } '
        after = '' if ends == 100.0 else f'{ends:.3f}% {{ opacity: 0; }} '
        rules.append(
            f'@keyframes f{number} {{ {hidden}{begins:.3f}% '
            f'{{ opacity: 1; }} {after}}}'
        )
    rules.append(
        '@media (prefers-reduced-motion: no-preference) { '
        + ' '.join(moving)
        + ' }'
    )
    return (
        f'<svg viewBox="0 0 {size[1]} {size[2]}" '
        'xmlns="http://www.w3.org/2000/svg">\n'
        '<title>A hypervisor dies, its servers come back</title>\n'
        '<style>\n' + '\n'.join(rules) + '\n</style>\n' + ''.join(parts)
    ) + '</svg>\n'


def main() -> int:
    """Run the demo; its exit status is ours."""
    parser = argparse.ArgumentParser(
        prog='tools/record-demo',
        description=__doc__,
        epilog='What follows -- goes to the demo, for example -- --servers 8.',
    )
    parser.add_argument(
        '--output',
        type=pathlib.Path,
        default=PICTURE,
        help='default: %(default)s',
    )
    parser.add_argument('demo', nargs='*', help='arguments of the demo')
    arguments = parser.parse_args()
    recorder = Recorder()
    with unittest.mock.patch.object(
        screen, 'choose', lambda as_json: recorder
    ):
        status = demo.main(arguments.demo)
    if status == 0:
        most = max(recorder.bars)
        still = recorder.bars.index(most)
        drawn = picture(recorder.frames, still)
        # One character takes a third of the reference to it.
        drawn = drawn.replace('&#160;', '\N{NO-BREAK SPACE}')
        arguments.output.write_text(drawn, encoding='utf-8')
        print(
            f'{arguments.output}: {len(recorder.frames)} frames, '
            f'{arguments.output.stat().st_size // 1024} KiB'
        )
    return status


if __name__ == '__main__':
    sys.exit(main())
