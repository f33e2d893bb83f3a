# SPDX-License-Identifier: Apache-2.0

"""What the assessment of an evacuation says, case by case and on the way."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery.progress import Phase
from nova_ha_plugins.recovery.progress import Reason
from nova_ha_plugins.recovery.progress import Rival
from nova_ha_plugins.recovery.progress import State

RUNS = progress.Event(started_at=1000.2)
SUCCESS = progress.Event(1000.2, 1000.6, 'Success')
ERROR = progress.Event(1000.2, 1000.6, 'Error')
JUST_NOW = 1001.0
LATER = 1060.0
MUCH_LATER = 1000.0 + progress.QUIET_SECONDS + 60.0


def guest(task='rebuilding', vm='active', host='src'):
    return progress.Guest(host=host, vm_state=vm, task_state=task)


def facts(status, **changes):
    base = progress.Facts(
        status=status,
        source='src',
        destination=None if status in ('accepted', 'error') else 'dst',
        guest=guest(),
        now=JUST_NOW,
        created_at=1000.0,
        destination_up=True,
    )
    return dataclasses.replace(base, **changes)


def short(found):
    return (found.state, found.phase, found.progress, found.reason)


class PhaseTest(unittest.TestCase):
    """Every phase of an undisturbed evacuation, with its percent."""

    def check(self, known, state, phase, percent):
        found = progress.assess(known)

        self.assertEqual((state, phase, percent, None), short(found))
        self.assertFalse(found.stalled)
        self.assertFalse(found.source_cleaned)

    def test_accepted(self):
        self.check(facts('accepted'), State.QUEUED, Phase.ACCEPTED, 0)

    def test_scheduling_once_the_conductor_has_it(self):
        known = facts('accepted', schedule=RUNS)
        self.check(known, State.QUEUED, Phase.SCHEDULING, 2)

    def test_claiming_once_a_destination_was_chosen(self):
        known = facts('accepted', schedule=SUCCESS)
        self.check(known, State.QUEUED, Phase.CLAIMING, 10)

    def test_claiming_when_only_the_destination_told_of_it(self):
        known = facts('accepted', rebuild=RUNS)
        self.check(known, State.QUEUED, Phase.CLAIMING, 10)

    def test_forced_destination_in_accepted_is_not_running_yet(self):
        known = facts('accepted', destination='dst', schedule=RUNS)
        self.check(known, State.QUEUED, Phase.SCHEDULING, 2)

    def test_preparing(self):
        known = facts('pre-migrating', schedule=SUCCESS, rebuild=RUNS)
        self.check(known, State.RUNNING, Phase.PREPARING, 14)

    def test_volumes(self):
        known = facts(
            'pre-migrating', guest=guest('rebuild_block_device_mapping')
        )
        self.check(known, State.RUNNING, Phase.VOLUMES, 25)

    def test_spawning(self):
        known = facts('pre-migrating', guest=guest('rebuild_spawning'))
        self.check(known, State.RUNNING, Phase.SPAWNING, 40)

    def test_finishing_while_the_server_is_still_on_the_source(self):
        known = facts('pre-migrating', guest=guest(None))
        self.check(known, State.RUNNING, Phase.FINISHING, 90)

    def test_finishing_while_nova_stops_the_guest_again(self):
        known = facts('pre-migrating', guest=guest('powering-off'))
        self.check(known, State.RUNNING, Phase.FINISHING, 90)

    def test_done_as_soon_as_the_server_is_on_the_destination(self):
        known = facts('pre-migrating', guest=guest(None, host='dst'))
        self.check(known, State.SUCCEEDED, Phase.DONE, 100)

    def test_not_done_on_the_destination_with_a_task(self):
        known = facts('pre-migrating', guest=guest('powering-off', host='dst'))
        self.check(known, State.RUNNING, Phase.FINISHING, 90)

    def test_done_when_the_record_says_so(self):
        known = facts('done', guest=guest('rebuild_spawning'))
        self.check(known, State.SUCCEEDED, Phase.DONE, 100)

    def test_older_done_record_keeps_its_hundred_percent(self):
        known = facts('done', rival=Rival.NEWER_OPEN)
        self.check(known, State.SUCCEEDED, Phase.DONE, 100)


class FailureTest(unittest.TestCase):
    def check(self, known, reason):
        found = progress.assess(known)

        self.assertEqual(
            (State.FAILED, Phase.FAILED, None, reason), short(found)
        )
        self.assertFalse(found.stalled)

    def test_error_without_destination_is_no_valid_host(self):
        self.check(facts('error', schedule=ERROR), Reason.NO_VALID_HOST)

    def test_error_with_a_named_destination_is_still_the_schedulers(self):
        for destination in ('dst', None):
            for status in ('error', 'accepted'):
                self.check(
                    facts(status, destination=destination, schedule=ERROR),
                    Reason.NO_VALID_HOST,
                )

    def test_failed_is_the_destinations(self):
        self.check(facts('failed', rebuild=ERROR), Reason.DESTINATION_FAILED)

    def test_failed_claim_has_no_destination_and_is_still_not_the_scheduler(
        self,
    ):
        self.check(
            facts('failed', destination=None, schedule=SUCCESS),
            Reason.DESTINATION_FAILED,
        )

    def test_open_record_of_a_deleted_server(self):
        for status in ('accepted', 'pre-migrating', 'completed'):
            with self.subTest(status):
                self.check(facts(status, guest=None), Reason.SERVER_DELETED)

    def test_conductor_that_failed_after_the_destination_began_ends_nothing(
        self,
    ):
        for known in (
            facts('pre-migrating', schedule=ERROR),
            facts('accepted', schedule=ERROR, rebuild=RUNS),
        ):
            self.assertIn(
                progress.assess(known).state, (State.RUNNING, State.QUEUED)
            )

    def test_server_that_nova_takes_away_has_no_guest_any_more(self):
        self.check(
            facts('pre-migrating', guest=guest(None, vm='deleted')),
            Reason.SERVER_DELETED,
        )

    def test_rebuild_that_ends_well_with_a_failed_record_was_deleted(self):
        self.check(
            facts('failed', rebuild=SUCCESS, guest=None), Reason.SERVER_DELETED
        )
        self.check(
            facts('failed', rebuild=RUNS, guest=None), Reason.SERVER_DELETED
        )
        self.check(
            facts('failed', rebuild=ERROR, guest=None),
            Reason.DESTINATION_FAILED,
        )

    def test_failed_events_are_believed_before_the_record_is_closed(self):
        self.check(facts('accepted', schedule=ERROR), Reason.NO_VALID_HOST)
        self.check(
            facts('pre-migrating', rebuild=ERROR), Reason.DESTINATION_FAILED
        )


class SourceReturnedTest(unittest.TestCase):
    """Status 'completed': the source came back, whenever it was."""

    def assess(self, **changes):
        found = progress.assess(facts('completed', **changes))
        self.assertTrue(found.source_cleaned)
        return found

    def test_after_the_end_it_is_a_plain_success(self):
        found = self.assess(rebuild=SUCCESS, guest=guest(None, host='dst'))

        self.assertEqual(
            (State.SUCCEEDED, Phase.DONE, 100, None), short(found)
        )

    def test_after_the_server_moved_on_it_is_still_a_success(self):
        found = self.assess(rebuild=SUCCESS, guest=guest(None, host='other'))

        self.assertIs(State.SUCCEEDED, found.state)

    def test_a_later_evacuation_does_not_undo_a_success(self):
        found = self.assess(rebuild=SUCCESS, rival=Rival.NEWER_CLOSED)

        self.assertIs(State.SUCCEEDED, found.state)

    def test_long_ago_without_events_the_place_of_the_server_tells(self):
        found = self.assess(guest=guest(None, host='other'), now=MUCH_LATER)

        self.assertIs(State.SUCCEEDED, found.state)

    def test_while_the_destination_works_it_goes_on(self):
        found = self.assess(rebuild=RUNS, guest=guest('rebuild_spawning'))

        self.assertEqual(
            (State.RUNNING, Phase.SPAWNING, 40, Reason.SOURCE_RETURNED),
            short(found),
        )

    def test_while_it_finishes_it_is_not_done(self):
        found = self.assess(rebuild=RUNS, guest=guest(None))

        self.assertEqual(
            (State.RUNNING, Phase.FINISHING, 90, Reason.SOURCE_RETURNED),
            short(found),
        )

    def test_while_the_scheduler_works_it_goes_on(self):
        found = self.assess(destination=None, schedule=RUNS)

        self.assertEqual(
            (State.QUEUED, Phase.SCHEDULING, 2, Reason.SOURCE_RETURNED),
            short(found),
        )

    def test_without_a_host_afterwards_it_failed_and_the_guest_is_gone(self):
        found = self.assess(
            destination=None, schedule=ERROR, guest=guest(None, vm='error')
        )

        self.assertEqual(
            (State.FAILED, Phase.FAILED, None, Reason.NO_VALID_HOST),
            short(found),
        )

    def test_a_failed_rebuild_afterwards_is_a_failure(self):
        for known in (
            {'rebuild': ERROR, 'guest': guest(None, vm='error')},
            {'guest': guest(None, vm='error')},
        ):
            found = self.assess(**known)
            self.assertEqual(
                (State.FAILED, Reason.DESTINATION_FAILED),
                (found.state, found.reason),
            )

    def test_record_that_nova_made_again_supersedes_it(self):
        for rebuild in (None, RUNS, SUCCESS):
            for rival in (Rival.NEWER_OPEN, Rival.NEWER_CLOSED):
                found = self.assess(
                    destination=None, rebuild=rebuild, rival=rival
                )
                self.assertEqual(
                    (
                        State.SUPERSEDED,
                        Phase.SUPERSEDED,
                        None,
                        Reason.SOURCE_RETURNED,
                    ),
                    short(found),
                )

    def test_older_record_without_evidence_is_unknown(self):
        found = self.assess(rival=Rival.NEWER_CLOSED)

        self.assertEqual(
            (State.UNKNOWN, Phase.UNKNOWN, None, None), short(found)
        )


class OtherRecordsTest(unittest.TestCase):
    def test_newer_open_record_means_two_at_the_same_time(self):
        found = progress.assess(facts('pre-migrating', rival=Rival.NEWER_OPEN))

        self.assertEqual(
            (
                State.SUPERSEDED,
                Phase.SUPERSEDED,
                None,
                Reason.CONCURRENT_EVACUATION,
            ),
            short(found),
        )

    def test_record_of_a_dead_destination_was_left_open(self):
        found = progress.assess(
            facts(
                'pre-migrating', rival=Rival.NEWER_OPEN, destination_up=False
            )
        )

        self.assertIs(State.SUPERSEDED, found.state)
        self.assertIs(Reason.RECORD_LEFT_OPEN, found.reason)

    def test_newer_closed_record_leaves_it_open_for_ever(self):
        found = progress.assess(
            facts('pre-migrating', rival=Rival.NEWER_CLOSED)
        )

        self.assertIs(State.SUPERSEDED, found.state)
        self.assertIs(Reason.RECORD_LEFT_OPEN, found.reason)

    def test_newest_of_two_has_no_percent(self):
        found = progress.assess(facts('pre-migrating', rival=Rival.OLDER_OPEN))

        self.assertEqual(
            (
                State.RUNNING,
                Phase.PREPARING,
                None,
                Reason.CONCURRENT_EVACUATION,
            ),
            short(found),
        )

    def test_record_made_again_is_a_success_left_open(self):
        found = progress.assess(
            facts(
                'pre-migrating',
                guest=guest(None, host='dst'),
                rebuild=SUCCESS,
                now=LATER,
            )
        )

        self.assertEqual(
            (State.SUCCEEDED, Phase.DONE, 100, Reason.RECORD_LEFT_OPEN),
            short(found),
        )

    def test_status_of_another_kind_of_migration_is_unknown(self):
        found = progress.assess(facts('reverted'))

        self.assertEqual(
            (State.UNKNOWN, Phase.UNKNOWN, None, None), short(found)
        )


class StallTest(unittest.TestCase):
    def check(self, known, reason):
        found = progress.assess(known)

        self.assertTrue(found.stalled)
        self.assertIs(reason, found.reason)
        self.assertIn(found.state, (State.QUEUED, State.RUNNING))

    def test_dead_destination_stalls_and_does_not_fail(self):
        self.check(
            facts('pre-migrating', destination_up=False),
            Reason.DESTINATION_DOWN,
        )

    def test_unknown_destination_does_not_stall(self):
        found = progress.assess(facts('pre-migrating', destination_up=None))

        self.assertFalse(found.stalled)

    def test_task_that_was_reset(self):
        known = facts('pre-migrating', guest=guest(None), now=LATER)
        self.check(known, Reason.TASK_STATE_RESET)

    def test_task_that_was_reset_is_not_the_end_of_the_building(self):
        for status in ('pre-migrating', 'completed'):
            for launched_at, phase, percent in (
                (900.0, Phase.UNKNOWN, None),
                (1000.5, Phase.FINISHING, 90),
                (None, Phase.FINISHING, 90),
            ):
                known = facts(
                    status,
                    guest=dataclasses.replace(
                        guest(None), launched_at=launched_at
                    ),
                )
                found = progress.assess(known)
                self.assertEqual(
                    (State.RUNNING, phase, percent),
                    (found.state, found.phase, found.progress),
                )
                later = progress.assess(dataclasses.replace(known, now=LATER))
                self.assertIs(Reason.TASK_STATE_RESET, later.reason)

    def test_accepted_record_without_a_task(self):
        known = facts('accepted', guest=guest(None), now=LATER)
        self.check(known, Reason.NO_TASK)

    def test_missing_task_is_not_a_stall_while_nova_still_writes(self):
        known = facts('pre-migrating', guest=guest(None), now=JUST_NOW)

        self.assertFalse(progress.assess(known).stalled)

    def test_every_write_of_nova_counts_as_activity(self):
        last = MUCH_LATER - 1.0
        self.check(facts('pre-migrating', now=MUCH_LATER), Reason.NO_ACTIVITY)
        for write in (
            {'updated_at': last},
            {'guest': progress.Guest('src', 'active', 'rebuilding', last)},
            {'schedule': progress.Event(last)},
            {'rebuild': progress.Event(1000.0, last)},
        ):
            known = facts('pre-migrating', now=MUCH_LATER, **write)
            with self.subTest(str(write)):
                self.assertFalse(progress.assess(known).stalled)

    def test_slow_is_not_dead(self):
        known = facts(
            'pre-migrating',
            guest=guest('rebuild_spawning'),
            now=1000.0 + progress.QUIET_SECONDS - 1.0,
        )

        self.assertFalse(progress.assess(known).stalled)

    def test_foreign_task_has_no_phase_and_no_percent(self):
        found = progress.assess(
            facts('pre-migrating', guest=guest('deleting'))
        )

        self.assertEqual(
            (State.UNKNOWN, Phase.UNKNOWN, None, None), short(found)
        )


class CountedTest(unittest.TestCase):
    """Within a phase the number moves with what was counted, only."""

    def percent(self, task, **changes):
        known = facts('pre-migrating', guest=guest(task), **changes)
        return progress.assess(known).progress

    def spawning(self, done, total, boot=progress.Boot.IMAGE):
        return self.percent(
            'rebuild_spawning',
            boot=boot,
            disk_total=total,
            disk_processed=done,
        )

    def test_bytes_move_it_from_the_first_percent_of_spawning(self):
        self.assertEqual(
            [40, 52, 65, 77],
            [self.spawning(done, 2**29) for done in range(0, 2**29, 2**27)],
        )

    def test_last_byte_is_not_yet_the_next_phase(self):
        self.assertEqual(89, self.spawning(2**29, 2**29))

    def test_no_count_leads_out_of_the_phase(self):
        self.assertEqual(89, self.spawning(2**40, 2**29))
        self.assertEqual(40, self.spawning(-5, 2**29))
        self.assertEqual(40, self.spawning(None, 2**29))

    def test_nothing_moves_where_nothing_is_copied_or_counted(self):
        self.assertEqual(40, self.spawning(0, 0))
        self.assertEqual(40, self.spawning(None, None))
        self.assertEqual(40, self.spawning(2**28, 2**29, progress.Boot.VOLUME))

    def test_volumes_move_it_while_they_are_prepared_and_connected(self):
        for task, expected in (
            ('rebuilding', [14, 17, 21, 24]),
            ('rebuild_block_device_mapping', [25, 30, 35, 39]),
        ):
            self.assertEqual(
                expected,
                [
                    self.percent(task, volumes_total=3, volumes_done=done)
                    for done in range(4)
                ],
            )

    def test_bytes_say_nothing_in_other_phases(self):
        for task, percent in (('rebuilding', 14), (None, 90)):
            self.assertEqual(
                percent,
                self.percent(task, disk_total=2**29, disk_processed=2**28),
            )

    def test_storage_is_what_the_destination_has_to_bring(self):
        image, volume = progress.Boot.IMAGE, progress.Boot.VOLUME
        for boot, total, expected in (
            (image, None, progress.Storage.UNKNOWN),
            (image, 0, progress.Storage.IN_PLACE),
            (image, 2**29, progress.Storage.COPY),
            (None, 2**29, progress.Storage.COPY),
            (volume, None, progress.Storage.VOLUMES),
            (volume, 2**29, progress.Storage.VOLUMES),
        ):
            known = facts('accepted', boot=boot, disk_total=total)
            self.assertIs(expected, progress.storage_of(known))


class AfterwardsTest(unittest.TestCase):
    """A record that nova made again stays open; its server lives on."""

    def assess(self, server, finished_at=1000.6, **changes):
        event = progress.Event(1000.2, finished_at, 'Success')
        return progress.assess(
            facts('pre-migrating', guest=server, rebuild=event, **changes)
        )

    def test_success_stays_whatever_the_server_does_later(self):
        for server in (
            guest('resize_prep', host='dst'),
            guest(None, host='elsewhere'),
            guest('rebuilding', host='elsewhere'),
            guest(None, vm='error', host='dst'),
            None,
        ):
            found = self.assess(server, now=MUCH_LATER)
            with self.subTest(str(server)):
                self.assertEqual(
                    (State.SUCCEEDED, Phase.DONE, 100), short(found)[:3]
                )

    def test_success_stays_when_the_server_is_evacuated_anew(self):
        found = self.assess(
            guest('rebuilding', host='dst'), rival=Rival.NEWER_OPEN
        )

        self.assertEqual(
            (State.SUCCEEDED, Phase.DONE, 100, Reason.RECORD_LEFT_OPEN),
            short(found),
        )

    def test_server_that_was_never_there_is_no_success_at_once(self):
        # It was deleted on the way: nova ends the event well, and is about to
        # close the record.
        found = self.assess(None)

        self.assertEqual(
            (State.FAILED, Phase.FAILED, None, Reason.SERVER_DELETED),
            short(found),
        )

    def test_event_without_a_destination_proves_no_arrival(self):
        found = self.assess(
            guest('rebuilding'), destination=None, now=MUCH_LATER
        )

        self.assertIsNot(State.SUCCEEDED, found.state)


# ---- the whole way ----------------------------------------------------------

# Each list goes forward: what nova writes, one write after the other. The
# source may come back (status 'completed') anywhere once there is a
# destination; reads of record, server and events may be of different age.
RECORDS = (
    ('accepted', None),
    ('pre-migrating', 'dst'),
    ('done', 'dst'),
    ('completed', 'dst'),
)
RECORDS_RETURNED = (
    ('accepted', None),
    ('pre-migrating', 'dst'),
    ('completed', 'dst'),
    ('done', 'dst'),
)
GUESTS = (
    guest('rebuilding'),
    guest('rebuild_block_device_mapping'),
    guest('rebuild_spawning'),
    guest(None),
    guest('powering-off'),
    guest(None, vm='stopped'),
    guest(None, vm='stopped', host='dst'),
)
EVENTS = (
    (None, None),
    (RUNS, None),
    (SUCCESS, None),
    (SUCCESS, RUNS),
    (SUCCESS, SUCCESS),
)
# The moment of nova's writes: (record, guest, events) as they are in truth.
TRUTH = (
    (0, 0, 0),
    (0, 0, 1),
    (0, 0, 2),
    (0, 0, 3),
    (1, 0, 3),
    (1, 1, 3),
    (1, 2, 3),
    (1, 3, 3),
    (1, 4, 3),
    (1, 5, 3),
    (1, 6, 3),
    (2, 6, 3),
    (2, 6, 4),
    (3, 6, 4),
)
MOMENT = st.integers(min_value=0, max_value=len(TRUTH) - 1)


@st.composite
def polls(draw):
    """Polls that go forward; the record is read before the rest of each."""
    moments = sorted(draw(st.lists(MOMENT, min_size=2, max_size=24)))
    pairs = zip(moments[0::2], moments[1::2], strict=False)
    return list(pairs)


class ForwardTest(unittest.TestCase):
    @hypothesis.settings(deadline=None, max_examples=400)
    @hypothesis.given(polls(), st.booleans(), st.floats(0.0, 5000.0))
    def test_percent_never_goes_back(self, pairs, returned, wait):
        records = RECORDS_RETURNED if returned else RECORDS
        last = 0
        for read_first, read_second in pairs:
            record = TRUTH[read_first][0]
            _, server, events = TRUTH[read_second]
            status, destination = records[record]
            schedule, rebuild = EVENTS[events]
            found = progress.assess(
                facts(
                    status,
                    destination=destination,
                    guest=GUESTS[server],
                    schedule=schedule,
                    rebuild=rebuild,
                    now=JUST_NOW + wait,
                )
            )

            self.assertIsNotNone(found.progress, found)
            self.assertGreaterEqual(found.progress, last, found)
            if found.progress == 100:
                self.assertIn(TRUTH[read_second][1], (6,))
            last = found.progress

    @hypothesis.settings(deadline=None, max_examples=300)
    @hypothesis.given(
        st.lists(st.tuples(MOMENT, st.integers(0, 64)), max_size=16),
        st.sampled_from(list(progress.Boot)),
        st.sampled_from([0, 1, 3, 2**29]),
        MOMENT,
        st.integers(0, 5),
    )
    def test_percent_never_goes_back_while_counts_go_forward(
        self, looks, boot, total, measured_from, volumes
    ):
        last = 0
        for moment, share in sorted(looks):
            record, server, events = TRUTH[moment]
            status, destination = RECORDS[record]
            measured = moment >= measured_from
            found = progress.assess(
                facts(
                    status,
                    destination=destination,
                    guest=GUESTS[server],
                    schedule=EVENTS[events][0],
                    rebuild=EVENTS[events][1],
                    boot=boot,
                    disk_total=total if measured else None,
                    disk_processed=total * share // 64 if measured else None,
                    volumes_total=volumes,
                    volumes_done=volumes * share // 64,
                )
            )

            self.assertGreaterEqual(found.progress, last, found)
            self.assertEqual(
                found.state is State.SUCCEEDED, found.progress == 100
            )
            last = found.progress

    @hypothesis.given(
        st.sampled_from(
            'accepted pre-migrating done completed error failed odd'.split()
        ),
        st.sampled_from([None, 'dst']),
        st.one_of(
            st.none(),
            st.builds(
                progress.Guest,
                st.sampled_from([None, 'src', 'dst', 'other']),
                st.sampled_from([None, 'active', 'stopped', 'error']),
                st.sampled_from(
                    [None, 'rebuilding', 'rebuild_spawning', 'deleting']
                ),
            ),
        ),
        st.sampled_from([None, RUNS, SUCCESS, ERROR]),
        st.sampled_from([None, RUNS, SUCCESS, ERROR]),
        st.sampled_from([None, True, False]),
        st.sampled_from(list(Rival)),
        st.sampled_from([JUST_NOW, LATER, MUCH_LATER]),
        st.lists(
            st.one_of(st.none(), st.integers(-9, 2**41)),
            min_size=4,
            max_size=4,
        ),
    )
    @hypothesis.settings(deadline=None, max_examples=800)
    def test_whatever_nova_says_the_answer_is_consistent(
        self,
        status,
        destination,
        server,
        schedule,
        rebuild,
        up,
        rival,
        now,
        counts,
    ):
        found = progress.assess(
            facts(
                status,
                destination=destination,
                guest=server,
                schedule=schedule,
                rebuild=rebuild,
                destination_up=up,
                rival=rival,
                now=now,
                disk_total=counts[0],
                disk_processed=counts[1],
                volumes_total=counts[2],
                volumes_done=counts[3],
            )
        )

        ended = (State.SUCCEEDED, State.FAILED, State.SUPERSEDED)
        self.assertEqual(found.state is State.SUCCEEDED, found.progress == 100)
        self.assertEqual(
            found.state is State.SUCCEEDED, found.phase is Phase.DONE
        )
        self.assertEqual(status == 'completed', found.source_cleaned)
        if found.state in ended:
            self.assertFalse(found.stalled)
        if found.stalled or found.state is State.FAILED:
            self.assertIsNotNone(found.reason)
        if found.progress is not None:
            order = [*progress.PERCENT.values(), 101]
            first = progress.PERCENT[found.phase]
            self.assertIn(
                found.progress, range(first, order[order.index(first) + 1])
            )


if __name__ == '__main__':
    unittest.main()
