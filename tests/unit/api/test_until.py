# SPDX-License-Identifier: Apache-2.0

"""What an operator may write for the end of something."""

import unittest

from nova_ha_plugins.api import until

# 2026-11-20T16:00:00Z
NOW = 1795190400.0


class UntilTest(unittest.TestCase):
    def refuse(self, text, now=NOW):
        with self.assertRaises(ValueError) as caught:
            until.parse(text, now)
        return str(caught.exception)

    def test_durations_count_from_the_stores_clock(self):
        for text, seconds in (
            ('1s', 1),
            ('30m', 1800),
            ('2h', 7200),
            ('1d', 86400),
            ('1d12h', 129600),
            ('1h30m', 5400),
            ('1d2h3m4s', 93784),
            ('7200s', 7200),
        ):
            self.assertEqual(NOW + seconds, until.parse(text, NOW), text)

    def test_times_with_a_zone_mean_that_zone(self):
        for text in (
            '2026-11-20T17:00:00Z',
            '2026-11-20T17:00Z',
            '2026-11-20T18:00:00+01:00',
            '2026-11-20 18:00:00+01:00',
            '20261120T170000Z',
        ):
            self.assertEqual(NOW + 3600, until.parse(text, NOW), text)

    def test_times_without_a_zone_are_utc(self):
        for text in ('2026-11-20T17:00:00', '2026-11-20 17:00'):
            self.assertEqual(NOW + 3600, until.parse(text, NOW), text)

    def test_what_is_over_is_refused_with_the_time_it_is(self):
        for text in ('0s', '0d0h', '2026-11-20T16:00:00Z', '2026-11-20T12:00'):
            told = self.refuse(text)
            self.assertIn(f"'{text}' is over", told)
            self.assertIn('2026-11-20T16:00:00Z', told)

    def test_what_means_nothing_is_refused_with_examples(self):
        for text in (
            '',
            'h',
            '2',
            '-2h',
            '2H',
            '1.5h',
            '2h30',
            '30m2h',
            '\u0662h',
            'tomorrow',
            '17:00',
            # A day alone could mean its beginning or its end.
            '2026-11-21',
            '2026-11-31T00:00',
            '2026-11-20T25:00',
            '0000-01-01T00:00',
        ):
            told = self.refuse(text)
            self.assertIn(f"'{text}' is not understood", told)
            self.assertIn("'2h'", told)
            self.assertIn('2026-11-20T17:00:00Z', told)

    def test_what_is_too_far_away_is_refused(self):
        for text in ('367d', '999999d', '2030-01-01T00:00Z'):
            self.assertIn('366 days', self.refuse(text))
        self.assertEqual(NOW + 366 * 86400, until.parse('366d', NOW))


if __name__ == '__main__':
    unittest.main()
