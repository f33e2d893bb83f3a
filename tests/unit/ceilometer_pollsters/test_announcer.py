# SPDX-License-Identifier: Apache-2.0

import threading
import time
import unittest
from unittest import mock

from ceilometer_pollsters import announcer
from tests.unit.ceilometer_pollsters import watchers

Kind = announcer.Kind


def item(kind, host='a', channels=()):
    payload = {'host': host, 'silent_for': 6.5, 'reason': 'silent'}
    return announcer.Telling(kind, host, payload, channels)


class AnnouncerTest(unittest.TestCase):
    def setUp(self):
        self.store = watchers.FakeStore()
        self.sent = []
        self.notifier = mock.Mock()
        for level in ('info', 'error'):
            getattr(self.notifier, level).side_effect = self.hear(level)
        self.announcer = announcer.Announcer(self.notifier, self.store)

    def hear(self, level):
        def send(_, event, payload):
            self.sent.append((level, event, payload['host']))

        return send

    def drained(self, *items):
        self.announcer.put(items)
        self.announcer.drain()
        return [event.rpartition('.')[2] for _, event, _ in self.sent]

    def test_events_have_a_level_that_ceilometer_hears(self):
        self.drained(
            item(Kind.SUSPECTED, 'a'),
            item(Kind.DOWN, 'b'),
            item(Kind.DEGRADED, 'c'),
            item(Kind.UP, 'd'),
        )

        self.assertEqual(
            [
                ('info', 'compute.host.suspected', 'a'),
                ('error', 'compute.host.down', 'b'),
                ('error', 'compute.host.degraded', 'c'),
                ('info', 'compute.host.up', 'd'),
            ],
            self.sent,
        )

    def test_of_what_waits_only_the_last_word_is_sent(self):
        self.assertEqual(
            ['up'],
            self.drained(
                item(Kind.SUSPECTED),
                item(Kind.DEGRADED),
                item(Kind.DOWN),
                item(Kind.DOWN),
                item(Kind.UP),
            ),
        )

    def test_a_return_is_not_lost_to_what_comes_after_it(self):
        self.assertEqual(
            ['up', 'degraded', 'suspected'],
            self.drained(
                item(Kind.UP), item(Kind.DEGRADED), item(Kind.SUSPECTED)
            ),
        )

    def test_hosts_do_not_replace_each_other(self):
        self.assertEqual(
            ['down', 'down'],
            self.drained(item(Kind.DOWN, 'a'), item(Kind.DOWN, 'b')),
        )

    def test_what_was_sent_is_remembered_in_the_store(self):
        self.drained(item(Kind.DEGRADED, channels=('libvirt', 'nic')))
        _, row = self.store.said['a', 'told:degraded']
        self.assertEqual((False, 'libvirt, nic'), (row.ok, row.text))

        self.drained(item(Kind.DOWN))
        _, row = self.store.said['a', 'told:down']
        self.assertEqual((False, 6.5, 'silent'), (row.ok, row.value, row.text))
        self.assertTrue(self.store.said['a', 'told:degraded'][1].ok)

        self.drained(item(Kind.UP))
        self.assertTrue(self.store.said['a', 'told:down'][1].ok)

    def test_what_was_not_sent_is_not_remembered(self):
        self.notifier.error.side_effect = RuntimeError('no')
        self.announcer.put([item(Kind.DOWN)])
        with self.assertRaises(RuntimeError):
            self.announcer.drain()

        self.assertEqual({}, self.store.said)
        self.assertEqual(0.0, self.announcer.stuck_for())

    def test_a_store_that_is_away_keeps_no_event_back(self):
        self.store.away = True

        self.assertEqual(['down'], self.drained(item(Kind.DOWN)))

    def test_what_another_tells_is_dropped(self):
        self.announcer.put([item(Kind.DOWN)])
        self.announcer.drop()
        self.announcer.drain()

        self.assertEqual([], self.sent)

    def test_a_bus_that_is_away_holds_up_nobody_and_is_noticed(self):
        free = threading.Event()
        self.addCleanup(free.set)
        self.notifier.error.side_effect = lambda *_: free.wait(30)
        self.announcer.start()
        self.addCleanup(self.announcer.close)
        self.announcer.put([item(Kind.DOWN)])
        deadline = time.monotonic() + 10
        while not self.announcer.stuck_for():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        now = time.monotonic()
        self.announcer.put([item(Kind.DOWN), item(Kind.UP)])
        self.announcer.clock = lambda: now + 7

        self.assertGreater(self.announcer.stuck_for(), 6.0)
        free.set()
        while not self.sent:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        self.assertEqual([('info', 'compute.host.up', 'a')], self.sent)
