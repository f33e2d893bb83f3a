# SPDX-License-Identifier: Apache-2.0

"""What nova's records make of a server: status, destination, where it is."""

import dataclasses
import itertools
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import restoring
from nova_ha_plugins.recovery import waits
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples

Phase = incident.Phase
ServerState = incident.ServerState

NOW = examples.NOW
PATIENCE = waits.Patience(
    unanswered_quiet=30.0, retry_delay=15.0, max_attempts=3
)
OPEN = ('accepted', 'pre-migrating', 'migrating', 'something-new')


def evacuating(*servers, **changes):
    return examples.make(Phase.EVACUATING, servers=servers, **changes)


def asked(**changes):
    """Return a server for which nova was asked."""
    given = {
        'state': ServerState.REQUESTED,
        'attempts': 1,
        'intended_at': NOW,
        **changes,
    }
    return examples.server(**given)


def following(status_uuid='mig-1', destination=None, **changes):
    """Return a server whose record is followed."""
    return asked(
        state=ServerState.EVACUATING,
        migration_uuid=status_uuid,
        destination=destination,
        **changes,
    )


def see(server, record=None, view=None, off=False, at=NOW + 1, others=()):
    """Return the incident after one look at the server."""
    event = events.EvacuationSeen(at, server.uuid, record, view, off)
    return machine.step(evacuating(server, *others), event, PATIENCE)


# A second server that is never done keeps the incident in its phase.
BESIDE = examples.server('beside', state=ServerState.READY)


def look(server, record=None, view=None, off=False, at=NOW + 1):
    """Return the server after one look at it."""
    found = see(server, record, view, off, at, others=(BESIDE,))
    return found.servers[0]


HERE = examples.view(task_state='rebuilding')
STILL = examples.view()
THERE = examples.view(host='d1')
MOVING = examples.view(host='d1', task_state='rebuild_spawning')

# (record's status, its destination, the server) -> (state, code)
BEFORE_CALL = {
    (None, None, 'here'): ('ready', ''),
    ('accepted', None, 'here'): ('evacuating', ''),
    ('accepted', 'd1', 'here'): ('evacuating', ''),
    ('pre-migrating', 'd1', 'here'): ('evacuating', ''),
    ('something-new', 'd1', 'here'): ('evacuating', ''),
    ('error', None, 'here'): ('ready', ''),
    ('failed', None, 'here'): ('ready', ''),
    ('failed', 'd1', 'here'): ('parked', 'destination-unproven'),
    ('cancelled', 'd1', 'here'): ('parked', 'destination-unproven'),
    ('cancelled', None, 'here'): ('ready', ''),
    ('completed', 'd1', 'here'): ('ready', ''),
    ('done', 'd1', 'there'): ('recovered', ''),
    ('completed', 'd1', 'there'): ('recovered', ''),
    (None, None, 'there'): ('recovered', ''),
    ('failed', 'd1', 'there'): ('recovered', ''),
}
AFTER_CALL = {
    (None, None, 'here'): ('requested', ''),
    ('accepted', None, 'here'): ('evacuating', ''),
    ('pre-migrating', 'd1', 'here'): ('evacuating', ''),
    ('done', 'd1', 'moving'): ('evacuating', ''),
    ('done', 'd1', 'there'): ('recovered', ''),
    ('completed', 'd1', 'there'): ('recovered', ''),
    ('completed', 'd1', 'here'): ('evacuating', ''),
    ('completed', 'd1', 'still'): ('evacuating', 'settling'),
    ('error', None, 'still'): ('ready', 'no-valid-host'),
    ('failed', None, 'still'): ('ready', 'failed'),
    ('cancelled', None, 'still'): ('ready', 'failed'),
    ('failed', 'd1', 'still'): ('parked', 'destination-unproven'),
    ('cancelled', 'd1', 'still'): ('parked', 'destination-unproven'),
}
VIEWS = {'here': HERE, 'still': STILL, 'there': THERE, 'moving': MOVING}


def record_of(status, destination, uuid='mig-1'):
    return status and examples.record(status, uuid, destination)


