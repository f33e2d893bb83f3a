# SPDX-License-Identifier: Apache-2.0

"""What the store keeps of evacuations, whose turn it is, who is fenced."""

import concurrent.futures
import dataclasses
import json
import unittest

import sqlalchemy as sa

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.store import api
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values
from tests.unit.recovery import examples
from tests.unit.store import databases

Phase = incident.Phase
AT = 1_000_000.0


def load_tests(
    loader: unittest.TestLoader, tests: object, pattern: object
) -> unittest.TestSuite:
    suite = unittest.TestSuite()
    for case in (TestSqlite, TestPostgresql, TestMysql):
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


def a_trace(uuid: str = 'mig-1', **fields: object) -> values.EvacuationTrace:
    given = {
        'server_uuid': f'vm-of-{uuid}',
        'source': 'cmp-1',
        'created_at': AT,
        **fields,
    }
    return values.EvacuationTrace(uuid=uuid, **given)


def an_ended(uuid: str, took: float, **fields: object):
    given = {
        'boot': 'image',
        'storage': 'copy',
        'size': '1GiB',
        'state': 'succeeded',
        'phase': 'done',
        'told': 'end',
        'finished_at': AT + took,
        'seconds': {'spawning': took, 'accepted': 1.0},
        **fields,
    }
    return a_trace(uuid, **given)


