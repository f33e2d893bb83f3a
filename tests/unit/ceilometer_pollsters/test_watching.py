# SPDX-License-Identifier: Apache-2.0

import gc
import threading
import time
import unittest
from unittest import mock
import weakref

import hypothesis
from hypothesis import strategies as st

from ceilometer_pollsters import discovery
from ceilometer_pollsters import watching
from nova_ha_plugins.store import values
from tests import patience  # noqa: F401 - no deadline
from tests.unit.ceilometer_pollsters import watchers


class Cloud:
    """Hosts, a store, and watchers that look each second.

    :ivar events: what the watchers sent: watcher, event, host.
    :ivar killed: names of watchers that look no more.
    :ivar dead: hosts that do not beat.
    """

    def __init__(self, *names, hosts=5):
        self.store = watchers.FakeStore()
        self.store.ages = {f'cmp-{n}': 0.5 for n in range(1, hosts + 1)}
        self.now = 1000.0
        self.events = []
        self.payloads = []
        self.killed = set()
        self.dead = set()
        self.watchers = {name: self.make(name) for name in names}

    def make(self, name):
        notifier = mock.Mock()
        for level in ('info', 'error'):
            getattr(notifier, level).side_effect = self.hear(name)
        watcher = watching.Watcher(
            watchers.conf_of(name), self.store, notifier
        )
        watcher.clock = watcher.announcer.clock = lambda: self.now
        return watcher

    def hear(self, name):
        def send(_, event, payload):
            self.payloads.append(payload)
            self.events.append(
                (name, event.removeprefix('compute.host.'), payload['host'])
            )

        return send

    def run(self, seconds):
        for _ in range(seconds):
            self.now += 1.0
            self.store.now = self.now
            for host in self.store.ages:
                if host in self.dead:
                    self.store.ages[host] += 1.0
                else:
                    self.store.ages[host] = 0.5
            for name, watcher in self.watchers.items():
                if name not in self.killed:
                    watcher.look()
                    watcher.announcer.drain()
        return self

    def of(self, kind):
        return [one for one in self.events if one[1] == kind]


