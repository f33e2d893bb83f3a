# SPDX-License-Identifier: Apache-2.0

"""One suite for every place that heartbeats are kept in."""

import concurrent.futures
import contextlib
import dataclasses
import time
import unittest
from unittest import mock

import hypothesis
from hypothesis import strategies
import redis
import sqlalchemy as sa

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import liveness_memory
from nova_ha_plugins.store import liveness_redis
from nova_ha_plugins.store import liveness_sql
from nova_ha_plugins.store import models
from nova_ha_plugins.store import schema
from nova_ha_plugins.store import values
from tests import servers
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

    def test_clock_of_the_store_that_leaps_ahead_calls_nobody_down(self):
        rules = detector.Rules(6.0, 10.0, 0.5)
        state = detector.begin(0.0)
        hosts = ('cmp-1', 'cmp-2', 'cmp-3', 'cmp-4')
        for at in range(60):
            if at == 20:
                self.pass_time(HOUR)
            for host in hosts:
                # The leap comes between two beats of each; one has died.
                if at % 2 and not (at > 20 and host == 'cmp-4'):
                    self.beat(host, sequence=at)
            look = detector.look(state, self.liveness.read(), float(at), rules)
            state = look.state
            down = {
                host.host
                for host in look.hosts
                if host.verdict == detector.Liveness.DOWN
            }
            self.assertLessEqual(down, {'cmp-4'}, at)

        self.assertEqual({'cmp-4'}, down)

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


class TestRule(unittest.TestCase):
    """Every backend keeps to liveness.follow; Redis says it in Lua."""

    @hypothesis.given(
        strategies.lists(
            strategies.builds(
                values.Heard,
                host=strategies.sampled_from(('a', 'b')),
                boot_id=strategies.sampled_from([f'b{n}' for n in range(12)]),
                sequence=strategies.integers(0, 3),
                system_uuid=strategies.sampled_from(('', 'u1', 'u2')),
                service_uuid=strategies.sampled_from(('', 's1')),
            ),
            max_size=25,
        )
    )
    @hypothesis.settings(max_examples=40, deadline=None)
    def test_redis_and_memory_agree_on_any_sequence(self, heard):
        conf = databases.configuration('')
        conf.set_override('liveness_url', servers.redis(), 'nova_ha')
        if not conf.nova_ha.liveness_url:
            self.skipTest('No Redis: tools/env --lab installs it')
        memory = liveness_memory.MemoryLiveness(conf)
        other = liveness_redis.RedisLiveness(conf)
        other._redis.flushall()
        with contextlib.closing(other._redis):
            counts = [
                (memory.beats([one]), other.beats([one])) for one in heard
            ]
            rows = [
                [dataclasses.replace(beat, age=0.0) for beat in found.read()]
                for found in (memory, other)
            ]

        self.assertEqual([a for a, _ in counts], [b for _, b in counts])
        self.assertEqual(*rows)


class SqlSuite(Suite, unittest.TestCase):
    """The suite on a database, and what only a database can get wrong."""

    DATABASE = databases.SQLITE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        url = cls.DATABASE.make_url(databases.OfClass(cls))
        cls.conf = databases.configuration(url)
        schema.sync(cls.conf)

    def setUp(self):
        super().setUp()
        self.liveness = self.open()
        self.assertIsInstance(self.liveness, liveness_sql.SqlLiveness)
        for table in (models.heartbeats, models.healths):
            self.execute(sa.delete(table))

    def open(self):
        found = liveness.open_liveness(self.conf)
        self.addCleanup(found._database.engine.dispose)
        return found

    def execute(self, statement):
        self.liveness._database.write(
            lambda connection: connection.execute(statement)
        )

    def pass_time(self, seconds):
        for table in (models.heartbeats, models.healths):
            self.execute(
                sa.update(table).values(seen_at=table.c.seen_at - seconds)
            )

    def test_another_process_reads_what_this_one_heard(self):
        self.beat()

        self.assertEqual('cmp-1', self.open().read()[0].host)

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

    def test_old_health_is_taken_out_of_the_table(self):
        self.note()
        self.pass_time(25 * HOUR)
        self.liveness.read_healths()

        count = self.liveness._database.read(
            lambda connection: connection.execute(
                sa.select(sa.func.count()).select_from(models.healths)
            ).scalar_one()
        )
        self.assertEqual(0, count)


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