class TableTest(unittest.TestCase):
    def check(self, table, server):
        for (status, destination, where), expected in table.items():
            with self.subTest(
                status=status, destination=destination, where=where
            ):
                found = look(
                    server, record_of(status, destination), VIEWS[where]
                )

                self.assertEqual(expected, (str(found.state), found.code))

    def test_before_our_call(self):
        self.check(BEFORE_CALL, examples.server())

    def test_after_our_call(self):
        self.check(AFTER_CALL, asked())

    def test_on_the_way(self):
        table = {key: AFTER_CALL[key] for key in AFTER_CALL if key[0]}
        self.check(table, following())

    def test_a_server_that_nova_does_not_know_any_more_was_deleted(self):
        for server in (examples.server(), asked(), following()):
            found = look(server, examples.record('accepted'), None)

            self.assertEqual(ServerState.LEFT, found.state)
            self.assertEqual('deleted', found.code)

    def test_an_open_record_is_waited_for_however_long(self):
        for status in (*OPEN, 'done'):
            record = examples.record(status, destination='d1')

            found = look(following(), record, HERE, at=NOW + 86400)

            self.assertEqual(ServerState.EVACUATING, found.state)


class AdoptTest(unittest.TestCase):
    def test_an_evacuation_of_somebody_else_is_adopted_not_repeated(self):
        record = examples.record('pre-migrating', 'theirs', 'd2')

        found = look(examples.server(), record, HERE)

        self.assertEqual('theirs', found.migration_uuid)
        self.assertEqual('d2', found.destination)
        self.assertEqual(0, found.attempts)

    def test_the_record_from_before_is_kept_as_the_baseline(self):
        found = look(examples.server(), examples.record('error', 'old'), STILL)

        self.assertEqual('old', found.baseline)

    def test_the_old_record_is_not_the_answer_to_a_new_call(self):
        server = asked(baseline='old')

        found = look(server, examples.record('error', 'old'), STILL)

        self.assertEqual(server, found)

    def test_a_call_without_answer_and_record_is_left_alone_then_repeated(
        self,
    ):
        quiet = look(asked(), None, STILL, at=NOW + 29.9)
        over = look(asked(), None, STILL, at=NOW + 30)

        self.assertEqual(ServerState.REQUESTED, quiet.state)
        self.assertEqual(ServerState.READY, over.state)
        self.assertEqual('unanswered', over.code)
        self.assertEqual(NOW + 45, over.retry_at)

    def test_a_call_that_nova_took_is_not_made_again_without_a_record(self):
        took = dataclasses.replace(asked(), answered=True)

        found = look(took, None, STILL, at=NOW + 3600)

        self.assertEqual(ServerState.REQUESTED, found.state)
        self.assertEqual('record-missing', found.code)
        self.assertEqual(found, look(found, None, STILL, at=NOW + 7200))

    def test_a_server_that_moved_without_a_record_has_arrived(self):
        took = dataclasses.replace(asked(), answered=True)

        found = look(took, None, THERE, at=NOW + 3600)

        self.assertEqual(ServerState.RECOVERED, found.state)
        self.assertEqual('d1', found.destination)

    def test_a_late_record_of_an_unanswered_call_is_adopted(self):
        over = look(asked(), None, STILL, at=NOW + 30)

        found = look(over, examples.record('accepted'), HERE, at=NOW + 31)

        self.assertEqual(ServerState.EVACUATING, found.state)
        self.assertEqual('mig-1', found.migration_uuid)
        self.assertIsNone(found.retry_at)
        self.assertEqual(('', ''), (found.code, found.reason))


class WhereItIsTest(unittest.TestCase):
    def test_a_server_that_came_back_as_it_was_is_recovered(self):
        for vm_state in ('active', 'stopped'):
            server = following(vm_state=vm_state)
            view = dataclasses.replace(THERE, vm_state=vm_state)

            found = look(server, examples.record('done', 'mig-1', 'd1'), view)

            self.assertEqual(ServerState.RECOVERED, found.state)
            self.assertEqual('d1', found.destination)
            self.assertEqual(NOW + 1, found.finished_at)

    def test_a_server_in_error_is_not_recovered(self):
        view = dataclasses.replace(THERE, vm_state='error')

        found = look(following(), examples.record('done', 'mig-1', 'd1'), view)

        self.assertEqual(ServerState.PARKED, found.state)
        self.assertEqual('error-after-evacuation', found.code)

    def test_a_server_that_is_being_deleted_is_not_made_ready(self):
        view = examples.view(task_state='deleting')

        found = look(examples.server(), None, view)

        self.assertEqual(ServerState.LEFT, found.state)

    def test_a_busy_server_on_another_host_is_not_made_ready(self):
        view = examples.view(host='d1', task_state='rebooting')

        found = look(examples.server(), None, view)

        self.assertEqual(ServerState.QUEUED, found.state)

    def test_a_server_that_ran_and_came_back_stopped_is_not_recovered(self):
        view = dataclasses.replace(THERE, vm_state='stopped')

        found = look(following(), examples.record('done', 'mig-1', 'd1'), view)

        self.assertNotEqual(ServerState.RECOVERED, found.state)


