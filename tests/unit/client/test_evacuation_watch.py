# SPDX-License-Identifier: Apache-2.0

"""The command ``watch`` over answers that are played to it."""

import argparse
import collections
import contextlib
import datetime
import io
import json
import types
import unittest
from unittest import mock

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_ha_plugins.client import evacuation_watch
from tests.unit.client import answers

SERVER = '5d4c2f6e-0000-4000-8000-000000000001'
OTHER = '5d4c2f6e-0000-4000-8000-000000000002'
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
DOWN = answers.fault(503, 'The cell is down')


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Nova:
    """Plays answers: of each resource one after the other, the last stays.

    :ivar played: by path; a list is the evacuations or hosts themselves.
    """

    def __init__(self, played):
        self.played = {path: list(found) for path, found in played.items()}
        self.calls = collections.Counter()
        self.queries = []

    def get(self, path, params, headers=None, timeout=None, skip_cache=None):
        assert timeout and skip_cache
        self.calls[path] += 1
        self.queries.append((path, dict(params)))
        found = self.played.get(path)
        if found is None:
            return answers.fault(404, f'Nothing at {path}')
        given = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(given, types.SimpleNamespace):
            return given
        if path.endswith('/summary'):
            body = {'evacuations_summary': {'hosts': given, 'cells_down': 0}}
        elif path == '/servers':
            body = {'servers': given}
        elif '/evacuations/' in path:
            body = {'evacuation': given}
        else:
            body = {'evacuations': given}
        return answers.answer(body)

    def find_server(self, name, ignore_missing, all_projects=False):
        ids = {'web-1': SERVER, 'web-2': OTHER, 's1': 's1', 's2': 's2'}
        return types.SimpleNamespace(id=ids[name]) if name in ids else None


class Manager:
    """Finds nova only after some attempts."""

    def __init__(self, nova, away):
        self.nova = nova
        self.away = away

    @property
    def compute(self):
        if self.away:
            self.away -= 1
            raise sdk_exceptions.NotSupported('No version document')
        return self.nova


class WatchCase(unittest.TestCase):
    def watch(self, played, *words, stdout=None, away=0):
        """Run it; give exit code and lines.

        :param away: how often nova does not even say which versions it has.
        """
        self.nova = Nova(played)
        self.now = 0.0
        stdout = stdout or io.StringIO()

        def sleep(seconds):
            self.now += seconds

        app = types.SimpleNamespace(
            stdout=stdout, client_manager=Manager(self.nova, away)
        )
        command = evacuation_watch.WatchEvacuation(app, None)
        command.sleep = sleep
        command.clock = lambda: self.now
        command.wall = lambda: NOON + datetime.timedelta(seconds=self.now)
        parsed = command.get_parser('watch').parse_args(list(words))
        code = command.take_action(parsed)
        return code, stdout.getvalue().splitlines()

    def of_server(self, *lists, server=SERVER):
        return {f'/servers/{server}/evacuations': lists}

    def of_cloud(self, *lists, **others):
        return {'/os-evacuations': lists, **others}


