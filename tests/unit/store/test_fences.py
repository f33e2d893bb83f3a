# SPDX-License-Identifier: Apache-2.0

"""Fences of incidents that are over: found without reading all the others."""

import unittest
from unittest import mock

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from tests.unit.recovery import examples
from tests.unit.store import databases

Phase = incident.Phase


def load_tests(
    loader: unittest.TestLoader, tests: object, pattern: object
) -> unittest.TestSuite:
    suite = unittest.TestSuite()
    for case in (TestSqlite, TestPostgresql, TestMysql):
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


class Suite(databases.StoreTestCase):
    def _closed(self, host: str, at: float, **changes: object) -> None:
        given = {
            'phase': Phase.CLOSED,
            'fence': examples.fence(intended_at=at - 50.0),
            'closed_at': at,
            **changes,
        }
        self.store.create(
            examples.make(
                uuid=f'inc-{host}', host=host, opened_at=at - 60.0, **given
            ),
            None,
        )

    def test_fences_of_incidents_closed_since_then_are_found(self):
        self._closed('cmp-1', 1000.0)
        self._closed('cmp-2', 900.0)

        found = self.store.recent_fences(950.0)

        self.assertEqual((gates.PastFence('cmp-1', 'az1', 950.0),), found)

    def test_one_that_was_cancelled_after_its_fence_is_found(self):
        self._closed('cmp-1', 1000.0, phase=Phase.CANCELLED)

        self.assertEqual(1, len(self.store.recent_fences(0.0)))

    def test_open_ones_are_not_among_them(self):
        self._closed('cmp-1', 1000.0, phase=Phase.RECOVERED, closed_at=None)

        self.assertEqual((), self.store.recent_fences(0.0))

    def test_a_false_alarm_of_many_hosts_loads_no_document(self):
        for number in range(5):
            self._closed(
                f'cmp-{number}', 1000.0, phase=Phase.CANCELLED, fence=None
            )

        with mock.patch.object(documents, 'loads', autospec=True) as loads:
            self.assertEqual((), self.store.recent_fences(0.0))
        loads.assert_not_called()

    def test_a_word_in_a_timeline_is_no_fence(self):
        entry = incident.Entry(
            1, 1.0, 'released', 'olga said "HaFenceRecord" and laughed'
        )
        self._closed('cmp-1', 1000.0, fence=None, timeline=(entry,))

        self.assertEqual((), self.store.recent_fences(0.0))

    def test_a_document_of_a_newer_release_counts_from_when_it_closed(self):
        self._closed('cmp-1', 1000.0)
        newer = documents.NewerReleaseError('version 9.9')

        with mock.patch.object(
            documents, 'loads', autospec=True, side_effect=newer
        ):
            found = self.store.recent_fences(0.0)

        self.assertEqual((gates.PastFence('cmp-1', '', 1000.0),), found)


class TestSqlite(Suite):
    DATABASE = databases.SQLITE


class TestPostgresql(Suite):
    DATABASE = databases.POSTGRESQL


class TestMysql(Suite):
    DATABASE = databases.MYSQL