class StoppedServerTest(unittest.TestCase):
    def arrived(self):
        server = following(vm_state='stopped')
        return look(server, examples.record('done', 'mig-1', 'd1'), THERE)

    def test_a_server_that_was_stopped_and_came_back_running_is_stopped(self):
        found = self.arrived()

        self.assertEqual(ServerState.RESTORING, found.state)
        self.assertTrue(restoring.due(found, NOW))

    def test_the_stop_is_on_record_and_not_repeated_at_once(self):
        subject = evacuating(self.arrived())

        found = machine.step(
            subject, events.RestoreIntended(NOW + 2, 'vm-1'), PATIENCE
        ).servers[0]

        self.assertFalse(restoring.due(found, NOW + 11.9))
        self.assertTrue(restoring.due(found, NOW + 12))

    def test_it_is_recovered_only_when_it_is_stopped(self):
        record = examples.record('completed', 'mig-1', 'd1')
        still = look(self.arrived(), record, THERE)
        found = look(
            self.arrived(),
            record,
            dataclasses.replace(THERE, vm_state='stopped'),
        )

        self.assertEqual(ServerState.RESTORING, still.state)
        self.assertEqual(ServerState.RECOVERED, found.state)

    def test_where_it_is_tells_more_than_a_record_that_is_gone(self):
        view = dataclasses.replace(THERE, vm_state='stopped')

        found = look(self.arrived(), None, view)

        self.assertEqual(ServerState.RECOVERED, found.state)

    def test_it_may_be_deleted_meanwhile(self):
        found = look(self.arrived(), None, None)

        self.assertEqual(ServerState.LEFT, found.state)

    def test_no_other_server_is_ever_stopped(self):
        for state in ServerState:
            if state != ServerState.RESTORING:
                server = examples.server(state=state, vm_state='stopped')

                self.assertFalse(restoring.due(server, NOW))


class CompletedButThereTest(unittest.TestCase):
    RECORD = examples.record('completed', 'mig-1', 'd1')

    def settling(self):
        return look(following(destination='d1'), self.RECORD, STILL)

    def test_it_is_given_a_moment(self):
        found = look(self.settling(), self.RECORD, STILL, at=NOW + 10.9)

        self.assertEqual(ServerState.EVACUATING, found.state)

    def test_then_it_is_parked_not_repeated(self):
        found = look(self.settling(), self.RECORD, STILL, at=NOW + 11)

        self.assertEqual(ServerState.PARKED, found.state)
        self.assertEqual('source-returned', found.code)

    def test_it_may_arrive_in_that_moment(self):
        found = look(self.settling(), self.RECORD, THERE, at=NOW + 5)

        self.assertEqual(ServerState.RECOVERED, found.state)


class SlowTest(unittest.TestCase):
    RECORD = examples.record('pre-migrating', 'mig-1', 'd1')

    def at(self, seconds, record=RECORD):
        server = following(destination=record.dest_compute)
        return see(server, record, HERE, at=NOW + seconds, others=(BESIDE,))

    def test_slow_is_not_dead_but_after_ten_minutes_it_is_said(self):
        early, late = self.at(599.9), self.at(600)

        self.assertEqual(
            following(destination='d1'),
            early.servers[0],
        )
        self.assertEqual(ServerState.EVACUATING, late.servers[0].state)
        self.assertEqual('slow', late.servers[0].code)
        for words in ('mig-1', 'pre-migrating', '10 minutes', "'d1'"):
            self.assertIn(words, late.servers[0].reason)

    def test_it_is_said_once(self):
        event = events.EvacuationSeen(NOW + 700, 'vm-1', self.RECORD, HERE)
        late = self.at(600)

        self.assertEqual(late, machine.step(late, event, PATIENCE))

    def test_without_a_destination_it_names_the_likely_cause(self):
        late = self.at(600, examples.record('accepted'))

        self.assertIn('no destination', late.servers[0].reason)

    def test_it_may_still_arrive(self):
        event = events.EvacuationSeen(NOW + 900, 'vm-1', self.RECORD, THERE)

        found = machine.step(self.at(600), event, PATIENCE).servers[0]

        self.assertEqual(
            (ServerState.RECOVERED, ''), (found.state, found.code)
        )


