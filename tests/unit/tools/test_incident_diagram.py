# SPDX-License-Identifier: Apache-2.0

"""The picture of the state machine: complete, true, and in the docs."""

import pathlib
import unittest

import hypothesis

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples
from tests.unit.recovery import test_machine
from tools import incident_diagram

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
COMMITTED = ROOT / 'doc' / 'source' / 'contributor' / 'incident-states.inc'
MAKE = f'tools/incident-diagram > {COMMITTED.relative_to(ROOT)}'

Phase = incident.Phase


class DiagramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.edges = incident_diagram.walk()

    def test_the_page_in_the_docs_is_up_to_date(self):
        made = '\n'.join(incident_diagram.rst(self.edges)) + '\n'

        self.assertEqual(made, COMMITTED.read_text(), f'Make it again: {MAKE}')

    def test_every_pair_of_the_table_was_walked(self):
        pairs = {
            (phase, event)
            for phase, handlers in machine.TABLE.items()
            for event in handlers
        }

        self.assertEqual(set(), pairs - set(self.edges))

    def test_every_phase_can_be_reached_and_left(self):
        arrows = incident_diagram.arrows(self.edges)

        self.assertEqual(
            set(Phase) - {Phase.SUSPECTED},
            {target for _, target, _ in arrows} - {Phase.SUSPECTED},
        )
        self.assertEqual(
            set(Phase) - incident.CLOSED_PHASES,
            {phase for phase, _, _ in arrows},
        )

    def test_there_is_no_way_to_evacuation_around_the_fence(self):
        into = {
            phase
            for phase, target, _ in incident_diagram.arrows(self.edges)
            if target == Phase.EVACUATING
        }

        # Recovered is reached from there only, and keeps its fence.
        self.assertEqual({Phase.CONTAINING, Phase.RECOVERED}, into)
        self.assertEqual(
            {Phase.EVACUATING},
            {
                phase
                for phase, target, _ in incident_diagram.arrows(self.edges)
                if target == Phase.RECOVERED
            },
        )

    @examples.many
    @hypothesis.given(test_machine.ANY_SEQUENCE)
    def test_no_sequence_of_events_leaves_the_diagram(self, sequence):
        def check(before, event, after):
            self.assertIn(after.phase, self.edges[before.phase, type(event)])

        test_machine.walk(
            examples.make(readings=examples.readings()), sequence, check
        )

    def test_pictures_show_every_arrow(self):
        arrows = incident_diagram.arrows(self.edges)
        dot = '\n'.join(incident_diagram.graphviz(self.edges))
        mermaid = '\n'.join(incident_diagram.mermaid(self.edges))

        self.assertEqual(len(arrows), dot.count(' -> '))
        self.assertEqual(len(arrows) + 3, mermaid.count(' --> '))

    def test_an_event_without_an_example_is_named(self):
        found = [
            event
            for event in incident_diagram.examples()
            if not isinstance(event, events.SignOfLife)
        ]

        with self.assertRaisesRegex(SystemExit, 'No example of SignOfLife'):
            incident_diagram.check_complete(found)
