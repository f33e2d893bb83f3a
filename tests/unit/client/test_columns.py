# SPDX-License-Identifier: Apache-2.0

"""What a terminal gets of an answer, and what a program gets."""

import io
import types
import unittest

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import evacuation
from nova_ha_plugins.client import rest

NASTY = 'x\n\x1b[2J\x07\u202e[red]' + 'y' * 255


class TerminalTest(unittest.TestCase):
    def survives(self, text):
        for line in text.split('\n'):
            self.assertTrue(line.isprintable(), line)

    def test_texts_of_others_are_drawn_and_not_obeyed(self):
        cells = (
            columns.Timeline([{'at': NASTY, 'code': NASTY, 'text': NASTY}]),
            columns.Evidence(
                [{'at': None, 'channel': '', 'sign': '', 'text': NASTY}]
            ),
            columns.Servers(
                [
                    {
                        'name': NASTY,
                        'state': 'left',
                        'destination': NASTY,
                        'reason': NASTY,
                    }
                ]
            ),
            columns.Hosts(
                [
                    {
                        'host': NASTY,
                        'heartbeat_age': None,
                        'fencing_state': NASTY,
                        'fencing_text': NASTY,
                    }
                ]
            ),
            columns.Pairs({NASTY: NASTY}),
            *columns.row([NASTY]),
        )
        for cell in cells:
            text = cell.human_readable()

            self.survives(text)
            self.assertNotIn('\n', text)
            self.assertIn('[red]yyy', text)

    def test_a_program_gets_the_words_as_they_are(self):
        (text, number, nothing) = columns.row([NASTY, 7, None])

        self.assertEqual(NASTY, text.machine_readable())
        self.assertEqual((7, None), (number, nothing))

    def test_watch_writes_nothing_that_a_terminal_obeys(self):
        screen = evacuation._Screen(io.StringIO())
        screen.say(NASTY)

        self.survives(screen._stream.getvalue())

    def test_message_of_a_refusal_is_one_line(self):
        answer = types.SimpleNamespace(
            status_code=409, json=lambda: {'fault': {'message': NASTY}}
        )
        with self.assertRaises(rest.exceptions.CommandError) as raised:
            rest._read(answer, '/x')

        self.survives(str(raised.exception))
        self.assertNotIn('\n', str(raised.exception))
