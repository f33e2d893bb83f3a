# SPDX-License-Identifier: Apache-2.0

"""No answer of nova-api waits for our store, or fails because of it."""

import threading
import unittest

from nova_ha_plugins.api import estimates
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.store import values


class Store:
    """Answers, fails or hangs.

    :ivar gate: clear while it hangs.
    """

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.error = None
        self.calls = []

    def __call__(self):
        return self

    def evacuation_history(self):
        self._answer('history')
        return (estimate.Past(estimate.Kind(), ()),)

    def evacuation_traces(self, uuids):
        self._answer('traces')
        return {
            uuid: values.EvacuationTrace(uuid, 'vm', 'cmp-1', 1.0)
            for uuid in uuids
        }

    def _answer(self, call):
        self.calls.append(call)
        self.gate.wait(30.0)
        if self.error is not None:
            raise self.error


class EstimatesTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 1000.0
        self.store = Store()
        self.addCleanup(self.store.gate.set)
        self.begin(patience=30.0)

    def begin(self, patience):
        self.estimates = estimates.Estimates(
            self.store, lambda: self.now, patience
        )

    def hang(self):
        """Every call to the store hangs; who asks waits for a moment."""
        self.store.gate.clear()
        self.begin(patience=0.01)

    def settle(self):
        """Wait until the threads have done everything."""
        self.estimates._pool.submit(int).result(30.0)
        self.estimates._pool.shutdown(wait=True)
        self.estimates._pool = None

    def test_history_is_read_once_in_a_while(self):
        first = self.estimates.book()
        self.now += estimates.FRESH - 1.0
        second = self.estimates.book()

        self.assertIsInstance(first, estimate.Book)
        self.assertIs(first, second)
        self.assertEqual(['history'], self.store.calls)

    def test_who_has_an_older_history_does_not_wait_for_the_new_one(self):
        first = self.estimates.book()
        self.now += estimates.FRESH
        self.store.gate.clear()
        self.estimates.book()
        second = self.estimates.book()
        self.store.gate.set()
        self.settle()

        self.assertIs(first, second)
        self.assertEqual(['history'] * 2, self.store.calls)
        self.assertIsNot(first, self.estimates.book())

    def test_traces_are_those_asked_for(self):
        found = self.estimates.traces(['mig-1'])

        self.assertEqual(['mig-1'], list(found))
        self.assertEqual({}, self.estimates.traces([]))
        self.assertEqual(['traces'], self.store.calls)

    def test_store_that_fails_is_left_alone_for_a_while(self):
        self.store.error = RuntimeError('away')
        with self.assertLogs('nova_ha_plugins.api', 'WARNING') as logs:
            self.assertIsNone(self.estimates.book())
            self.assertEqual({}, self.estimates.traces(['mig-1']))
        self.store.error = None
        self.assertIsNone(self.estimates.book())
        self.now += estimates.QUIET

        self.assertEqual(1, len(logs.output), logs.output)
        self.assertEqual(['history'], self.store.calls)
        self.assertIsNotNone(self.estimates.book())
        self.assertEqual(['mig-1'], list(self.estimates.traces(['mig-1'])))

    def test_store_that_hangs_is_not_waited_for(self):
        self.hang()
        with self.assertLogs('nova_ha_plugins.api', 'WARNING') as logs:
            self.assertIsNone(self.estimates.book())
            self.assertEqual({}, self.estimates.traces(['mig-1']))

        self.assertIn('no answer within 0.01 s', logs.output[0])

    def test_store_that_hangs_for_ever_takes_few_threads(self):
        self.hang()
        with self.assertLogs('nova_ha_plugins.api', 'WARNING'):
            for _ in range(20):
                self.assertIsNone(self.estimates.book())
                self.assertEqual({}, self.estimates.traces(['mig-1']))
                self.now += estimates.QUIET
        self.store.gate.set()
        self.settle()

        self.assertEqual(1, self.store.calls.count('history'))
        self.assertLessEqual(len(self.store.calls), 4)

    def test_old_history_is_better_than_none(self):
        first = self.estimates.book()
        self.store.error = RuntimeError('away')
        self.now += estimates.FRESH
        with self.assertLogs('nova_ha_plugins.api', 'WARNING'):
            self.estimates.book()
            self.settle()
        self.now += estimates.FRESH

        self.assertIs(first, self.estimates.book())
        self.assertEqual(['history'] * 2, self.store.calls)
