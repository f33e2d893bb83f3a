# SPDX-License-Identifier: Apache-2.0

import types
import unittest
from unittest import mock

from aodh import evaluator as aodh_evaluator
from oslo_config import cfg

from aodh_actions import evaluator
from aodh_actions import lookout
from aodh_actions import message
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import health
from nova_ha_plugins.store import values

CLEAR = detector.Sight.CLEAR
BLIND = detector.Sight.BLIND


def look(*down, sight=CLEAR, up=('cmp-8', 'cmp-9'), silent_for=17.54):
    """A look that finds some hosts down."""
    state = detector.begin(0.0)
    hosts = [
        detector.HostLook(
            host, f'u-{host}', detector.Liveness.DOWN, silent_for, silent_for
        )
        for host in down
    ] + [
        detector.HostLook(host, '', detector.Liveness.UP, 1.0, 0.0)
        for host in up
    ]
    return detector.Look(state, sight, 'fog', tuple(hosts), ())


def service(**changes):
    """What is known while an engine and a watcher are at work."""
    watch = health.Watch('ctl-1', True, 3, '', 0.5)
    return lookout.Service(
        **{'engine_age': 1.0, 'watches': (watch,), 'hosts': 3, **changes}
    )


class FakeLookout:
    """Sees what a test says it sees."""

    def __init__(self):
        self.now = 1000.0
        self.seen = None
        self.asked = None

    def clock(self):
        return self.now

    def start(self):
        return

    def hosts(self, timeout):
        self.asked = timeout
        return self.seen

    def service(self):
        return self.seen


class Case(unittest.TestCase):
    """Our evaluator, and what it hands to aodh's."""

    subject = 'hosts'

    def setUp(self):
        patch = mock.patch.object(
            aodh_evaluator.Evaluator, '__init__', autospec=True
        )
        patch.start()
        self.addCleanup(patch.stop)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        with (
            mock.patch.object(
                evaluator.liveness, 'open_liveness', autospec=True
            ),
            mock.patch.object(
                evaluator.store_api, 'open_store', autospec=True
            ),
        ):
            self.evaluator = evaluator.HypervisorHeartbeatEvaluator(conf)
        self.lookout = self.evaluator._lookout = FakeLookout()
        self.evaluator._refresh = self.refresh
        self.told = []
        self.alarm = self.new_alarm()

    def new_alarm(self, state='ok', **rule):
        return types.SimpleNamespace(
            alarm_id='a-1',
            name='ha',
            state=state,
            time_constraints=None,
            repeat_actions=False,
            rule={
                'subject': self.subject,
                'max_age': 15,
                'remind': 0,
                **rule,
            },
        )

    def refresh(self, alarm, state, reason, data, always_record=False):
        """Do what aodh's own does with a state, for our eyes."""
        if state != alarm.state or always_record:
            self.told.append((state, reason, data))
        elif alarm.repeat_actions:
            self.told.append(('repeated', reason, data))
        alarm.state = state

    def evaluate(self, seen, after=5.0):
        self.lookout.seen = seen
        self.lookout.now += after
        self.evaluator.evaluate(self.alarm)
        told, self.told = self.told, []
        return told