class UnprovenDestinationTest(unittest.TestCase):
    FAILED = examples.record('failed', 'mig-1', 'd1')

    def test_it_is_parked_with_what_to_do(self):
        found = look(following(), self.FAILED, STILL)

        self.assertEqual(ServerState.PARKED, found.state)
        for words in ("'d1'", 'same disk', 'remove it', 'by hand'):
            self.assertIn(words, found.reason)

    def test_a_destination_that_was_fenced_itself_is_proof(self):
        for server in (following(), asked()):
            found = look(server, self.FAILED, STILL, off=True)

            self.assertEqual(ServerState.READY, found.state)
            self.assertEqual('destination-fenced', found.code)
            self.assertEqual('mig-1', found.baseline)

    def test_an_open_record_to_a_fenced_destination_is_given_up(self):
        record = examples.record('pre-migrating', 'mig-1', 'd1')

        found = look(following(), record, HERE, off=True)

        self.assertEqual(ServerState.READY, found.state)

    def test_the_given_up_record_does_not_answer_the_next_call(self):
        record = examples.record('pre-migrating', 'mig-1', 'd1')
        given_up = look(following(), record, HERE, off=True)
        again = dataclasses.replace(
            given_up, state=ServerState.REQUESTED, intended_at=NOW + 20
        )

        found = look(again, record, HERE, off=True, at=NOW + 21)

        self.assertEqual(ServerState.REQUESTED, found.state)


class AgainTest(unittest.TestCase):
    def refuse(self, attempts, text='nova said 409'):
        subject = evacuating(asked(attempts=attempts), BESIDE)
        event = events.EvacuateRefused(NOW + 1, 'vm-1', text)
        return machine.step(subject, event, PATIENCE)

    def test_a_refused_call_is_tried_again_after_a_growing_pause(self):
        delays = [
            self.refuse(attempts).servers[0].retry_at - NOW - 1
            for attempts in (1, 2)
        ]

        self.assertEqual([15.0, 30.0], delays)

    def test_after_the_last_attempt_it_is_parked_with_the_text_of_nova(self):
        subject = self.refuse(3)
        found = subject.servers[0]

        self.assertEqual(ServerState.PARKED, found.state)
        self.assertIn('nova said 409', found.reason)
        self.assertIn('given up after 3 attempts', found.reason)
        self.assertIn('parked', subject.timeline[-1].code)

    def test_want_of_a_host_is_never_given_up(self):
        server = following(attempts=400)

        found = look(server, examples.record('error'), STILL)

        self.assertEqual(ServerState.READY, found.state)
        self.assertEqual('no-valid-host', found.code)
        self.assertEqual(NOW + 1 + 300.0, found.retry_at)

    def test_one_refusal_after_a_long_wait_for_capacity_does_not_park(self):
        waited = look(
            following(attempts=7, waits=6), examples.record('error'), STILL
        )
        subject = evacuating(waited, BESIDE)

        found = machine.step(
            machine.step(
                subject, events.EvacuateIntended(NOW + 400, 'vm-1'), PATIENCE
            ),
            events.EvacuateRefused(NOW + 401, 'vm-1', 'nova said 409'),
            PATIENCE,
        ).servers[0]

        self.assertEqual(ServerState.READY, found.state)

    def test_a_nova_that_is_busy_is_waited_for_like_a_full_cloud(self):
        subject = evacuating(asked(attempts=3, waits=0), BESIDE)
        event = events.EvacuateRefused(NOW + 1, 'vm-1', 'nova said 429', True)

        found = machine.step(subject, event, PATIENCE).servers[0]

        self.assertEqual(ServerState.READY, found.state)
        self.assertEqual(('nova-busy', 1), (found.code, found.waits))

    def test_a_server_that_somebody_evacuates_is_waited_for_for_ever(self):
        subject = evacuating(asked(attempts=9, waits=0), BESIDE)
        event = events.EvacuateRefused(
            NOW + 1, 'vm-1', 'is being evacuated', guarded=True
        )

        found = machine.step(subject, event, PATIENCE).servers[0]

        self.assertEqual(ServerState.READY, found.state)
        self.assertEqual(('evacuation-open', 1), (found.code, found.waits))

    def test_a_retry_forgets_the_old_destination(self):
        found = look(
            following(destination='d1'), examples.record('error'), STILL
        )

        self.assertIsNone(found.destination)
        self.assertIsNone(found.migration_uuid)
        self.assertEqual('mig-1', found.baseline)