class ServersTest(WatchCase):
    def test_named_server_is_over_when_its_evacuation_is(self):
        old = answers.failed(SERVER, 'e0')
        code, lines = self.watch(
            self.of_server(
                [old],
                [answers.item(SERVER), old],
                [answers.done(SERVER), old],
            ),
            *('web-1', '--wait', '60'),
        )

        self.assertEqual((0, 2.0), (code, self.now))
        self.assertEqual(
            [
                '12:00:00Z  web-1  failed            -   cmp-1 -> cmp-2  No '
                'host has room for it. Make room, evacuate again.',
                '12:00:01Z  web-1  6/8 spawning     40%  cmp-1 -> cmp-2  no '
                'estimate yet',
                '12:00:02Z  web-1  8/8 done        100%  cmp-1 -> cmp-2',
                '1 succeeded',
            ],
            lines,
        )

    def test_one_failure_of_several_is_failure(self):
        code, lines = self.watch(
            {
                **self.of_server(
                    [answers.item(SERVER)], [answers.done(SERVER)]
                ),
                **self.of_server(
                    [answers.item(OTHER, 'e2')],
                    [answers.failed(OTHER, 'e2')],
                    server=OTHER,
                ),
            },
            *('--server', 'web-1', '--server', 'web-2'),
        )

        self.assertEqual(1, code)
        self.assertEqual('1 failed, 1 succeeded', lines[-1])
        self.assertIn('web-2  failed', lines[-2])

    def test_each_named_server_must_have_been_evacuated(self):
        code, lines = self.watch(
            {
                **self.of_server([answers.done(SERVER)]),
                **self.of_server([], server=OTHER),
            },
            *('web-1', 'web-2'),
        )

        self.assertEqual(1, code)
        self.assertEqual('1 succeeded; no evacuation of web-2', lines[-1])

    def test_server_without_an_evacuation_is_named_once(self):
        code, lines = self.watch(self.of_server([]), 'web-1')

        self.assertEqual(1, code)
        self.assertEqual('no evacuation of web-1', lines[-1])

    def test_server_that_is_deleted_meanwhile_has_failed(self):
        gone = answers.fault(404, 'No server')
        code, lines = self.watch(
            self.of_server([answers.item(SERVER)], gone), 'web-1'
        )

        self.assertEqual((1, '1 failed'), (code, lines[-1]))
        self.assertIn('was deleted', lines[-2])

    def test_server_that_never_was_is_an_error(self):
        for words in ((SERVER,), ('web-9',)):
            with self.assertRaises(exceptions.CommandError):
                self.watch({}, *words)

    def test_server_that_is_named_twice_is_one(self):
        code, lines = self.watch(
            self.of_server([answers.done(SERVER)]), 'web-1', 'web-1'
        )

        self.assertEqual((0, '1 succeeded'), (code, lines[-1]))
        self.assertEqual(1, self.nova.calls.total())


class HostTest(WatchCase):
    words = ('--host', 'cmp-1')

    def test_every_success_is_success(self):
        code, lines = self.watch(
            {
                '/os-evacuations': [
                    [answers.item('s1'), answers.item('s2', 'e2', 'queued')],
                    [answers.item('s1')],
                    [],
                ],
                '/os-evacuations/summary': [
                    [answers.row(running=1, queued=1)],
                    [answers.row(running=1, succeeded=1)],
                    [answers.row(succeeded=2, progress=100)],
                ],
                '/servers': [[{'id': 's1', 'name': 'db'}]],
                '/servers/s1/evacuations/e1': [answers.done('s1')],
                '/servers/s2/evacuations/e2': [answers.done('s2', 'e2')],
            },
            *self.words,
        )

        self.assertEqual(0, code)
        self.assertEqual('cmp-1: 2 servers  2 back  100%', lines[-1])
        self.assertEqual(8, len(lines), lines)
        self.assertIn('db  6/8 spawning', lines[1])
        self.assertIn('s2  queued', lines[2])
        self.assertEqual(
            {'host': 'cmp-1', 'state': ['queued', 'running']},
            self.nova.queries[0][1],
        )
        # Names come for all servers of a host at once, and not in each look.
        self.assertEqual(1, self.nova.calls['/servers'])
        self.assertEqual(1, self.nova.calls['/servers/s1/evacuations/e1'])

    def test_servers_that_are_planned_are_waited_for(self):
        code, lines = self.watch(
            {
                '/os-evacuations': [[], [], [answers.item()], []],
                '/os-evacuations/summary': [
                    [answers.row(planned=1)],
                    [answers.row(planned=1)],
                    [answers.row(running=1)],
                    [answers.row(succeeded=1)],
                ],
                '/servers/s1/evacuations/e1': [answers.done()],
            },
            *self.words,
        )

        self.assertEqual((0, 3.0), (code, self.now))
        self.assertIn('1 not asked for yet', lines[0])

    def test_server_that_had_failed_before_is_told_and_is_failure(self):
        code, lines = self.watch(
            {
                '/os-evacuations': [[]],
                '/os-evacuations/summary': [
                    [answers.row(succeeded=3, failed=1, progress=75)]
                ],
            },
            *self.words,
        )

        self.assertEqual(1, code)
        self.assertEqual(
            'cmp-1: 4 servers  3 back, 1 failed  75%. See: openstack server '
            'evacuation list --host cmp-1 --long',
            lines[-1],
        )

    def test_older_api_and_no_right_to_counts_do_without(self):
        for refused in (406, 403, 404):
            code, lines = self.watch(
                {
                    '/os-evacuations': [[answers.item()], []],
                    '/os-evacuations/summary': [
                        answers.fault(refused, 'No summary')
                    ],
                    '/servers/s1/evacuations/e1': [answers.done()],
                },
                *self.words,
            )

            self.assertEqual((0, '1 succeeded'), (code, lines[-1]))
            self.assertEqual(
                1, self.nova.calls['/os-evacuations/summary'], refused
            )

    def test_names_are_asked_for_again_only_after_a_while(self):
        looks = [[answers.item()]] * 40
        self.watch(
            {
                '/os-evacuations': [*looks, []],
                '/servers': [[]],
                '/servers/s1/evacuations/e1': [answers.done()],
            },
            *self.words,
        )

        self.assertEqual((40.0, 2), (self.now, self.nova.calls['/servers']))

    def test_whole_cloud_shows_the_hosts_that_are_under_way(self):
        code, lines = self.watch(
            {
                '/os-evacuations': [[answers.item()], []],
                '/os-evacuations/summary': [
                    [
                        answers.row(running=1),
                        answers.row('cmp-8', failed=1),
                        answers.row('cmp-9', succeeded=1),
                    ],
                    [
                        answers.row(succeeded=1),
                        answers.row('cmp-8', failed=1),
                    ],
                ],
                '/servers/s1/evacuations/e1': [answers.done()],
            }
        )

        # What failed before is not what was watched.
        self.assertEqual((0, '1 succeeded'), (code, lines[-1]))
        self.assertEqual(3, len(lines[:-1]))
        self.assertIn('cmp-1: 1 server  1 running', lines[0])

    def test_waits_for_the_next_wave_of_a_host(self):
        code, lines = self.watch(
            {
                '/os-evacuations': [
                    [],
                    [answers.item()],
                    [],
                    [answers.item('s2', 'e2')],
                    [],
                ],
                '/servers/s1/evacuations/e1': [answers.done()],
                '/servers/s2/evacuations/e2': [answers.done('s2', 'e2')],
            },
            *(*self.words, '--wait', '3'),
        )

        self.assertEqual((0, '2 succeeded'), (code, lines[-1]))
        # Last seen open at 3, then the wait of 3 for another one.
        self.assertEqual(6.0, self.now)

    def test_nothing_to_be_watched_is_no_failure(self):
        code, lines = self.watch(self.of_cloud([]))

        self.assertEqual((0, ['no evacuation']), (code, lines))