class HostsTest(Case):
    def test_a_silent_host_is_named_the_way_our_notifier_reads_it(self):
        ((state, reason, data),) = self.evaluate(look('cmp-1', 'cmp-2'))

        self.assertEqual('alarm', state)
        self.assertEqual(
            '2 of 4 hosts silent for more than 15s: cmp-1, cmp-2', reason
        )
        self.assertEqual(
            ('cmp-1', 'cmp-2'), message.suspected_hosts('alarm', data)
        )
        fact = message.make_fact(
            'cmp-1', {'reason_data': data}, channel='notifier'
        )
        self.assertEqual(
            ('u-cmp-1', 'No heartbeat for 17.5s, expected one within 15.0s'),
            (fact.service_uuid, fact.reason),
        )
        self.assertEqual(['cmp-1', 'cmp-2'], data['new'])
        self.assertEqual(15.0, self.lookout.asked)

    def test_a_second_host_is_told_while_the_alarm_stands(self):
        self.evaluate(look('cmp-1'))

        self.assertEqual([], self.evaluate(look('cmp-1')))
        ((state, _, data),) = self.evaluate(look('cmp-1', 'cmp-2'))

        self.assertEqual('alarm', state)
        self.assertEqual(['cmp-2'], data['new'])
        self.assertEqual(2, data['count'])

    def test_a_host_that_falls_again_is_told_again(self):
        self.evaluate(look('cmp-1', 'cmp-2'))
        self.evaluate(look('cmp-2'))

        ((_, _, data),) = self.evaluate(look('cmp-1', 'cmp-2'))

        self.assertEqual(['cmp-1'], data['new'])

    def test_all_hosts_heard_again_is_ok(self):
        self.evaluate(look('cmp-1'))

        ((state, reason, data),) = self.evaluate(look())

        self.assertEqual('ok', state)
        self.assertIn('All of 2 hosts were heard within 15s', reason)
        self.assertEqual([], data['hosts'])

    def test_nothing_known_keeps_every_state(self):
        for seen in (None, look('cmp-1', sight=BLIND), look(sight=BLIND)):
            for state in ('ok', 'alarm', 'insufficient data'):
                with self.subTest(seen=seen, state=state):
                    self.alarm = self.new_alarm(state)
                    self.alarm.repeat_actions = True

                    self.assertEqual([], self.evaluate(seen))
                    self.assertEqual(state, self.alarm.state)

    def test_waiting_is_said_once_until_it_sees_again(self):
        with self.assertLogs(evaluator.LOG.logger, 'WARNING') as logged:
            self.evaluate(None)
            self.evaluate(look(sight=BLIND))
            self.evaluate(look())
            self.evaluate(look(sight=BLIND))

        self.assertEqual(2, len(logged.output), logged.output)
        self.assertIn("'ha' stays 'ok': the heartbeats", logged.output[0])
        self.assertIn("'ha' stays 'ok': fog", logged.output[1])

    def test_a_new_process_tells_once_what_it_finds(self):
        self.alarm = self.new_alarm('alarm')

        ((state, _, data),) = self.evaluate(look('cmp-1'))

        self.assertEqual(('alarm', ['cmp-1']), (state, data['new']))
        self.assertEqual([], self.evaluate(look('cmp-1')))

    def test_a_reminder_comes_when_it_is_due_and_not_when_all_is_well(self):
        self.alarm = self.new_alarm(remind=60)
        self.evaluate(look('cmp-1'))

        told = [self.evaluate(look('cmp-1'), 10.0) for _ in range(12)]

        self.assertEqual([5, 11], [n for n, each in enumerate(told) if each])
        self.assertEqual([], told[5][0][2]['new'])
        self.evaluate(look())
        self.assertEqual([], self.evaluate(look(), 100.0))

    def test_an_alarm_that_repeats_is_left_to_aodh(self):
        self.alarm.repeat_actions = True
        self.evaluate(look('cmp-1'))

        ((state, _, data),) = self.evaluate(look('cmp-1'))

        self.assertEqual('repeated', state)
        self.assertEqual(('cmp-1',), message.suspected_hosts('alarm', data))

    def test_a_host_with_an_odd_name_hides_nobody(self):
        ((_, _, data),) = self.evaluate(look('../etc', 'cmp-1'))

        self.assertEqual(('cmp-1',), message.suspected_hosts('alarm', data))

    def test_a_sentence_names_ten_hosts_and_the_list_all(self):
        names = [f'cmp-{number}' for number in range(100, 125)]

        ((_, reason, data),) = self.evaluate(look(*names))

        self.assertTrue(reason.endswith('cmp-109 and 15 more'), reason)
        self.assertEqual(25, len(data['hosts']))

    def test_outside_its_hours_an_alarm_is_left_alone(self):
        self.alarm.time_constraints = [
            {'timezone': '', 'start': '0 0 31 2 *', 'duration': 1}
        ]
        with mock.patch.object(
            aodh_evaluator.Evaluator,
            'within_time_constraint',
            autospec=True,
            return_value=False,
        ):
            self.assertEqual([], self.evaluate(look('cmp-1')))


