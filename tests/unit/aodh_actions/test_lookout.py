# SPDX-License-Identifier: Apache-2.0

import threading
import unittest
from unittest import mock

from aodh_actions import lookout
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

RULES = detector.Rules(
    timeout=6.0,
    reemit_interval=10.0,
    mass_silence_share=0.5,
    reconnect_max=2.0,
)


class FakeStore:
    """Heartbeats, what watchers say, and the word of an engine."""

    def __init__(self):
        self.ages = {'cmp-1': 1.0, 'cmp-2': 1.0, 'cmp-3': 0.0}
        self.watchers = {'ctl-1': (True, 0.5)}
        self.engine = {'age': 1.0}
        self.error = None

    def _go(self):
        if self.error:
            raise self.error

    def read(self):
        self._go()
        return tuple(
            views.Beat(host, f'u-{host}', 'boot', 1, '', age)
            for host, age in self.ages.items()
        )

    def read_healths(self):
        self._go()
        return tuple(
            views.HostHealth('', f'watcher:{name}', clear, 3, 'fog', age)
            for name, (clear, age) in self.watchers.items()
        )

    def engine_status(self):
        self._go()
        return self.engine


class Case(unittest.TestCase):
    """A lookout whose thread is us, and whose clock we turn."""

    def setUp(self):
        self.now = 1000.0
        self.store = FakeStore()
        self.lookout = lookout.Lookout(
            RULES, self.store, self.store, clock=lambda: self.now
        )
        self.lookout._run = lambda: None
        self.lookout.start()

    def pass_time(self, seconds, every=lookout.PERIOD):
        for _ in range(round(seconds / every)):
            self.now += every
            self.lookout.look()


class HostsTest(Case):
    def verdicts(self, timeout=10.0):
        look = self.lookout.hosts(timeout)
        return {host.host: str(host.verdict) for host in look.hosts}

    def test_nothing_is_known_before_the_first_look(self):
        self.assertIsNone(self.lookout.hosts(10.0))

    def test_a_silent_host_is_down_once_the_lookout_is_warm(self):
        self.lookout.hosts(10.0)
        self.store.ages['cmp-1'] = 11.0
        self.pass_time(8)
        early = self.verdicts()
        self.pass_time(2)

        self.assertEqual('unknown', early['cmp-1'])
        self.assertEqual(
            {'cmp-1': 'down', 'cmp-2': 'up', 'cmp-3': 'up'}, self.verdicts()
        )

    def test_each_timeout_has_a_verdict_of_its_own(self):
        for timeout in (10.0, 20.0):
            self.lookout.hosts(timeout)
        self.store.ages['cmp-1'] = 15.0
        self.pass_time(20)

        self.assertEqual('down', self.verdicts(10.0)['cmp-1'])
        self.assertEqual('up', self.verdicts(20.0)['cmp-1'])

    def test_no_alarm_is_more_hasty_than_the_watcher(self):
        self.lookout.hosts(1.0)
        self.store.ages['cmp-1'] = 5.0
        self.pass_time(20)

        self.assertEqual('up', self.verdicts(1.0)['cmp-1'])
        self.assertEqual([6.0], list(self.lookout._watched))

    def test_what_was_seen_too_long_ago_is_no_evidence(self):
        self.lookout.hosts(10.0)
        self.pass_time(10)
        self.now += lookout.STALE_AFTER

        self.assertIsNone(self.lookout.hosts(10.0))

    def test_a_store_that_fails_leaves_what_was_seen_to_grow_old(self):
        self.lookout.hosts(10.0)
        self.pass_time(10)
        self.store.error = values.NotConfigured('none')
        with self.assertLogs(lookout.LOG.logger, 'ERROR') as logged:
            self.pass_time(2)
            fresh = self.lookout.hosts(10.0)
            self.pass_time(4)

        self.assertIsNotNone(fresh)
        self.assertIsNone(self.lookout.hosts(10.0))
        self.assertEqual(1, len(logged.output), logged.output)
        self.assertIn('keep their state', logged.output[0])

    def test_any_fault_of_a_backend_leaves_the_thread_alive(self):
        self.store.error = RuntimeError('hunter2')
        with self.assertLogs(lookout.LOG.logger, 'ERROR') as logged:
            self.pass_time(2)
        self.store.error = None
        with self.assertLogs(lookout.LOG.logger, 'WARNING'):
            self.pass_time(2)

        self.assertNotIn('hunter2', logged.output[0])

    def test_a_store_that_answers_late_is_no_jump_of_its_clock(self):
        read = self.store.read

        def late():
            self.now += 5.5
            self.store.ages = dict.fromkeys(self.store.ages, 6.0)
            return read()

        self.lookout.hosts(10.0)
        self.pass_time(20)
        self.store.read = late
        self.lookout.look()

        look = self.lookout.hosts(10.0)

        self.assertNotIn('jumped', look.reason)

    def test_nobody_is_down_after_the_process_stood_still(self):
        self.lookout.hosts(10.0)
        self.pass_time(20)
        self.now += 60.0
        self.store.ages['cmp-1'] = 11.0
        self.lookout.look()

        look = self.lookout.hosts(10.0)

        self.assertEqual(detector.Sight.BLIND, look.sight)
        self.assertEqual('unknown', self.verdicts()['cmp-1'])

    def test_rules_that_nobody_asks_about_are_dropped(self):
        self.lookout.hosts(10.0)
        for _ in range(20):
            self.pass_time(60)
            self.lookout.hosts(20.0)

        self.assertEqual([20.0], list(self.lookout._watched))


