# SPDX-License-Identifier: Apache-2.0

"""Which evacuation forbids another one, by what nova recorded of it."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import guarding
from nova_ha_plugins.recovery import progress
from tests.unit.recovery import recordings

NOW = 2_000_000.0
RUNS = progress.Event(1000.2)
SUCCESS = progress.Event(1000.2, 1000.6, 'Success')
ERROR = progress.Event(1000.2, 1000.6, 'Error')

GUEST = progress.Guest('src', 'active', 'rebuild_spawning')
WAITING = progress.Facts(
    status='accepted',
    source='src',
    destination=None,
    guest=dataclasses.replace(GUEST, task_state='rebuilding'),
    now=1001.0,
    created_at=1000.0,
)
SPAWNING = dataclasses.replace(
    WAITING,
    status='pre-migrating',
    destination='dst',
    guest=GUEST,
    schedule=SUCCESS,
    rebuild=RUNS,
    destination_up=True,
)


def never(_host, _at):
    return False


def always(_host, _at):
    return True


def like(facts, **changes):
    return dataclasses.replace(facts, **changes)


def with_guest(facts, **changes):
    return like(facts, guest=dataclasses.replace(facts.guest, **changes))


class OpenTest(unittest.TestCase):
    """One evacuation by itself."""

    def check(self, expected, facts, was_fenced=never):
        found = guarding.holding([facts], was_fenced)

        self.assertIs(facts if expected else None, found)

    def test_one_that_waits_or_runs_forbids_another(self):
        for facts in (
            WAITING,
            like(WAITING, schedule=RUNS),
            like(WAITING, schedule=SUCCESS, rebuild=RUNS),
            SPAWNING,
            with_guest(SPAWNING, task_state='rebuilding'),
            with_guest(SPAWNING, task_state=None),
        ):
            self.check(True, facts)

    def test_slow_and_stalled_ones_do_too(self):
        for facts in (
            like(WAITING, now=NOW),
            like(SPAWNING, now=NOW),
            like(SPAWNING, now=NOW, destination_up=False),
            with_guest(like(SPAWNING, now=NOW), task_state=None),
        ):
            self.assertTrue(progress.assess(facts).stalled)
            self.check(True, facts)

    def test_state_that_somebody_reset_proves_nothing(self):
        reset = with_guest(SPAWNING, task_state=None, vm_state='active')

        self.check(True, reset)
        self.check(True, with_guest(reset, vm_state='error'))

    def test_closed_record_forbids_nothing(self):
        for status in ('done', 'error', 'failed'):
            self.check(False, like(SPAWNING, status=status))

    def test_word_that_nobody_knows_is_no_end(self):
        self.check(True, like(SPAWNING, status='running'))

    def test_open_record_of_work_that_ended_forbids_nothing(self):
        arrived = with_guest(SPAWNING, host='dst', task_state=None)

        self.check(False, arrived)
        for event in (SUCCESS, ERROR):
            self.check(False, like(SPAWNING, rebuild=event))
        self.check(False, like(WAITING, schedule=ERROR))

    def test_conductor_that_failed_after_it_chose_proves_nothing(self):
        self.check(True, like(SPAWNING, schedule=ERROR))

    def test_record_that_the_source_closed_forbids_while_work_goes_on(self):
        returned = like(SPAWNING, status='completed')

        self.check(True, returned)
        self.check(True, like(WAITING, status='completed'))
        self.check(True, like(returned, now=NOW))
        self.check(True, with_guest(returned, task_state=None))
        self.check(
            True, with_guest(returned, task_state=None, vm_state='error')
        )
        self.check(False, like(returned, rebuild=SUCCESS))
        self.check(False, like(returned, rebuild=ERROR))
        self.check(
            False, with_guest(returned, host='dst', task_state='rebooting')
        )

    def test_fenced_destination_ends_what_it_had_taken_up(self):
        asked = []

        def was_fenced(host, at):
            asked.append((host, at))
            return True

        self.check(False, SPAWNING, was_fenced)
        self.assertEqual([('dst', 1000.2)], asked)
        self.check(False, like(SPAWNING, status='completed'), was_fenced)

    def test_fenced_destination_finds_what_lies_in_the_bus_when_it_is_on(self):
        self.check(True, like(WAITING, destination='dst'), always)
        self.check(True, WAITING, always)

    def test_fenced_host_on_which_it_waited_for_its_claim_ends_it_too(self):
        taken = like(WAITING, rebuild=dataclasses.replace(RUNS, host='dst'))

        self.check(True, taken)
        self.check(True, taken, lambda host, _: host != 'dst')
        self.check(False, taken, lambda host, _: host == 'dst')

    def test_also_when_the_source_came_back_and_closed_its_record(self):
        taken = like(
            WAITING,
            status='completed',
            rebuild=dataclasses.replace(RUNS, host='dst'),
        )

        self.check(True, taken)
        self.check(True, taken, lambda host, _: host != 'dst')
        self.check(False, taken, lambda host, _: host == 'dst')

    def test_fence_before_the_host_took_it_up_ends_nothing(self):
        # It was asked for at 1000 and waited; its host was off at 1010, came
        # back, and has been at work since 1500.
        late = like(SPAWNING, rebuild=progress.Event(1500.0), now=1600.0)

        self.check(True, late, lambda _, at: at <= 1010.0)
        self.check(False, late, lambda _, at: at <= 1550.0)

    def test_a_second_record_that_was_left_open_forbids_nothing(self):
        # The source came back before there was a destination; nova made the
        # record anew and never closes that one.
        anew = like(
            with_guest(SPAWNING, host='dst', task_state=None), rebuild=SUCCESS
        )

        self.check(False, anew)
        self.check(False, with_guest(anew, task_state='rebooting'))


class SeveralTest(unittest.TestCase):
    """All evacuations of a server, the newest first."""

    def test_an_older_one_that_is_open_forbids_beside_one_that_failed(self):
        failed = like(SPAWNING, status='failed', created_at=2000.0)
        older = like(SPAWNING, rival=progress.Rival.NEWER_CLOSED)

        self.assertIs(older, guarding.holding([failed, older], never))

    def test_older_than_one_that_succeeded_is_over(self):
        done = like(SPAWNING, status='done', created_at=2000.0)
        older = like(SPAWNING, rival=progress.Rival.NEWER_CLOSED)

        self.assertIsNone(guarding.holding([done, older], never))

    def test_newer_than_one_that_succeeded_is_not(self):
        done = like(SPAWNING, status='done')
        newer = like(SPAWNING, created_at=2000.0)

        self.assertIs(newer, guarding.holding([newer, done], never))

    def test_each_is_asked_for_its_own_destination(self):
        newer = like(SPAWNING, destination='d2', created_at=2000.0)
        older = like(SPAWNING, rival=progress.Rival.NEWER_OPEN)

        found = guarding.holding([newer, older], lambda host, _: host == 'd2')

        self.assertIs(older, found)

    def test_none_at_all_forbids_nothing(self):
        self.assertIsNone(guarding.holding([], never))


class RecordedTest(unittest.TestCase):
    """What a real nova wrote, run by run; none of them has a fence."""

    def test_it_is_shut_until_the_newest_is_known_to_be_over(self):
        for name in recordings.names():
            run = recordings.read(name)
            for look in run.looks:
                found = list(reversed(look.facts))
                if not found or found[0].guest is None:
                    continue
                with self.subTest(name, at=found[0].now):
                    state = progress.assess(found[0]).state
                    self.assertEqual(
                        state in ('queued', 'running', 'unknown'),
                        guarding.holding(found, never) is not None,
                    )

    def test_it_is_open_after_each(self):
        for name in recordings.names():
            found = list(reversed(recordings.read(name).looks[-1].facts))
            with self.subTest(name):
                self.assertIsNone(guarding.holding(found, never))


class TimeTest(unittest.TestCase):
    @hypothesis.given(
        status=st.sampled_from(('accepted', 'pre-migrating', 'completed')),
        destination=st.sampled_from((None, 'dst')),
        task=st.sampled_from((None, 'rebuilding', 'rebuild_spawning')),
        vm=st.sampled_from(('active', 'stopped', 'error')),
        up=st.sampled_from((True, False, None)),
        ages=st.tuples(
            st.floats(1000.0, 1e9, allow_nan=False),
            st.floats(1000.0, 1e9, allow_nan=False),
        ),
    )
    def test_no_amount_of_waiting_opens_the_guard(
        self, status, destination, task, vm, up, ages
    ):
        facts = like(
            SPAWNING,
            status=status,
            destination=destination,
            guest=progress.Guest('src', vm, task),
            destination_up=up,
        )

        first, second = (
            guarding.holding([like(facts, now=now)], never) is None
            for now in ages
        )

        self.assertEqual(first, second)