class ServiceTest(Case):
    subject = 'service'

    def codes(self, seen):
        told = self.evaluate(seen)
        return [item['code'] for _, _, d in told for item in d['trouble']]

    def test_all_is_well_while_both_are_at_work(self):
        self.alarm = self.new_alarm('insufficient data')

        ((state, reason, data),) = self.evaluate(service())

        self.assertEqual('ok', state)
        self.assertIn('An engine and a watcher', reason)
        self.assertEqual((), message.suspected_hosts(state, data))

    def test_each_reason_is_told_by_its_name(self):
        old = health.Watch('ctl-1', True, 3, '', 15.0)
        blind = health.Watch('ctl-1', False, 3, 'fog', 0.5)
        for code, seen in (
            ('no-engine', service(engine_age=None)),
            ('no-engine', service(engine_age=15.0)),
            ('no-watcher', service(watches=())),
            ('no-watcher', service(watches=(old,), blind_for=60.0)),
            ('blind', service(watches=(blind,), blind_for=15.0)),
            ('all-silent', service(newest=15.0)),
            ('store-away', lookout.Service(away_for=15.0)),
        ):
            with self.subTest(code=code, seen=seen):
                self.alarm = self.new_alarm()
                self.evaluator._memories.clear()

                ((state, reason, data),) = self.evaluate(seen)

                self.assertEqual('alarm', state)
                self.assertEqual(
                    [code], [item['code'] for item in data['trouble']]
                )
                self.assertEqual(reason, data['trouble'][0]['reason'])
                self.assertEqual((), message.suspected_hosts(state, data))

    def test_what_lasts_no_longer_than_allowed_is_no_alarm(self):
        blind = health.Watch('ctl-1', False, 3, 'fog', 14.9)

        self.assertEqual(
            [],
            self.evaluate(
                service(
                    engine_age=14.9,
                    watches=(blind,),
                    blind_for=14.9,
                    newest=14.9,
                )
            ),
        )

    def test_one_watcher_of_two_is_enough(self):
        two = (
            health.Watch('ctl-1', True, 3, '', 600.0),
            health.Watch('ctl-2', True, 3, '', 0.5),
        )

        self.assertEqual([], self.evaluate(service(watches=two)))

    def test_a_store_that_is_away_for_a_moment_changes_nothing(self):
        for state in ('ok', 'alarm', 'insufficient data'):
            with self.subTest(state=state):
                self.alarm = self.new_alarm(state)

                told = self.evaluate(lookout.Service(away_for=14.0))

                self.assertEqual([], told)
                self.assertEqual(state, self.alarm.state)

    def test_a_second_reason_is_told_while_the_alarm_stands(self):
        first = self.codes(service(engine_age=20.0))
        second = self.codes(service(engine_age=25.0, newest=20.0))
        third = self.codes(service(engine_age=30.0, newest=25.0))

        self.assertEqual(['no-engine'], first)
        self.assertEqual(['no-engine', 'all-silent'], second)
        self.assertEqual([], third)


class NotConfiguredTest(unittest.TestCase):
    def test_no_database_is_said_before_aodh_goes_on_without_us(self):
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        with (
            mock.patch.object(
                aodh_evaluator.Evaluator, '__init__', autospec=True
            ),
            self.assertLogs(evaluator.LOG.logger, 'ERROR') as logged,
            self.assertRaises(values.NotConfigured),
        ):
            evaluator.HypervisorHeartbeatEvaluator(conf)

        self.assertIn("'hypervisor_heartbeat' are not", logged.output[0])