class PatienceTest(WatchCase):
    def test_nova_that_is_silent_is_asked_again(self):
        code, lines = self.watch(
            self.of_server(
                [answers.item(SERVER)], DOWN, DOWN, [answers.done(SERVER)]
            ),
            'web-1',
        )

        self.assertEqual(0, code)
        # One second, then two and four of patience.
        self.assertEqual(7.0, self.now)
        self.assertEqual(
            [
                '12:00:01Z  The cell is down (HTTP 503). What is shown is 1 s '
                'old; asking again in 2 s',
                '12:00:07Z  Nova answers again',
            ],
            lines[1:3],
        )

    def test_each_silence_has_its_own_patience(self):
        running = [answers.item(SERVER)]
        self.watch(
            self.of_server(
                running, DOWN, running, DOWN, [answers.done(SERVER)]
            ),
            'web-1',
        )

        # Each second look comes after two seconds, the others after one.
        self.assertEqual(1 + 2 + 1 + 2.0, self.now)

    def test_silence_from_the_beginning_is_no_result(self):
        code, lines = self.watch(
            self.of_cloud(DOWN, DOWN, [], **{'/os-evacuations/summary': [[]]})
        )

        self.assertEqual((0, 'no evacuation'), (code, lines[-1]))
        self.assertIn('It has not answered yet', lines[0])
        self.assertEqual(6.0, self.now)

    def test_nova_may_be_away_when_the_watch_begins(self):
        code, lines = self.watch(
            self.of_server([answers.done(SERVER)]), 'web-1', away=2
        )

        self.assertEqual((0, '1 succeeded'), (code, lines[-1]))
        self.assertIn('No version document. It has not answered', lines[0])
        self.assertEqual(6.0, self.now)

    def test_time_runs_out_loudly(self):
        code, lines = self.watch(
            self.of_server([answers.item(SERVER)]), 'web-1', '--timeout', '5.5'
        )

        self.assertEqual((1, 5.5), (code, self.now))
        self.assertEqual('Gave up after 5.5 s: 1 running', lines[-1])

    def test_time_runs_out_while_nova_is_silent(self):
        code, lines = self.watch(
            self.of_cloud(DOWN), '--timeout', '30', '--interval', '0.5'
        )

        self.assertEqual((1, 30.0), (code, self.now))
        self.assertEqual(
            'Gave up after 30 s: no evacuation; nova does not answer: The '
            'cell is down (HTTP 503)',
            lines[-1],
        )
        # 1, 2, 4, 8, then every ten seconds.
        self.assertEqual(7, self.nova.calls['/os-evacuations'])

    def test_refusal_is_not_asked_again(self):
        with self.assertRaisesRegex(exceptions.CommandError, '--server'):
            self.watch(self.of_cloud(answers.fault(403, 'Policy')))

        self.assertEqual(0.0, self.now)


