# SPDX-License-Identifier: Apache-2.0

"""What a decision was made from survives as JSON."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies

from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import incident
from tests.unit.recovery import examples


@dataclasses.dataclass(frozen=True)
class Scene:
    """One of each type that a decision may be made from."""

    name: str
    verdict: incident.Verdict
    readings: tuple[incident.Reading, ...]
    mark: tuple[str, int] | None = None
    hosts: frozenset[str] = frozenset()
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    late: float = 0.0
    armed: bool = True


class DecisionTest(unittest.TestCase):
    @examples.many
    @hypothesis.given(
        strategies.builds(
            Scene,
            readings=strategies.lists(
                strategies.builds(
                    incident.Reading,
                    at=strategies.floats(allow_nan=False),
                    age=strategies.none() | strategies.floats(allow_nan=False),
                ),
                max_size=3,
            ).map(tuple),
            late=strategies.floats(allow_nan=False),
        )
    )
    def test_values_come_back_as_they_were(self, scene):
        text = decision.record('fence', {'scene': scene}, answer=None)

        found = decision.load(text)

        self.assertEqual('fence', found.name)
        self.assertEqual(scene, decision.value(Scene, found.values['scene']))

    def test_same_values_give_the_same_text(self):
        texts = {
            decision.record('x', {'hosts': frozenset(names)})
            for names in (('a', 'b', 'c'), ('c', 'a', 'b'))
        }

        self.assertEqual(1, len(texts))

    def test_fields_of_other_releases_do_no_harm(self):
        plain = {'name': 'n', 'verdict': 'dead', 'readings': [], 'new': 1}

        found = decision.value(Scene, plain)

        self.assertEqual(Scene('n', incident.Verdict.DEAD, ()), found)

    def test_what_is_no_record_is_refused(self):
        for text, words in (
            ('', 'no record of a decision'),
            ('{}', 'no record of a decision'),
            ('[1]', 'no record of a decision'),
            (
                '{"version": 2, "decision": "x", "values": {}, "answer": 1}',
                'newer release',
            ),
        ):
            with self.subTest(text):
                with self.assertRaisesRegex(ValueError, words):
                    decision.load(text)

    def test_values_that_do_not_fit_are_refused(self):
        for plain in (
            {'name': 'n'},
            {'name': 'n', 'verdict': 'odd', 'readings': []},
            {'name': 'n', 'verdict': 'dead', 'readings': 7},
            'text',
        ):
            with self.subTest(plain):
                with self.assertRaises(ValueError):
                    decision.value(Scene, plain)