class ServiceTest(Case):
    def test_all_is_told_when_all_is_well(self):
        self.pass_time(10)

        seen = self.lookout.service()

        self.assertEqual(
            (1.0, 3, 0.0, 0.0, None),
            (
                seen.engine_age,
                seen.hosts,
                seen.newest,
                seen.blind_for,
                seen.away_for,
            ),
        )
        self.assertEqual(['ctl-1'], [watch.name for watch in seen.watches])

    def test_blindness_counts_from_the_last_clear_look_of_any_watcher(self):
        self.store.watchers = {'ctl-1': (False, 0.5), 'ctl-2': (True, 0.5)}
        self.pass_time(10)
        one_sees = self.lookout.service().blind_for
        self.store.watchers['ctl-2'] = (False, 0.5)
        self.pass_time(10)

        self.assertEqual((0.0, 10.0), (one_sees, self.blind_for()))

    def blind_for(self):
        return self.lookout.service().blind_for

    def test_a_clear_look_of_long_ago_is_no_clear_look(self):
        self.store.watchers = {'ctl-1': (True, 40.0)}
        self.pass_time(10)

        self.assertEqual(10.0, self.blind_for())

    def test_a_store_is_away_from_the_question_that_finds_it_so(self):
        self.pass_time(10)
        self.now += 60.0
        first = self.lookout.service().away_for
        self.now += 20.0
        second = self.lookout.service().away_for
        self.lookout.look()

        self.assertEqual((0.0, 20.0), (first, second))
        self.assertIsNone(self.lookout.service().away_for)
        self.now += 60.0
        self.assertEqual(0.0, self.lookout.service().away_for)

    def test_health_that_takes_long_to_read_is_read_seldom(self):
        reads = []
        read = self.store.read_healths

        def slow():
            reads.append(self.now)
            self.now += 2.0
            return read()

        self.store.read_healths = slow
        self.pass_time(40)

        self.assertLessEqual(len(reads), 8)
        self.assertEqual(0.0, self.blind_for())

    def test_before_the_first_look_nothing_is_known(self):
        self.assertEqual(0.0, self.lookout.service().away_for)


class ThreadTest(unittest.TestCase):
    def test_a_fault_of_ours_ends_one_look_and_not_the_thread(self):
        store = FakeStore()
        looked = threading.Event()
        one = lookout.Lookout(RULES, store, store)
        faults = iter([RuntimeError('bug')])

        def keep(*_):
            for fault in faults:
                raise fault
            looked.set()

        one._keep = keep
        with (
            mock.patch.object(lookout, 'PERIOD', 0.01),
            self.assertLogs(lookout.LOG.logger, 'ERROR'),
        ):
            one.start()
            self.assertTrue(looked.wait(10))

    def test_the_first_question_starts_one_thread(self):
        store = FakeStore()
        looked = threading.Event()
        store.engine_status = lambda: looked.set() or {}
        one = lookout.Lookout(RULES, store, store)
        before = threading.active_count()
        one.start()
        one.start()

        self.assertTrue(looked.wait(10))
        self.assertEqual(before + 1, threading.active_count())
        self.assertTrue(one._thread.daemon)
