# SPDX-License-Identifier: Apache-2.0

"""What a terminal gets of an answer, and what a program gets."""

import datetime
import io
import types
import unittest

from rich import console

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import ha
from nova_ha_plugins.client import rest
from nova_ha_plugins.client import screen
from nova_ha_plugins.client import watching
from tests.unit.client import answers

NASTY = 'x\n\x1b[2J\x07\u202e[red]' + 'y' * 255


class TerminalTest(unittest.TestCase):
    def survives(self, text):
        for line in text.split('\n'):
            self.assertTrue(line.isprintable(), line)

    def test_texts_of_others_are_drawn_and_not_obeyed(self):
        cells = (
            columns.Timeline([{'at': NASTY, 'code': NASTY, 'text': NASTY}]),
            columns.Evidence(
                [
                    {
                        'at': None,
                        'channel': '',
                        'sign': '',
                        'age': None,
                        'text': NASTY,
                    }
                ]
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
        item = answers.failed(NASTY, source_compute=NASTY, explanation=NASTY)
        follower = watching.Follower(everything=True)
        scene = screen.Scene(follower, [answers.row(NASTY)], trouble=NASTY)
        written = io.StringIO()
        wall = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        for kind in (screen.Lines, screen.Json):
            shown = kind(written, scene, lambda: 0.0, lambda: wall)
            shown.answered(follower.update([item]))
            shown.unanswered()
            shown.end(screen.Result('failed', NASTY, 1))
        terminal = console.Console(file=written, width=4000, color_system=None)
        terminal.print(
            screen.Bars(
                written, scene, lambda: 0.0, lambda: wall, terminal
            ).draw()
        )

        self.survives(written.getvalue())

    def test_message_of_a_refusal_is_one_line(self):
        answer = types.SimpleNamespace(
            status_code=409, json=lambda: {'fault': {'message': NASTY}}
        )
        with self.assertRaises(rest.exceptions.CommandError) as raised:
            rest._read(answer, '/x')

        self.survives(str(raised.exception))
        self.assertNotIn('\n', str(raised.exception))


class EstimateTest(unittest.TestCase):
    def test_people_read_words_and_programs_numbers(self):
        item = answers.item(eta_seconds=80, disk_total_bytes=1024)
        told = [
            columns.field(item, name)
            for name in ('eta_seconds', 'disk_total_bytes')
        ]

        self.assertEqual(
            ['1 min 20 s', '1 KiB'], [cell.human_readable() for cell in told]
        )
        self.assertEqual(
            [80, 1024], [cell.machine_readable() for cell in told]
        )

    def test_no_estimate_is_said_only_of_what_goes_on(self):
        said = [
            columns.field(item, 'eta_seconds').human_readable()
            for item in (answers.item(), answers.failed())
        ]

        self.assertEqual(['no estimate yet', ''], said)

    def test_field_that_an_older_api_does_not_have_is_empty(self):
        item = answers.item()
        del item['eta_p90_seconds'], item['explanation']

        self.assertIsNone(columns.field(item, 'explanation'))
        self.assertIsNone(
            columns.field(item, 'eta_p90_seconds').machine_readable()
        )


class TextTest(unittest.TestCase):
    def test_evidence_has_its_age_and_its_clock(self):
        told = columns.Evidence(
            [
                {
                    'at': '2026-01-01T10:00:00.123456',
                    'channel': 'heartbeat',
                    'sign': 'silent',
                    'age': 63.14,
                    'text': '',
                }
            ]
        )

        self.assertEqual(
            '10:00:00.123Z heartbeat silent, last heard 63.1s before',
            told.human_readable(),
        )

    def test_verified_device_needs_no_explanation(self):
        host = {
            'host': 'cmp-1',
            'heartbeat_age': 0.5,
            'fencing_state': 'verified',
            'fencing_text': 'its device is its own',
        }
        other = {**host, 'fencing_state': 'absent', 'fencing_text': 'no entry'}

        self.assertEqual(
            'cmp-1: heard 0.5s ago, fencing verified\n'
            'cmp-1: heard 0.5s ago, fencing absent (no entry)',
            columns.Hosts([host, other]).human_readable(),
        )

    def test_evidence_for_a_decision_has_both_ages(self):
        told = columns.Channels(
            [
                {
                    'channel': 'probe',
                    'sign': 'silent',
                    'heard_age': 38.04,
                    'read_age': 7.0,
                    'text': 'no answer',
                },
                {
                    'channel': 'power',
                    'sign': 'unknown',
                    'heard_age': None,
                    'read_age': None,
                    'text': '',
                },
            ]
        )

        self.assertEqual(
            'probe silent: last heard 38.0 s ago, asked 7.0 s ago: no answer\n'
            'power unknown: never asked',
            told.human_readable(),
        )

    def test_server_tells_its_code_and_its_next_try(self):
        told = columns.Servers(
            [
                {
                    'name': 'web',
                    'uuid': 'u',
                    'state': 'ready',
                    'code': 'no-valid-host',
                    'destination': None,
                    'reason': 'No valid host',
                    'retry_at': '2026-01-01T10:00:00.123456',
                }
            ]
        )

        self.assertEqual(
            'web: ready, no-valid-host (No valid host), next try '
            '10:00:00.123Z',
            told.human_readable(),
        )

    def test_servers_of_one_name_are_told_apart(self):
        one = {'state': 'left', 'destination': None, 'reason': ''}
        told = columns.Servers(
            [
                {'name': name, 'uuid': uuid, **one}
                for name, uuid in (('web', 'u1'), ('web', 'u2'), ('db', 'u3'))
            ]
        )

        self.assertEqual(
            ['web (u1): left', 'web (u2): left', 'db: left'],
            told.human_readable().splitlines(),
        )

    def test_brake_tells_how_long_of_what_and_who(self):
        brake = {
            'kind': 'pause',
            'name': 'upgrade',
            'zone': 'az1',
            'until': None,
            'by': 'lena',
            'reason': 'new switch',
        }
        other = {
            **brake,
            'kind': 'maintenance',
            'name': 'cmp-1',
            'zone': None,
            'until': '2026-01-01T10:00:00.000000',
        }

        self.assertEqual(
            'pause upgrade of zone az1 until somebody ends it, by lena: new '
            'switch\n'
            'maintenance cmp-1 until 2026-01-01T10:00:00.000000Z, by lena: '
            'new switch',
            columns.Brakes([brake, other]).human_readable(),
        )

    def test_engine_that_fell_silent_does_nothing_any_more(self):
        engine = {
            'name': 'ctl-1:7',
            'role': 'acting',
            'alive': True,
            'warm': True,
            'age': 0.52,
        }
        gone = {**engine, 'alive': False, 'age': 90.0}
        new = {**engine, 'role': 'watching', 'warm': False}

        self.assertEqual(
            'ctl-1:7: acting, reported 0.5 s ago\n'
            'ctl-1:7: silent, reported 90.0 s ago\n'
            'ctl-1:7: watching, not warm yet, reported 0.5 s ago',
            columns.Engines([engine, gone, new]).human_readable(),
        )

    def test_watcher_that_is_gone_or_blind_says_so(self):
        watcher = {
            'name': 'ctl-1',
            'alive': True,
            'sees': True,
            'reason': None,
            'hosts': 7,
            'age': 0.52,
        }
        blind = {**watcher, 'sees': False, 'reason': 'No host was heard'}
        gone = {**watcher, 'alive': False, 'age': 90.0}

        self.assertEqual(
            'ctl-1: sees, 7 hosts, looked 0.5 s ago\n'
            'ctl-1: does not see (No host was heard), 7 hosts, looked 0.5 s '
            'ago\n'
            'ctl-1: it may be dead, 7 hosts, looked 90.0 s ago',
            columns.Watchers([watcher, blind, gone]).human_readable(),
        )


class StatusTest(unittest.TestCase):
    def test_standby_is_for_somebody_to_act(self):
        status = {
            'arm': {'state': 'armed'},
            'engine': {'age': 1.0, 'sight': 'clear'},
            'open_incidents_by_phase': {},
            'servers_waiting_by_code': {},
            'waits': [],
        }
        standby = {**status, 'arm': {'state': 'standby'}}

        self.assertEqual(0, ha._status_code(status, all_verified=True))
        self.assertEqual(3, ha._status_code(status, all_verified=False))
        self.assertEqual(1, ha._status_code(standby, all_verified=False))
        for code, found in (('healthy-delay', 0), ('quarantined', 1)):
            waits = {**status, 'waits': [{'code': code}]}
            self.assertEqual(found, ha._status_code(waits, all_verified=True))

    def test_nobody_who_watches_is_for_somebody_to_act(self):
        status = {
            'arm': {'state': 'armed'},
            'engine': {'age': 1.0, 'sight': 'clear'},
            'open_incidents_by_phase': {},
            'waits': [],
        }
        sees = {'alive': True, 'sees': True}
        gone = {'alive': False, 'sees': True}
        blind = {'alive': True, 'sees': False}

        for watchers, expected in (
            ([], 1),
            ([gone, blind], 1),
            ([gone, sees], 0),
        ):
            told = {**status, 'watchers': watchers}
            with self.subTest(watchers):
                self.assertEqual(expected, ha._status_code(told, True))

    def test_silent_engine_sees_nothing_any_more(self):
        engine = {'age': 46.1, 'sight': 'clear'}

        self.assertEqual(
            'silent for 46 s: it may be dead', ha.engine_word(engine)
        )
        self.assertIn('none', ha._sight(engine))

    def test_engine_that_has_stopped_is_not_called_at_work(self):
        self.assertEqual(
            'last reported 20 s ago', ha.engine_word({'age': 19.9})
        )
        self.assertEqual('at work', ha.engine_word({'age': 2.0}))
