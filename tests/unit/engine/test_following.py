# SPDX-License-Identifier: Apache-2.0

"""Every evacuation is seen, remembered, and told at least once."""

import threading
import unittest

import oslo_messaging

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import following
from nova_ha_plugins.engine import telling
from nova_ha_plugins.store import values
from tests.unit.engine import following as outside

SETTINGS = following.Settings(
    interval=1.0, idle_interval=10.0, keep_days=180.0
)


class FollowTestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.clock = outside.Clock()
        self.nova = outside.Nova(self.clock)
        self.store = outside.Store(self.clock)
        self.bus = outside.Bus()
        self.begin()

    def begin(self, teller=True):
        """An engine begins to act; nothing of the one before is left."""
        self.teller = telling.Teller(self.bus, monotonic=self.clock)
        self.follower = following.Follower(
            self.store,
            self.nova,
            self.teller if teller else None,
            outside.LEASE,
            SETTINGS,
            self.clock,
        )

    def look(self, seconds=1.0, sends=True):
        """One look, and the bus is given what it brought."""
        self.clock.pass_(seconds)
        pause = self.follower.turn()
        while sends and self.teller._jobs:
            self.teller.send_next()
        return pause

    def trace(self, uuid='mig-1'):
        return self.store.traces[uuid]


class ToldTest(FollowTestCase):
    def test_evacuation_of_anybody_is_told_from_start_to_end(self):
        self.nova.show()
        self.look()
        self.nova.show(phase='spawning', progress=40)
        self.look(6.0)
        self.nova.end()
        self.look(6.0)
        self.look()

        self.assertEqual(['start', 'progress', 'end'], self.bus.words())

    def test_it_counts_as_told_once_the_bus_has_it(self):
        self.nova.show()
        self.look(sends=False)
        before = self.trace().told
        self.teller.send_next()
        self.look()

        self.assertEqual('', before)
        self.assertEqual('start', self.trace().told)

    def test_evacuation_that_fails_is_told_as_an_error(self):
        self.nova.show()
        self.look()
        self.nova.end(status='error', state='failed', phase='failed')
        self.look()

        self.assertEqual(['start', 'error'], self.bus.words())

    def test_what_the_bus_refused_is_told_later_as_it_is_then(self):
        self.bus.refuses = ConnectionError('no bus')
        self.nova.show()
        with self.assertLogs('nova_ha_plugins', 'WARNING'):
            self.look()
        self.nova.show(phase='spawning', progress=40)
        self.look(3.0)
        self.bus.refuses = None
        self.look(60.0)

        self.assertEqual([('start', 'mig-1', 40)], self.bus.heard)

    def test_end_that_the_bus_refused_is_told_without_asking_nova(self):
        self.nova.show()
        self.look()
        self.nova.end()
        self.bus.refuses = ConnectionError('no bus')
        with self.assertLogs('nova_ha_plugins', 'WARNING'):
            for _ in range(5):
                self.look(60.0)
        self.clock.pass_(60.0)
        self.nova.calls.clear()
        self.bus.refuses = None
        self.look()

        self.assertEqual(['start', 'end'], self.bus.words())
        self.assertEqual(['open', 'changed'], self.nova.calls)

    def test_killed_after_telling_it_is_told_twice(self):
        self.nova.show()
        self.look()
        self.begin()
        self.look()
        self.look()

        self.assertEqual(['start', 'start'], self.bus.words())

    def test_killed_before_telling_it_is_told_by_the_next(self):
        self.nova.show()
        self.look()
        self.look()
        self.nova.end()
        self.look(sends=False)
        self.begin()
        self.look()
        self.look()

        self.assertEqual(['start', 'end'], self.bus.words())

    def test_end_while_nobody_acted_is_told_by_the_next(self):
        self.nova.show()
        self.look()
        self.look()
        self.nova.end()
        self.clock.pass_(900.0)
        self.begin()
        self.look()

        self.assertEqual(['start', 'end'], self.bus.words())

    def test_evacuation_that_nobody_saw_is_told_when_it_is_news(self):
        self.nova.show('mig-1')
        self.nova.end('mig-1')
        self.look(60.0)
        self.nova.show('mig-2')
        self.nova.end('mig-2')
        self.clock.pass_(7200.0)
        self.begin()
        self.look()

        self.assertEqual(['start', 'end'], self.bus.words('mig-1'))
        self.assertEqual([], self.bus.words('mig-2'))

    def test_end_is_logged_once_and_not_of_what_is_no_news(self):
        self.nova.show('mig-1')
        self.nova.end('mig-1')
        self.clock.pass_(7200.0)
        self.nova.show('mig-2')
        self.look()
        self.nova.end('mig-2')
        with self.assertLogs('nova_ha_plugins', 'INFO') as logs:
            for _ in range(3):
                self.look()

        self.assertEqual(1, len(logs.output), logs.output)
        self.assertRegex(
            logs.output[0],
            'mig-2 of server vm-of-mig-2 from cmp-1 to cmp-2 succeeded',
        )

    def test_nobody_to_tell_is_no_reason_not_to_remember(self):
        self.begin(teller=False)
        self.nova.show()
        self.look()
        self.nova.end()
        self.look()

        self.assertEqual('end', self.trace().told)
        self.assertEqual((), self.store.open_evacuation_traces())

    def test_what_is_over_is_left_alone(self):
        self.nova.show()
        self.nova.end()
        self.look()
        self.look()
        self.store.saves.clear()
        self.begin()
        for _ in range(3):
            self.look()

        self.assertEqual([], self.store.saves)
        self.assertEqual(['start', 'end'], self.bus.words())


