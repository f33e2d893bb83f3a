# SPDX-License-Identifier: Apache-2.0

"""One suite for every place that heartbeats are kept in."""

import concurrent.futures
import time
import unittest
from unittest import mock

import sqlalchemy as sa

from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import liveness_memory
from nova_ha_plugins.store import liveness_sql
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values
from tests.unit.store import databases

HOUR = 3600.0


class Suite:
    """What every backend does; subclasses make it and let time pass."""

    liveness: liveness.Liveness

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    def beat(self, host='cmp-1', boot_id='boot-a', sequence=1, **more):
        more.setdefault('system_uuid', 'uuid-1')
        return self.liveness.beat(
            host, boot_id=boot_id, sequence=sequence, **more
        )

    def only(self):
        (beat,) = self.liveness.read()
        return beat

    def test_nobody_is_known_before_the_first_beat(self):
        self.assertEqual((), self.liveness.read())

    def test_beat_is_read_as_it_was_said(self):
        self.assertTrue(self.beat(sequence=7, service_uuid='svc-1'))

        beat = self.only()
        self.assertEqual('cmp-1', beat.host)
        self.assertEqual('svc-1', beat.service_uuid)
        self.assertEqual('boot-a', beat.boot_id)
        self.assertEqual(7, beat.sequence)
        self.assertEqual('uuid-1', beat.system_uuid)
        self.assertLess(beat.age, 5.0)
        self.assertGreaterEqual(beat.age, 0.0)

    def test_age_grows_with_silence(self):
        self.beat()
        self.pass_time(30)

        self.assertGreaterEqual(self.only().age, 30.0)
        self.assertLess(self.only().age, 35.0)

    def test_newer_beat_refreshes(self):
        self.beat(sequence=1)
        self.pass_time(30)

        self.assertTrue(self.beat(sequence=2))
        self.assertLess(self.only().age, 5.0)

    def test_repeated_beat_does_not_refresh(self):
        self.beat(sequence=5)
        self.pass_time(30)

        self.assertFalse(self.beat(sequence=5))
        self.assertGreaterEqual(self.only().age, 30.0)

    def test_late_beat_does_not_refresh(self):
        self.beat(sequence=5)
        self.pass_time(30)

        self.assertFalse(self.beat(sequence=4))
        self.assertGreaterEqual(self.only().age, 30.0)
        self.assertEqual(5, self.only().sequence)

    def test_new_boot_begins_at_any_sequence(self):
        self.beat(sequence=500)
        self.pass_time(30)

        self.assertTrue(self.beat(boot_id='boot-b', sequence=1))
        self.assertEqual('boot-b', self.only().boot_id)
        self.assertEqual(1, self.only().sequence)
        self.assertLess(self.only().age, 5.0)

    def test_late_beat_of_an_earlier_boot_does_not_refresh(self):
        self.beat(boot_id='boot-a', sequence=1)
        self.beat(boot_id='boot-b', sequence=1)
        self.beat(boot_id='boot-c', sequence=1)
        self.pass_time(30)

        self.assertFalse(self.beat(boot_id='boot-a', sequence=900))
        self.assertFalse(self.beat(boot_id='boot-b', sequence=900))
        self.assertEqual('boot-c', self.only().boot_id)
        self.assertGreaterEqual(self.only().age, 30.0)

    def test_what_a_beat_does_not_say_stays_known(self):
        self.beat(sequence=1, system_uuid='uuid-1', service_uuid='svc-1')
        self.beat(sequence=2, system_uuid='', service_uuid='')

        self.assertEqual('uuid-1', self.only().system_uuid)
        self.assertEqual('svc-1', self.only().service_uuid)

    def test_batch_counts_signs_of_life_only(self):
        self.beat(host='cmp-2', sequence=9)
        heard = [
            values.Heard(host='cmp-3', boot_id='b', sequence=1),
            values.Heard(host='cmp-2', boot_id='boot-a', sequence=9),
            values.Heard(host='cmp-1', boot_id='b', sequence=2),
            values.Heard(host='cmp-1', boot_id='b', sequence=1),
        ]

        self.assertEqual(3, self.liveness.beats(iter(heard)))
        self.assertEqual(
            [('cmp-1', 2), ('cmp-2', 9), ('cmp-3', 1)],
            [(beat.host, beat.sequence) for beat in self.liveness.read()],
        )

    def test_empty_batch_is_nothing(self):
        self.assertEqual(0, self.liveness.beats([]))

    def test_forgotten_host_is_gone_and_may_come_back(self):
        self.beat(sequence=5)
        self.liveness.forget('cmp-1')

        self.assertEqual((), self.liveness.read())
        self.assertTrue(self.beat(sequence=5))

    def note(self, host='cmp-1', channel='libvirt', ok=True, **more):
        self.liveness.healths([values.Health(host, channel, ok, **more)])

    def test_health_is_read_as_it_was_said(self):
        self.note('cmp-2', 'storage:/srv', ok=True, value=0.25)
        self.note('cmp-1', 'libvirt', ok=False, value=9.0, text='no answer')

        first, second = self.liveness.read_healths()
        self.assertEqual(
            ('cmp-1', 'libvirt', False, 9.0, 'no answer'),
            (first.host, first.channel, first.ok, first.value, first.text),
        )
        self.assertEqual(
            ('cmp-2', 'storage:/srv', True, 0.25, ''),
            (
                second.host,
                second.channel,
                second.ok,
                second.value,
                second.text,
            ),
        )
        self.assertIs(True, second.ok)
        self.assertLess(first.age, 5.0)
        self.assertGreaterEqual(first.age, 0.0)

    def test_last_word_on_a_channel_counts(self):
        self.note(ok=False, text='gone')
        self.pass_time(30)
        (before,) = self.liveness.read_healths()
        self.liveness.healths(
            [
                values.Health('cmp-1', 'libvirt', False, text='still'),
                values.Health('cmp-1', 'libvirt', True, value=1.0),
            ]
        )

        (after,) = self.liveness.read_healths()
        self.assertGreaterEqual(before.age, 30.0)
        self.assertEqual((True, 1.0, ''), (after.ok, after.value, after.text))
        self.assertLess(after.age, 5.0)

    def test_health_is_neither_life_nor_death(self):
        self.beat()
        self.pass_time(30)
        self.note('cmp-1', ok=True)
        self.note('cmp-2', ok=True)

        self.assertEqual('cmp-1', self.only().host)
        self.assertGreaterEqual(self.only().age, 30.0)

    def test_health_of_which_nothing_is_said_for_a_day_is_dropped(self):
        self.note('cmp-1')
        self.pass_time(23 * HOUR)
        self.note('cmp-2')
        self.pass_time(2 * HOUR)

        (left,) = self.liveness.read_healths()
        self.assertEqual('cmp-2', left.host)
        (left,) = self.liveness.read_healths()
        self.assertEqual('cmp-2', left.host)

    def test_no_health_at_all_is_nothing(self):
        self.liveness.healths([])

        self.assertEqual((), self.liveness.read_healths())

    def test_health_of_a_forgotten_host_goes_with_it(self):
        self.note('cmp-1')
        self.note('cmp-1', 'storage:/srv')
        self.note('cmp-2')
        self.liveness.forget('cmp-1')

        (left,) = self.liveness.read_healths()
        self.assertEqual('cmp-2', left.host)

    def test_batch_larger_than_a_transaction_is_stored_whole(self):
        heard = [
            values.Heard(host=f'cmp-{number}', boot_id='b', sequence=1)
            for number in range(1001)
        ]
        self.assertEqual(1001, self.liveness.beats(heard))
        self.assertEqual(0, self.liveness.beats(heard))
        self.liveness.healths(
            values.Health(one.host, 'libvirt', True) for one in heard
        )

        self.assertEqual(1001, len(self.liveness.read()))
        self.assertEqual(1001, len(self.liveness.read_healths()))

    def test_host_names_differ_by_case(self):
        self.beat(host='cmp-a')
        self.beat(host='CMP-A')

        self.assertEqual(2, len(self.liveness.read()))

    def test_clock_of_this_process_does_not_matter(self):
        self.beat(sequence=1)
        with mock.patch('time.time', autospec=True, return_value=4e9):
            self.beat(sequence=2)
            age = self.only().age

        self.assertLess(age, 5.0)

    def test_first_beats_at_the_same_moment_are_all_stored(self):
        hosts = [f'cmp-{number % 3}' for number in range(12)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            refreshed = list(
                pool.map(
                    lambda one: self.beat(host=one[1], sequence=one[0]),
                    enumerate(hosts),
                )
            )

        self.assertEqual(3, len(self.liveness.read()))
        self.assertGreaterEqual(sum(refreshed), 3)


class SqlSuite(Suite, databases.StoreTestCase):
    """The suite on a database, and what only a database can get wrong."""

    def setUp(self):
        super().setUp()
        self.liveness = liveness.open_liveness(self.conf)
        self.assertIsInstance(self.liveness, liveness_sql.SqlLiveness)
        self.addCleanup(self.liveness._database.engine.dispose)

    def pass_time(self, seconds):
        for table in (models.heartbeats, models.healths):
            self.execute(
                sa.update(table).values(seen_at=table.c.seen_at - seconds)
            )

    def test_another_process_reads_what_this_one_heard(self):
        self.beat()

        other = liveness.open_liveness(self.conf)
        self.addCleanup(other._database.engine.dispose)
        self.assertEqual('cmp-1', other.read()[0].host)

    def test_silence_counts_again_after_the_clock_went_back(self):
        self.beat()
        self.note()
        self.pass_time(-HOUR)
        with self.assertLogs(liveness_sql.LOG, 'WARNING') as logs:
            self.assertEqual(0.0, self.only().age)
            self.assertEqual(0.0, self.liveness.read_healths()[0].age)
        self.assertIn('went back', logs.output[0])

        self.pass_time(30)
        self.assertGreaterEqual(self.only().age, 30.0)
        self.assertGreaterEqual(self.liveness.read_healths()[0].age, 30.0)


class TestSqlite(SqlSuite):
    DATABASE = databases.SQLITE


class TestPostgresql(SqlSuite):
    DATABASE = databases.POSTGRESQL


class TestMysql(SqlSuite):
    DATABASE = databases.MYSQL


class TestMemory(Suite, unittest.TestCase):
    def setUp(self):
        super().setUp()
        conf = databases.configuration('')
        conf.set_override('liveness_backend', 'memory', 'nova_ha')
        self.liveness = liveness.open_liveness(conf)
        self.assertIsInstance(self.liveness, liveness_memory.MemoryLiveness)

        self.now = time.monotonic()
        patch = mock.patch.object(
            liveness_memory.time,
            'monotonic',
            autospec=True,
            side_effect=lambda: self.now,
        )
        patch.start()
        self.addCleanup(patch.stop)

    def pass_time(self, seconds):
        self.now += seconds


# The suites run by their subclasses only.
del SqlSuite
del Suite
