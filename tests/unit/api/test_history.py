# SPDX-License-Identifier: Apache-2.0

"""When what somebody said of the arm state ended."""

import unittest

from nova_ha_plugins.api import operator_views
from nova_ha_plugins.store import values

NOW = 1700001000.0


def said(armed, at, until=None):
    return values.ArmState(armed, 'omar', f'at {at:.0f}', NOW + at, until)


class ArmHistoryTest(unittest.TestCase):
    def ends(self, *states):
        found = operator_views.history(states, [], NOW)
        return [(each['ended_by'], each['ended_reason']) for each in found]

    def test_what_holds_has_no_end(self):
        self.assertEqual([(None, None)], self.ends(said(True, -60.0)))
        self.assertEqual(
            [(None, None)], self.ends(said(False, -60.0, NOW + 60.0))
        )

    def test_what_ran_out_ended_by_itself(self):
        last = said(True, -60.0, NOW - 10.0)

        (found,) = operator_views.history([last], [], NOW)

        self.assertEqual('until', found['ended_by'])
        self.assertEqual(found['until'], found['ended_at'])

    def test_next_word_ends_the_one_before(self):
        newer = said(True, -30.0)
        older = said(False, -60.0, NOW + 3600.0)

        first, second = operator_views.history([newer, older], [], NOW)

        self.assertIsNone(first['ended_at'])
        self.assertEqual(first['at'], second['ended_at'])
        self.assertEqual(
            ('omar', 'at -30'), (second['ended_by'], second['ended_reason'])
        )

    def test_what_had_run_out_is_not_ended_by_a_later_word(self):
        self.assertEqual(
            [(None, None), ('until', None)],
            self.ends(said(True, -30.0), said(False, -60.0, NOW - 40.0)),
        )
