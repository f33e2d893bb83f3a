# SPDX-License-Identifier: Apache-2.0

"""What is drawn on a terminal, whatever its size and whatever there is."""

import datetime
import io
import threading
import unittest
from unittest import mock

from rich import console

from nova_ha_plugins.client import screen
from nova_ha_plugins.client import watching
from tests.unit.client import answers

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
MIB = 1024**2


def cloud(count):
    """Give evacuations of every kind, so many of them."""
    kinds = (
        lambda server, uuid: answers.item(
            server,
            uuid,
            percent=62,
            disk_total_bytes=512 * MIB,
            disk_processed_bytes=310 * MIB,
            eta_seconds=80,
            eta_p90_seconds=130,
            explanation='It copies the image.',
        ),
        lambda server, uuid: answers.item(
            server, uuid, 'queued', 10, phase='claiming', dest_compute=None
        ),
        lambda server, uuid: answers.item(
            server,
            uuid,
            stalled=True,
            reason='destination_down',
            eta_seconds=80,
            explanation='Its new host is down. ' * 9,
        ),
        answers.done,
        answers.failed,
    )
    return [
        kinds[number % len(kinds)](f'server-{number}', f'e{number}')
        for number in range(count)
    ]


class BarsTest(unittest.TestCase):
    def draw(self, items, width=100, height=40, now=0.0, **scene):
        follower = watching.Follower(everything=True)
        follower.update(items)
        written = io.StringIO()
        terminal = console.Console(file=written, width=width, height=height)
        bars = screen.Bars(
            io.StringIO(),
            screen.Scene(follower, heard_at=0.0, **scene),
            lambda: now,
            lambda: NOON,
            terminal,
        )
        terminal.print(bars.draw())
        return written.getvalue().splitlines()

    def test_bar_has_number_step_and_estimate_and_below_the_details(self):
        bar, note = self.draw(cloud(1))

        self.assertEqual(
            'server-0 ━━━━━━━━━━━━━━━─────────  62%  6/8 spawning    about '
            '1 min 20 s left',
            bar,
        )
        self.assertEqual(
            '  cmp-1 -> cmp-2, 310 of 512 MiB, back at 12:01:20Z (9 in 10 by '
            '12:02:10Z): It copies the image.',
            note,
        )

    def test_estimate_is_seen_on_eighty_columns(self):
        uuid = '5d4c2f6e-0000-4000-8000-000000000001'
        bar = self.draw(
            [answers.item(uuid, eta_seconds=80, eta_p90_seconds=130)], 80
        )[0]

        self.assertTrue(bar.startswith(uuid[:20] + ' ━'), bar)
        self.assertTrue(bar.endswith('about 1 min 20 s left'), bar)

    def test_stalled_one_promises_no_end(self):
        told = '\n'.join(self.draw(cloud(3)[2:]))

        self.assertIn('stalled: Its new host is down', told)
        self.assertNotIn('left', told)
        self.assertNotIn('back at', told)

    def test_picture_never_grows_beyond_the_terminal(self):
        hosts = [answers.row(f'cmp-{n}', running=n) for n in range(1, 9)]
        for count in (0, 1, 5, 60):
            for height in (8, 12, 24, 60):
                for rows in (None, hosts[:1], hosts):
                    lines = self.draw(
                        cloud(count),
                        width=80,
                        height=height,
                        hosts=rows,
                        cells_down=1,
                        trouble='The cell is down (HTTP 503) ' * 9,
                    )

                    # One line for the cursor, one to spare.
                    self.assertLessEqual(len(lines), height - 2, lines)
                    self.assertLessEqual(max(map(len, lines)), 80)
                    self.assertIn('HTTP 503', lines[-1])

    def test_every_bar_comes_before_any_detail(self):
        lines = self.draw(
            [answers.item(f'server-{n}', f'e{n}') for n in range(10)],
            height=14,
        )

        self.assertEqual(10, len(lines))
        self.assertTrue(all(line.startswith('server-') for line in lines))

    def test_what_does_not_fit_is_counted(self):
        lines = self.draw(cloud(60), height=24)

        self.assertEqual(
            60,
            sum(line.startswith('server-') for line in lines)
            + int(lines[-1].split()[2]),
        )
        self.assertIn('12 failed, 12 queued, 24 running', lines[-1])
        # Trouble first, with its sentence.
        self.assertIn('stalled', lines[0] + lines[1])

    def test_counts_of_a_host_stand_above_its_servers(self):
        lines = self.draw(
            cloud(1),
            hosts=[
                answers.row(
                    running=1,
                    planned=2,
                    progress=21,
                    eta_seconds=280,
                    eta_p90_seconds=420,
                )
            ],
            cells_down=2,
        )

        self.assertEqual(
            [
                'cmp-1: 3 servers  1 running, 2 not asked for yet',
                '  21%  about 4 min 40 s left (9 in 10: 7 min)',
                '2 cells do not answer: their servers are missing here',
            ],
            lines[:3],
        )

    def test_old_data_are_said_to_be_old(self):
        fresh = self.draw(cloud(1), now=3.0)
        hanging = self.draw(cloud(1), now=9.0)
        seldom = self.draw(cloud(1), now=9.0, interval=10.0)
        refused = self.draw(
            cloud(1), now=9.0, trouble='Down (HTTP 503)', again_at=11.0
        )

        self.assertEqual((2, 2), (len(fresh), len(seldom)))
        self.assertEqual(
            'Waiting for an answer of nova. What is shown is 9 s old',
            hanging[-1],
        )
        self.assertEqual(
            'Down (HTTP 503). What is shown is 9 s old; asking again in 2 s',
            refused[-1],
        )

    def test_it_is_redrawn_while_a_call_hangs(self):
        written = io.StringIO()
        terminal = console.Console(
            file=written, width=80, height=24, force_terminal=True
        )
        follower = watching.Follower()
        drawn = threading.Event()
        main = threading.get_ident()

        def clock():
            if threading.get_ident() != main:
                drawn.set()
            return 60.0

        bars = screen.Bars(
            written,
            screen.Scene(follower, heard_at=0.0),
            clock,
            lambda: NOON,
            terminal,
        )
        with bars:
            # Nobody calls it: a call of nova is under way.
            self.assertTrue(drawn.wait(10.0))

        self.assertIn('is 1 min old', written.getvalue())

    def test_terminal_that_cannot_move_its_cursor_gets_lines(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        self.assertFalse(screen.can_draw(io.StringIO()))
        with mock.patch.dict('os.environ', TERM='dumb'):
            self.assertFalse(screen.can_draw(Terminal()))
        with mock.patch.dict('os.environ', TERM='xterm'):
            self.assertTrue(screen.can_draw(Terminal()))


if __name__ == '__main__':
    unittest.main()
