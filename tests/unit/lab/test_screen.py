# SPDX-License-Identifier: Apache-2.0

"""The live picture of the demo can be drawn, before anything happened too."""

import io
import unittest

from lab.demo import operator
from lab.demo import screen
from lab.demo import watch
from rich import console


def terminal():
    return console.Console(
        file=io.StringIO(), width=100, height=30, force_terminal=True
    )


class TestLiveView(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.terminal = terminal()
        self.view = screen.LiveView(self.terminal)

    def drawn(self):
        with self.view:
            pass
        return self.terminal.file.getvalue()

    def test_nothing_to_watch_yet_is_drawn(self):
        self.view.say('start', 'Starting a small cloud')

        self.assertIn('Starting a small cloud', self.drawn())

    def test_code_in_brackets_is_shown_and_not_taken_for_markup(self):
        self.view.event('timeline', {'code': 'fenced', 'text': "of '[/bold]'"})

        self.assertIn("[fenced] of '[/bold]'", self.drawn())

    def test_protected_server_has_a_bar_and_the_other_stays(self):
        shown = watch.Shown()
        shown.evacuations['e'] = {
            'server_uuid': 'a',
            'progress': 40,
            'phase': 'spawning',
            'dest_compute': 'cmp-2',
        }
        servers = {
            'a': operator.Wanted('web-1', {'ha:policy': 'evacuate'}),
            'b': operator.Wanted('batch-1', {}),
            'c': operator.Wanted('batch-2', {'ha:policy': 'none'}),
        }
        self.view.watch(shown, servers, 'cmp-1')

        drawn = self.drawn()

        self.assertRegex(drawn, r'web-1.*40 %.*spawning.*cmp-2')
        self.assertRegex(drawn, r'batch-1.*ha:policy not set: stays')
        self.assertRegex(drawn, r'batch-2.*ha:policy none: stays')

    def test_no_host_is_called_fine_before_somebody_asked(self):
        shown = watch.Shown(ages={'cmp-1': 9.0}, alarm='insufficient data')
        self.view.watch(shown, {}, 'cmp-1')

        drawn = self.drawn()

        self.assertIn('No incident', drawn)
        self.assertIn('aodh: insufficient data', drawn)