class Suite(databases.StoreTestCase):
    def setUp(self):
        super().setUp()
        self.lease = self.store.take_lease('somebody:1', 60.0)

    def _save(self, *traces: values.EvacuationTrace) -> None:
        self.store.save_evacuation_traces(traces, self.lease)

    # Traces

    def test_trace_is_read_as_it_was_saved(self):
        trace = a_trace(
            destination='cmp-ß',
            state='running',
            phase='spawning',
            progress=62,
            boot='image',
            storage='copy',
            size='512MiB-1GiB',
            phase_since=AT + 1.5,
            seconds={'accepted': 0.25, 'claiming': 1.0},
            disk_processed=2**40,
            processed_at=AT + 3.0,
            rate=1e9,
            told='progress',
            told_progress=60,
        )
        self._save(trace)

        self.assertEqual(
            {'mig-1': trace}, self.store.evacuation_traces(['mig-1', 'other'])
        )

    def test_saved_again_it_is_one_and_the_later(self):
        self._save(a_trace(), a_trace('mig-2'))
        later = a_trace(state='running', told='start')
        self._save(later, a_trace('mig-3'))

        self.assertEqual(3, len(self.store.open_evacuation_traces()))
        self.assertEqual(
            later, self.store.evacuation_traces(['mig-1'])['mig-1']
        )

    def test_more_than_one_query_takes_are_saved_and_found(self):
        traces = [a_trace(f'mig-{number:04}') for number in range(450)]
        self._save(*traces)
        self._save(*traces[:250])

        found = self.store.evacuation_traces([one.uuid for one in traces])

        self.assertEqual(450, len(found))

    def test_none_asked_for_is_none_found(self):
        self._save()

        self.assertEqual({}, self.store.evacuation_traces([]))

    def test_open_are_those_that_go_on_oldest_first(self):
        self._save(
            a_trace('mig-1', created_at=AT + 5, state='running'),
            a_trace('mig-2', created_at=AT, state='queued'),
            a_trace('mig-3', state='unknown', created_at=AT + 1),
            an_ended('mig-4', 1.0),
        )

        found = self.store.open_evacuation_traces()

        self.assertEqual(
            ['mig-2', 'mig-3', 'mig-1'], [trace.uuid for trace in found]
        )

    def test_one_that_ended_untold_is_open(self):
        self._save(an_ended('mig-1', 1.0, told='progress'))

        self.assertEqual(1, len(self.store.open_evacuation_traces()))

    def test_engine_that_lost_its_lease_changes_no_trace(self):
        self._save(a_trace())
        self.store.take_lease('other:1', 60.0, locked=True)

        with self.assertRaises(api.LeaseLost):
            self._save(a_trace(state='running'), a_trace('mig-2'))
        self.assertEqual((a_trace(),), self.store.open_evacuation_traces())

    def test_what_a_newer_release_knows_more_is_passed_over(self):
        self._save(a_trace())
        document = {**dataclasses.asdict(a_trace()), 'mood': 'good'}
        self.execute(
            sa.update(models.evacuations).values(document=json.dumps(document))
        )

        self.assertEqual((a_trace(),), self.store.open_evacuation_traces())

    # History

    def test_history_has_kind_and_phases_in_their_order(self):
        self._save(an_ended('mig-1', 7.0))

        self.assertEqual(
            (
                estimate.Past(
                    estimate.Kind(
                        progress.Boot.IMAGE, progress.Storage.COPY, '1GiB'
                    ),
                    (
                        (progress.Phase.ACCEPTED, 1.0),
                        (progress.Phase.SPAWNING, 7.0),
                    ),
                ),
            ),
            self.store.evacuation_history(),
        )

    def test_history_has_the_newest_of_each_kind(self):
        self._save(
            *(an_ended(f'mig-{took}', float(took)) for took in range(10)),
            an_ended('mig-v', 99.0, boot='volume', storage='volumes'),
        )

        found = self.store.evacuation_history(limit=3)

        self.assertCountEqual(
            [9.0, 8.0, 7.0, 99.0], [one.seconds[-1][1] for one in found]
        )

    def test_history_has_none_that_failed_or_goes_on_or_was_not_watched(self):
        self._save(
            an_ended('mig-1', 1.0, state='failed'),
            an_ended('mig-2', 1.0, state='running', finished_at=None),
            an_ended('mig-3', 1.0, seconds={}),
        )

        self.assertEqual((), self.store.evacuation_history())

    def test_kind_that_is_not_known_is_a_kind(self):
        self._save(an_ended('mig-1', 1.0, boot='', storage='unknown', size=''))

        self.assertEqual(
            [estimate.Kind()],
            [past.kind for past in self.store.evacuation_history()],
        )

    def test_purge_leaves_what_is_followed(self):
        self._save(a_trace('mig-1'), an_ended('mig-2', 1.0))

        purged = self.store.purge(days=-1)

        self.assertEqual(1, purged.evacuations)
        self.assertEqual(
            ['mig-1'], list(self.store.evacuation_traces(['mig-1', 'mig-2']))
        )

    def test_purge_leaves_what_was_seen_lately(self):
        self._save(an_ended('mig-1', 1.0))

        self.assertEqual(0, self.store.purge(days=1).evacuations)

    # Turns

    def test_turn_is_one_persons_at_a_time(self):
        token = self.store.take_turn('vm-1', 30.0)

        self.assertIsNotNone(token)
        self.assertIsNone(self.store.take_turn('vm-1', 30.0))
        self.assertIsNotNone(self.store.take_turn('vm-2', 30.0))

    def test_ended_turn_is_free_at_once(self):
        token = self.store.take_turn('vm-1', 30.0)
        self.store.end_turn('vm-1', token)

        self.assertIsNotNone(self.store.take_turn('vm-1', 30.0))

    def test_turn_of_one_that_died_is_over_when_its_time_is(self):
        first = self.store.take_turn('vm-1', 30.0)
        self._turn_is_older(31.0)

        second = self.store.take_turn('vm-1', 30.0)

        self.assertNotIn(second, (None, first))

    def test_one_that_comes_late_does_not_end_anothers_turn(self):
        first = self.store.take_turn('vm-1', 30.0)
        self._turn_is_older(31.0)
        self.store.take_turn('vm-1', 30.0)
        self.store.end_turn('vm-1', first)

        self.assertIsNone(self.store.take_turn('vm-1', 30.0))

    def test_turn_ends_although_the_clock_went_back(self):
        self.store.take_turn('vm-1', 30.0)
        self._turn_is_older(-3600.0)

        self.assertIsNotNone(self.store.take_turn('vm-1', 30.0))

    def test_of_many_at_the_same_moment_one_has_the_turn(self):
        stores = [self.open_store() for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for number in range(5):
                tokens = list(
                    pool.map(
                        lambda store, key=f'vm-{number}': store.take_turn(
                            key, 30.0
                        ),
                        stores,
                    )
                )
                self.assertEqual(
                    1, sum(token is not None for token in tokens), tokens
                )

    def test_purge_removes_turns_that_nobody_ended(self):
        self.store.take_turn('vm-1', 30.0)
        self.store.purge(days=-1)

        self.assertIsNotNone(self.store.take_turn('vm-1', 30.0))

    def _turn_is_older(self, seconds: float) -> None:
        table = models.turns
        self.execute(
            sa.update(table).values(taken_at=table.c.taken_at - seconds)
        )

    # Fences

    def _fenced(self, at: float, **changes: object) -> None:
        given = {
            'phase': Phase.EVACUATING,
            'fence': examples.valid_fence(confirmed_at=at),
            'closed_at': None,
            **changes,
        }
        self.store.create(
            examples.make(uuid='inc-1', host='cmp-2', opened_at=AT, **given),
            None,
        )

    def test_host_without_an_incident_was_not_fenced(self):
        self.assertFalse(self.store.fenced_since('cmp-2', 0.0))

    def test_host_that_was_read_off_later_is_fenced_since_then(self):
        self._fenced(AT + 60.0)

        self.assertTrue(self.store.fenced_since('cmp-2', AT))
        self.assertFalse(self.store.fenced_since('cmp-1', AT))

    def test_host_that_was_read_off_earlier_is_not(self):
        self._fenced(AT - 60.0)

        self.assertFalse(self.store.fenced_since('cmp-2', AT))

    def test_it_counts_when_the_incident_is_over(self):
        self._fenced(AT + 60.0, phase=Phase.CLOSED, closed_at=AT + 900.0)

        self.assertTrue(self.store.fenced_since('cmp-2', AT))

    def test_clocks_may_differ_while_the_host_is_kept_out(self):
        self._fenced(AT - 1.0)

        self.assertTrue(self.store.fenced_since('cmp-2', AT))

    def test_clocks_may_differ_when_the_host_is_back(self):
        self._fenced(AT + 1.0, phase=Phase.CLOSED, closed_at=AT + 900.0)

        self.assertFalse(self.store.fenced_since('cmp-2', AT))

    def test_intent_or_void_or_no_proof_is_no_fence(self):
        for changes in (
            {'state': incident.FenceState.INTENDED},
            {'state': incident.FenceState.VOID},
            {'evidence_class': None},
        ):
            with self.subTest(changes):
                self.execute(sa.delete(models.incidents))
                self._fenced(
                    AT,
                    fence=examples.valid_fence(
                        **{'confirmed_at': AT + 60.0, **changes}
                    ),
                )

                self.assertFalse(self.store.fenced_since('cmp-2', AT))


class TestSqlite(Suite):
    DATABASE = databases.SQLITE


class TestPostgresql(Suite):
    DATABASE = databases.POSTGRESQL


class TestMysql(Suite):
    DATABASE = databases.MYSQL
