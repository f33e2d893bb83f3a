# SPDX-License-Identifier: Apache-2.0

"""Acting or watching: who takes over, when, and who must not run."""

import dataclasses
import unittest

from nova_ha_plugins.engine import coordination
from nova_ha_plugins.engine import standing
from nova_ha_plugins.store import values

TTL = 10.0
BACKEND = 'mysql://db/nova_ha'


class FakeStore:
    """The lease and the rows of the engines, by the clock of the test."""

    def __init__(self, clock):
        self.clock = clock
        self.token, self.owner, self.renewed = 0, '', 0.0
        self.rows = {}
        self.taken = []

    def lease_state(self):
        return values.LeaseState(
            self.token, self.owner, self.clock() - self.renewed, TTL
        )

    def take_lease(self, owner, ttl, locked=False, expected=None):
        if expected not in (None, self.token):
            raise values.LeaseHeld(self.owner, 0.0)
        before, self.owner = self.owner, owner
        self.token += 1
        self.renewed = self.clock()
        self.taken.append((owner, locked))
        return values.Lease(self.token, owner, before)

    def renew_lease(self, lease):
        if (lease.token, lease.owner) != (self.token, self.owner):
            raise values.LeaseLost(f'it belongs to {self.owner}')
        self.renewed = self.clock()
        return lease

    def note_engine(self, name, ttl, told):
        self.rows[name] = (self.clock(), ttl, told)

    def engines(self):
        return tuple(
            values.EngineState(name, self.clock() - at, ttl, told)
            for name, (at, ttl, told) in self.rows.items()
        )

    def forget_engine(self, name):
        self.rows.pop(name, None)


@dataclasses.dataclass
class FakeLocks:
    """A coordination service; ``holders`` says who holds which lock."""

    held: str
    holders: set[str]
    caught: str = ''
    wish: str = ''

    def catch(self, lock):
        self.wish = lock
        self.caught = lock if lock and lock not in self.holders else ''


class EndedError(Exception):
    """The process ended itself."""


def end(why):
    raise EndedError(why)


class StandingTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 1000.0
        self.store = FakeStore(lambda: self.now)
        self.holders = set()
        self.warm = {'a': True, 'b': True, 'c': True}

    def engine(self, name, backend=BACKEND):
        lock = f'lock-{name}' if backend else ''
        self.holders.add(lock)
        found = standing.Standing(
            self.store,
            FakeLocks(lock, self.holders),
            name,
            TTL,
            {'release': '1', 'backend': backend},
            lambda: self.warm[name],
            end,
            lambda: self.now,
        )
        found.turn()
        return found

    def run_for(self, seconds, *engines):
        """Return the seconds until one of them acts, None if none does."""
        began = self.now
        while self.now - began < seconds:
            self.now += 0.5
            for engine in engines:
                engine.turn()
                if engine.lease is not None and engine is not self.acting:
                    return self.now - began
        return None

    def two(self):
        self.acting = self.engine('a')
        return self.acting, self.engine('b')

    def test_first_engine_acts_and_the_next_one_watches(self):
        first, second = self.two()

        self.assertIsNotNone(first.lease)
        self.assertIsNone(second.lease)
        self.assertTrue(first.changed.is_set())
        self.assertIsNone(self.run_for(60.0, first, second))
        self.assertEqual('', second.refusal)

    def test_watcher_tells_what_it_is_and_nothing_else(self):
        self.two()

        told = self.store.rows['b'][2]
        self.assertEqual(
            {
                'release': '1',
                'backend': BACKEND,
                'acting': False,
                'token': 0,
                'warm': True,
                'lock': 'lock-b',
            },
            told,
        )
        self.assertTrue(self.store.rows['a'][2]['acting'])

    def test_free_lock_lets_it_take_over_within_two_seconds(self):
        first, second = self.two()
        self.run_for(5.0, first, second)
        self.holders.discard('lock-a')

        self.assertLess(self.run_for(20.0, second), 2.0)
        self.assertEqual(('b', True), self.store.taken[-1])
        self.assertEqual('a', second.lease.taken_from)

    def test_frozen_holder_of_the_lock_is_waited_for_until_its_ttl(self):
        first, second = self.two()
        self.run_for(5.0, first, second)

        took = self.run_for(30.0, second)

        self.assertAlmostEqual(TTL, took, delta=1.0)
        self.assertEqual(('b', False), self.store.taken[-1])

    def test_engine_that_wakes_up_without_its_lease_ends(self):
        first, second = self.two()
        self.run_for(30.0, second)

        with self.assertRaisesRegex(EndedError, 'belongs to b'):
            first.turn()

    def test_engine_that_lost_only_its_lock_keeps_the_lease(self):
        first, second = self.two()
        self.holders.discard('lock-a')

        with self.assertLogs('nova_ha_plugins.engine.standing') as logs:
            self.assertIsNone(self.run_for(60.0, first, second))
        self.assertEqual(1, len(logs.output))
        self.assertIn('lost its coordination service', logs.output[0])
        self.assertEqual('', second.refusal)

    def test_lease_that_was_given_back_is_taken_in_the_next_turn(self):
        _, second = self.two()
        self.store.owner = ''

        self.assertEqual(0.5, self.run_for(20.0, second))
        self.assertEqual('', second.lease.taken_from)

    def test_cold_engine_leaves_it_to_a_warm_one(self):
        self.acting = self.engine('a')
        cold, warm = self.engine('b'), self.engine('c')
        self.warm['b'] = False
        self.run_for(5.0, self.acting, cold, warm)
        self.holders.discard('lock-a')

        self.run_for(20.0, cold, warm)

        self.assertEqual('c', self.store.owner)

    def test_cold_engine_takes_over_when_there_is_no_other(self):
        self.acting = self.engine('a')
        cold = self.engine('b')
        self.warm['b'] = False
        self.holders.discard('lock-a')

        self.assertLess(self.run_for(20.0, cold), 2.0)

    def test_row_of_a_warm_engine_that_died_too_delays_little(self):
        self.acting = self.engine('a')
        cold, _dead = self.engine('b'), self.engine('c')
        self.warm['b'] = False
        self.holders -= {'lock-a', 'lock-c'}

        self.assertLess(self.run_for(20.0, cold), 4.0)

    def test_clock_that_goes_back_is_no_death(self):
        first, second = self.two()
        self.run_for(5.0, first, second)
        self.store.renewed += 3600.0
        second.turn()

        self.assertIsNone(self.run_for(30.0, first, second))
        self.assertIsNone(second.lease)

    def test_death_before_the_clock_goes_back_is_noticed(self):
        first, second = self.two()
        self.run_for(5.0, first, second)
        self.store.renewed += 3600.0

        self.assertLess(self.run_for(30.0, second), 4.0)

    def test_second_engine_without_coordination_refuses(self):
        self.acting = self.engine('a', backend='')
        second = self.engine('b', backend='')

        self.run_for(TTL - 1.0, self.acting, second)
        self.assertEqual('', second.refusal)
        self.run_for(5.0, self.acting, second)

        self.assertRegex(
            second.refusal,
            r"^Engine 'a' is at work already: .*backend_url, and neither has",
        )
        self.assertEqual(['a'], list(self.store.rows))
        self.assertTrue(second.changed.is_set())
        self.assertIsNone(second.lease)

    def test_engine_with_another_driver_refuses(self):
        self.acting = self.engine('a')
        second = self.engine('b', backend='etcd3+http://db/')

        self.run_for(15.0, self.acting, second)

        self.assertIn(f"expected '{BACKEND}'", second.refusal)

    def test_other_address_of_the_same_backend_is_no_reason(self):
        self.acting = self.engine('a')
        second = self.engine('b', backend='mysql://localhost/nova_ha')

        self.run_for(60.0, self.acting, second)

        self.assertEqual('', second.refusal)

    def test_other_address_where_the_lock_is_free_is_another_backend(self):
        self.acting = self.engine('a')
        second = self.engine('b', backend='mysql://elsewhere/nova_ha')
        self.holders.discard('lock-a')

        self.run_for(30.0, self.acting, second)

        self.assertIn('mysql://elsewhere/nova_ha', second.refusal)

    def test_dead_engine_without_coordination_is_no_reason(self):
        self.acting = self.engine('a', backend='')
        second = self.engine('b', backend='')

        self.assertIsNotNone(self.run_for(30.0, second))
        self.assertEqual('', second.refusal)

    def test_lease_is_not_renewed_for_a_round_that_never_ends(self):
        first, second = self.two()
        first.round_began = self.now

        with self.assertLogs('nova_ha_plugins.engine.standing') as logs:
            self.assertIsNotNone(self.run_for(400.0, first, second))
        self.assertIn('A round does not end', logs.output[0])
        self.assertEqual(2, len(logs.output))
        with self.assertRaisesRegex(EndedError, "belongs to 'b'"):
            first.turn()

    def test_pause_of_the_whole_process_is_noticed(self):
        first, _ = self.two()
        stops = iter([False, False, True])

        class Stop:
            def is_set(self):
                return next(stops)

            def wait(stop, seconds):
                self.now += seconds + 6.0

        first.keep(Stop(), 6.0)

        self.assertTrue(first.stood_still.is_set())

    def test_a_fault_of_one_turn_is_not_the_end_of_watching(self):
        watcher = self.engine('b')
        turns = []

        def turn():
            turns.append(self.now)
            raise ValueError('a row that nobody foresaw')

        watcher.turn = turn

        class Stop:
            def is_set(stop):
                return len(turns) == 3

            def wait(stop, seconds):
                self.now += seconds

        with self.assertLogs(standing.LOG.logger, 'ERROR') as found:
            watcher.keep(Stop(), 60.0)

        self.assertEqual(3, len(turns))
        self.assertEqual(3, len(found.records))


class LabelTest(unittest.TestCase):
    def test_label_has_no_password(self):
        for url, label in (
            ('', ''),
            ('mysql://u:p@db:3307/ha', 'mysql://db:3307/ha'),
            ('postgresql://u:p@db?dbname=ha', 'postgresql://db/ha'),
            ('etcd3+http://127.0.0.1:2379', 'etcd3+http://127.0.0.1:2379/'),
        ):
            self.assertEqual(label, coordination.label(url))
