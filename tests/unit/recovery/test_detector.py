# SPDX-License-Identifier: Apache-2.0

import dataclasses
import itertools
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import views
from tests import patience  # noqa: F401 - no deadline

DOWN = detector.Liveness.DOWN
UP = detector.Liveness.UP
SUSPECTED = detector.Kind.SUSPECTED
DEGRADED = detector.Kind.DEGRADED
UNKNOWN = detector.Liveness.UNKNOWN

RULES = detector.Rules(
    timeout=6.0, reemit_interval=10.0, mass_silence_share=0.5
)


def beat(host, age):
    return views.Beat(
        host=host,
        service_uuid=f'service-of-{host}',
        boot_id='boot',
        sequence=1,
        system_uuid='',
        age=age,
    )


class World:
    """Hosts that beat every two seconds, a watcher that looks each second.

    :ivar dead: hosts that do not beat.
    :ivar stalled: nothing arrives at the store.
    :ivar paused: the watcher does not look.
    :ivar healths: what is said of hosts beside their heartbeats.
    """

    def __init__(self, hosts, rules=RULES):
        self.rules = rules
        self.heard = {
            f'cmp-{n + 1}': (n % 4) * 0.5 - 2.0 for n in range(hosts)
        }
        self.due = dict(self.heard)
        self.at = 0.0
        self.dead = set()
        self.stalled = False
        self.paused = False
        self.healths = []
        self.state = detector.begin(0.0)
        self.told = []
        self.suspicions = []
        self.last = None

    def step(self):
        for host in self.due:
            while self.due[host] <= self.at:
                if host not in self.dead and not self.stalled:
                    self.heard[host] = self.due[host]
                self.due[host] += 2.0
        if not self.paused:
            self.look()
        self.at += 1.0

    def look(self):
        beats = [beat(h, self.at - when) for h, when in self.heard.items()]
        self.last = detector.look(
            self.state, beats, self.at, self.rules, self.healths
        )
        self.state = self.last.state
        for item in self.last.announcements:
            if item.kind == SUSPECTED:
                self.suspicions.append((self.at, item.host))
            else:
                self.told.append(
                    (self.at, item.kind, item.host, item.repeated)
                )

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.step()
        return self

    def verdict(self, host):
        found = {look.host: look.verdict for look in self.last.hosts}
        return found[host]

    def downs(self):
        return [one[2] for one in self.told if one[1] == DOWN]


class OneHostTest(unittest.TestCase):
    def test_living_hosts_are_up_and_nothing_is_told(self):
        world = World(3).run(60)

        self.assertEqual([], world.told)
        self.assertEqual(detector.Sight.CLEAR, world.last.sight)
        self.assertEqual(UP, world.verdict('cmp-2'))

    def test_a_silent_host_is_down_after_one_timeout(self):
        world = World(3).run(20)
        world.dead.add('cmp-2')
        world.run(20)

        at, verdict, host, repeated = world.told[0]
        self.assertEqual((DOWN, 'cmp-2', False), (verdict, host, repeated))
        self.assertLessEqual(at, 20 + 6 + 2)
        self.assertEqual(UP, world.verdict('cmp-1'))

    def test_an_announcement_is_repeated_while_the_host_stays_down(self):
        world = World(3).run(20)
        world.dead.add('cmp-2')
        world.run(50)

        times = [one[0] for one in world.told]
        self.assertEqual(
            [False] + [True] * (len(times) - 1), [one[3] for one in world.told]
        )
        self.assertGreaterEqual(len(times), 4)
        self.assertEqual({10.0}, {b - a for a, b in itertools.pairwise(times)})

    def test_a_host_that_returns_is_announced_once(self):
        world = World(3).run(20)
        world.dead.add('cmp-2')
        world.run(12)
        world.dead.clear()
        world.run(20)

        self.assertEqual(
            [(UP, 'cmp-2')],
            [one[1:3] for one in world.told if one[1] == UP],
        )
        self.assertEqual((UP, 'cmp-2'), world.told[-1][1:3])

    def test_the_announcement_carries_the_service_uuid(self):
        state = dataclasses.replace(detector.begin(0.0))
        look = detector.look(
            state, [beat('a', 0.1), beat('b', 9), beat('c', 0.2)], 30, RULES
        )

        self.assertEqual('service-of-b', look.announcements[0].service_uuid)
        self.assertEqual(1, len(look.announcements))
        self.assertAlmostEqual(8.9, look.announcements[0].silent_for)

    def test_a_forgotten_host_is_told_no_more(self):
        world = World(3).run(20)
        world.dead.add('cmp-2')
        world.run(10)
        told = len(world.told)
        del world.heard['cmp-2'], world.due['cmp-2']
        world.run(30)

        self.assertEqual(told, len(world.told))
        self.assertEqual({}, dict(world.state.announced))


