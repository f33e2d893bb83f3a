# SPDX-License-Identifier: Apache-2.0

"""What ``watch`` follows, when it ends and what it prints."""

import io
import types
import unittest

from nova_ha_plugins.client import evacuation
from nova_ha_plugins.client import watching


def item(server='s1', uuid='e1', state='running', percent=40, **changes):
    return {
        'uuid': uuid,
        'server_uuid': server,
        'state': state,
        'phase': {'running': 'spawning', 'succeeded': 'done'}.get(
            state, state
        ),
        'progress': percent,
        'reason': None,
        'stalled': False,
        'source_compute': 'cmp-1',
        'dest_compute': 'cmp-2',
        **changes,
    }


class FollowerTest(unittest.TestCase):
    def test_what_ended_before_is_not_followed(self):
        follower = watching.Follower()

        changed = follower.update([item(state='failed', percent=None)])

        self.assertEqual([], changed)
        self.assertEqual((0, 0), (follower.open, follower.bad))

    def test_named_servers_are_followed_even_when_it_ended_before(self):
        follower = watching.Follower(everything=True)

        changed = follower.update([item(state='failed', percent=None)])

        self.assertEqual(1, len(changed))
        self.assertEqual((0, 1), (follower.open, follower.bad))

    def test_only_the_newest_of_a_server_counts(self):
        follower = watching.Follower()

        follower.update(
            [item(uuid='e2'), item(uuid='e1', state='failed', percent=None)]
        )

        self.assertEqual((1, 0), (follower.open, follower.bad))

    def test_same_answer_is_no_change(self):
        follower = watching.Follower()
        follower.update([item(status='pre-migrating')])

        self.assertEqual([], follower.update([item(status='completed')]))
        self.assertEqual(1, len(follower.update([item(percent=90)])))

    def test_percent_of_one_record_never_goes_back(self):
        follower = watching.Follower()
        follower.update([item(percent=40)])

        follower.update([item(percent=25)])
        self.assertEqual(40, follower.items['s1']['progress'])

        follower.update([item(uuid='e2', percent=2)])
        self.assertEqual(2, follower.items['s1']['progress'])

    def test_lines_tell_percent_way_and_trouble(self):
        line = watching.line(item())
        stalled = watching.line(
            item(percent=None, stalled=True, reason='destination_down')
        )
        hidden = watching.line(item(source_compute=None, dest_compute=None))
        early = watching.line(item(dest_compute=None))
        bar = watching.bar(item(percent=50))

        self.assertEqual('s1  spawning     40%  cmp-1 -> cmp-2', line)
        self.assertIn('  -   cmp-1', stalled)
        self.assertTrue(stalled.endswith('stalled: destination_down'))
        self.assertEqual('s1  spawning     40%', hidden)
        self.assertTrue(early.endswith('cmp-1 -> ?'))
        self.assertIn('[############............]  50%', bar)


class WatchTest(unittest.TestCase):
    """The command over answers that are played to it."""

    def watch(self, answers, *words):
        answers = list(answers)
        self.now = 0.0

        def get(path, params):
            body = {'evacuations': answers[0]}
            if len(answers) > 1:
                answers.pop(0)
            return types.SimpleNamespace(status_code=200, json=lambda: body)

        def sleep(seconds):
            self.now += seconds

        app = types.SimpleNamespace(
            stdout=io.StringIO(),
            client_manager=types.SimpleNamespace(
                compute=types.SimpleNamespace(
                    get=get, find_server=lambda *_, **__: None
                )
            ),
        )
        command = evacuation.WatchEvacuation(app, None)
        command.sleep = sleep
        command.clock = lambda: self.now
        parsed = command.get_parser('watch').parse_args(list(words))
        return command.take_action(parsed), app.stdout.getvalue().splitlines()

    def test_every_success_is_success(self):
        code, lines = self.watch(
            [
                [item(), item('s2', 'e2', 'queued', 2)],
                [item(), item('s2', 'e2', 'succeeded', 100)],
                [
                    item(state='succeeded', percent=100),
                    item('s2', 'e2', 'succeeded', 100),
                ],
            ]
        )

        self.assertEqual(0, code)
        self.assertEqual(5, len(lines))
        self.assertEqual('2 succeeded', lines[-1])

    def test_one_failure_is_failure(self):
        code, lines = self.watch(
            [
                [item(), item('s2', 'e2')],
                [
                    item(state='succeeded', percent=100),
                    item('s2', 'e2', 'failed', None, reason='no_valid_host'),
                ],
            ]
        )

        self.assertEqual(1, code)
        self.assertEqual('1 failed, 1 succeeded', lines[-1])

    def test_time_runs_out_loudly(self):
        code, lines = self.watch([[item()]], '--timeout', '5')

        self.assertEqual(1, code)
        self.assertEqual('Gave up after 5 s: 1 running', lines[-1])
        self.assertEqual(5.0, self.now)

    def test_waits_for_the_next_wave_of_a_host(self):
        done = item(state='succeeded', percent=100)
        code, lines = self.watch(
            [
                [],
                [item()],
                [done],
                [done, item('s2', 'e2')],
                [done, item('s2', 'e2', 'succeeded', 100)],
            ],
            *('--host', 'cmp-1', '--wait', '3'),
        )

        self.assertEqual(0, code)
        self.assertEqual('2 succeeded', lines[-1])
        # Last seen open at 3, then the wait of 3 for another one.
        self.assertEqual(6.0, self.now)

    def test_named_server_is_over_when_its_evacuation_is(self):
        server = '5d4c2f6e-0000-4000-8000-000000000001'
        old = item(server, 'e0', 'failed', None)
        code, lines = self.watch(
            [
                [old],
                [item(server), old],
                [item(server, state='succeeded', percent=100), old],
            ],
            *('--server', server, '--wait', '60'),
        )

        self.assertEqual(0, code)
        self.assertEqual('1 succeeded', lines[-1])
        self.assertEqual(2.0, self.now)

    def test_server_without_evacuation_is_not_a_success(self):
        server = '5d4c2f6e-0000-4000-8000-000000000001'
        code, lines = self.watch([[]], '--server', server)

        self.assertEqual((1, ['no evacuation']), (code, lines))


if __name__ == '__main__':
    unittest.main()
