# SPDX-License-Identifier: Apache-2.0

"""Questions that are asked often do not read all of nova's migrations."""

import datetime
import unittest

from nova.db.main import models
import sqlalchemy as sa
from sqlalchemy import orm

from nova_ha_plugins.api import reading
from nova_ha_plugins.recovery import progress

EPOCH = datetime.datetime(2026, 1, 1)
TABLES = [
    models.BASE.metadata.tables[name]
    for name in (
        'migrations',
        'instances',
        'instance_actions',
        'instance_actions_events',
    )
]


class ReadingTest(unittest.TestCase):
    def setUp(self):
        engine = sa.create_engine('sqlite://')
        self.addCleanup(engine.dispose)
        models.BASE.metadata.create_all(engine, tables=TABLES)
        self.session = orm.Session(engine)
        self.addCleanup(self.session.close)
        self.said = []
        sa.event.listen(
            engine,
            'before_cursor_execute',
            lambda conn, cursor, statement, *rest: self.said.append(statement),
        )

    def write(self, *seconds, **values):
        for at in seconds:
            self.session.execute(
                sa.insert(models.Migration).values(
                    uuid=f'uuid-{at}',
                    migration_type='evacuation',
                    created_at=EPOCH + datetime.timedelta(0, at),
                    **{'status': 'done', 'deleted': 0, **values},
                )
            )
        self.said.clear()

    def rows(self, limit=None, **filters):
        return reading._rows(
            self.session, reading.Filters(**filters), limit, None
        )

    def test_order_is_by_time_where_numbers_are_not(self):
        self.write(9, 8, 3, 7, 1)

        self.assertEqual(
            ['uuid-9', 'uuid-8', 'uuid-7'],
            [row.uuid for row in self.rows(limit=3)],
        )
        # It would lead MariaDB through the index of all uuids.
        self.assertNotIn('uuid IS NOT NULL', ' '.join(self.said))

    def test_what_an_engine_asks_for_is_found_through_an_index(self):
        self.write(1, 2, 3)
        self.write(4, status='accepted')
        self.write(5, deleted=5, deleted_at=EPOCH + datetime.timedelta(9))
        for expected, filters in (
            ({'uuid-4'}, {'statuses': progress.OPEN_STATUSES}),
            (
                {'uuid-4', 'uuid-5'},
                {'changes_since': EPOCH + datetime.timedelta(0, 4)},
            ),
        ):
            self.said.clear()
            found = {row.uuid for row in self.rows(limit=10, **filters)}
            said = list(self.said)

            self.assertEqual(expected, found)
            self.assertIn('UNION', said[0])
            self.assertNotIn('coalesce(migrations.updated_at', said[0])
            self.assertIn('migrations.id IN (', said[1])
