# SPDX-License-Identifier: Apache-2.0

"""What changes when another engine goes on with an incident."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine

Phase = incident.Phase

TAKEN = events.TakenOver(9.0, 'ctl-2:1', 5)


def a_subject(phase):
    return incident.Incident(
        uuid='inc-1',
        host='cmp-1',
        service_uuid='svc-1',
        epoch=1,
        phase=phase,
        opened_at=1.0,
        updated_at=2.0,
        silent_probes=2,
        dead_since=1.5,
        token=4,
        engine='ctl-1:1',
    )


class TakenOverTest(unittest.TestCase):
    def test_it_can_happen_in_every_phase_and_says_who(self):
        for phase in Phase:
            subject = machine.step(a_subject(phase), TAKEN)

            self.assertEqual(('ctl-2:1', 5), (subject.engine, subject.token))
            self.assertEqual(phase, subject.phase)
            (entry,) = subject.timeline
            self.assertEqual('taken-over', entry.code)
            self.assertIn("'ctl-2:1'", entry.text)
            self.assertIn("'ctl-1:1'", entry.text)

    def test_suspicion_begins_anew(self):
        for phase in (Phase.SUSPECTED, Phase.HELD):
            subject = machine.step(a_subject(phase), TAKEN)

            self.assertEqual(0, subject.silent_probes)
            self.assertIsNone(subject.dead_since)

    def test_what_was_decided_stays(self):
        for phase in set(Phase) - {Phase.SUSPECTED, Phase.HELD}:
            before = a_subject(phase)
            after = machine.step(before, TAKEN)

            self.assertEqual(
                dataclasses.replace(
                    before, engine='ctl-2:1', token=5, updated_at=9.0
                ),
                dataclasses.replace(after, timeline=()),
            )


class IntentTest(unittest.TestCase):
    def test_every_event_before_a_call_is_an_intent(self):
        found = set()
        below = [events.Event]
        while below:
            kind = below.pop()
            below += kind.__subclasses__()
            if kind.__name__.endswith(
                ('Intended', 'Called')
            ) and not kind.__name__.endswith('NotCalled'):
                found.add(kind)

        self.assertGreater(len(found), 4)
        for kind in found:
            self.assertTrue(issubclass(kind, events.Intent), kind)