class JsonTest(WatchCase):
    def test_each_change_is_an_object_and_the_last_is_the_result(self):
        code, lines = self.watch(
            {
                '/os-evacuations': [[answers.item()], DOWN, []],
                '/os-evacuations/summary': [
                    [answers.row(running=1)],
                    [answers.row(failed=1)],
                ],
                '/servers': [[{'id': 's1', 'name': 'db'}]],
                '/servers/s1/evacuations/e1': [answers.failed()],
            },
            *('--host', 'cmp-1', '--json'),
        )
        found = [json.loads(line) for line in lines]

        self.assertEqual(
            [
                ('summary', '2026-01-01T12:00:00Z'),
                ('evacuation', '2026-01-01T12:00:00Z'),
                ('unanswered', '2026-01-01T12:00:01Z'),
                ('answered', '2026-01-01T12:00:03Z'),
                ('summary', '2026-01-01T12:00:03Z'),
                ('evacuation', '2026-01-01T12:00:03Z'),
                ('result', '2026-01-01T12:00:03Z'),
            ],
            [(each['event'], each['at']) for each in found],
        )
        self.assertEqual(answers.item(), found[1]['evacuation'])
        self.assertEqual('db', found[1]['server_name'])
        self.assertEqual(1.0, found[2]['data_age_seconds'])
        last = found[-1]
        self.assertEqual((1, 1), (code, last['exit_code']))
        self.assertEqual('failed', last['result'])
        self.assertEqual({'failed': 1}, last['counts'])
        [failed] = last['failed']
        self.assertEqual(
            ('db', 'no_valid_host'), (failed['server_name'], failed['reason'])
        )
        self.assertIn('Make room', failed['explanation'])


class TerminalTest(WatchCase):
    @mock.patch.dict('os.environ', TERM='xterm')
    def test_terminal_gets_bars_and_at_last_what_failed(self):
        terminal = Terminal()
        code, lines = self.watch(
            self.of_server([answers.item(SERVER)], [answers.failed(SERVER)]),
            'web-1',
            stdout=terminal,
        )

        self.assertEqual(1, code)
        self.assertIn('━━━', terminal.getvalue())
        self.assertEqual('1 failed', lines[-1])
        self.assertIn('web-1  failed', lines[-2])


class HelpTest(unittest.TestCase):
    def parse(self, *words):
        command = evacuation_watch.WatchEvacuation(None, None)
        with contextlib.redirect_stderr(io.StringIO()) as told:
            try:
                return command.get_parser('watch').parse_args(list(words))
            except SystemExit as error:
                return error.code, told.getvalue().splitlines()[-1]

    def test_names_can_stand_anywhere(self):
        for words in (
            ('web-1', 'web-2', '--json'),
            ('--json', '--interval', '2', 'web-1', 'web-2'),
        ):
            parsed = self.parse(*words)

            self.assertIsInstance(parsed, argparse.Namespace, parsed)
            self.assertEqual(['web-1', 'web-2'], parsed.servers)

    def test_mistakes_end_with_two_and_say_what_was_expected(self):
        for words, told in (
            (('--interval', '0'), 'expected a number above 0'),
            (('--interval', 'nan'), "expected a number, found 'nan'"),
            (('--timeout', 'soon'), "expected a number, found 'soon'"),
            (('--wait', '-1'), 'expected 0 or a number above'),
            (('web-1', '--host', 'cmp-1'), 'not allowed'),
            (('web-1', '--server', 'web-2'), 'not allowed'),
        ):
            code, line = self.parse(*words)

            self.assertEqual(2, code)
            self.assertIn(told, line)


if __name__ == '__main__':
    unittest.main()
