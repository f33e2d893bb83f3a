# SPDX-License-Identifier: Apache-2.0

"""What arming comes to: armed, standby, disarming or disarmed."""

import unittest

from nova_ha_plugins.recovery import arming
from nova_ha_plugins.recovery import incident

State = arming.ArmState


def look(wanted=True, until=None, in_flight=0, known=10, usable=10):
    return arming.look(wanted, until, in_flight, known, usable)


class ArmedTest(unittest.TestCase):
    def test_armed_with_devices_that_answer_is_armed(self):
        self.assertEqual(State.ARMED, look().state)
        self.assertIn('10 of 10 hosts can be fenced', look().reason)

    def test_incidents_in_flight_change_nothing_while_armed(self):
        self.assertEqual(State.ARMED, look(in_flight=3).state)

    def test_without_devices_it_stands_by(self):
        for known, usable in ((10, 0), (10, 4), (1, 0), (0, 0)):
            with self.subTest(known=known, usable=usable):
                found = look(known=known, usable=usable)

                self.assertEqual(State.STANDBY, found.state)
                self.assertIn('fencing is unavailable', found.reason)
                self.assertIn(f'{usable} of {known} hosts', found.reason)

    def test_half_of_the_devices_are_enough_to_be_armed(self):
        self.assertEqual(State.ARMED, look(known=10, usable=5).state)


class FenceableTest(unittest.TestCase):
    HOSTS = {'h1': True, 'h2': True, 'h3': False}

    def test_what_was_known_of_a_failed_host_does_not_count(self):
        self.assertEqual((2, 1), arming.fenceable(self.HOSTS, {'h1'}))

    def test_with_every_host_failed_the_last_word_of_each_counts(self):
        self.assertEqual((3, 2), arming.fenceable(self.HOSTS, {*self.HOSTS}))


class DisarmedTest(unittest.TestCase):
    def test_disarmed_with_nothing_under_way_is_disarmed(self):
        self.assertEqual(State.DISARMED, look(wanted=False).state)

    def test_it_is_disarming_as_long_as_something_is_under_way(self):
        found = look(wanted=False, in_flight=2)

        self.assertEqual(State.DISARMING, found.state)
        self.assertIn('2 incidents that began before go on', found.reason)
        self.assertIn(
            '1 incident that began before goes on',
            look(wanted=False, in_flight=1).reason,
        )

    def test_devices_that_are_away_are_no_matter_while_disarmed(self):
        self.assertEqual(State.DISARMED, look(wanted=False, usable=0).state)


class UntilTest(unittest.TestCase):
    def test_each_says_when_it_ends(self):
        for wanted in (True, False):
            for usable, in_flight in ((10, 0), (0, 0), (10, 1)):
                found = look(wanted, 1700000000.0, in_flight, usable=usable)

                self.assertIn('until 2023-11-14T22:13:20Z', found.reason)


class InFlightTest(unittest.TestCase):
    def test_a_host_that_waits_for_its_repair_is_not_under_way(self):
        for phase in (
            incident.Phase.SUSPECTED,
            incident.Phase.HELD,
            incident.Phase.RECOVERED,
            incident.Phase.RETURNING,
            incident.Phase.CLOSED,
            incident.Phase.CANCELLED,
        ):
            self.assertNotIn(phase, arming.IN_FLIGHT)

    def test_a_fence_and_what_follows_it_are(self):
        for phase in (
            incident.Phase.FENCING,
            incident.Phase.NEEDS_OPERATOR,
            incident.Phase.CONTAINING,
            incident.Phase.EVACUATING,
            incident.Phase.MIGRATING,
        ):
            self.assertIn(phase, arming.IN_FLIGHT)


if __name__ == '__main__':
    unittest.main()
