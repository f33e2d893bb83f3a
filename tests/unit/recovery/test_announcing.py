# SPDX-License-Identifier: Apache-2.0

import dataclasses
import unittest

from nova_ha_plugins.recovery import announcing
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import views
from tests.unit.recovery import test_detector

Kind = detector.Kind


def row(host, channel, ok=True, age=0.5, text='', value=0.0):
    return views.HostHealth(host, channel, ok, value, text, age)


def kinds(world, host='cmp-2'):
    return [str(kind) for _, kind, name, _ in world.told if name == host]


class SuspicionTest(unittest.TestCase):
    def test_a_silent_host_is_suspected_once_before_it_is_down(self):
        world = test_detector.World(5).run(20)
        world.dead.add('cmp-2')
        world.run(40)

        ((at, host),) = world.suspicions
        self.assertEqual('cmp-2', host)
        self.assertLess(at, world.told[0][0])

    def test_a_host_that_is_heard_soon_is_no_news(self):
        world = test_detector.World(5).run(20)
        world.dead.add('cmp-2')
        # Its last heartbeat is of 18.5 s: late, but not by three quarters.
        world.run(3)
        (late,) = (h for h in world.last.hosts if h.host == 'cmp-2')
        self.assertTrue(late.suspected, late)
        self.assertLess(late.silent_for, 4.5)
        world.dead.clear()
        world.run(10)

        self.assertEqual([], world.suspicions)

    def test_a_host_that_returned_is_suspected_anew(self):
        world = test_detector.World(5).run(20)
        for _ in range(3):
            world.dead.add('cmp-2')
            world.run(4)
            world.dead.clear()
            world.run(10)

        self.assertEqual(['cmp-2'] * 3, [one[1] for one in world.suspicions])
        self.assertEqual([], world.told)

    def test_nobody_is_suspected_while_monitoring_is_blind(self):
        world = test_detector.World(5).run(20)
        world.stalled = True
        world.run(60)
        world.stalled = False
        world.run(5)

        self.assertEqual([], world.suspicions)
        self.assertFalse(any(host.suspected for host in world.last.hosts))

    def test_a_host_that_is_down_is_suspected_as_well(self):
        world = test_detector.World(5).run(20)
        world.dead.add('cmp-2')
        world.run(20)

        found = [host.host for host in world.last.hosts if host.suspected]
        self.assertEqual(['cmp-2'], found)


