# SPDX-License-Identifier: Apache-2.0

"""The migrations end at the tables that the code uses."""

import concurrent.futures
import unittest

from alembic import autogenerate
from alembic import migration

from nova_ha_plugins.store import api
from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import schema
from tests.unit.store import databases


class Suite(unittest.TestCase):
    """What a migration promises; subclasses name the database."""

    DATABASE = databases.SQLITE

    def setUp(self):
        super().setUp()
        self.conf = databases.configuration(self.DATABASE.make_url(self))

    def test_empty_database_is_brought_to_head_once(self):
        before = schema.state(self.conf)
        self.assertIsNone(before.current)
        self.assertFalse(before.is_current)

        self.assertTrue(schema.sync(self.conf).is_current)
        self.assertTrue(schema.sync(self.conf).is_current)
        self.assertTrue(schema.state(self.conf).is_current)

    def test_migrated_tables_are_those_of_the_models(self):
        schema.sync(self.conf)
        db = database.Database(self.conf)
        self.addCleanup(db.engine.dispose)

        def difference(connection):
            context = migration.MigrationContext.configure(
                connection, opts={'compare_type': True}
            )
            return autogenerate.compare_metadata(context, models.metadata)

        self.assertEqual([], db.read(difference))

    def test_store_without_tables_says_what_to_run(self):
        store = api.open_store(self.conf)
        self.addCleanup(store._db.engine.dispose)

        with self.assertRaisesRegex(
            api.SchemaOutdated, 'nova-ha-manage db sync'
        ):
            store.arm_state()


class TestSqlite(Suite):
    def test_two_at_once_both_end_at_head(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            states = list(pool.map(schema.sync, [self.conf, self.conf]))

        self.assertTrue(all(state.is_current for state in states))

    def test_those_who_come_while_the_file_is_new_are_not_refused(self):
        # Turning a file to WAL refuses others at once; one try in ten hit it.
        for _ in range(25):
            conf = databases.configuration(self.DATABASE.make_url(self))
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                states = list(pool.map(schema.sync, [conf] * 4))

            self.assertTrue(all(state.is_current for state in states))


class TestPostgresql(Suite):
    DATABASE = databases.POSTGRESQL


class TestMysql(Suite):
    DATABASE = databases.MYSQL


# The suite runs by its subclasses only.
del Suite
