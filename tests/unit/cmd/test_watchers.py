# SPDX-License-Identifier: Apache-2.0

"""What doctor says of watchers and of probes."""

import unittest

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.cmd import watchers
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import views


def a_watch(name, age=0.5, clear=True, text=''):
    return views.HostHealth('', f'watcher:{name}', clear, 7.0, text, age)


class WatchersTest(unittest.TestCase):
    def assert_found(self, rows, *expected):
        found = watchers.check(rows)
        self.assertEqual(
            [level for level, _ in expected], [each.level for each in found]
        )
        for (_, pattern), each in zip(expected, found, strict=True):
            self.assertRegex(each.text, pattern)

    def test_two_watchers_and_who_speaks(self):
        self.assert_found(
            [a_watch('a', clear=False, text='late'), a_watch('b')],
            (finding.Level.OK, "2 watchers of 7 hosts, 'b' sends"),
            (finding.Level.NOTE, "'a' does not see: late"),
        )

    def test_one_alone_is_fine_but_said(self):
        self.assert_found(
            [a_watch('a')],
            (finding.Level.OK, "one watcher, 'a', of 7 hosts: nobody takes"),
        )

    def test_no_watcher_at_all_is_to_be_repaired(self):
        self.assert_found(
            [views.HostHealth('cmp-1', 'libvirt', True, 1.0, '', 0.1)],
            (finding.Level.ACTION, 'no watcher has looked'),
        )

    def test_a_dead_watcher_is_to_be_repaired_if_it_is_the_last(self):
        self.assert_found(
            [a_watch('a', 70.0), a_watch('b', 90.0)],
            (finding.Level.ACTION, "'a' looked last 70s ago, expected"),
        )

    def test_a_dead_watcher_beside_a_living_one_is_noted(self):
        self.assert_found(
            [a_watch('a', 70.0), a_watch('b')],
            (finding.Level.OK, "one watcher, 'b'"),
            (finding.Level.NOTE, "'a' looked last 70s ago"),
        )

    def test_a_blind_watcher_says_why(self):
        self.assert_found(
            [a_watch('a', clear=False, text='No host was heard')],
            (finding.Level.ACTION, 'does not see: No host was heard'),
        )

    def test_probes_that_complain_are_named(self):
        rows = [
            views.HostHealth(f'cmp-{n}', 'libvirt', False, 0, 'no answer', 2.0)
            for n in range(7)
        ]
        found = watchers.unwell(health.unwell(rows, 60.0))

        self.assertEqual(6, len(found))
        self.assertEqual(
            "host 'cmp-0': libvirt not well 2s ago ('no answer')",
            found[0].text,
        )
        self.assertEqual('2 hosts more', found[-1].text)
