# SPDX-License-Identifier: Apache-2.0

"""Maintenance and pauses: whom they concern, what they say, when they end."""

import unittest

from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from tests.unit.recovery import examples

HOST = examples.HOST
NOW = examples.NOW
Class = incident.FenceClass


def brake(kind, name, **changes):
    given = {'reason': 'new disk', 'by': 'otto', **changes}
    return gates.Brake(kind, name, **given)


MAINTENANCE = brake('maintenance', HOST, until=NOW + 3.0)
PAUSE = brake('pause', 'upgrade')


def hold(*on, **more):
    return gates.hold(examples.case(brakes=on, **more))


class ConcerningTest(unittest.TestCase):
    def test_maintenance_is_of_one_host_and_a_pause_of_a_domain(self):
        on = (
            MAINTENANCE,
            brake('maintenance', 'cmp-2'),
            PAUSE,
            brake('pause', 'rack', zone='az1'),
            brake('pause', 'other', zone='az2'),
        )

        found = brakes.concerning(on, HOST, 'az1')

        self.assertEqual([HOST, 'upgrade', 'rack'], [b.name for b in found])

    def test_a_pause_named_like_a_host_is_no_maintenance(self):
        found = hold(brake('pause', HOST, zone='az2'))

        self.assertIsNone(found)


class HoldTest(unittest.TestCase):
    def test_a_host_in_maintenance_is_not_fenced(self):
        found = hold(MAINTENANCE)

        self.assertEqual('maintenance', found.code)
        self.assertIn(
            'until 1970-01-01T00:16:43Z, set by otto: new disk', found.reason
        )
        self.assertEqual(3.0, found.after)

    def test_maintenance_of_another_host_holds_nothing(self):
        self.assertIsNone(hold(brake('maintenance', 'cmp-2')))

    def test_a_pause_holds_its_domain_or_the_whole_cloud(self):
        self.assertEqual('paused', hold(PAUSE).code)
        self.assertEqual(
            'paused', hold(brake('pause', 'rack', zone='az1')).code
        )
        self.assertIsNone(hold(brake('pause', 'rack', zone='az2')))

    def test_one_without_an_end_says_who_set_it(self):
        found = hold(PAUSE)

        self.assertIn(
            "pause 'upgrade' holds everywhere set by otto: new disk",
            found.reason,
        )
        self.assertEqual(5.0, found.after)

    def test_a_release_does_not_end_them(self):
        released = examples.make(released=True)

        for each in (MAINTENANCE, PAUSE):
            self.assertIsNotNone(hold(each, subject=released))


class BatchTest(unittest.TestCase):
    def test_a_pause_keeps_evacuations_from_beginning(self):
        subject = examples.make(incident.Phase.EVACUATING)

        self.assertIn(
            "pause 'upgrade' holds everywhere", brakes.batch([PAUSE], subject)
        )
        other = brake('pause', 'rack', zone='az2')
        self.assertEqual('', brakes.batch([other], subject))

    def test_maintenance_lets_what_was_begun_go_on(self):
        subject = examples.make(incident.Phase.EVACUATING)

        self.assertEqual('', brakes.batch([MAINTENANCE], subject))


class AttestTest(unittest.TestCase):
    def refusal(self, *on, minimum=Class.OPERATOR_ATTESTED):
        return brakes.attest_refusal(on, HOST, 'az1', minimum)

    def test_nothing_is_in_the_way_of_an_attest(self):
        self.assertEqual('', self.refusal())
        self.assertEqual('', self.refusal(brake('maintenance', 'cmp-2')))

    def test_the_policy_may_take_no_word_for_it(self):
        found = self.refusal(minimum=Class.CONFIRMED_OFF)

        self.assertIn('[fencing] minimum_evidence is confirmed-off', found)

    def test_a_brake_must_be_taken_off_first(self):
        self.assertIn(
            f'openstack ha maintenance unset {HOST}', self.refusal(MAINTENANCE)
        )
        self.assertIn('openstack ha pause unset upgrade', self.refusal(PAUSE))


if __name__ == '__main__':
    unittest.main()
