# SPDX-License-Identifier: Apache-2.0

"""A bus that is away or hangs holds up nobody but the teller."""

import threading
import unittest

from nova_ha_plugins.engine import telling
from tests.unit.engine import following as outside


def a_job(uuid='mig-1', *words):
    return telling.Job(
        outside.an_evacuation(uuid), words or ('start',), f'mark of {uuid}'
    )


class TellerTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.clock = outside.Clock()
        self.bus = outside.Bus()
        self.teller = telling.Teller(self.bus, 3, self.clock)

    def test_what_was_sent_is_given_back_once(self):
        self.teller.offer(a_job('mig-1', 'start', 'end'))
        self.teller.send_next()

        first, second = self.teller.told(), self.teller.told()

        self.assertEqual(['start', 'end'], self.bus.words())
        self.assertEqual(['mark of mig-1'], [job.mark for job in first])
        self.assertEqual((), second)

    def test_of_each_evacuation_one_job_waits(self):
        self.assertTrue(self.teller.offer(a_job()))
        self.assertFalse(self.teller.offer(a_job()))
        self.teller.send_next()
        before = self.teller.offer(a_job())
        self.teller.told()

        self.assertFalse(before)
        self.assertTrue(self.teller.offer(a_job()))

    def test_no_more_wait_than_the_limit(self):
        taken = [self.teller.offer(a_job(f'mig-{n}')) for n in range(5)]

        self.assertEqual([True] * 3 + [False] * 2, taken)

    def test_refusal_forgets_what_waits_and_takes_nothing_for_a_while(self):
        self.teller.offer(a_job('mig-1'))
        self.teller.offer(a_job('mig-2'))
        self.bus.refuses = ConnectionError('no bus')
        with self.assertLogs('nova_ha_plugins', 'WARNING'):
            self.teller.send_next()
        at_once = self.teller.offer(a_job('mig-3'))
        self.clock.pass_(telling.FIRST_PAUSE)

        self.assertEqual((), self.teller.told())
        self.assertFalse(at_once)
        self.assertTrue(self.teller.offer(a_job('mig-1')))

    def test_bus_that_stays_away_is_one_warning_and_tried_ever_less(self):
        self.bus.refuses = ConnectionError('no bus')
        pauses = []
        with self.assertLogs('nova_ha_plugins', 'INFO') as logs:
            for _ in range(8):
                self.teller.offer(a_job())
                self.teller.send_next()
                began = self.clock()
                while not self.teller.offer(a_job()):
                    self.clock.pass_(1.0)
                self.teller._jobs.clear()
                pauses.append(self.clock() - began)
            self.bus.refuses = None
            self.teller.offer(a_job())
            self.teller.send_next()

        self.assertEqual([2.0, 4.0, 8.0, 16.0] + [30.0] * 4, pauses)
        self.assertEqual(2, len(logs.output), logs.output)

    def test_bus_that_hangs_holds_up_nobody_who_offers(self):
        hangs, entered = threading.Event(), threading.Event()
        self.addCleanup(hangs.set)

        def hang(word, subject):
            entered.set()
            hangs.wait(30.0)

        self.bus.tell = hang
        thread = threading.Thread(target=self.teller.run, daemon=True)
        thread.start()
        self.teller.offer(a_job('mig-1'))
        entered.wait(30.0)

        self.assertTrue(self.teller.offer(a_job('mig-2')))
        self.assertEqual((), self.teller.told())
        self.teller.stop()
        hangs.set()
        thread.join(30.0)
        self.assertFalse(thread.is_alive())
        self.assertTrue(self.bus.closed)