class TestRedis(Suite, unittest.TestCase):
    """The suite on Redis, and what only Redis can get wrong."""

    def setUp(self):
        super().setUp()
        url = servers.redis()
        if not url:
            self.skipTest('No Redis: tools/env --lab installs it')
        self.redis = redis.Redis.from_url(url)
        self.addCleanup(self.redis.close)
        self.redis.flushall()
        self.conf = databases.configuration('')
        self.conf.set_override('liveness_backend', 'redis', 'nova_ha')
        self.conf.set_override('liveness_url', url, 'nova_ha')
        self.liveness = self.open()
        self.assertIsInstance(self.liveness, liveness_redis.RedisLiveness)

    def open(self):
        found = liveness.open_liveness(self.conf)
        self.addCleanup(found._redis.close)
        return found

    def pass_time(self, seconds):
        for key in ('nova-ha:beats', 'nova-ha:healths'):
            for field, row in self.redis.hgetall(key).items():
                at, _, rest = row.partition(b'\x1f')
                earlier = int(at) - int(seconds * 1e6)
                self.redis.hset(key, field, b'%d\x1f%b' % (earlier, rest))

    def test_another_process_reads_what_this_one_heard(self):
        self.beat()

        self.assertEqual('cmp-1', self.open().read()[0].host)

    def test_large_sequences_are_told_apart(self):
        # 2 ** 53 and one more are the same number in Lua.
        self.assertTrue(self.beat(sequence=2**53))
        self.assertTrue(self.beat(sequence=2**53 + 1))
        self.assertFalse(self.beat(sequence=2**53 + 1))
        self.assertTrue(self.beat(sequence=2**63 - 1))

        self.assertEqual(2**63 - 1, self.only().sequence)

    def test_silence_counts_again_after_the_clock_went_back(self):
        self.beat()
        self.note(text='some')
        self.pass_time(-HOUR)
        with self.assertLogs(liveness_redis.LOG, 'WARNING') as logs:
            self.assertEqual(0.0, self.only().age)
            self.assertEqual(0.0, self.liveness.read_healths()[0].age)
        self.assertIn('went back', logs.output[0])

        self.pass_time(30)
        self.assertGreaterEqual(self.only().age, 30.0)
        self.assertEqual('uuid-1', self.only().system_uuid)
        self.assertEqual('some', self.liveness.read_healths()[0].text)

    def test_redis_that_forgot_is_told_who_was_there(self):
        self.beat('cmp-1', sequence=5)
        self.beat('cmp-2', sequence=5)
        self.beat('cmp-3', sequence=5)
        self.pass_time(30)
        self.liveness.read()
        self.liveness.forget('cmp-3')
        self.redis.flushall()
        self.open().beats([values.Heard('cmp-2', 'boot-a', 6)])

        with self.assertLogs(liveness_redis.LOG, 'WARNING') as logs:
            dead, alive = self.liveness.read()
        self.assertIn('forgotten', logs.output[0])
        self.assertEqual(('cmp-1', 5), (dead.host, dead.sequence))
        self.assertGreaterEqual(dead.age, 30.0)
        self.assertEqual(('cmp-2', 6), (alive.host, alive.sequence))
        self.assertLess(alive.age, 5.0)
        with self.assertNoLogs(liveness_redis.LOG, 'WARNING'):
            self.liveness.read()

    def test_redis_that_forgot_all_and_hears_nobody_is_told_too(self):
        self.beat()
        self.liveness.read()
        self.redis.flushall()

        with self.assertLogs(liveness_redis.LOG, 'WARNING'):
            self.assertEqual('cmp-1', self.only().host)

    def test_redis_that_is_away_is_a_failure_that_callers_know(self):
        port = servers.free_port()
        self.conf.set_override(
            'liveness_url', f'redis://:hunter2@127.0.0.1:{port}/0', 'nova_ha'
        )
        found = self.open()
        for call in (
            found.read,
            found.read_healths,
            lambda: found.forget('cmp-1'),
            lambda: found.beats([values.Heard('cmp-1', 'b', 1)]),
            lambda: found.healths([values.Health('cmp-1', 'c', True)]),
        ):
            with self.assertRaises(values.Unreachable) as caught:
                call()
            self.assertIsInstance(caught.exception, errors.AWAY)
            self.assertIn('liveness_url did not answer', str(caught.exception))
            self.assertNotIn('hunter2', str(caught.exception))

    def test_module_that_is_not_installed_is_named(self):
        with (
            mock.patch.object(liveness_redis, 'redis', None),
            self.assertRaisesRegex(
                values.NotConfigured, r'pip install nova-ha-plugins\[redis\]'
            ),
        ):
            self.open()

    def test_url_that_is_none_is_refused_without_its_password(self):
        for url in ('', 'mysql://u:hunter2@h', 'redis://:hunter2/x@h:6379/0'):
            self.conf.set_override('liveness_url', url, 'nova_ha')
            with (
                self.subTest(url=url),
                self.assertRaisesRegex(
                    values.NotConfigured, r'\[nova_ha\] liveness_url'
                ) as caught,
            ):
                self.open()
            self.assertNotIn('hunter2', str(caught.exception))


# The suites run by their subclasses only.
del SqlSuite
del Suite