class BlindTest(unittest.TestCase):
    def test_a_stalled_pipe_makes_nobody_silent(self):
        world = World(10).run(20)
        world.stalled = True
        world.run(60)

        self.assertEqual([], world.told)
        self.assertEqual(detector.Sight.BLIND, world.last.sight)
        self.assertIn('No host of 10 was heard', world.last.reason)
        self.assertEqual(UNKNOWN, world.verdict('cmp-1'))

    def test_hosts_that_reconnect_late_after_a_stall_are_not_down(self):
        world = World(10).run(20)
        world.stalled = True
        world.run(40)
        world.stalled = False
        world.dead = {'cmp-1', 'cmp-2'}
        world.run(25)
        world.dead.clear()
        world.run(60)

        self.assertEqual([], world.told)
        self.assertEqual(detector.Sight.CLEAR, world.last.sight)

    def test_a_host_that_died_in_a_stall_is_found_after_the_hold_off(self):
        world = World(10).run(20)
        world.stalled = True
        world.run(40)
        world.stalled = False
        world.dead = {'cmp-1'}
        world.run(60)

        at = world.told[0][0]
        self.assertEqual(['cmp-1'], sorted(set(world.downs())))
        self.assertGreaterEqual(at, 60 + RULES.timeout + RULES.reconnect_max)
        self.assertLessEqual(at, 60 + RULES.timeout + 33)

    def test_a_short_stall_is_followed_by_a_short_hold_off(self):
        world = World(3).run(20)
        world.stalled = True
        world.run(5)
        world.stalled = False
        world.dead = {'cmp-1'}
        world.run(40)

        self.assertLessEqual(world.told[0][0], 25 + 2 * RULES.timeout + 3)

    def test_a_clock_that_jumps_ahead_makes_nobody_silent(self):
        def numbered(host, age, sequence):
            return dataclasses.replace(beat(host, age), sequence=sequence)

        hosts = [f'cmp-{n}' for n in range(5)]
        before = detector.look(
            dataclasses.replace(detector.begin(0.0), looked_at=99.0),
            [numbered(host, 0.5, 1) for host in hosts],
            100.0,
            RULES,
        )
        # Most were heard since the jump, two not yet: too few for a mass.
        mixed = [numbered(host, 0.2, 2) for host in hosts[:3]]
        mixed += [numbered(hosts[3], 3601.5, 1)]
        mixed += [numbered(hosts[4], 3600.4, 2)]

        jumped = detector.look(before.state, mixed, 101.0, RULES)

        self.assertEqual(detector.Sight.BLIND, jumped.sight)
        self.assertIn('jumped 3600.0s ahead', jumped.reason)
        self.assertEqual((), jumped.announcements)
        after = detector.look(jumped.state, mixed, 102.0, RULES)
        self.assertEqual(detector.Sight.HOLDING_OFF, after.sight)
        self.assertEqual((), after.announcements)

    def test_a_jump_shows_also_when_all_were_heard_just_before_it(self):
        hosts = [f'cmp-{n}' for n in range(5)]
        before = detector.look(
            dataclasses.replace(detector.begin(0.0), looked_at=99.0),
            [beat(host, 0.5) for host in hosts],
            100.0,
            RULES,
        )
        found = [
            dataclasses.replace(beat(host, age), sequence=2)
            for host, age in zip(
                hosts, (0.1, 0.2, 0.3, 3600.1, 3600.9), strict=True
            )
        ]

        jumped = detector.look(before.state, found, 101.0, RULES)

        self.assertIn('jumped 3599.9s ahead', jumped.reason)
        self.assertEqual((), jumped.announcements)

    def test_a_host_that_ages_with_the_clock_is_no_jump(self):
        world = World(5).run(20)
        world.dead.add('cmp-2')
        world.run(20)

        self.assertEqual({'cmp-2'}, set(world.downs()))

    def test_most_hosts_silent_at_once_is_our_fault(self):
        world = World(10).run(20)
        world.dead = {f'cmp-{n}' for n in range(1, 7)}
        world.run(120)

        self.assertEqual([], world.told)
        self.assertIn('6 of 10 hosts', world.last.reason)
        self.assertEqual(UNKNOWN, world.verdict('cmp-1'))
        self.assertEqual(UP, world.verdict('cmp-10'))

    def test_half_of_the_hosts_is_not_yet_a_mass(self):
        world = World(10).run(20)
        world.dead = {f'cmp-{n}' for n in range(1, 6)}
        world.run(20)

        self.assertEqual(5, len(set(world.downs())))

    def test_hosts_whose_last_beats_lie_apart_are_counted_together(self):
        # Their silences cross the timeout in different looks.
        for dead in range(4, 9):
            world = World(6).run(20)
            world.dead = {f'cmp-{n}' for n in range(1, dead)}
            world.run(30)
            with self.subTest(dead=dead - 1):
                expected = dead - 1 if dead - 1 <= 3 else 0
                self.assertEqual(expected, len(set(world.downs())))

    def test_one_of_three_is_a_death_and_two_of_three_are_a_mass(self):
        for dead, expected in ((1, 1), (2, 0), (3, 0)):
            world = World(3).run(20)
            world.dead = {f'cmp-{n + 1}' for n in range(dead)}
            world.run(30)
            with self.subTest(dead=dead):
                self.assertEqual(expected, len(set(world.downs())))

    def test_one_host_is_no_mass_however_small_the_share(self):
        rules = dataclasses.replace(RULES, mass_silence_share=0.1)
        world = World(3, rules).run(20)
        world.dead = {'cmp-1'}
        world.run(20)

        self.assertEqual({'cmp-1'}, set(world.downs()))

    def test_hosts_that_are_merely_late_blind_nobody(self):
        beats = [beat('a', 0.5), beat('b', 4.0), beat('c', 4.5)]
        look = detector.look(detector.begin(0.0), beats, 100.0, RULES)

        self.assertEqual(detector.Sight.CLEAR, look.sight)

    def test_a_stall_is_counted_from_the_last_heartbeat(self):
        state = detector.begin(0.0)
        state = detector.look(state, [beat('a', 5.0)], 105.0, RULES).state
        state = detector.look(state, [beat('a', 0.0)], 110.0, RULES).state

        self.assertEqual(110.0 + 6.0 + 10.0, state.hold_until)

    def test_one_of_two_is_down_and_the_only_one_never_is(self):
        for hosts, expected in ((2, 1), (1, 0)):
            world = World(hosts).run(20)
            world.dead = {'cmp-1'}
            world.run(30)
            with self.subTest(hosts=hosts):
                self.assertEqual(expected, len(set(world.downs())))

    def test_hosts_that_died_one_by_one_do_not_blind(self):
        world = World(10).run(20)
        for number in range(1, 9):
            world.dead.add(f'cmp-{number}')
            world.run(30)

        self.assertEqual(8, len(set(world.downs())))
        self.assertEqual(detector.Sight.CLEAR, world.last.sight)

    def test_a_host_that_is_down_is_not_repeated_while_blind(self):
        world = World(10).run(20)
        world.dead.add('cmp-1')
        world.run(12)
        world.stalled = True
        told = len(world.told)
        world.run(40)

        self.assertEqual(told, len(world.told))
        self.assertEqual(UNKNOWN, world.verdict('cmp-1'))

    def test_a_host_gone_for_a_day_neither_blinds_nor_is_announced(self):
        old = [beat(f'old-{n}', 90000.0) for n in range(9)]
        new = [beat('a', 0.5), beat('b', 1.0), beat('c', 9.0)]
        look = detector.look(detector.begin(0.0), old + new, 100.0, RULES)

        self.assertEqual(['c'], [item.host for item in look.announcements])
        self.assertEqual(detector.Sight.CLEAR, look.sight)