class RememberedTest(FollowTestCase):
    def test_phases_are_measured_across_a_take_over(self):
        self.nova.show()
        self.look()
        self.nova.show(phase='spawning', progress=40)
        self.look(4.0)
        self.begin()
        self.clock.pass_(5.0)
        self.nova.end()
        self.look(0.0)

        took = self.trace().seconds
        self.assertEqual(
            {'accepted': 1.0, 'preparing': 4.0, 'spawning': 5.0}, took
        )

    def test_bytes_are_not_saved_at_every_look(self):
        self.nova.show(phase='spawning', storage='copy', disk_total_bytes=1000)
        for done in range(1, 11):
            self.nova.show(disk_processed_bytes=done)
            self.look()

        # The first, what the bus was told, and each three seconds.
        self.assertLess(len(self.store.saves), 7)
        self.assertGreater(self.trace().disk_processed, 6)

    def test_phase_that_ends_is_saved_at_once(self):
        self.nova.show()
        self.look()
        self.nova.show(phase='spawning')
        self.look(0.5)

        self.assertEqual('spawning', self.trace().phase)

    def test_nothing_new_is_not_saved(self):
        self.nova.show()
        for _ in range(3):
            self.look()
        self.store.saves.clear()
        self.look(60.0)

        self.assertEqual([], self.store.saves)

    def test_old_ones_are_forgotten_once_an_hour(self):
        for _ in range(3):
            self.look(600.0)
        self.look(3600.0)

        self.assertEqual([180.0, 180.0], self.store.purged)


class LostFromSightTest(FollowTestCase):
    def setUp(self):
        super().setUp()
        self.nova.show()
        self.look()
        self.look()
        self.nova.calls.clear()

    def test_one_that_is_in_no_list_is_asked_for_by_its_server(self):
        self.nova.unlisted.add('mig-1')
        self.nova.show(status='completed', phase='finishing', progress=90)
        self.look()

        self.assertIn('vm-of-mig-1', self.nova.calls)
        self.assertEqual('finishing', self.trace().phase)

    def test_one_that_nova_forgot_is_over_after_a_while(self):
        self.nova.records.clear()
        for _ in range(5):
            self.look()
        still = self.trace().state
        self.look(30.0)
        self.look()

        self.assertEqual('running', still)
        self.assertEqual('failed', self.trace().state)
        self.assertEqual(['start', 'error'], self.bus.words())
        self.assertEqual((), self.store.open_evacuation_traces())

    def test_one_whose_cell_is_away_is_not_over(self):
        self.nova.unlisted.add('mig-1')
        self.nova.away_servers['vm-of-mig-1'] = doors.Unanswered('503')
        for _ in range(5):
            self.look(30.0)

        self.assertEqual('running', self.trace().state)

    def test_not_all_are_asked_for_at_once_but_each_in_time(self):
        for number in range(50):
            self.nova.show(f'mig-{number}')
        self.look()
        self.nova.unlisted.update(self.nova.records)
        asked = set()
        for _ in range(3):
            self.nova.calls.clear()
            self.look()
            servers = [call for call in self.nova.calls if call[:2] == 'vm']
            self.assertEqual(following.ASKED, len(servers))
            asked.update(servers)

        self.assertEqual(50, len(asked))

    def test_cell_that_hangs_does_not_keep_it_from_the_others(self):
        for number in range(50):
            self.nova.show(f'mig-{number}')
        self.look()
        self.nova.unlisted.update(self.nova.records)
        self.nova.takes_server = 30.0
        self.nova.calls.clear()
        self.look()

        self.assertEqual(3, len(self.nova.calls), self.nova.calls)


