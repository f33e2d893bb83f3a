# SPDX-License-Identifier: Apache-2.0

"""A line of the timeline says what it is about."""

import unittest

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from tests.unit.recovery import examples

Kind = incident.Kind


class KindTest(unittest.TestCase):
    def kind_of(self, code, **words):
        subject = notes.add(examples.make(), 1000.0, code, 'text', **words)
        return subject.timeline[-1].kind

    def test_a_code_that_is_known_has_its_kind(self):
        self.assertEqual(Kind.RESULT, self.kind_of('server-recovered'))
        self.assertEqual(Kind.RESULT, self.kind_of('retry:no-valid-host'))
        self.assertEqual(Kind.GATE, self.kind_of('contained'))

    def test_who_writes_the_line_knows_better(self):
        found = self.kind_of('recovered', kind=Kind.OPERATOR)

        self.assertEqual(Kind.OPERATOR, found)

    def test_anything_else_is_a_note(self):
        self.assertEqual(Kind.NOTE, self.kind_of('something'))