class WarmUpTest(unittest.TestCase):
    def test_a_new_watcher_convicts_nobody_for_one_timeout(self):
        beats = [beat('a', 0.5), beat('b', 100.0), beat('c', 0.6)]
        state = detector.begin(1000.0)

        early = detector.look(state, beats, 1005.9, RULES)
        late = detector.look(early.state, beats, 1006.0, RULES)

        self.assertEqual((), early.announcements)
        self.assertEqual(detector.Sight.WARMING_UP, early.sight)
        self.assertEqual('b', late.announcements[0].host)

    def test_an_empty_store_is_no_reason_to_be_blind(self):
        look = detector.look(detector.begin(0.0), [], 100.0, RULES)

        self.assertEqual(detector.Sight.CLEAR, look.sight)
        self.assertEqual((), look.hosts)


ages = st.lists(
    st.floats(min_value=-5, max_value=200, allow_nan=False),
    min_size=1,
    max_size=12,
)
rounds = st.lists(st.tuples(st.floats(0, 20), ages), min_size=1, max_size=12)


class AnyHistoryTest(unittest.TestCase):
    def looks(self, history):
        state, at = detector.begin(0.0), 0.0
        for pause, round_ages in history:
            at += pause
            beats = [
                beat(f'h{number:02}', age)
                for number, age in enumerate(round_ages)
            ]
            look = detector.look(state, beats, at, RULES)
            yield look, at
            state = look.state

    @hypothesis.given(rounds)
    def test_no_host_is_down_before_its_own_timeout(self, history):
        for look, _ in self.looks(history):
            for host in look.hosts:
                if host.age < RULES.timeout:
                    self.assertNotEqual(DOWN, host.verdict)

    @hypothesis.given(rounds)
    def test_no_host_is_down_while_all_are_silent(self, history):
        for look, _ in self.looks(history):
            if all(host.age >= RULES.timeout for host in look.hosts):
                self.assertNotIn(DOWN, [host.verdict for host in look.hosts])

    @hypothesis.given(rounds)
    def test_only_clear_sight_convicts(self, history):
        for look, _ in self.looks(history):
            if look.sight != detector.Sight.CLEAR:
                verdicts = [host.verdict for host in look.hosts]
                self.assertNotIn(DOWN, verdicts)
                self.assertTrue(look.reason)

    @hypothesis.given(rounds)
    def test_every_announcement_is_a_verdict_and_ups_follow_downs(
        self, history
    ):
        down = set()
        for look, _ in self.looks(history):
            verdicts = {host.host: host.verdict for host in look.hosts}
            for item in look.announcements:
                self.assertEqual(verdicts[item.host], item.verdict)
                if item.kind == DOWN:
                    self.assertEqual(item.host in down, item.repeated)
                    down.add(item.host)
                elif item.kind == SUSPECTED:
                    self.assertNotIn(item.host, down)
                else:
                    self.assertIn(item.host, down)
                    down.discard(item.host)
            down &= set(verdicts)

    @hypothesis.given(rounds)
    def test_an_announcement_is_never_repeated_too_early(self, history):
        last = {}
        for look, at in self.looks(history):
            for item in look.announcements:
                if item.repeated:
                    self.assertGreaterEqual(
                        at - last[item.host], RULES.reemit_interval
                    )
                last[item.host] = at


class SoonestTest(unittest.TestCase):
    def test_it_is_the_time_that_the_most_silent_suspect_has_left(self):
        hosts = [
            detector.HostLook(
                host, '', verdict, silence, silence, suspected=suspected
            )
            for host, verdict, silence, suspected in (
                ('down', DOWN, 9.0, True),
                ('up', UP, 1.0, False),
                ('late', UP, 4.5, True),
                ('later', UP, 3.5, True),
                ('due', UP, 6.5, True),
            )
        ]

        self.assertEqual(1.5, detector.soonest(hosts[:4], RULES))
        self.assertEqual(0.0, detector.soonest(hosts, RULES))
        self.assertEqual(float('inf'), detector.soonest(hosts[:2], RULES))