class OneWatcherTest(unittest.TestCase):
    def setUp(self):
        self.cloud = Cloud('ctl-1').run(20)
        self.watcher = self.cloud.watchers['ctl-1']

    def test_a_dead_host_is_suspected_then_down_and_told_again(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(30)

        self.assertEqual(
            ['suspected', 'down', 'down', 'down'],
            [kind for _, kind, _ in self.cloud.events],
        )

    def test_who_is_about_to_be_called_down_is_looked_at_in_time(self):
        self.assertEqual(0.7, self.watcher.pause(0.7, 0.01))

        # Suspected from 3 s on, down from 6 s on, heard 5.5 s ago.
        self.cloud.dead.add('cmp-2')
        self.cloud.run(5)

        for left, took, expected in (
            (0.8, 0.01, 0.8),
            (2.0, 0.01, 1.0),
            (2.0, 0.3, 1.2),
            (0.0, 0.01, 0.2),
        ):
            self.assertAlmostEqual(
                expected, self.watcher.pause(left, took), msg=(left, took)
            )

    def test_who_was_called_down_hurries_nobody(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(10)

        self.assertEqual(0.7, self.watcher.pause(0.7, 0.01))

    def test_an_event_says_all_that_an_alarm_needs(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(8)

        self.assertEqual(
            {
                'host': 'cmp-2',
                'service_uuid': 'uuid-cmp-2',
                'silent_for': 6.0,
                'reason': 'No heartbeat for 6.0s, expected one within 6.0s',
                'evidence': "'cmp-2' was last heard 6.5s ago (boot boot, "
                'heartbeat 1), 4 of 4 others within 3.0s, the newest 0.5s '
                'ago.',
                'tenant_id': 'ha-project',
            },
            self.cloud.payloads[-1],
        )

    def test_the_evidence_names_what_probes_said(self):
        self.cloud.store.healths(
            [values.Health('cmp-2', 'libvirt', False, 0.0, 'no answer')]
        )
        self.cloud.run(2)

        ((name, kind, host),) = self.cloud.events
        self.assertEqual(('ctl-1', 'degraded', 'cmp-2'), (name, kind, host))
        payload = self.cloud.payloads[0]
        self.assertIn("libvirt not well, 'no answer'", payload['evidence'])
        self.assertEqual(
            'Heartbeats arrive, but not all is well: libvirt',
            payload['reason'],
        )

    def test_each_look_leaves_word_in_the_store(self):
        when, word = self.cloud.store.said['', 'watcher:ctl-1']
        self.assertEqual(self.cloud.now, when)
        self.assertEqual((True, 5.0, ''), (word.ok, word.value, word.text))

        self.cloud.dead = {f'cmp-{n}' for n in range(1, 6)}
        self.cloud.run(10)

        _, word = self.cloud.store.said['', 'watcher:ctl-1']
        self.assertFalse(word.ok)
        self.assertIn('No host of 5 was heard', word.text)

    def test_blindness_is_an_error_once_and_no_host_is_down(self):
        self.cloud.dead = {f'cmp-{n}' for n in range(1, 6)}
        with self.assertLogs(watching.LOG.logger, 'ERROR') as logged:
            self.cloud.run(40)

        self.assertEqual(1, len(logged.output))
        self.assertIn('Monitoring is blind', logged.output[0])
        self.assertEqual([], self.cloud.of('down'))

    def test_a_store_that_is_away_changes_nothing(self):
        self.cloud.store.away = True
        with self.assertLogs(watching.LOG.logger, 'WARNING') as logged:
            self.cloud.run(40)
            self.assertEqual((), self.watcher.seen())
            self.cloud.store.away = False
            self.cloud.run(1)

        self.assertEqual([], self.cloud.events)
        self.assertIn('cannot be read: DBConnectionError', logged.output[0])
        self.assertIn('can be read again', logged.output[1])
        self.assertIn('did not look for 41.0s', logged.output[2])

    def test_a_host_that_dies_while_the_store_is_away_is_found(self):
        self.cloud.store.away = True
        self.cloud.run(5)
        self.cloud.dead.add('cmp-2')
        self.cloud.run(5)
        self.cloud.store.away = False
        self.cloud.run(30)

        self.assertEqual({'cmp-2'}, {one[2] for one in self.cloud.of('down')})

    def test_without_health_the_dead_are_told_all_the_same(self):
        self.cloud.store.mute = True
        self.cloud.dead.add('cmp-2')
        with self.assertLogs(watching.LOG.logger, 'ERROR') as logged:
            self.cloud.run(10)

        self.assertEqual(1, len(self.cloud.of('down')))
        self.assertEqual(1, len(logged.output))
        self.assertIn('can share nothing', logged.output[0])

    def test_nobody_is_well_because_nobody_can_be_asked(self):
        self.cloud.store.healths(
            [values.Health('cmp-2', 'libvirt', False, 0.0, 'no answer')]
        )
        self.cloud.run(2)
        self.cloud.store.mute = True
        with self.assertLogs(watching.LOG.logger, 'ERROR'):
            self.cloud.run(60)

        self.assertEqual([], self.cloud.of('up'))

    def test_what_a_stalled_watcher_saw_is_shown_no_more(self):
        self.assertEqual(5, len(self.watcher.seen()))
        self.cloud.now += 4.0

        self.assertEqual((), self.watcher.seen())

    def test_health_is_read_seldom_if_it_takes_long(self):
        reads = []
        read = self.cloud.store.read_healths

        def slow():
            reads.append(self.cloud.now)
            self.cloud.now += 0.5
            return read()

        with mock.patch.object(
            self.cloud.store, 'read_healths', autospec=True, side_effect=slow
        ):
            self.cloud.run(20)

        self.assertLessEqual(len(reads), 5)

    def test_an_empty_project_is_said_at_once(self):
        conf = watchers.conf_of(project_id='')
        with self.assertLogs(watching.LOG.logger, 'ERROR') as logged:
            watching.Watcher(conf, self.cloud.store, mock.Mock())

        self.assertIn('[nova_ha] project_id is empty', logged.output[0])


class TwoWatchersTest(unittest.TestCase):
    def setUp(self):
        self.cloud = Cloud('ctl-1', 'ctl-2').run(20)

    def test_one_of_them_speaks(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(30)

        self.assertEqual({'ctl-1'}, {one[0] for one in self.cloud.events})
        self.assertEqual(3, len(self.cloud.of('down')))

    def test_the_second_speaks_within_seconds_of_the_end_of_the_first(self):
        self.cloud.killed.add('ctl-1')
        self.cloud.dead.add('cmp-2')
        self.cloud.run(7)

        self.assertEqual([('ctl-2', 'down', 'cmp-2')], self.cloud.of('down'))

    def test_a_take_over_repeats_nothing_before_its_time(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(8)
        self.cloud.killed.add('ctl-1')
        self.cloud.run(7)
        self.assertEqual(1, len(self.cloud.of('down')))
        self.cloud.run(3)

        self.assertEqual(
            ['ctl-1', 'ctl-2'], [one[0] for one in self.cloud.of('down')]
        )

    def test_no_return_is_lost_in_a_take_over(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(8)
        self.cloud.killed.add('ctl-1')
        self.cloud.dead.clear()
        self.cloud.run(8)

        self.assertEqual([('ctl-2', 'up', 'cmp-2')], self.cloud.of('up'))

    def test_a_return_is_told_once_when_the_first_watcher_is_back(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(8)
        self.cloud.killed.add('ctl-1')
        self.cloud.dead.clear()
        self.cloud.run(8)
        self.cloud.killed.clear()
        self.cloud.run(60)

        self.assertEqual(1, len(self.cloud.of('up')))
        self.assertEqual(1, len(self.cloud.of('down')))

    def test_a_restarted_watcher_knows_what_was_told(self):
        self.cloud.dead.add('cmp-2')
        self.cloud.run(8)
        for name in self.cloud.watchers:
            self.cloud.watchers[name] = self.cloud.make(name)
        self.cloud.run(7)
        self.assertEqual(1, len(self.cloud.of('down')))
        self.cloud.dead.clear()
        self.cloud.run(7)

        self.assertEqual(1, len(self.cloud.of('up')))

    def test_who_cannot_send_lets_the_other_speak(self):
        first = self.cloud.watchers['ctl-1'].announcer
        with mock.patch.object(
            first, 'stuck_for', autospec=True, return_value=20.0
        ):
            self.cloud.run(2)
            self.cloud.dead.add('cmp-2')
            self.cloud.run(8)

        self.assertEqual({'ctl-2'}, {one[0] for one in self.cloud.events})
        _, word = self.cloud.store.said['', 'watcher:ctl-1']
        self.assertIsInstance(word, values.Health)

    def test_who_cannot_send_says_so(self):
        first = self.cloud.watchers['ctl-1'].announcer
        with (
            mock.patch.object(
                first, 'stuck_for', autospec=True, return_value=20.0
            ),
            self.assertLogs(watching.LOG.logger, 'ERROR') as logged,
        ):
            self.cloud.run(3)
            _, word = self.cloud.store.said['', 'watcher:ctl-1']

        self.assertEqual(1, len(logged.output))
        self.assertFalse(word.ok)
        self.assertEqual(
            'Events cannot be sent: the message bus has not taken one for 20s',
            word.text,
        )


class WatchTest(unittest.TestCase):
    """The thread that looks."""

    def setUp(self):
        self.store = watchers.FakeStore()
        self.store.ages = {'a': 0.5}
        patch = mock.patch.object(
            watching.liveness,
            'open_liveness',
            autospec=True,
            return_value=self.store,
        )
        patch.start()
        self.addCleanup(patch.stop)
        self.conf = watchers.conf_of(watch_interval=0.2)
        self.manager = watchers.FakeManager()

    def end(self):
        self.manager.polling_periodics = None

    def wait(self, condition):
        deadline = time.monotonic() + 10
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def threads(self):
        return [
            each
            for each in threading.enumerate()
            if each.name.startswith('nova-ha-')
        ]

    def test_it_looks_by_itself_until_its_agent_ends(self):
        before = set(self.threads())
        watcher = watching.watcher_of(self.manager, self.conf)
        self.addCleanup(self.end)
        self.wait(lambda: self.store.reads >= 3)
        self.assertIs(watcher, watching.watcher_of(self.manager, self.conf))
        self.assertEqual(1, len(watcher.seen()))
        self.end()

        self.wait(lambda: set(self.threads()) <= before)

    def test_a_fault_in_one_look_does_not_end_the_others(self):
        with mock.patch.object(
            self.store, 'read', autospec=True, side_effect=TypeError('oops')
        ) as read:
            with self.assertLogs(watching.LOG.logger, 'ERROR'):
                watching.watcher_of(self.manager, self.conf)
                self.addCleanup(self.end)
                self.wait(lambda: read.call_count >= 2)

    def test_the_fleet_is_one_resource_and_finding_it_starts_the_watch(self):
        found = discovery.FleetDiscovery(self.conf).discover(self.manager)
        self.addCleanup(self.end)

        self.assertEqual([discovery.FLEET], found)
        self.wait(lambda: self.store.reads)

    def test_an_agent_that_is_gone_takes_its_watcher_along(self):
        before = set(self.threads())
        manager = watchers.FakeManager()
        watcher = weakref.ref(watching.watcher_of(manager, self.conf))
        del manager
        gc.collect()
        self.wait(lambda: set(self.threads()) <= before)
        gc.collect()

        self.assertIsNone(watcher())


class AnyTakeOverTest(unittest.TestCase):
    """Watchers that end and begin at any time, and hosts that do."""

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(
        st.lists(
            st.tuples(
                st.integers(1, 15),
                st.sets(st.sampled_from(['ctl-1', 'ctl-2'])),
                st.sets(st.sampled_from(['cmp-1', 'cmp-2']), max_size=2),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_what_was_told_last_is_true_in_the_end(self, story):
        cloud = Cloud('ctl-1', 'ctl-2').run(10)
        for seconds, killed, dead in story:
            cloud.killed, cloud.dead = killed, dead
            cloud.run(seconds)
        cloud.killed = set()
        cloud.run(60)

        for host in ('cmp-1', 'cmp-2'):
            told = [
                kind
                for _, kind, name in cloud.events
                if name == host and kind in ('down', 'up')
            ]
            expected = 'down' if host in cloud.dead else 'up'
            with self.subTest(host):
                self.assertEqual(expected, (told or ['up'])[-1])

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(
        st.lists(
            st.tuples(
                st.integers(1, 15),
                st.sampled_from(['', 'ctl-1', 'ctl-2']),
            ),
            max_size=8,
        )
    )
    def test_one_return_is_told_once_whoever_ends_meanwhile(self, story):
        cloud = Cloud('ctl-1', 'ctl-2').run(10)
        cloud.dead = {'cmp-2'}
        cloud.run(20)
        cloud.dead = set()
        for seconds, killed in story:
            cloud.killed = {killed}
            cloud.run(seconds)
        cloud.killed = set()
        cloud.run(60)

        self.assertEqual(1, len(cloud.of('up')))
