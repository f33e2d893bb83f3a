# SPDX-License-Identifier: Apache-2.0

"""Which incidents were failures of their host, and how many are too many."""

import unittest

from nova_ha_plugins.recovery import flapping
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from tests.unit.recovery import examples

NOW = 10000.0
Phase = incident.Phase


def cancelled(*codes, ago=60.0):
    subject = examples.make(Phase.CANCELLED, opened_at=NOW - ago)
    for code in codes:
        subject = notes.add(subject, NOW - ago, code, 'text')
    return subject


class RecentTest(unittest.TestCase):
    def test_recovered_and_open_incidents_of_the_last_hour_count(self):
        incidents = (
            examples.make(opened_at=NOW - 1.0),
            examples.make(Phase.CLOSED, opened_at=NOW - 3599.0),
            examples.make(Phase.CLOSED, opened_at=NOW - 3600.0),
        )

        self.assertEqual(2, flapping.recent(incidents, NOW))

    def test_a_cancelled_one_counts_when_the_host_was_found_silent(self):
        for code in ('corroborating', 'held:storm', 'held:degraded'):
            found = cancelled('suspected', code, 'cancelled')
            self.assertEqual(1, flapping.recent([found], NOW), code)

    def test_a_false_alarm_is_no_failure(self):
        found = cancelled('suspected', 'cancelled')

        self.assertEqual(0, flapping.recent([found], NOW))

    def test_what_the_observer_could_not_see_is_no_failure(self):
        for code in (
            'held:monitoring-blind',
            'held:evidence-unknown',
            'held:own-reach',
            'held:engine-late',
            'held:maintenance',
        ):
            found = cancelled('suspected', code, 'cancelled')
            self.assertEqual(0, flapping.recent([found], NOW), code)

    def test_one_of_a_time_to_come_counts(self):
        # The clock of the store went back.
        found = examples.make(Phase.CLOSED, opened_at=NOW + 500.0)

        self.assertEqual(1, flapping.recent([found], NOW))


class LimitTest(unittest.TestCase):
    def test_the_limit_is_the_first_that_is_too_many(self):
        self.assertFalse(flapping.is_flapping(2, 3))
        self.assertTrue(flapping.is_flapping(3, 3))
        self.assertTrue(flapping.is_flapping(9, 3))

    def test_zero_means_never(self):
        self.assertFalse(flapping.is_flapping(99, 0))


if __name__ == '__main__':
    unittest.main()
