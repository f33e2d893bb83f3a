# SPDX-License-Identifier: Apache-2.0

"""What doctor says of several engines."""

import unittest

from nova_ha_plugins.cmd import engines
from nova_ha_plugins.cmd import finding
from nova_ha_plugins.store import values

BACKEND = 'mysql://db/nova_ha'


def an_engine(name, age=0.5, acting=False, backend=BACKEND, release='1.0'):
    return values.EngineState(
        name,
        age,
        15.0,
        {'acting': acting, 'backend': backend, 'release': release},
    )


class EnginesTest(unittest.TestCase):
    def assert_one(self, level, pattern, *found):
        (only,) = engines.check(found)
        self.assertIs(level, only.level)
        self.assertRegex(only.text, pattern)

    def test_one_acts_and_the_others_watch(self):
        self.assert_one(
            finding.Level.OK,
            '2 engines, b acts',
            an_engine('a'),
            an_engine('b', acting=True),
        )

    def test_one_alone_needs_no_coordination(self):
        self.assert_one(
            finding.Level.OK,
            'one engine, a',
            an_engine('a', acting=True, backend=''),
            an_engine('dead', age=600.0, backend=''),
        )

    def test_more_than_one_without_coordination_is_to_be_repaired(self):
        self.assert_one(
            finding.Level.ACTION,
            'without a coordination are b: set the same',
            an_engine('a', acting=True),
            an_engine('b', backend=''),
        )

    def test_different_addresses_and_releases_are_told(self):
        self.assert_one(
            finding.Level.NOTE,
            r'different coordinations: etcd3://x/ \(b\); mysql://db/nova_ha',
            an_engine('a', acting=True),
            an_engine('b', backend='etcd3://x/'),
        )
        self.assert_one(
            finding.Level.NOTE,
            r'different releases: 1.0 \(a\); 1.1 \(b\).*Finish',
            an_engine('a', acting=True),
            an_engine('b', release='1.1'),
        )

    def test_several_of_which_none_acts_is_to_be_repaired(self):
        self.assert_one(
            finding.Level.ACTION,
            'none of them acts',
            an_engine('a'),
            an_engine('b'),
        )

    def test_nobody_is_the_finding_of_another_check(self):
        self.assertEqual([], engines.check([an_engine('a', age=600.0)]))