class IntentTest(unittest.TestCase):
    def test_the_intent_counts_the_attempt_before_the_call(self):
        subject = evacuating(
            examples.server(
                state=ServerState.READY,
                retry_at=NOW,
                migration_uuid='old',
                destination='d9',
            )
        )

        found = machine.step(
            subject, events.EvacuateIntended(NOW + 1, 'vm-1'), PATIENCE
        )

        server = found.servers[0]
        self.assertEqual(ServerState.REQUESTED, server.state)
        self.assertEqual((1, NOW + 1), (server.attempts, server.intended_at))
        self.assertFalse(server.answered)
        self.assertIsNone(server.destination)
        self.assertIsNone(server.migration_uuid)
        self.assertIsNone(server.retry_at)
        self.assertEqual('evacuate', found.timeline[-1].code)

    def test_the_timeline_names_a_server_by_its_name_or_else_its_uuid(self):
        for name, shown in (('db-1', "'db-1'"), ('', "'vm-1'")):
            ready = examples.server(state=ServerState.READY, name=name)
            asked_for = machine.step(
                evacuating(ready, BESIDE),
                events.EvacuateIntended(NOW, 'vm-1'),
                PATIENCE,
            )
            gone = see(ready, None, None, others=(BESIDE,))

            self.assertIn(shown, asked_for.timeline[-1].text)
            self.assertIn(shown, gone.timeline[-1].text)

    def test_an_accepted_call_waits_for_its_record(self):
        found = machine.step(
            evacuating(asked()),
            events.EvacuateAccepted(NOW + 1, 'vm-1'),
            PATIENCE,
        ).servers[0]

        self.assertTrue(found.answered)
        self.assertEqual(ServerState.REQUESTED, found.state)

    def test_an_unknown_server_is_an_error_and_changes_nothing(self):
        with self.assertRaises(KeyError):
            machine.step(
                evacuating(asked()),
                events.EvacuateIntended(NOW, 'stranger'),
                PATIENCE,
            )

    def test_a_server_that_is_not_ready_cannot_be_asked_for(self):
        for state in ServerState:
            if state == ServerState.READY:
                continue
            subject = evacuating(examples.server(state=state), BESIDE)

            with self.assertRaises(events.ImpossibleEventError):
                machine.step(
                    subject, events.EvacuateIntended(NOW, 'vm-1'), PATIENCE
                )

    def test_a_late_refusal_does_not_reopen_a_recovered_server(self):
        done = examples.server(state=ServerState.RECOVERED)

        found = machine.step(
            evacuating(done, BESIDE),
            events.EvacuateRefused(NOW, 'vm-1', 'nova said 409'),
            PATIENCE,
        )

        self.assertEqual(ServerState.RECOVERED, found.servers[0].state)


class BatchHeldTest(unittest.TestCase):
    def test_why_nothing_begins_is_told_once_per_reason(self):
        why = events.BatchHeld(NOW, 'power-unread', 'the device is silent')
        again = dataclasses.replace(why, at=NOW + 1)
        other = events.BatchHeld(NOW + 2, 'power-unknown', 'it reads nothing')

        subject = evacuating(BESIDE)
        for event in (why, again, other):
            subject = machine.step(subject, event, PATIENCE)

        self.assertEqual(
            ['power-unread', 'power-unknown'],
            [entry.code for entry in subject.timeline],
        )
        self.assertEqual('it reads nothing', subject.reason)
        self.assertEqual(Phase.EVACUATING, subject.phase)


