# SPDX-License-Identifier: Apache-2.0

"""What the store promises of incidents, facts, hosts and the arm state."""

import concurrent.futures
import dataclasses
import multiprocessing
import threading
import time
import unittest
from unittest import mock

import sqlalchemy as sa

from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.store import api
from nova_ha_plugins.store import models
from tests.unit.store import databases

DAY = 86400.0
OWNER = 'other-machine:1'


def an_incident(uuid='inc-1', host='cmp-1', epoch=1, **more):
    values = {
        'service_uuid': 'svc-1',
        'phase': core.Phase.SUSPECTED,
        'opened_at': 1000.0,
        'updated_at': 1000.0,
        **more,
    }
    return core.Incident(uuid=uuid, host=host, epoch=epoch, **values)


def a_fact(uuid='fact-1', host='cmp-1', **more):
    values = {
        'kind': facts.FactKind.HOST_DOWN,
        'channel': 'webhook',
        'verified': True,
        'by': 'user-1',
        'reason': 'silent for 6s',
        **more,
    }
    return facts.Fact(uuid=uuid, host=host, **values)


class Suite(databases.StoreTestCase):
    """The store's promises; subclasses name the database."""

    def setUp(self):
        super().setUp()
        self.lease = self.store.take_lease(OWNER, 60.0)

    # The clock

    def test_clock_is_the_database_servers(self):
        first = self.store.now()
        with mock.patch('time.time', autospec=True, return_value=4e9):
            second = self.store.now()

        self.assertAlmostEqual(time.time(), first, delta=60.0)
        self.assertLessEqual(first, second)
        self.assertLess(second, first + 60.0)

    def test_clock_has_fractions(self):
        self.assertTrue(any(self.store.now() % 1.0 for _ in range(5)))

    # Incidents

    def test_stored_incident_is_read_as_it_was(self):
        created = self.store.create(
            an_incident(
                fence=core.FenceRecord(
                    state=core.FenceState.VALID,
                    epoch=1,
                    attempt=1,
                    intended_at=1.5,
                    evidence_class=core.FenceClass.CONFIRMED_OFF,
                    beat_mark=('boot-a', 17),
                ),
                servers=(core.Server(uuid='srv-1', project_id='p'),),
                timeline=(core.Entry(1, 1000.25, 'opened', 'because'),),
            ),
            self.lease,
        )

        self.assertEqual(1, created.generation)
        self.assertEqual(created, self.store.incident('inc-1'))
        self.assertEqual((created,), self.store.open_incidents())
        self.assertEqual(created, self.store.open_incident_of('cmp-1'))
        self.assertIsNone(self.store.open_incident_of('cmp-2'))
        self.assertIsNone(self.store.incident('inc-2'))

    def test_save_makes_the_next_generation(self):
        created = self.store.create(an_incident(), self.lease)
        saved = self.store.save(
            dataclasses.replace(created, phase=core.Phase.FENCING), self.lease
        )

        self.assertEqual(2, saved.generation)
        self.assertEqual(saved, self.store.incident('inc-1'))

    def test_save_of_an_older_generation_changes_nothing(self):
        created = self.store.create(an_incident(), self.lease)
        saved = self.store.save(created, self.lease)

        with self.assertRaisesRegex(
            api.Conflict, "'inc-1'.*expected generation 1, found 2"
        ):
            self.open_store().save(
                dataclasses.replace(created, reason='stale'), self.lease
            )
        self.assertEqual(saved, self.store.incident('inc-1'))

    def test_save_of_an_unknown_incident_is_a_conflict(self):
        with self.assertRaisesRegex(api.Conflict, 'found None'):
            self.store.save(an_incident(generation=1), self.lease)

    def test_host_has_one_open_incident(self):
        self.store.create(an_incident(), self.lease)

        with self.assertRaisesRegex(api.AlreadyOpen, "'cmp-1'.*'inc-1'"):
            self.store.create(an_incident('inc-2', epoch=2), self.lease)
        self.assertEqual(1, len(self.store.incidents()))

    def test_host_may_fail_again_after_its_incident_closed(self):
        first = self.store.create(an_incident(), self.lease)
        self.store.save(
            dataclasses.replace(
                first, phase=core.Phase.CLOSED, closed_at=2000.0
            ),
            self.lease,
        )
        self.store.create(
            an_incident('inc-2', epoch=2, opened_at=3000.0), self.lease
        )

        self.assertEqual(
            ['inc-2'], [one.uuid for one in self.store.open_incidents()]
        )
        self.assertEqual(
            ['inc-2', 'inc-1'], [one.uuid for one in self.store.incidents()]
        )

    def test_create_whose_answer_was_lost_is_not_a_second_incident(self):
        incident = an_incident()
        created = self.store.create(incident, self.lease)

        self.assertEqual(created, self.store.create(incident, self.lease))
        self.assertEqual(1, len(self.store.incidents()))

    def test_incidents_are_limited_and_of_one_host(self):
        for number in range(3):
            self.store.create(
                an_incident(
                    f'inc-{number}',
                    host=f'cmp-{number}',
                    opened_at=1000.0 + number,
                ),
                self.lease,
            )

        self.assertEqual(
            ['inc-2', 'inc-1'],
            [one.uuid for one in self.store.incidents(limit=2)],
        )
        self.assertEqual(
            ['inc-1'],
            [one.uuid for one in self.store.incidents(host='cmp-1')],
        )

    def test_epochs_rise_for_each_host(self):
        self.assertEqual(
            [1, 2, 3], [self.store.next_epoch('cmp-1') for _ in range(3)]
        )
        self.assertEqual(1, self.store.next_epoch('cmp-2'))

    def test_epoch_does_not_begin_again_after_a_purge(self):
        created = self.store.create(
            an_incident(epoch=self.store.next_epoch('cmp-1')), self.lease
        )
        self.store.save(
            dataclasses.replace(
                created, phase=core.Phase.CLOSED, closed_at=1.0
            ),
            self.lease,
        )
        self.assertEqual(1, self.store.purge(days=1).incidents)

        self.assertEqual(2, self.store.next_epoch('cmp-1'))

    # Reports

    def test_report_opens_a_suspected_incident(self):
        uuid = self.store.report(a_fact())

        opened = self.store.incident(uuid)
        self.assertEqual(core.Phase.SUSPECTED, opened.phase)
        self.assertEqual('cmp-1', opened.host)
        self.assertEqual(1, opened.epoch)
        self.assertEqual([1], [entry.seq for entry in opened.timeline])
        self.assertIn('silent for 6s', opened.timeline[0].text)
        self.assertEqual(
            ['fact-1'], [fact.uuid for fact in self.store.pending_facts()]
        )

    def test_report_joins_the_open_incident(self):
        first = self.store.report(a_fact())

        self.assertEqual(first, self.store.report(a_fact('fact-2')))
        self.assertEqual(first, self.store.report(a_fact('fact-2')))
        self.assertEqual(1, len(self.store.incidents()))
        self.assertEqual(2, len(self.store.pending_facts()))

    def test_report_that_nobody_verified_opens_nothing(self):
        for fact in (
            a_fact(verified=False),
            a_fact(host=''),
            a_fact(kind=facts.FactKind.WAKE_UP),
        ):
            with self.assertRaisesRegex(ValueError, 'opens no incident'):
                self.store.report(fact)

        self.assertEqual((), self.store.incidents())
        self.assertEqual((), self.store.pending_facts())

    def test_reports_at_the_same_moment_open_one_incident(self):
        stores = [self.open_store() for _ in range(4)]
        together = threading.Barrier(len(stores))

        def report(number):
            together.wait()
            return stores[number].report(a_fact(f'fact-{number}'))

        with concurrent.futures.ThreadPoolExecutor(len(stores)) as pool:
            uuids = set(pool.map(report, range(len(stores))))

        self.assertEqual(1, len(uuids))
        self.assertEqual(1, len(self.store.open_incidents()))
        self.assertEqual(4, len(self.store.pending_facts()))

    def test_creations_at_the_same_moment_leave_one_incident(self):
        stores = [self.open_store() for _ in range(4)]
        together = threading.Barrier(len(stores))

        def create(number):
            together.wait()
            incident = an_incident(f'inc-{number}', epoch=number)
            try:
                stores[number].create(incident, self.lease)
            except api.AlreadyOpen:
                return 0
            return 1

        with concurrent.futures.ThreadPoolExecutor(len(stores)) as pool:
            created = sum(pool.map(create, range(len(stores))))

        self.assertEqual(1, created)
        self.assertEqual(1, len(self.store.incidents()))

    def test_every_save_of_two_writers_counts(self):
        self.store.create(an_incident(), self.lease)
        writers = [self.open_store() for _ in range(2)]

        def count(store):
            for _ in range(10):
                _count_up(store, self.lease)

        with concurrent.futures.ThreadPoolExecutor(len(writers)) as pool:
            list(pool.map(count, writers))

        saved = self.store.incident('inc-1')
        self.assertEqual(20, saved.silent_probes)
        self.assertEqual(21, saved.generation)

    # Facts

    def test_fact_waits_until_it_is_settled(self):
        stored = self.store.add_fact(a_fact(detail={'silent_for': '6'}))

        self.assertAlmostEqual(
            self.store.now(), stored.received_at, delta=60.0
        )
        self.assertEqual((stored,), self.store.pending_facts())
        self.store.settle_fact('fact-1', 'rejected', 'trust is deleted')
        self.assertEqual((), self.store.pending_facts())
        settled = self.store.fact('fact-1')
        self.assertEqual(facts.FactState.REJECTED, settled.state)
        self.assertEqual('trust is deleted', settled.text)

    def test_facts_come_in_the_order_they_arrived(self):
        for uuid in ('fact-b', 'fact-a', 'fact-c'):
            self.store.add_fact(a_fact(uuid))

        self.assertEqual(
            ['fact-b', 'fact-a', 'fact-c'],
            [fact.uuid for fact in self.store.pending_facts()],
        )

    def test_operators_word_that_arrives_twice_is_one(self):
        first = self.store.add_fact(a_fact(channel='operator'))
        self.store.settle_fact('fact-1', 'accepted', '')
        self.store.add_fact(dataclasses.replace(first, reason='other'))

        self.assertEqual((), self.store.pending_facts())
        self.assertEqual('silent for 6s', self.store.fact('fact-1').reason)

    def test_alarm_that_repeats_while_it_waits_is_one_fact(self):
        first = self.store.add_fact(a_fact())
        self.store.add_fact(a_fact(reason='other'))

        self.assertEqual((first,), self.store.pending_facts())

    def test_alarm_that_repeats_later_waits_again_at_the_end(self):
        self.store.add_fact(a_fact())
        self.store.settle_fact('fact-1', 'rejected', 'no')
        self.store.add_fact(a_fact('fact-2'))
        self.store.add_fact(a_fact())

        self.assertEqual(
            ['fact-2', 'fact-1'],
            [fact.uuid for fact in self.store.pending_facts()],
        )
        self.assertEqual('', self.store.fact('fact-1').text)

    def test_alarm_that_repeats_for_ever_has_one_row(self):
        for _ in range(20):
            self.store.add_fact(a_fact(verified=False))
            self.store.settle_fact('fact-1', 'rejected', 'no')

        self.assertEqual(1, self.rows())

    def rows(self):
        query = sa.select(sa.func.count()).select_from(models.facts)
        return self.store._db.read(
            lambda connection: connection.execute(query).scalar_one()
        )

    def test_unverified_facts_come_few_at_a_time_and_last(self):
        for number in range(50):
            self.store.add_fact(a_fact(f'u-{number:02}', verified=False))
        self.store.add_fact(a_fact('verified'))

        found = [fact.uuid for fact in self.store.pending_facts()]
        self.assertEqual('verified', found[0])
        self.assertEqual(['u-00', 'u-01', 'u-02', 'u-03'], found[1:5])
        self.assertEqual(['u-46', 'u-47', 'u-48', 'u-49'], found[5:])

    def test_unverified_facts_are_all_handed_out_in_the_end(self):
        for number in range(50):
            self.store.add_fact(a_fact(f'u-{number}', verified=False))
        seen = set()
        for _ in range(7):
            for fact in self.store.pending_facts():
                seen.add(fact.uuid)
                self.store.settle_fact(fact.uuid, 'rejected', 'no')

        self.assertEqual(50, len(seen))

    def test_unverified_wake_ups_delay_no_unverified_report(self):
        for number in range(50):
            self.store.add_fact(
                a_fact(
                    f'w-{number}', kind=facts.FactKind.WAKE_UP, verified=False
                )
            )
        self.store.add_fact(a_fact('report', verified=False))

        found = [fact.uuid for fact in self.store.pending_facts()]
        self.assertEqual('report', found[0])
        self.assertEqual(8, len(found))

    def test_unverified_fact_that_waits_is_not_purged(self):
        self.store.add_fact(a_fact('u', verified=False))
        self.execute(sa.update(models.facts).values(received_at=0.0))

        self.assertEqual(0, self.store.purge(days=1).facts)

    def test_unknown_state_of_a_fact_is_refused(self):
        self.store.add_fact(a_fact())

        with self.assertRaises(ValueError):
            self.store.settle_fact('fact-1', 'maybe', '')
        self.assertEqual(1, len(self.store.pending_facts()))

    def test_settling_a_purged_fact_is_nothing(self):
        self.store.settle_fact('fact-9', 'accepted', '')

        self.assertIsNone(self.store.fact('fact-9'))

    # Operators

    def test_nothing_is_armed_by_the_installation(self):
        state = self.store.arm_state()

        self.assertFalse(state.armed)
        self.assertEqual('installation', state.by)

    def test_arm_history_is_kept(self):
        self.store.set_arm_state(True, 'alice', 'ready')
        self.store.set_arm_state(False, 'bob', 'works on the network')

        self.assertEqual(
            [(False, 'bob'), (True, 'alice')],
            [(one.armed, one.by) for one in self.store.arm_history()],
        )
        self.assertEqual('bob', self.store.arm_state().by)
        self.assertAlmostEqual(
            self.store.now(), self.store.arm_state().at, delta=60.0
        )

    def test_host_record_is_replaced(self):
        self.store.save_host_record(api.HostRecord('cmp-2'))
        self.store.save_host_record(api.HostRecord('cmp-1'))
        newer = api.HostRecord('cmp-1', zone='az1', map_state='verified')
        self.store.save_host_record(newer)

        self.assertEqual(
            (newer, api.HostRecord('cmp-2')), self.store.host_records()
        )

    def test_engine_status_has_an_age(self):
        self.assertEqual({}, self.store.engine_status())
        self.store.save_engine_status({'round': 1})
        self.store.save_engine_status({'round': 2})
        self.execute(
            sa.update(models.engine_status).values(
                reported_at=models.engine_status.c.reported_at - 30
            )
        )

        status = self.store.engine_status()
        self.assertEqual(2, status['round'])
        self.assertGreaterEqual(status['age'], 30.0)
        self.assertLess(status['age'], 90.0)

    def test_purge_removes_what_is_old_and_over(self):
        now = self.store.now()
        for number, (phase, closed_at) in enumerate(
            [
                (core.Phase.CLOSED, now - 10 * DAY),
                (core.Phase.CANCELLED, now - 1 * DAY),
                (core.Phase.EVACUATING, None),
            ]
        ):
            self.store.create(
                an_incident(
                    f'inc-{number}',
                    host=f'cmp-{number}',
                    phase=phase,
                    closed_at=closed_at,
                ),
                self.lease,
            )
        for uuid in ('old-settled', 'old-pending'):
            self.store.add_fact(a_fact(uuid))
        self.execute(sa.update(models.facts).values(received_at=now - 9 * DAY))
        self.store.add_fact(a_fact('young-settled'))
        for uuid in ('old-settled', 'young-settled'):
            self.store.settle_fact(uuid, 'accepted', '')

        self.assertEqual(
            api.Purged(incidents=1, facts=1), self.store.purge(days=5)
        )
        self.assertIsNone(self.store.incident('inc-0'))
        self.assertIsNotNone(self.store.incident('inc-1'))
        self.assertIsNotNone(self.store.incident('inc-2'))
        self.assertIsNone(self.store.fact('old-settled'))
        self.assertIsNotNone(self.store.fact('old-pending'))
        self.assertIsNotNone(self.store.fact('young-settled'))


