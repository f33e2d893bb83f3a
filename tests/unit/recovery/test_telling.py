# SPDX-License-Identifier: Apache-2.0

"""An open record is not forgotten because somebody asked once more."""

import unittest

from nova_ha_plugins.recovery import telling
from tests.unit.recovery import examples


class TellingTest(unittest.TestCase):
    def told(self, *statuses, baseline=None, off=False):
        """Return the number of the record that tells, the newest being 0."""
        found = [
            examples.record(status, f'mig-{number}', 'cmp-2')
            for number, status in enumerate(statuses)
        ]
        record = telling.telling(found, baseline, lambda host: off)
        return None if record is None else found.index(record)

    def test_no_record_tells_nothing(self):
        self.assertIsNone(self.told())

    def test_the_newest_tells(self):
        self.assertEqual(0, self.told('error', 'failed'))
        self.assertEqual(0, self.told('accepted', 'pre-migrating'))

    def test_an_open_one_tells_more_than_a_newer_failure(self):
        self.assertEqual(1, self.told('error', 'pre-migrating'))
        self.assertEqual(2, self.told('failed', 'error', 'accepted'))

    def test_what_was_before_an_evacuation_that_ended_is_over(self):
        self.assertEqual(0, self.told('done', 'pre-migrating'))
        self.assertEqual(0, self.told('error', 'completed', 'accepted'))

    def test_what_was_before_the_call_is_over(self):
        self.assertEqual(
            0, self.told('error', 'error', 'accepted', baseline='mig-1')
        )
        self.assertEqual(0, self.told('error', 'accepted', baseline='mig-1'))

    def test_nothing_goes_on_at_a_destination_that_is_off(self):
        self.assertEqual(0, self.told('error', 'pre-migrating', off=True))
        self.assertEqual(0, self.told('pre-migrating', off=True))


if __name__ == '__main__':
    unittest.main()
