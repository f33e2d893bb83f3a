# SPDX-License-Identifier: Apache-2.0

"""An engine that stands still in a transaction keeps nobody out."""

import time
import unittest
from unittest import mock

from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from tests.unit.store import databases

HERE, THERE = 'stopped:1', 'other:1'


class Suite(databases.StoreTestCase):
    def setUp(self):
        self.enterContext(mock.patch.object(database, 'IDLE_LIMIT', 1))
        super().setUp()

    def test_lease_of_an_engine_that_stopped_while_it_saved_is_taken(self):
        self.store.take_lease(HERE, ttl=1.0)
        stopped = self.open_store()._db.engine.connect()
        self.addCleanup(stopped.invalidate)
        stopped.execute(sa.select(models.leases).with_for_update())
        # It is never heard again, and its lease runs out.
        began = time.monotonic()

        lease = self.store.take_lease(THERE, ttl=1.0, locked=True)

        self.assertEqual(2, lease.token)
        self.assertLess(time.monotonic() - began, 20.0)
        with self.assertRaises(db_exception.DBConnectionError):
            stopped.execute(sa.update(models.leases).values(owner=HERE))

    def test_connection_that_rests_in_the_pool_can_be_used_again(self):
        self.store.take_lease(HERE, ttl=60.0)
        time.sleep(2.5)

        self.assertEqual(HERE, self.store.lease_state().owner)


class MySQL(Suite):
    DATABASE = databases.MYSQL


class PostgreSQL(Suite):
    DATABASE = databases.POSTGRESQL


# SQLite has one writer, and ends the transaction of one that is killed.
del Suite


if __name__ == '__main__':
    unittest.main()
