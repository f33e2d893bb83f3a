# SPDX-License-Identifier: Apache-2.0

import unittest
from unittest import mock

from oslo_config import cfg
from oslo_db import exception as db_exc
from oslo_utils import netutils
import tenacity

from aodh_actions import notifier
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import values
from tests.unit.aodh_actions import test_message

ACTION = 'trust+nova-ha://9f1c2e:delete@evacuate/all'


class FakeStore:
    """Takes facts, after failing as often as it is told to."""

    def __init__(self):
        self.facts = []
        self.failures = 0

    def add_fact(self, fact):
        if self.failures:
            self.failures -= 1
            raise db_exc.DBConnectionError(Exception('hunter2'))
        self.facts.append(fact)


class VirtualClock:
    def __init__(self):
        self.now = 100.0
        self.pauses = []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class NotifierTest(unittest.TestCase):
    def setUp(self):
        self.store = FakeStore()
        patch = mock.patch.object(
            notifier.store_api, 'open_store', lambda conf: self.store
        )
        patch.start()
        self.addCleanup(patch.stop)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        self.notifier = notifier.NovaHaNotifier(conf)
        self.clock = VirtualClock()
        self.notifier._retry.sleep = self.clock.sleep
        patch = mock.patch.object(
            tenacity.time, 'monotonic', lambda: self.clock.now
        )
        patch.start()
        self.addCleanup(patch.stop)

    def notify(self, action=ACTION, **more):
        body = test_message.alarm(**more)
        self.notifier.notify(
            netutils.urlsplit(action),
            body['alarm_id'],
            body['alarm_name'],
            body['severity'],
            body['previous'],
            body['current'],
            body['reason'],
            body['reason_data'],
        )

    def test_one_unverified_fact_with_the_trust_is_stored(self):
        self.notify()

        (fact,) = self.store.facts
        self.assertEqual(
            (facts.FactKind.HOST_DOWN, 'cmp-1', 'notifier', '9f1c2e', False),
            (fact.kind, fact.host, fact.channel, fact.trust_id, fact.verified),
        )
        self.assertEqual([], self.clock.pauses)

    def test_an_alarm_without_a_host_wakes_up(self):
        self.notify(reason_data={'type': 'threshold', 'most_recent': 3})

        self.assertEqual(facts.FactKind.WAKE_UP, self.store.facts[0].kind)

    def test_each_host_of_our_own_alarm_is_a_fact(self):
        self.notify(reason_data=test_message.listed('cmp-1', 'cmp-2'))

        self.assertEqual(
            [
                (facts.FactKind.HOST_DOWN, 'cmp-1', '9f1c2e'),
                (facts.FactKind.HOST_DOWN, 'cmp-2', '9f1c2e'),
            ],
            [(one.kind, one.host, one.trust_id) for one in self.store.facts],
        )

    def test_a_degraded_host_is_not_accused(self):
        data = {'event': test_message.event('compute.host.degraded')}
        self.notify(reason_data=data)

        (fact,) = self.store.facts
        self.assertEqual((facts.FactKind.WAKE_UP, ''), (fact.kind, fact.host))

    def test_insufficient_data_accuses_nobody(self):
        self.notify(current='insufficient data')

        self.assertEqual(facts.FactKind.WAKE_UP, self.store.facts[0].kind)
        self.assertEqual('', self.store.facts[0].host)

    def test_a_bad_host_is_said_and_wakes_up(self):
        data = {'event': test_message.event(host='../etc')}
        with self.assertLogs(notifier.LOG.logger, 'ERROR') as logged:
            self.notify(reason_data=data)

        self.assertEqual(facts.FactKind.WAKE_UP, self.store.facts[0].kind)
        self.assertNotIn('../etc', logged.output[0])

    def test_an_action_without_a_trust_is_stored_without_one(self):
        self.notify(action='trust+nova-ha://evacuate')

        self.assertEqual('', self.store.facts[0].trust_id)
        self.assertFalse(self.store.facts[0].verified)

    def test_a_store_that_is_away_for_a_moment_loses_nothing(self):
        self.store.failures = 2
        with self.assertLogs(notifier.LOG.logger, 'WARNING') as logged:
            self.notify()

        self.assertEqual(1, len(self.store.facts))
        self.assertEqual(2, len(logged.output))

    def test_a_store_that_stays_away_is_one_critical_line_and_no_raise(self):
        self.store.failures = 1000
        with self.assertLogs(notifier.LOG.logger, 'WARNING') as logged:
            self.notify()

        self.assertEqual([], self.store.facts)
        lines = [line for line in logged.output if 'CRITICAL' in line]
        self.assertEqual(1, len(lines))
        self.assertIn("'ha-host-down' (host-down) of host 'cmp-1'", lines[0])
        self.assertIn('periodic round still finds', lines[0])
        self.assertNotIn('hunter2', str(logged.output))
        self.assertNotIn('9f1c2e', str(logged.output))
        self.assertLessEqual(
            sum(self.clock.pauses),
            notifier.RETRY_FOR + notifier.LONGEST_PAUSE,
        )
        self.assertLessEqual(max(self.clock.pauses), notifier.LONGEST_PAUSE)

    def test_nobody_waits_for_a_store_that_was_away_for_long(self):
        self.store.failures = 1000
        with self.assertLogs(notifier.LOG.logger, 'WARNING'):
            self.notify()
        waited = len(self.clock.pauses)
        with self.assertLogs(notifier.LOG.logger, 'CRITICAL'):
            self.notify(alarm_id='other')
        self.store.failures = 0
        self.notify()
        self.store.failures = 1
        self.notify()

        self.assertEqual(waited + 1, len(self.clock.pauses))
        self.assertEqual(2, len(self.store.facts))

    def test_an_alarm_that_repeats_fills_no_log(self):
        with self.assertLogs(notifier.LOG.logger, 'INFO') as logged:
            for _ in range(20):
                self.notify()
            self.notify(alarm_id='other')

        self.assertEqual(21, len(self.store.facts))
        self.assertEqual(2, len(logged.output))

    def test_what_is_remembered_of_alarms_is_bounded(self):
        with self.assertLogs(notifier.LOG.logger, 'INFO'):
            for number in range(1100):
                self.notify(alarm_id=str(number))

        self.assertLessEqual(len(self.notifier._said), 1000)


class NotConfiguredTest(unittest.TestCase):
    def test_no_database_is_said_before_aodh_goes_on_without_us(self):
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        with (
            self.assertLogs(notifier.LOG.logger, 'ERROR') as logged,
            self.assertRaises(values.NotConfigured),
        ):
            notifier.NovaHaNotifier(conf)

        self.assertIn("'trust+nova-ha://' is not loaded", logged.output[0])
