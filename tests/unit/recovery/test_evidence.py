# SPDX-License-Identifier: Apache-2.0

"""What several channels say together: two must agree before a host is dead."""

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


class OfTest(unittest.TestCase):
    def test_the_reading_of_the_channel_is_found(self):
        readings = examples.readings(probe=Sign.ALIVE)

        found = evidence.of(readings, evidence.PROBE)

        self.assertIs(readings[1], found)

    def test_a_channel_that_was_not_asked_gives_none(self):
        readings = examples.readings()[:1]

        self.assertIsNone(evidence.of(readings, evidence.PROBE))