class DegradedTest(unittest.TestCase):
    def setUp(self):
        self.world = test_detector.World(5).run(20)

    def say(self, *rows):
        self.world.healths = [
            *(row(f'cmp-{n}', 'libvirt') for n in (1, 3)),
            *rows,
        ]

    def test_a_living_host_with_a_bad_probe_is_degraded_and_then_up(self):
        self.say(row('cmp-2', 'libvirt', ok=False, text='no answer'))
        self.world.run(10)
        self.say(row('cmp-2', 'libvirt'))
        self.world.run(60)

        self.assertEqual(['degraded', 'up'], kinds(self.world))

    def test_it_is_told_again_slowly_while_it_lasts(self):
        self.say(row('cmp-2', 'libvirt', ok=False))
        self.world.run(200)

        self.assertEqual(['degraded'] * 4, kinds(self.world))
        self.assertEqual(
            [False, True, True, True], [one[3] for one in self.world.told]
        )

    def test_one_more_trouble_is_told_at_once(self):
        self.say(row('cmp-2', 'libvirt', ok=False))
        self.world.run(10)
        self.say(
            row('cmp-2', 'libvirt', ok=False),
            row('cmp-2', 'storage:/a', ok=False),
        )
        self.world.run(10)

        self.assertEqual([False, False], [one[3] for one in self.world.told])

    def test_a_probe_that_comes_and_goes_is_one_trouble(self):
        for _ in range(10):
            self.say(row('cmp-2', 'libvirt', ok=False))
            self.world.run(4)
            self.say(row('cmp-2', 'libvirt'))
            self.world.run(4)

        self.assertEqual(['degraded', 'degraded'], kinds(self.world))

    def test_a_probe_that_fell_silent_is_a_trouble(self):
        self.say(row('cmp-2', 'libvirt', age=179.0))
        self.world.run(5)
        self.assertEqual([], kinds(self.world))
        self.say(row('cmp-2', 'libvirt', age=181.0))
        self.world.run(5)

        self.assertEqual(['degraded'], kinds(self.world))

    def test_probes_of_all_hosts_that_are_late_together_are_none(self):
        self.world.healths = [
            row(f'cmp-{n}', 'libvirt', age=300.0 + n) for n in range(1, 6)
        ]
        self.world.run(10)

        self.assertEqual([], self.world.told)

    def test_a_host_that_goes_down_is_told_up_once(self):
        self.say(row('cmp-2', 'libvirt', ok=False))
        self.world.run(10)
        self.world.dead.add('cmp-2')
        self.world.run(8)
        self.say()
        self.world.dead.clear()
        self.world.run(60)

        self.assertEqual(['degraded', 'down', 'up'], kinds(self.world))

    def test_health_never_changes_a_verdict(self):
        self.say(
            *(
                row(f'cmp-{n}', channel, ok=False)
                for n in range(1, 6)
                for channel in ('libvirt', 'storage:/a', 'told:other')
            )
        )
        self.world.dead.add('cmp-4')
        self.world.run(20)

        self.assertEqual('up', self.world.verdict('cmp-2'))
        self.assertEqual('down', self.world.verdict('cmp-4'))

    def test_rows_of_watchers_and_what_was_told_are_no_trouble(self):
        self.say(
            row('', 'watcher:ctl-1', ok=False),
            row('cmp-2', health.TOLD_DOWN, ok=False),
            row('cmp-2', health.TOLD_DEGRADED, ok=False, text='libvirt'),
        )
        self.world.run(10)

        self.assertEqual([], self.world.told)


class OwnStallTest(unittest.TestCase):
    RULES = dataclasses.replace(test_detector.RULES, late_after=3.0)

    def stalled_world(self, rules):
        """A pause of everything, after which nearly half are not back."""
        world = test_detector.World(9, rules).run(20)
        world.paused = world.stalled = True
        world.run(40)
        world.dead = {f'cmp-{n}' for n in range(1, 5)}
        world.stalled = False
        world.run(2)
        world.paused = False
        world.run(20)
        world.dead.clear()
        return world.run(60)

    def test_a_watcher_that_was_stalled_convicts_nobody(self):
        self.assertEqual([], self.stalled_world(self.RULES).told)

    def test_without_this_rule_four_living_hosts_would_be_down(self):
        told = self.stalled_world(test_detector.RULES).downs()

        self.assertEqual(4, len(set(told)))

    def test_the_reason_names_the_watcher(self):
        world = test_detector.World(5, self.RULES).run(20)
        world.paused = True
        world.run(10)
        world.paused = False
        world.run(1)

        self.assertEqual(detector.Sight.BLIND, world.last.sight)
        self.assertIn('did not look for 11.0s', world.last.reason)

    def test_who_died_meanwhile_is_found_after_the_hold_off(self):
        world = test_detector.World(5, self.RULES).run(20)
        world.paused = True
        world.dead.add('cmp-2')
        world.run(10)
        world.paused = False
        world.run(30)

        self.assertEqual({'cmp-2'}, set(world.downs()))


