# SPDX-License-Identifier: Apache-2.0

"""What ``arm`` and ``disarm`` wait for, and what they tell meanwhile."""

import io
import types
import unittest

from osc_lib import exceptions

from nova_ha_plugins.client import arming


def moving(**changes):
    return {
        'uuid': 'i1',
        'host': 'cmp-1',
        'phase': 'evacuating',
        'code': None,
        'reason': None,
        'servers_total': 3,
        'servers_done': 1,
        **changes,
    }


def status(*in_flight, state='disarming', armed=False, age=0.5):
    return {
        'arm': {
            'armed': armed,
            'by': 'lena',
            'reason': 'switch',
            'state': state,
            'state_reason': 'Because',
            'in_flight': list(in_flight),
        },
        'engine': None if age is None else {'age': age},
    }


class Waiting(unittest.TestCase):
    """A command whose API gives one status after another, 2 s apart."""

    def run_command(self, kind, *words, statuses):
        answers = list(statuses)
        self.now = 0.0
        self.asked = 0

        def read():
            self.asked += 1
            return answers.pop(0) if len(answers) > 1 else answers[0]

        def sleep(seconds):
            self.now += seconds

        client = types.SimpleNamespace(
            status=read,
            set_armed=lambda armed, reason, until: dict(statuses[0]['arm']),
        )
        self.stderr = io.StringIO()
        app = types.SimpleNamespace(
            stdout=io.StringIO(),
            stderr=self.stderr,
            client_manager=types.SimpleNamespace(compute=None),
        )
        command = kind(app, None)
        command.sleep = sleep
        command.clock = lambda: self.now
        original = arming.rest.connect
        self.addCleanup(setattr, arming.rest, 'connect', original)
        arming.rest.connect = lambda app: client
        parser = command.get_parser('openstack')
        parsed = parser.parse_args(['--reason', 'x', *words])
        return dict(zip(*command.take_action(parsed), strict=True))

    def told(self):
        return self.stderr.getvalue().splitlines()


class DisarmTest(Waiting):
    def test_without_wait_nothing_is_asked(self):
        self.run_command(arming.Disarm, statuses=[status(moving())])

        self.assertEqual((0, []), (self.asked, self.told()))

    def test_waits_until_nothing_is_in_flight_and_tells_each_step_once(self):
        row = self.run_command(
            arming.Disarm,
            '--wait',
            statuses=[
                status(moving()),
                status(moving()),
                status(moving(servers_done=2)),
                status(state='disarmed'),
            ],
        )

        self.assertEqual(
            [
                'In flight: cmp-1: evacuating, 1 of 3 servers settled',
                'In flight: cmp-1: evacuating, 2 of 3 servers settled',
                'Nothing is in flight',
            ],
            self.told(),
        )
        self.assertEqual('disarmed', row['state'].machine_readable())

    def test_a_fence_decided_in_the_same_moment_is_waited_for(self):
        quiet = status(state='disarmed')
        self.run_command(
            arming.Disarm,
            '--wait',
            statuses=[quiet, status(moving(phase='fencing')), quiet],
        )

        self.assertGreaterEqual(self.now, 10.0)
        self.assertIn('fencing', self.told()[1])

    def test_gives_up_after_its_timeout_with_what_it_waits_for(self):
        stuck = moving(
            phase='needs-operator', code='fence-unconfirmed', reason='It is On'
        )
        with self.assertRaisesRegex(
            exceptions.CommandError,
            'Not quiet after 5 s.*cmp-1: needs-operator.*fence-unconfirmed: '
            'It is On.*stays disarmed',
        ):
            self.run_command(
                arming.Disarm,
                *('--wait', '--timeout', '5'),
                statuses=[status(stuck)],
            )

    def test_somebody_who_arms_it_meanwhile_is_named(self):
        with self.assertRaisesRegex(
            exceptions.CommandError, 'armed by lena meanwhile: switch'
        ):
            self.run_command(
                arming.Disarm,
                '--wait',
                statuses=[status(moving()), status(armed=True)],
            )

    def test_engine_that_is_gone_is_told(self):
        with self.assertRaisesRegex(
            exceptions.CommandError, 'silent for 90 s.*nothing moves on'
        ):
            self.run_command(
                arming.Disarm,
                *('--wait', '--timeout', '1'),
                statuses=[status(moving(), age=90.0)],
            )


class ArmTest(Waiting):
    def test_waits_until_an_engine_can_fence(self):
        self.run_command(
            arming.Arm,
            '--wait',
            statuses=[
                status(armed=True, state='armed', age=None),
                status(armed=True, state='standby'),
                status(armed=True, state='armed'),
            ],
        )

        self.assertEqual(
            ['Engine never reported', 'standby: Because', 'armed: Because'],
            self.told(),
        )

    def test_gives_up_in_standby(self):
        with self.assertRaisesRegex(
            exceptions.CommandError, 'standby: Because. It stays armed'
        ):
            self.run_command(
                arming.Arm,
                *('--wait', '--timeout', '5'),
                statuses=[status(armed=True, state='standby')],
            )


if __name__ == '__main__':
    unittest.main()
