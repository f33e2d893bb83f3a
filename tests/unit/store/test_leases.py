# SPDX-License-Identifier: Apache-2.0

"""Who may act: the lease, its tokens and its take-over."""

import concurrent.futures
import os
import socket
import subprocess
import sys
import threading
import unittest

import sqlalchemy as sa

from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.store import api
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import models
from tests.unit.store import databases

HERE = 'other-machine:1'
THERE = 'third-machine:1'


def an_incident():
    return core.Incident(
        uuid='inc-1',
        host='cmp-1',
        service_uuid='',
        epoch=1,
        phase=core.Phase.SUSPECTED,
        opened_at=1.0,
        updated_at=1.0,
    )


class Suite(databases.StoreTestCase):
    """What a lease promises; subclasses name the database."""

    def pass_time(self, seconds):
        table = models.leases
        self.execute(
            sa.update(table).values(renewed_at=table.c.renewed_at - seconds)
        )

    def test_second_engine_is_refused(self):
        self.store.take_lease(HERE, ttl=10.0)
        self.pass_time(4.0)

        with self.assertRaisesRegex(api.LeaseHeld, 'other-machine:1') as held:
            self.store.take_lease(THERE, ttl=10.0)
        self.assertEqual(HERE, held.exception.owner)
        self.assertAlmostEqual(4.0, held.exception.age, delta=3.0)

    def test_lease_that_ran_out_is_taken_over_with_a_higher_token(self):
        first = self.store.take_lease(HERE, ttl=10.0)
        self.pass_time(11.0)
        second = self.store.take_lease(THERE, ttl=10.0)

        self.assertGreater(second.token, first.token)

    def test_renewed_lease_does_not_run_out(self):
        lease = self.store.take_lease(HERE, ttl=10.0)
        self.pass_time(9.0)
        self.assertEqual(lease, self.store.renew_lease(lease))
        self.pass_time(5.0)

        with self.assertRaises(api.LeaseHeld):
            self.store.take_lease(THERE, ttl=10.0)

    def test_ttl_is_the_holders(self):
        self.store.take_lease(HERE, ttl=100.0)
        self.pass_time(50.0)

        with self.assertRaises(api.LeaseHeld):
            self.store.take_lease(THERE, ttl=1.0)

    def test_released_lease_is_free_at_once(self):
        first = self.store.take_lease(HERE, ttl=10.0)
        self.store.release_lease(first)
        second = self.store.take_lease(THERE, ttl=10.0)

        self.assertGreater(second.token, first.token)

    def test_coordination_lets_a_lease_be_taken_at_once(self):
        first = self.store.take_lease(HERE, ttl=10.0)
        second = self.store.take_lease(
            THERE, ttl=10.0, locked=True, expected=first.token
        )

        self.assertGreater(second.token, first.token)
        self.assertEqual(HERE, second.taken_from)
        with self.assertRaises(api.LeaseLost):
            self.store.renew_lease(first)

    def test_lease_that_somebody_else_took_meanwhile_is_not_taken(self):
        first = self.store.take_lease(HERE, ttl=10.0)
        second = self.store.take_lease(THERE, ttl=10.0, locked=True)

        with self.assertRaises(api.LeaseHeld):
            self.store.take_lease(
                'late-machine:1', 10.0, locked=True, expected=first.token
            )
        self.assertEqual(second, self.store.renew_lease(second))

    def test_lease_that_was_given_back_is_taken_from_nobody(self):
        first = self.store.take_lease(HERE, ttl=10.0)
        self.store.release_lease(first)

        self.assertEqual('', self.store.take_lease(THERE, 10.0).taken_from)

    def test_state_of_the_lease_is_for_everybody_to_read(self):
        self.assertEqual(0, self.store.lease_state().token)
        self.assertTrue(self.store.lease_state().is_over)
        lease = self.store.take_lease(HERE, ttl=10.0)
        self.pass_time(4.0)
        held = self.store.lease_state()

        self.assertEqual((lease.token, HERE), (held.token, held.owner))
        self.assertAlmostEqual(4.0, held.age, delta=3.0)
        self.assertFalse(held.is_over)
        self.pass_time(6.0)
        self.assertTrue(self.store.lease_state().is_over)

    def test_save_renews_the_lease(self):
        lease = self.store.take_lease(HERE, ttl=10.0)
        created = self.store.create(an_incident(), lease)
        self.pass_time(9.0)
        self.store.save(created, lease)
        self.pass_time(5.0)

        with self.assertRaises(api.LeaseHeld):
            self.store.take_lease(THERE, ttl=10.0)

    def test_engine_that_was_taken_over_cannot_do_anything(self):
        old = self.store.take_lease(HERE, ttl=10.0)
        created = self.store.create(an_incident(), old)
        self.pass_time(11.0)
        new = self.store.take_lease(THERE, ttl=10.0)

        with self.assertRaisesRegex(
            api.LeaseLost, "'other-machine:1' with token 1 .*third-machine"
        ):
            self.store.save(created, old)
        with self.assertRaises(api.LeaseLost):
            self.store.renew_lease(old)
        with self.assertRaises(api.LeaseLost):
            self.store.create(an_incident(), old)
        self.store.release_lease(old)
        self.assertEqual(created, self.store.incident('inc-1'))
        self.assertEqual(new, self.store.renew_lease(new))

    def test_engine_that_restarts_under_its_own_name_gets_a_new_token(self):
        old = self.store.take_lease(HERE, ttl=10.0)
        created = self.store.create(an_incident(), old)
        new = self.store.take_lease(HERE, ttl=10.0)

        self.assertGreater(new.token, old.token)
        with self.assertRaises(api.LeaseLost):
            self.store.save(created, old)

    def test_dead_process_of_this_machine_holds_nothing(self):
        self.store.take_lease(a_dead_owner(), ttl=1000.0)

        self.assertEqual(2, self.store.take_lease(THERE, ttl=10.0).token)

    def test_living_process_of_this_machine_keeps_its_lease(self):
        self.store.take_lease(leases.own_name(), ttl=1000.0)

        with self.assertRaises(api.LeaseHeld):
            self.store.take_lease(THERE, ttl=10.0)

    def test_one_of_many_engines_gets_the_lease(self):
        stores = [self.open_store() for _ in range(4)]
        together = threading.Barrier(len(stores))

        def take(number):
            together.wait()
            try:
                return stores[number].take_lease(f'machine-{number}:1', 60.0)
            except api.LeaseHeld:
                return None

        with concurrent.futures.ThreadPoolExecutor(len(stores)) as pool:
            taken = list(pool.map(take, range(len(stores))))

        self.assertEqual(3, taken.count(None))


class TestSqlite(Suite):
    DATABASE = databases.SQLITE


class TestPostgresql(Suite):
    DATABASE = databases.POSTGRESQL


class TestMysql(Suite):
    DATABASE = databases.MYSQL


class TestProcessIsGone(unittest.TestCase):
    def test_only_a_dead_process_of_this_machine_is_gone(self):
        host = socket.gethostname()
        dead = a_dead_owner()
        pid = dead.rpartition(':')[2]

        self.assertTrue(leases.process_is_gone(dead))
        for owner in (
            leases.own_name(),
            f'{host}:{os.getpid()}',
            f'{host}:1',
            f'other-machine:{pid}',
            f'{host}:{pid}@1',
            f'{host}:x',
            f'{host}:0',
            f'{host}:',
            f'{host}:99999999999999999999',
            host,
            '',
        ):
            self.assertFalse(leases.process_is_gone(owner), owner)


def a_dead_owner():
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return f'{socket.gethostname()}:{process.pid}'


# The suite runs by its subclasses only.
del Suite
