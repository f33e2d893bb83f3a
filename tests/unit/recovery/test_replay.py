# SPDX-License-Identifier: Apache-2.0

"""A decision that was saved can be made again, and comes out the same."""

import json
import unittest
from unittest import mock

from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import replay
from nova_ha_plugins.recovery import responses
from tests.unit.recovery import examples
from tests.unit.recovery import test_gates


def saved(case, answer, name='fence'):
    return decision.record(
        name,
        {
            'suspect': case.suspect,
            'scene': case.scene,
            'limits': case.limits,
        },
        answer,
    )


class ReplayTest(unittest.TestCase):
    def test_every_answer_of_the_gates_comes_out_the_same(self):
        signs = test_gates.SAYING
        for code, situation in {**test_gates.HOLDS, 'none': {}}.items():
            with self.subTest(code=code):
                more = dict(situation)
                verdict = more.pop('verdict', incident.Verdict.DEAD)
                case = examples.case(**signs[verdict], **more)

                found = replay.replay(saved(case, gates.hold(case)))

                self.assertTrue(found.same, found)
                answer = found.again and found.again['code']
                self.assertEqual(None if code == 'none' else code, answer)

    def test_a_migration_is_decided_by_its_own_gates(self):
        case = examples.case(fences=(test_gates.fence('cmp-2'),))

        found = replay.replay(
            saved(case, responses.hold_migration(case), responses.MIGRATE)
        )

        self.assertTrue(found.same)
        self.assertIsNone(found.again)

    def test_a_decision_that_comes_out_differently_shows_both(self):
        case = examples.case(loop_late=99.0)
        text = saved(case, gates.hold(case))

        with mock.patch.object(gates, 'hold', lambda case: None):
            found = replay.replay(text)

        self.assertFalse(found.same)
        self.assertEqual('engine-late', found.saved['code'])
        self.assertIsNone(found.again)

    def test_fields_of_a_newer_or_older_release_do_no_harm(self):
        case = examples.case()
        record = json.loads(saved(case, None))
        del record['values']['limits']['storm_cooldown']
        record['values']['scene']['weather'] = 'fine'

        self.assertTrue(replay.replay(json.dumps(record)).same)

    def test_a_record_of_an_unknown_decision_is_refused(self):
        with self.assertRaisesRegex(ValueError, "decision 'dance', expected"):
            replay.replay(decision.record('dance', {}))

    def test_a_record_without_its_input_is_refused(self):
        with self.assertRaisesRegex(ValueError, "has no 'suspect'"):
            replay.replay(decision.record('fence', {}))

    def test_the_record_is_small_whatever_the_cloud(self):
        text = saved(examples.case(hosts=1000), None)

        self.assertLess(len(text), 4000)


class TimelineTest(unittest.TestCase):
    """What the timeline keeps can be made again."""

    def test_a_told_hold_and_the_decision_carry_their_input(self):
        held = examples.assess(examples.make(), fences=())
        self.assertEqual(incident.Phase.FENCING, held.phase)
        waits = examples.assess(examples.make(), watching=1.0)

        for subject, code in ((held, 'fencing'), (waits, 'held:warm-up')):
            (line,) = (e for e in subject.timeline if e.code == code)
            found = replay.replay(line.input)
            self.assertTrue(found.same)

        kinds = {e.code: e.kind for e in (*held.timeline, *waits.timeline)}
        self.assertEqual(incident.Kind.DECISION, kinds['fencing'])
        self.assertEqual(incident.Kind.EVIDENCE, kinds['corroborated'])
        self.assertEqual(incident.Kind.GATE, kinds['held:warm-up'])

    def test_a_network_policy_is_part_of_the_input(self):
        limits = gates.Limits(management_lost=evidence.Response.FENCE)
        subject = examples.assess(
            examples.make(), limits=limits, storage=incident.Sign.ALIVE
        )

        self.assertTrue(replay.replay(subject.timeline[-1].input).same)
        self.assertIn('"management_lost":"fence"', subject.timeline[-1].input)


if __name__ == '__main__':
    unittest.main()
