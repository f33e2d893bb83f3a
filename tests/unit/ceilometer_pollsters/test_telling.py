# SPDX-License-Identifier: Apache-2.0

"""Events leave at once, one per kind and second, and nobody waits for them."""

import queue
import threading
import time
import unittest
from unittest import mock

import oslo_messaging

from ceilometer_pollsters import telling

SOON = 20.0


class Bus:
    """A notifier whose bus can be away."""

    def __init__(self):
        self.sent = queue.SimpleQueue()
        self.there = threading.Event()
        self.there.set()

    def notifier(self):
        notifier = mock.create_autospec(
            oslo_messaging.Notifier, instance=True, spec_set=True
        )
        notifier.info.side_effect = lambda *args: self._send('info', *args)
        notifier.error.side_effect = lambda *args: self._send('error', *args)
        return notifier

    def _send(self, priority, context, event_type, payload):
        self.there.wait(SOON)
        self.sent.put((priority, event_type, payload))

    def next(self):
        return self.sent.get(timeout=SOON)


def event(number=0, key='a', urgent=False):
    return telling.Event((key,), f'type.{key}', {'n': number}, urgent)


class TellerTest(unittest.TestCase):
    def setUp(self):
        self.bus = Bus()

    def teller(self, interval=0.0, longest=10, notifier=None):
        teller = telling.Teller(
            notifier or self.bus.notifier(), interval, longest
        )
        self.addCleanup(teller.close)
        return teller

    def test_event_is_sent_at_once(self):
        start = time.monotonic()
        self.teller(interval=60.0).put(event(1))

        self.assertEqual(
            ('info', 'type.a', {'n': 1, 'count': 1}), self.bus.next()
        )
        self.assertLess(time.monotonic() - start, 5.0)

    def test_urgent_event_is_an_error(self):
        self.teller().put(event(urgent=True))

        self.assertEqual('error', self.bus.next()[0])

    def test_flood_of_one_kind_is_the_first_and_the_newest(self):
        teller = self.teller(interval=0.2)
        start = time.monotonic()
        teller.put(event(0))
        first = self.bus.next()
        for number in range(1, 1001):
            teller.put(event(number))
        second = self.bus.next()

        self.assertEqual({'n': 0, 'count': 1}, first[2])
        self.assertEqual({'n': 1000, 'count': 1000}, second[2])
        self.assertGreaterEqual(time.monotonic() - start, 0.2)
        self.assertTrue(self.bus.sent.empty())

    def test_flood_of_one_does_not_hold_up_another(self):
        teller = self.teller(interval=60.0)
        teller.put(event(key='flood'))
        self.bus.next()
        teller.put(event(key='flood'))
        teller.put(event(key='other'))

        self.assertEqual('type.other', self.bus.next()[1])

    def test_bus_that_is_away_loses_the_oldest_and_stops_nobody(self):
        self.bus.there.clear()
        teller = self.teller(longest=3)
        teller.put(event(key='sending'))
        while teller._waiting:
            time.sleep(0.001)
        start = time.monotonic()
        for number in range(10):
            teller.put(event(number, key=str(number)))
        self.assertLess(time.monotonic() - start, 5.0)
        self.assertEqual(7, teller.dropped)

        with self.assertLogs(telling.LOG.logger, 'WARNING') as logs:
            self.bus.there.set()
            sent = [self.bus.next()[1] for _ in range(4)]

        self.assertEqual(['type.sending', 'type.7', 'type.8', 'type.9'], sent)
        self.assertEqual(0, teller.dropped)
        self.assertIn('7 of', logs.output[0])

    def test_notifier_that_fails_loses_its_event_only(self):
        notifier = self.bus.notifier()
        send = notifier.info.side_effect
        notifier.info.side_effect = [oslo_messaging.MessagingException, None]
        teller = self.teller(notifier=notifier)

        with self.assertLogs(telling.LOG.logger, 'WARNING') as logs:
            teller.put(event(1, key='lost'))
            while notifier.info.call_count < 1:
                time.sleep(0.001)
            notifier.info.side_effect = send
            teller.put(event(2))
            self.bus.next()
            while teller.dropped:
                time.sleep(0.001)

        self.assertIn("'type.lost' could not be sent", logs.output[0])
        self.assertIn('1 of', logs.output[1])

    def test_what_was_sent_long_ago_is_forgotten(self):
        teller = self.teller(interval=0.01)
        for number in range(50):
            teller.put(event(key=str(number)))
            self.bus.next()
            time.sleep(0.001)

        self.assertLess(len(teller._sent), 40)


if __name__ == '__main__':
    unittest.main()