class FinishTest(unittest.TestCase):
    def test_the_last_server_ends_the_evacuation_with_its_counts(self):
        left = examples.server('b', state=ServerState.LEFT)

        subject = evacuating(
            following(), left, code='power-unread', reason='it is silent'
        )
        found = machine.step(
            subject,
            events.EvacuationSeen(
                NOW + 1, 'vm-1', examples.record('done', 'mig-1', 'd1'), THERE
            ),
            PATIENCE,
        )

        self.assertEqual(Phase.RECOVERED, found.phase)
        self.assertEqual('resolved', found.outcome)
        self.assertEqual(('', ''), (found.code, found.reason))
        self.assertEqual(
            '1 server recovered, 1 left alone, 0 parked for an operator',
            found.timeline[-1].text,
        )

    def test_one_parked_server_makes_it_partial(self):
        parked = examples.server('b', state=ServerState.PARKED)

        found = see(
            following(),
            examples.record('done', 'mig-1', 'd1'),
            THERE,
            others=(parked,),
        )

        self.assertEqual('partial', found.outcome)

    def test_nothing_to_evacuate_ends_it_when_it_is_listed(self):
        subject = examples.make(Phase.EVACUATING, listed=False)
        left = examples.server('b', state=ServerState.LEFT)

        found = machine.step(subject, events.Listed(NOW, (left,)), PATIENCE)

        self.assertTrue(found.listed)
        self.assertEqual(Phase.RECOVERED, found.phase)

    def test_the_list_is_told_with_its_counts(self):
        subject = examples.make(Phase.EVACUATING, listed=False)
        servers = (
            examples.server('a'),
            examples.server('b', protected=False, state=ServerState.LEFT),
        )

        found = machine.step(subject, events.Listed(NOW, servers), PATIENCE)

        self.assertEqual(Phase.EVACUATING, found.phase)
        self.assertIn('2 servers on the host, 1', found.timeline[-1].text)

    def test_what_ended_is_not_looked_at_again(self):
        for state in incident.FINAL_SERVER_STATES - {ServerState.PARKED}:
            server = examples.server(state=state)

            found = look(server, examples.record('accepted'), HERE)

            self.assertEqual(server, found)


STATUSES = st.one_of(
    st.none(),
    st.sampled_from(
        [
            *OPEN,
            'done',
            'completed',
            'error',
            'failed',
            'cancelled',
        ]
    ),
)
LOOKS = st.tuples(
    STATUSES,
    st.sampled_from([None, 'd1', 'd2']),
    st.sampled_from(['mig-1', 'mig-2']),
    st.sampled_from([None, HERE, STILL, THERE, MOVING]),
    st.booleans(),
)


class AnyRecordTest(unittest.TestCase):
    @examples.many
    @hypothesis.given(
        st.sampled_from(['queued', 'ready', 'requested', 'evacuating']),
        st.sampled_from([None, 'mig-1']),
        LOOKS,
    )
    def test_no_open_record_of_anybody_ever_leads_to_a_second_call(
        self, state, baseline, shown
    ):
        status, destination, uuid, view, off = shown
        server = asked(state=ServerState(state), baseline=baseline)
        record = record_of(status, destination, uuid)

        found = look(server, record, view, off)

        asks = uuid == baseline and state == 'requested'
        if records.is_open(record) and not off and not asks:
            self.assertNotEqual(ServerState.READY, found.state)

    @examples.many
    @hypothesis.given(
        st.sampled_from(['queued', 'ready', 'requested', 'evacuating']),
        st.sampled_from(['failed', 'cancelled']),
        LOOKS,
    )
    def test_a_failed_record_with_a_destination_never_leads_to_a_call(
        self, state, status, shown
    ):
        _, destination, uuid, view, _ = shown

        found = look(
            asked(state=ServerState(state)),
            examples.record(status, uuid, destination or 'd3'),
            view,
        )

        self.assertNotIn(
            found.state, (ServerState.READY, ServerState.REQUESTED)
        )

    @examples.many
    @hypothesis.given(st.lists(LOOKS, max_size=6))
    def test_recovered_is_said_only_of_a_server_on_another_host(self, shown):
        subject = evacuating(examples.server(), BESIDE)
        at, view = NOW, None
        for status, destination, uuid, view, off in shown:
            at += 20
            event = events.EvacuationSeen(
                at, 'vm-1', record_of(status, destination, uuid), view, off
            )
            before = subject.servers[0].state
            subject = machine.step(subject, event, PATIENCE)
            if (
                subject.servers[0].state == ServerState.RECOVERED
                and before != ServerState.RECOVERED
            ):
                self.assertEqual('d1', view.host)
                self.assertEqual('active', view.vm_state)

    def test_a_server_counts_as_open_exactly_while_nova_may_act(self):
        for state, status in itertools.product(
            ('queued', 'requested', 'evacuating'), OPEN
        ):
            found = look(
                asked(state=ServerState(state)), record_of(status, 'd1'), HERE
            )

            self.assertIn(found.state, pacing.OPEN_STATES)
