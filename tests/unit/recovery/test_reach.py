# SPDX-License-Identifier: Apache-2.0

"""A silence that all hosts share is that of the machine which listens."""

import itertools
import unittest

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach
from tests.unit.recovery import examples

Sign = incident.Sign
Verdict = incident.Verdict
ALERT = evidence.Response.ALERT
FENCE = evidence.Response.FENCE

WHERE = "'10.98.0.11' port 22 gave no connection in time"


def given(heartbeat, management, storage=None):
    signs = {
        evidence.HEARTBEAT: heartbeat,
        evidence.PROBE: management,
        'probe:storage': storage,
    }
    return tuple(
        incident.Reading(channel, sign, examples.NOW, text=WHERE)
        for channel, sign in signs.items()
        if sign is not None
    )


DEAD = given(Sign.SILENT, Sign.SILENT, Sign.SILENT)


def witnesses(network, *signs):
    return tuple(
        reach.Witness(f'cmp-{number}', network, sign)
        for number, sign in enumerate(signs, 2)
    )


class DecisiveTest(unittest.TestCase):
    def test_every_silence_of_a_dead_host_matters(self):
        for policy in (ALERT, FENCE):
            self.assertEqual(
                ('management', 'storage'), reach.decisive(DEAD, policy)
            )

    def test_an_isolated_host_is_fenced_for_one_silence_only(self):
        readings = (
            *given(Sign.SILENT, Sign.SILENT, Sign.SILENT),
            incident.Reading('probe:tenant', Sign.ALIVE, examples.NOW),
        )

        self.assertEqual((), reach.decisive(readings, ALERT))
        self.assertEqual(('management',), reach.decisive(readings, FENCE))

    def test_nothing_matters_that_cannot_lead_to_a_fence(self):
        signs = tuple(Sign)
        for heartbeat, *others in itertools.product(signs, signs, signs):
            readings = given(heartbeat, *others)
            for policy in (ALERT, FENCE):
                if not evidence.may_fence(evidence.verdict(readings), policy):
                    self.assertEqual((), reach.decisive(readings, policy))


class ChosenTest(unittest.TestCase):
    def test_few_are_asked_all(self):
        self.assertEqual((), reach.chosen([], 7))
        self.assertEqual(('a', 'b', 'c'), reach.chosen(['c', 'a', 'b'], 7))

    def test_of_many_three_are_asked_and_in_time_everybody(self):
        for many in range(4, 40):
            names = [f'cmp-{number:02}' for number in range(many)]
            asked = [reach.chosen(names, turn) for turn in range(many)]

            self.assertEqual({3}, {len(set(each)) for each in asked})
            self.assertEqual(set(names), set(itertools.chain(*asked)))
            self.assertNotEqual(set(asked[0]), set(asked[1]))
            self.assertEqual(asked[1], reach.chosen(names[::-1], 1))


class CorrectedTest(unittest.TestCase):
    def corrected(self, readings, *asked):
        found = reach.doubts(('management', 'storage'), asked)
        return reach.corrected(readings, found)

    def test_silence_that_others_share_is_unknown(self):
        found = self.corrected(
            DEAD,
            *witnesses('management', Sign.ALIVE),
            *witnesses('storage', Sign.SILENT, Sign.SILENT),
        )

        self.assertEqual(Verdict.UNKNOWN, evidence.verdict(found))
        self.assertEqual(DEAD[:2], found[:2])
        self.assertEqual(
            f"{WHERE}, but neither did hosts 'cmp-2', 'cmp-3' answer, whose "
            'heartbeats come: this machine may be cut off from network '
            "'storage'",
            found[2].text,
        )

    def test_witness_that_cannot_be_asked_vouches_for_nothing(self):
        found = self.corrected(DEAD, *witnesses('management', Sign.UNKNOWN))

        self.assertEqual(Verdict.UNKNOWN, evidence.verdict(found))

    def test_one_answer_lets_the_silence_stand(self):
        found = self.corrected(
            DEAD,
            *witnesses('management', Sign.SILENT, Sign.UNKNOWN, Sign.ALIVE),
            *witnesses('storage', Sign.ALIVE, Sign.SILENT, Sign.SILENT),
        )

        self.assertEqual(DEAD, found)

    def test_an_answer_on_one_network_says_nothing_of_another(self):
        found = self.corrected(
            DEAD,
            *witnesses('management', Sign.SILENT),
            *witnesses('storage', Sign.ALIVE),
        )

        self.assertEqual(Sign.UNKNOWN, found[1].sign)
        self.assertEqual(Sign.SILENT, found[2].sign)

    def test_with_nobody_to_compare_the_silence_stands(self):
        self.assertEqual(DEAD, self.corrected(DEAD))

    def test_whatever_is_asked_only_silence_changes_and_to_unknown(self):
        signs = tuple(Sign)
        for one in itertools.product(signs, repeat=5):
            before = given(*one[:3])
            after = self.corrected(
                before,
                *witnesses('management', one[3]),
                *witnesses('storage', one[4]),
            )
            for old, new in zip(before, after, strict=True):
                if old.sign != new.sign:
                    self.assertEqual(Sign.SILENT, old.sign)
                    self.assertEqual(Sign.UNKNOWN, new.sign)
                    self.assertNotEqual(evidence.HEARTBEAT, old.channel)
            if not evidence.may_fence(evidence.verdict(before), FENCE):
                self.assertFalse(
                    evidence.may_fence(evidence.verdict(after), FENCE)
                )


class HoldTest(unittest.TestCase):
    def test_the_operator_is_told_network_machine_and_hosts(self):
        found = reach.hold(
            examples.make(),
            (
                reach.Doubt('management', ('cmp-2',)),
                reach.Doubt('storage', ('cmp-2', 'cmp-3')),
            ),
            'ctl-1',
        )

        self.assertEqual('own-reach', found.code)
        self.assertIn(
            "on network 'management' neither did host 'cmp-2' answer",
            found.reason,
        )
        self.assertIn(
            "check the link of 'ctl-1' to network 'management' and 'storage'",
            found.reason,
        )