class PaceTest(FollowTestCase):
    def test_it_looks_often_only_while_something_is_under_way(self):
        idle = self.look()
        self.nova.show()
        busy = self.look()
        self.nova.end()
        over = self.look()

        self.assertEqual((10.0, 1.0, 10.0), (idle, busy, over))

    def test_slow_nova_is_asked_less(self):
        self.nova.show()
        self.nova.takes = 2.0

        self.assertEqual(40.0, self.look())

    def test_it_does_not_look_often_because_the_bus_is_away(self):
        self.nova.show()
        self.look()
        self.bus.refuses = ConnectionError('no bus')
        self.nova.end()
        with self.assertLogs('nova_ha_plugins', 'WARNING'):
            pause = self.look()

        self.assertEqual(10.0, pause)


class TroubleTest(FollowTestCase):
    def test_nova_that_does_not_answer_is_asked_again(self):
        self.nova.away = doors.Unanswered('Nova did not answer.')
        with self.assertLogs('nova_ha_plugins', 'WARNING') as logs:
            pauses = [self.look() for _ in range(3)]
        self.nova.away = None
        self.nova.show()
        self.look()

        self.assertEqual([10.0] * 3, pauses)
        self.assertEqual(1, len(logs.output), logs.output)
        self.assertEqual(['start'], self.bus.words())

    def test_nova_api_without_the_resource_is_told_what_to_install(self):
        for status in (404, 406):
            with self.subTest(status=status):
                self.begin()
                self.nova.away = doors.Refused('Nova refused.', status)
                with self.assertLogs('nova_ha_plugins', 'WARNING') as logs:
                    pause = self.look()

                self.assertEqual(following.MISSING_PAUSE, pause)
                self.assertRegex(
                    logs.output[0], "1.2 of our resource.*'instance_ha'"
                )

    def test_bug_of_ours_does_not_end_it(self):
        self.nova.away = KeyError('surprise')
        with self.assertLogs('nova_ha_plugins', 'ERROR') as logs:
            for _ in range(3):
                self.look()
        self.nova.away = None
        self.nova.show()
        self.look()

        self.assertEqual(1, len(logs.output))
        self.assertEqual(['start'], self.bus.words())

    def test_engine_that_lost_its_lease_follows_no_more(self):
        self.nova.show()
        self.store.lost = True
        with self.assertRaises(values.LeaseLost):
            self.follower.turn()
        with self.assertLogs('nova_ha_plugins', 'INFO'):
            self.follower.run(threading.Event())

        self.assertEqual({}, self.store.traces)


class StartTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.conf = config.load([], [])
        self.before = set(threading.enumerate())

    def start(self):
        follows = following.Following(self.conf, outside.LEASE, 'ctl-1')
        self.addCleanup(follows.stop)
        return [
            thread.name for thread in set(threading.enumerate()) - self.before
        ]

    def test_nothing_is_started_where_nobody_wants_it(self):
        self.conf.set_override('follow', False, 'progress')

        self.assertEqual([], self.start())

    def test_engine_lives_although_nothing_can_be_followed(self):
        # There is no [nova_ha_database] connection.
        with self.assertLogs('nova_ha_plugins', 'ERROR') as logs:
            started = self.start()

        self.assertEqual([], started)
        self.assertIn('connection is not set', logs.output[0])

    def test_bus_that_nobody_understands_is_no_reason_not_to_follow(self):
        self.conf.set_override(
            'connection', 'sqlite://', group='nova_ha_database'
        )
        oslo_messaging.get_notification_transport(self.conf)
        self.conf.set_override('transport_url', 'carrier-pigeon://')
        with self.assertLogs('nova_ha_plugins', 'WARNING') as logs:
            started = self.start()

        self.assertEqual(['following'], started)
        self.assertIn('No notifications', logs.output[0])
