# SPDX-License-Identifier: Apache-2.0

"""What several channels say together: two must agree before a host is dead."""

import dataclasses
import itertools
import unittest

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from tests.unit.recovery import examples

Sign = incident.Sign
Verdict = incident.Verdict

# (heartbeat, probe) -> verdict; None means that the channel was not read.
EXPECTED = {
    (Sign.ALIVE, Sign.ALIVE): Verdict.ALIVE,
    (Sign.ALIVE, Sign.SILENT): Verdict.ALIVE,
    (Sign.ALIVE, Sign.UNKNOWN): Verdict.ALIVE,
    (Sign.ALIVE, None): Verdict.ALIVE,
    (Sign.SILENT, Sign.ALIVE): Verdict.DEGRADED,
    (Sign.SILENT, Sign.SILENT): Verdict.DEAD,
    (Sign.SILENT, Sign.UNKNOWN): Verdict.UNKNOWN,
    (Sign.SILENT, None): Verdict.UNKNOWN,
    (Sign.UNKNOWN, Sign.ALIVE): Verdict.UNKNOWN,
    (Sign.UNKNOWN, Sign.SILENT): Verdict.UNKNOWN,
    (Sign.UNKNOWN, Sign.UNKNOWN): Verdict.UNKNOWN,
    (Sign.UNKNOWN, None): Verdict.UNKNOWN,
    (None, Sign.ALIVE): Verdict.UNKNOWN,
    (None, Sign.SILENT): Verdict.UNKNOWN,
    (None, Sign.UNKNOWN): Verdict.UNKNOWN,
    (None, None): Verdict.UNKNOWN,
}


def given(heartbeat, probe, nova=None):
    signs = {
        evidence.HEARTBEAT: heartbeat,
        evidence.PROBE: probe,
        evidence.NOVA: nova,
    }
    return tuple(
        incident.Reading(channel, sign, examples.NOW)
        for channel, sign in signs.items()
        if sign is not None
    )


class VerdictTest(unittest.TestCase):
    def test_every_pair_of_signs_has_the_verdict_of_the_table(self):
        self.assertEqual(16, len(EXPECTED))
        for (heartbeat, probe), expected in EXPECTED.items():
            with self.subTest(heartbeat=heartbeat, probe=probe):
                found = evidence.verdict(given(heartbeat, probe))

                self.assertEqual(expected, found)

    def test_nova_never_changes_the_verdict(self):
        for (heartbeat, probe), expected in EXPECTED.items():
            for nova in Sign:
                with self.subTest(heartbeat=heartbeat, probe=probe, nova=nova):
                    found = evidence.verdict(given(heartbeat, probe, nova))

                    self.assertEqual(expected, found)

    def test_order_of_the_readings_does_not_matter(self):
        readings = examples.readings()

        for order in itertools.permutations(readings):
            self.assertEqual(Verdict.DEAD, evidence.verdict(order))

    def test_an_iterator_is_read_once_and_gives_the_same(self):
        readings = iter(examples.readings(probe=Sign.ALIVE))

        self.assertEqual(Verdict.DEGRADED, evidence.verdict(readings))


