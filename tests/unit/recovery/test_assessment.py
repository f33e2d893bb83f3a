# SPDX-License-Identifier: Apache-2.0

"""What an assessment keeps: the verdict, since when, and who flaps."""

import unittest

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from tests.unit.recovery import examples

NOW = examples.NOW
Sign = incident.Sign
Verdict = incident.Verdict


class VerdictTest(unittest.TestCase):
    def test_a_silence_seen_once_is_a_suspicion(self):
        found = examples.assess(examples.make(), probes=1)

        self.assertEqual(Verdict.SUSPECTED, found.verdict)
        self.assertEqual(incident.Phase.SUSPECTED, found.phase)

    def test_a_suspicion_counts_among_the_looks_in_a_row(self):
        found = examples.assess(examples.make(), probes=1)

        count = evidence.in_a_row(found, Verdict.DEAD, evidence.Response.ALERT)

        self.assertEqual(2, count)

    def test_seen_often_enough_it_is_dead(self):
        self.assertEqual(
            Verdict.DEAD, examples.assess(examples.make()).verdict
        )
        held = examples.assess(examples.make(), watching=1.0)
        self.assertEqual(Verdict.DEAD, held.verdict)


class DeadSinceTest(unittest.TestCase):
    def test_it_begins_with_the_first_look_that_says_so(self):
        found = examples.assess(examples.make(), probes=1)
        later = examples.assess(found, now=NOW + 9.0, watching=1.0)

        self.assertEqual(NOW, found.dead_since)
        self.assertEqual(NOW, later.dead_since)

    def test_one_look_that_says_else_ends_it(self):
        subject = examples.make(dead_since=NOW - 50.0)

        for signs in (
            {'probe': Sign.ALIVE},
            {'probe': Sign.UNKNOWN},
            {'heartbeat': Sign.UNKNOWN},
            {'storage': Sign.ALIVE},
        ):
            self.assertIsNone(examples.assess(subject, **signs).dead_since)


class FlappingTest(unittest.TestCase):
    def test_one_that_flaps_is_fenced_and_kept_out_afterwards(self):
        found = examples.assess(examples.make(), flaps=3)

        self.assertEqual(incident.Phase.FENCING, found.phase)
        self.assertTrue(found.quarantined)
        (line,) = (e for e in found.timeline if e.code == 'flapping')
        self.assertIn('failed 3 times within an hour', line.text)
        self.assertIn(f'openstack ha release {examples.HOST}', line.text)

    def test_two_failures_within_an_hour_are_no_flapping(self):
        found = examples.assess(examples.make(), flaps=2)

        self.assertFalse(found.quarantined)
        self.assertNotIn('flapping', [e.code for e in found.timeline])

    def test_it_is_told_once(self):
        subject = examples.make(quarantined=True)

        found = examples.assess(subject, flaps=4)

        self.assertNotIn('flapping', [e.code for e in found.timeline])


class ReleaseTest(unittest.TestCase):
    def test_a_host_that_answers_ends_the_word_on_its_silence(self):
        for signs in ({'probe': Sign.ALIVE}, {'storage': Sign.ALIVE}):
            with self.subTest(signs):
                found = examples.assess(examples.make(released=True), **signs)

                self.assertFalse(found.released)
                codes = [entry.code for entry in found.timeline]
                self.assertIn('release-over', codes)

    def test_a_silent_host_stays_released(self):
        for signs in (
            {'probe': Sign.UNKNOWN},
            {'heartbeat': Sign.UNKNOWN},
            {'probes': 1},
        ):
            with self.subTest(signs):
                found = examples.assess(examples.make(released=True), **signs)

                self.assertTrue(found.released)

    def test_an_answer_that_forbids_nothing_ends_nothing(self):
        found = examples.assess(
            examples.make(released=True),
            limits=gates.Limits(management_lost=evidence.Response.FENCE),
            storage=Sign.ALIVE,
        )

        self.assertTrue(found.released)


if __name__ == '__main__':
    unittest.main()
