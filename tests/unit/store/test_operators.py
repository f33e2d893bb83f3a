# SPDX-License-Identifier: Apache-2.0

"""What operators say: armed for a while, brakes; and what engines say."""

import concurrent.futures
import dataclasses
import unittest

import sqlalchemy as sa

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values
from tests.unit.store import databases


def load_tests(
    loader: unittest.TestLoader, tests: object, pattern: object
) -> unittest.TestSuite:
    suite = unittest.TestSuite()
    for case in (TestSqlite, TestPostgresql, TestMysql):
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


def maintenance(host: str, **fields: object) -> values.Brake:
    return values.Brake('maintenance', host, **fields)


class Suite(databases.StoreTestCase):
    # Armed for a while

    def test_armed_until_a_time_is_disarmed_afterwards(self):
        now = self.store.now()
        self.store.set_arm_state(True, 'lena', 'the night', until=now + 60)
        before = self.store.arm_state()
        self._let_it_be_over()
        after = self.store.arm_state()

        self.assertEqual((True, 'lena'), (before.armed, before.by))
        self.assertEqual(now + 60, before.until)
        self.assertEqual((False, 'until'), (after.armed, after.by))
        self.assertIsNone(after.until)
        self.assertIn('lena', after.reason)
        self.assertIn('the night', after.reason)

    def test_disarmed_until_a_time_is_armed_from_that_time_on(self):
        self.store.set_arm_state(
            False, 'lena', 'switch upgrade', until=self.store.now() + 60
        )
        self._let_it_be_over()
        end = self.store.arm_history()[0].until

        after = self.store.arm_state()

        self.assertTrue(after.armed)
        self.assertEqual(end, after.at)

    def test_later_word_without_an_end_has_none(self):
        self.store.set_arm_state(
            False, 'lena', 'upgrade', until=self.store.now() + 60
        )
        self.store.set_arm_state(False, 'omar', 'trouble')
        self._let_it_be_over()

        self.assertFalse(self.store.arm_state().armed)

    def test_history_tells_what_was_said_and_until_when(self):
        until = self.store.now() + 60
        self.store.set_arm_state(True, 'lena', 'first')
        self.store.set_arm_state(False, 'omar', 'second', until=until)

        found = self.store.arm_history()

        self.assertEqual([until, None], [state.until for state in found])

    def _let_it_be_over(self):
        table = models.arm_history
        self.execute(sa.update(table).values(ends_at=table.c.ends_at - 120.0))

    # Brakes

    def test_no_brake_holds_at_first(self):
        self.assertEqual((), self.store.brakes())
        self.assertEqual((), self.store.brake_history())

    def test_brake_is_read_as_it_was_set(self):
        until = self.store.now() + 3600
        set_ = self.store.set_brake(
            values.Brake(
                'pause',
                'Wartung ß',
                zone='az1',
                until=until,
                reason='new switch',
                by='lena',
            )
        )

        self.assertAlmostEqual(self.store.now(), set_.at, delta=5)
        self.assertEqual((set_,), self.store.brakes())
        self.assertEqual(until, set_.until)

    def test_brake_that_ran_out_does_not_hold(self):
        set_ = self.store.set_brake(
            maintenance('cmp-1', until=self.store.now() - 1)
        )

        self.assertEqual((), self.store.brakes())
        entry = self.store.brake_history()[0]
        self.assertEqual(
            (set_.until, 'until'), (entry.ended_at, entry.ended_by)
        )

    def test_brake_set_anew_is_one(self):
        self.store.set_brake(maintenance('cmp-1', reason='disk', by='lena'))
        self.store.set_brake(maintenance('cmp-1', reason='fan', by='omar'))

        self.assertEqual(
            ['fan'], [brake.reason for brake in self.store.brakes()]
        )
        new, old = self.store.brake_history()
        self.assertIsNone(new.ended_at)
        self.assertEqual(('disk', 'omar'), (old.brake.reason, old.ended_by))

    def test_brakes_of_two_kinds_may_have_one_name(self):
        self.store.set_brake(maintenance('cmp-1'))
        self.store.set_brake(values.Brake('pause', 'cmp-1'))

        self.assertTrue(
            self.store.unset_brake('pause', 'cmp-1', 'lena', 'done')
        )

        self.assertEqual(
            ['maintenance'], [brake.kind for brake in self.store.brakes()]
        )

    def test_names_of_brakes_differ_by_case(self):
        self.store.set_brake(maintenance('cmp-a'))
        self.store.set_brake(maintenance('CMP-A'))

        self.assertEqual(2, len(self.store.brakes()))

    def test_brake_taken_off_stays_in_the_history(self):
        self.store.set_brake(maintenance('cmp-1', reason='disk', by='lena'))

        self.assertTrue(
            self.store.unset_brake('maintenance', 'cmp-1', 'omar', 'replaced')
        )

        self.assertEqual((), self.store.brakes())
        entry = self.store.brake_history()[0]
        self.assertEqual(
            ('lena', 'disk', 'omar', 'replaced'),
            (
                entry.brake.by,
                entry.brake.reason,
                entry.ended_by,
                entry.ended_reason,
            ),
        )
        self.assertAlmostEqual(self.store.now(), entry.ended_at, delta=5)

    def test_no_brake_to_take_off_is_told(self):
        self.assertFalse(self.store.unset_brake('pause', 'none', 'lena'))

    def test_brake_that_ran_out_was_taken_off_by_nobody(self):
        self.store.set_brake(maintenance('cmp-1', until=self.store.now() - 1))

        self.assertFalse(
            self.store.unset_brake('maintenance', 'cmp-1', 'lena')
        )

        self.assertEqual('until', self.store.brake_history()[0].ended_by)

    def test_brake_may_come_back(self):
        for _ in range(3):
            self.store.set_brake(maintenance('cmp-1'))
            self.store.unset_brake('maintenance', 'cmp-1', 'lena')

        self.assertEqual(3, len(self.store.brake_history()))
        self.assertEqual(2, len(self.store.brake_history(limit=2)))

    def test_brakes_set_at_the_same_moment_leave_one(self):
        stores = [self.open_store() for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(
                pool.map(
                    lambda store: store.set_brake(maintenance('cmp-1')),
                    stores,
                )
            )

        self.assertEqual(1, len(self.store.brakes()))
        self.assertEqual(4, len(self.store.brake_history()))

    def test_brakes_survive_a_purge(self):
        self.store.set_brake(maintenance('cmp-1'))
        self.store.unset_brake('maintenance', 'cmp-1', 'lena')

        self.store.purge(days=-1)

        self.assertEqual(1, len(self.store.brake_history()))

    # The two steps of an attest

    def test_unconfirmed_fact_is_not_handed_out(self):
        begun = self._begin()

        self.assertEqual(facts.FactState.UNCONFIRMED, begun.state)
        self.assertEqual((), self.store.pending_facts())
        self.assertEqual(begun, self.store.fact(begun.uuid))

    def test_confirmed_fact_is_handed_out_with_both_names(self):
        begun = self._begin()

        confirmed = self.store.confirm_fact(begun.uuid, 'omar')

        self.assertEqual((confirmed,), self.store.pending_facts())
        self.assertEqual(facts.FactState.PENDING, confirmed.state)
        self.assertEqual(
            ('lena', 'omar', 'seen'),
            (
                confirmed.by,
                confirmed.detail['confirmed_by'],
                confirmed.detail['evidence'],
            ),
        )
        self.assertAlmostEqual(
            self.store.now(), float(confirmed.detail['confirmed_at']), delta=5
        )

    def test_fact_is_confirmed_once(self):
        begun = self._begin()
        self.store.confirm_fact(begun.uuid, 'omar')

        self.assertIsNone(self.store.confirm_fact(begun.uuid, 'lena'))

        found = self.store.fact(begun.uuid)
        self.assertEqual('omar', found.detail['confirmed_by'])

    def test_one_of_those_who_confirm_at_the_same_moment_does_it(self):
        begun = self._begin()
        stores = [self.open_store() for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = list(
                pool.map(
                    lambda pair: pair[1].confirm_fact(
                        begun.uuid, f'user-{pair[0]}'
                    ),
                    enumerate(stores),
                )
            )

        [winner] = [fact for fact in found if fact is not None]
        self.assertEqual((winner,), self.store.pending_facts())

    def test_settled_and_unknown_facts_are_not_confirmed(self):
        begun = self._begin()
        self.store.confirm_fact(begun.uuid, 'omar')
        self.store.settle_fact(begun.uuid, 'rejected', 'it lives')

        self.assertIsNone(self.store.confirm_fact(begun.uuid, 'omar'))
        self.assertIsNone(self.store.confirm_fact('nobody', 'omar'))
        self.assertEqual((), self.store.pending_facts())

    def test_fact_that_waited_too_long_is_not_confirmed(self):
        begun = self._begin()
        old = dataclasses.replace(
            begun, received_at=begun.received_at - facts.CONFIRM_WITHIN - 1
        )
        self.execute(
            sa.update(models.facts).values(document=documents.dumps(old))
        )

        self.assertIsNone(self.store.confirm_fact(begun.uuid, 'omar'))

        self.assertEqual((), self.store.pending_facts())
        self.assertEqual(
            facts.FactState.UNCONFIRMED, self.store.fact(begun.uuid).state
        )

    def test_unconfirmed_fact_is_purged_when_it_is_old(self):
        begun = self._begin()

        self.store.purge(days=-1)

        self.assertIsNone(self.store.fact(begun.uuid))

    def _begin(self):
        return self.store.add_fact(
            facts.Fact(
                uuid='f1',
                kind=facts.FactKind.ATTEST,
                host='cmp-1',
                detail={'evidence': 'seen'},
                channel='operator',
                verified=True,
                by='lena',
                state=facts.FactState.UNCONFIRMED,
            )
        )

    # Engines

    def test_engine_is_known_as_it_last_said(self):
        self.store.note_engine('ctl-1:7', 15.0, {'role': 'acting'})
        self.store.note_engine('ctl-1:7', 20.0, {'role': 'watching'})
        self.store.note_engine('ctl-2:7', 15.0, {})

        first, second = self.store.engines()

        self.assertEqual('ctl-1:7', first.name)
        self.assertEqual((20.0, {'role': 'watching'}), (first.ttl, first.told))
        self.assertLess(first.age, 5)
        self.assertEqual('ctl-2:7', second.name)

    def test_age_of_an_engine_grows_with_its_silence(self):
        self.store.note_engine('ctl-1:7', 15.0, {})
        self._age_engines(100.0)

        self.assertAlmostEqual(100.0, self.store.engines()[0].age, delta=5)

    def test_engine_that_stopped_is_forgotten(self):
        self.store.note_engine('ctl-1:7', 15.0, {})
        self.store.forget_engine('ctl-1:7')
        self.store.forget_engine('ctl-1:7')

        self.assertEqual((), self.store.engines())

    def test_engine_silent_for_a_day_goes_when_a_new_one_comes(self):
        self.store.note_engine('ctl-1:7', 15.0, {})
        self._age_engines(90000.0)
        self.store.note_engine('ctl-1:8', 15.0, {})

        self.assertEqual(
            ['ctl-1:8'], [engine.name for engine in self.store.engines()]
        )

    # How many servers are protected

    def test_census_replaces_the_one_before_and_has_an_age(self):
        self.assertIsNone(self.store.census())
        self.store.save_census(values.Census(1, {'untagged': 9}, hosts=1))
        self.store.save_census(values.Census(5, {'untagged': 2}, hosts=2))
        table = models.engine_status
        self.execute(
            sa.update(table).values(reported_at=table.c.reported_at - 30)
        )

        found = self.store.census()

        self.assertEqual((5, 2), (found.protected, found.hosts))
        self.assertEqual({'untagged': 2}, found.unprotected)
        self.assertGreaterEqual(found.age, 30.0)
        self.assertLess(found.age, 90.0)

    def test_census_is_no_word_of_the_engine(self):
        self.store.save_census(values.Census(1, {}, hosts=1))

        self.assertEqual({}, self.store.engine_status())

    def _age_engines(self, seconds):
        table = models.engines
        self.execute(
            sa.update(table).values(reported_at=table.c.reported_at - seconds)
        )


class TestSqlite(Suite):
    DATABASE = databases.SQLITE


class TestPostgresql(Suite):
    DATABASE = databases.POSTGRESQL


class TestMysql(Suite):
    DATABASE = databases.MYSQL