class TestSqlite(Suite):
    DATABASE = databases.SQLITE

    def test_every_save_of_two_processes_counts(self):
        self.store.create(an_incident(), self.lease)
        context = multiprocessing.get_context('fork')
        writers = [
            context.Process(
                target=_count_in_process, args=(self.url, self.lease)
            )
            for _ in range(2)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)

        self.assertEqual([0, 0], [writer.exitcode for writer in writers])
        saved = self.store.incident('inc-1')
        self.assertEqual(20, saved.silent_probes)
        self.assertEqual(21, saved.generation)


class TestPostgresql(Suite):
    DATABASE = databases.POSTGRESQL


class TestMysql(Suite):
    DATABASE = databases.MYSQL


class TestOpening(unittest.TestCase):
    def test_missing_connection_is_named(self):
        conf = databases.configuration('')

        with self.assertRaisesRegex(
            api.NotConfigured, r'\[nova_ha_database\] connection is not set'
        ):
            api.open_store(conf)

    def test_store_opens_while_its_database_is_away(self):
        conf = databases.configuration('sqlite:////nowhere/at/all/x.sqlite')

        self.assertIsInstance(api.open_store(conf), api.Store)


def _count_up(store, lease):
    while True:
        incident = store.incident('inc-1')
        try:
            return store.save(
                dataclasses.replace(
                    incident, silent_probes=incident.silent_probes + 1
                ),
                lease,
            )
        except api.Conflict:
            continue


def _count_in_process(url, lease):
    store = api.open_store(databases.configuration(url))
    for _ in range(10):
        _count_up(store, lease)


# The suite runs by its subclasses only.
del Suite