class TakeOverTest(unittest.TestCase):
    """A second watcher over the same hosts, with the rows of the first."""

    def setUp(self):
        self.world = test_detector.World(5).run(20)

    def recall(self, state, *rows):
        return announcing.recall(state, rows, self.world.at)

    def test_what_was_told_is_not_told_again_before_its_time(self):
        self.world.dead.add('cmp-2')
        self.world.run(12)
        first = len(self.world.told)
        self.world.state = self.recall(
            dataclasses.replace(self.world.state, announced={}),
            row('cmp-2', health.TOLD_DOWN, ok=False, age=4.0),
        )
        self.world.run(5)
        self.assertEqual(first, len(self.world.told))
        self.world.run(5)

        self.assertEqual(('down', 'cmp-2', True), self.world.told[-1][1:])

    def test_a_return_that_the_first_did_not_tell_is_told(self):
        self.world.state = self.recall(
            self.world.state,
            row('cmp-2', health.TOLD_DOWN, ok=False, age=4.0),
        )
        self.world.run(5)

        self.assertEqual(['up'], kinds(self.world))

    def test_a_return_that_was_told_is_not_told_again(self):
        state = dataclasses.replace(
            self.world.state, announced={'cmp-2': self.world.at - 30}
        )
        self.world.state = self.recall(
            state, row('cmp-2', health.TOLD_DOWN, ok=True, age=2.0)
        )
        self.world.run(5)

        self.assertEqual([], self.world.told)

    def test_an_older_word_does_not_undo_a_newer_one(self):
        state = dataclasses.replace(
            self.world.state, announced={'cmp-2': self.world.at - 1}
        )
        state = self.recall(
            state, row('cmp-2', health.TOLD_DOWN, ok=True, age=500.0)
        )

        self.assertIn('cmp-2', state.announced)

    def test_a_host_is_well_again_by_the_word_of_the_first(self):
        self.world.state = self.recall(
            self.world.state,
            row('cmp-2', health.TOLD_DEGRADED, False, text='libvirt'),
        )
        self.world.run(40)

        self.assertEqual(['up'], kinds(self.world))

    def test_a_silent_watcher_forgets_what_it_did_not_tell(self):
        self.world.dead.add('cmp-2')
        for _ in range(20):
            before = self.world.state
            self.world.step()
            self.world.state = announcing.untold(self.world.state, before)

        self.assertEqual({}, dict(self.world.state.announced))
        self.assertGreater(len(self.world.told), 1)

    def test_a_new_watcher_of_a_cloud_of_dead_hosts_is_not_blind(self):
        # Three of five died one by one; who begins now must know of them.
        dead = [f'cmp-{n}' for n in (1, 2, 3)]
        beats = [
            test_detector.beat(f'cmp-{n}', 600.0 if n < 4 else 0.5)
            for n in range(1, 6)
        ]
        state = detector.begin(0.0)
        look = detector.look(state, beats, 10.0, test_detector.RULES)
        self.assertEqual(detector.Sight.BLIND, look.sight)

        state = announcing.recall(
            state,
            [row(host, health.TOLD_DOWN, False, age=3.0) for host in dead],
            10.0,
        )
        look = detector.look(state, beats, 10.0, test_detector.RULES)

        self.assertEqual(detector.Sight.CLEAR, look.sight)


class SpeakerTest(unittest.TestCase):
    def watches(self, *rows):
        return health.watches(rows)

    def test_the_first_that_sees_speaks(self):
        others = self.watches(
            row('', 'watcher:a', ok=False, text='blind'),
            row('', 'watcher:b', value=7.0),
            row('', 'watcher:c'),
        )

        self.assertEqual((False, 7), (others[0].clear, others[1].hosts))
        for name, expected in (('a', False), ('b', True), ('c', False)):
            with self.subTest(name):
                clear = name != 'a'
                self.assertEqual(expected, health.speaks(name, clear, others))

    def test_alone_or_with_blind_ones_only_one_speaks(self):
        blind = self.watches(
            row('', 'watcher:a', ok=False), row('', 'watcher:b', ok=False)
        )

        self.assertTrue(health.speaks('b', False, ()))
        self.assertTrue(health.speaks('b', True, blind))
        self.assertFalse(health.speaks('b', False, blind))