class NetworksTest(unittest.TestCase):
    def verdict(self, heartbeat, probe, *networks):
        signs = {f'net{n}': sign for n, sign in enumerate(networks)}
        return evidence.verdict(
            examples.readings(heartbeat=heartbeat, probe=probe, **signs)
        )

    def test_one_answer_more_is_never_dead(self):
        for others in itertools.product(Sign, repeat=3):
            for probe in Sign:
                with self.subTest(probe=probe, others=others):
                    found = self.verdict(Sign.SILENT, probe, *others)

                    every = {probe, *others}
                    self.assertEqual(
                        found == Verdict.DEAD, every == {Sign.SILENT}
                    )

    def test_each_situation_with_two_networks_has_its_verdict(self):
        alive, silent, unknown = Sign.ALIVE, Sign.SILENT, Sign.UNKNOWN
        for (probe, one, two), expected in {
            (silent, silent, silent): Verdict.DEAD,
            (silent, alive, silent): Verdict.ISOLATED,
            (silent, silent, alive): Verdict.ISOLATED,
            (silent, alive, unknown): Verdict.ISOLATED,
            (silent, unknown, silent): Verdict.UNKNOWN,
            (unknown, silent, silent): Verdict.UNKNOWN,
            (unknown, alive, silent): Verdict.DEGRADED,
            (alive, silent, silent): Verdict.DEGRADED,
            (alive, unknown, silent): Verdict.DEGRADED,
            (alive, alive, alive): Verdict.DEGRADED,
        }.items():
            with self.subTest(probe=probe, one=one, two=two):
                self.assertEqual(
                    expected, self.verdict(silent, probe, one, two)
                )

    def test_further_networks_are_nothing_beside_a_heartbeat(self):
        for others in itertools.product(Sign, repeat=3):
            for heartbeat, expected in (
                (Sign.ALIVE, Verdict.ALIVE),
                (Sign.UNKNOWN, Verdict.UNKNOWN),
            ):
                self.assertEqual(expected, self.verdict(heartbeat, *others))

    def test_a_network_alone_does_not_stand_for_the_management_network(self):
        readings = tuple(
            reading
            for reading in examples.readings(storage=Sign.SILENT)
            if reading.channel != evidence.PROBE
        )

        self.assertEqual(Verdict.UNKNOWN, evidence.verdict(readings))

    def test_names_of_channels_and_networks_are_one_another(self):
        for network, channel in (
            ('management', 'probe'),
            ('storage', 'probe:storage'),
        ):
            self.assertEqual(channel, evidence.channel_of(network))
            self.assertEqual(network, evidence.network_of(channel))

    def test_every_channel_is_told_with_its_state(self):
        readings = examples.readings(storage=Sign.ALIVE, tenant=Sign.UNKNOWN)

        self.assertEqual(
            'heartbeat silent 9.5 s, probe silent, probe:storage alive, '
            'probe:tenant unknown, nova silent',
            evidence.told(readings),
        )


class PolicyTest(unittest.TestCase):
    ALERT, FENCE = evidence.Response.ALERT, evidence.Response.FENCE
    MIGRATE = evidence.Response.MIGRATE

    def test_only_a_dead_or_by_policy_an_isolated_host_may_be_fenced(self):
        self.assertEqual(
            {
                (Verdict.DEAD, self.ALERT),
                (Verdict.DEAD, self.FENCE),
                (Verdict.DEAD, self.MIGRATE),
                (Verdict.DEAD, evidence.Response.MIGRATE),
                (Verdict.ISOLATED, self.FENCE),
            },
            {
                (verdict, policy)
                for verdict in Verdict
                for policy in evidence.Response
                if evidence.may_fence(verdict, policy)
            },
        )

    def test_an_answer_of_the_management_network_forbids_always(self):
        for policy in evidence.Response:
            found = evidence.forbidding(
                examples.readings(probe=Sign.ALIVE, storage=Sign.ALIVE),
                policy,
            )

            self.assertIn('management', found)

    def test_an_answer_elsewhere_forbids_unless_the_policy_is_to_fence(self):
        readings = examples.readings(storage=Sign.ALIVE)

        self.assertEqual(
            ('storage',), evidence.forbidding(readings, self.ALERT)
        )
        self.assertEqual((), evidence.forbidding(readings, self.FENCE))

    def rows(self, policy, *verdicts):
        subject = examples.make()
        found = []
        for verdict in verdicts:
            count = evidence.in_a_row(subject, verdict, policy)
            subject = dataclasses.replace(
                subject, verdict=verdict, silent_probes=count
            )
            found.append(count)
        return found

    def test_looks_that_say_the_same_are_counted(self):
        dead, cut = Verdict.DEAD, Verdict.ISOLATED

        self.assertEqual([1, 2, 3], self.rows(self.ALERT, dead, dead, dead))
        self.assertEqual([1, 2], self.rows(self.ALERT, cut, cut))
        self.assertEqual(
            [1, 0, 1], self.rows(self.ALERT, dead, Verdict.UNKNOWN, dead)
        )
        self.assertEqual(
            [1, 0, 1], self.rows(self.FENCE, cut, Verdict.DEGRADED, cut)
        )

    def test_a_network_that_flaps_begins_the_count_anew(self):
        dead, cut = Verdict.DEAD, Verdict.ISOLATED

        self.assertEqual(
            [1, 1, 1, 1], self.rows(self.ALERT, dead, cut, dead, cut)
        )
        self.assertEqual([1, 2, 3], self.rows(self.FENCE, dead, cut, dead))


class OfTest(unittest.TestCase):
    def test_the_reading_of_the_channel_is_found(self):
        readings = examples.readings(probe=Sign.ALIVE)

        found = evidence.of(readings, evidence.PROBE)

        self.assertIs(readings[1], found)

    def test_a_channel_that_was_not_asked_gives_none(self):
        readings = examples.readings()[:1]

        self.assertIsNone(evidence.of(readings, evidence.PROBE))
