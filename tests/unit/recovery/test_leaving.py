# SPDX-License-Identifier: Apache-2.0

"""A living host that lost a network: held, fenced, or left by its servers."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import waits
from tests.unit.recovery import examples

NOW = examples.NOW
MoveState = incident.MoveState
Phase = incident.Phase
Response = evidence.Response
StepState = incident.StepState
LOST = networks.Answer(
    ('tenant',), Response.MIGRATE, '', 'lost', ('tenant',), ('tenant',)
)
READINGS = examples.readings(
    heartbeat=incident.Sign.ALIVE, probe=incident.Sign.ALIVE
)


def step(subject, *happened):
    for event in happened:
        subject = machine.step(subject, event)
    return subject


def assessed(answer=LOST, hold=None, servers=None, at=NOW):
    if servers is None:
        servers = (examples.server('vm-1'), examples.server('vm-2'))
    return network_events.NetworksAssessed(at, READINGS, answer, hold, servers)


def leaving(**changes):
    """An incident whose servers may leave now."""
    given = {
        'networks_lost': ('tenant',),
        'disabled': StepState.DONE,
        'moves': (incident.Move('vm-1'), incident.Move('vm-2')),
        **changes,
    }
    return examples.make(Phase.MIGRATING, **given)


def seen(status=None, uuid='vm-1', at=NOW, **changes):
    """What nova says of one server, with a record of that status or none."""
    record = None
    if status is not None:
        record = dataclasses.replace(
            examples.record(status, destination='cmp-2', server_uuid=uuid),
            kind='live-migration',
        )
    metadata = changes.pop('metadata', {'ha:policy': 'evacuate'})
    view = examples.view(uuid, metadata=metadata, **changes)
    return network_events.MovesSeen(
        at, (network_events.MoveSeen(uuid, record, view),)
    )


def move_of(subject, uuid='vm-1'):
    return next(move for move in subject.moves if move.uuid == uuid)


ASKED = (
    network_events.MoveIntended(NOW, 'vm-1'),
    network_events.MoveAccepted(NOW, 'vm-1'),
)


class ResponseTest(unittest.TestCase):
    def test_alert_holds_with_the_code_of_the_network(self):
        alert = networks.Answer(
            ('tenant',), Response.ALERT, 'tenant-lost', 'it is lost'
        )
        subject = step(examples.make(), assessed(alert))

        self.assertEqual(
            (Phase.HELD, 'tenant-lost', ('tenant',)),
            (subject.phase, subject.code, subject.networks_lost),
        )
        self.assertEqual('held:tenant-lost', subject.timeline[-1].code)

    def test_held_alert_ends_when_the_host_answers(self):
        subject = step(
            examples.make(Phase.HELD, networks_lost=('tenant',)),
            events.Assessed(NOW, READINGS, 0, None),
        )

        self.assertEqual(Phase.CANCELLED, subject.phase)
        self.assertIn("'tenant' again", subject.reason)

    def test_a_gate_holds_what_the_policy_wants(self):
        for response in (Response.MIGRATE, Response.FENCE):
            answer = dataclasses.replace(LOST, response=response)
            hold = gates.Hold('disarmed', 'nobody armed')
            subject = step(examples.make(), assessed(answer, hold))

            self.assertEqual(
                (Phase.HELD, 'disarmed'), (subject.phase, subject.code)
            )
            self.assertIsNone(subject.fence)

    def test_fence_names_evidence_and_policy(self):
        answer = dataclasses.replace(LOST, response=Response.FENCE)
        subject = step(examples.make(), assessed(answer))

        self.assertEqual(Phase.FENCING, subject.phase)
        self.assertEqual(('tenant',), subject.fence.networks)
        self.assertIn('policy', subject.timeline[-2].text)
        self.assertIn('heartbeat alive', subject.timeline[-2].text)

    def test_only_running_servers_that_ask_for_it_leave_best_first(self):
        subject = step(
            examples.make(),
            assessed(
                servers=(
                    examples.server('vm-1', priority=100),
                    examples.server('vm-2', protected=False),
                    examples.server('vm-3', vm_state='stopped'),
                    examples.server('vm-4', priority=900, vm_state='paused'),
                )
            ),
        )

        self.assertEqual(Phase.MIGRATING, subject.phase)
        self.assertEqual(['vm-4', 'vm-1'], [m.uuid for m in subject.moves])


class LeavingTest(unittest.TestCase):
    def test_no_server_begins_before_the_service_is_disabled(self):
        for state in (StepState.NONE, StepState.INTENDED):
            with self.assertRaises(events.ImpossibleEventError):
                step(leaving(disabled=state), ASKED[0])

    def test_no_server_begins_while_something_holds(self):
        with self.assertRaises(events.ImpossibleEventError):
            step(leaving(code='network-outage'), ASKED[0])

    def test_no_server_is_asked_for_twice(self):
        with self.assertRaises(events.ImpossibleEventError):
            step(leaving(), ASKED[0], ASKED[0])

    def test_server_that_runs_elsewhere_has_moved(self):
        subject = step(leaving(), *ASKED, seen('completed', host='cmp-2'))

        self.assertEqual(MoveState.MOVED, move_of(subject).state)

    def test_a_record_without_the_host_is_not_the_end(self):
        subject = step(leaving(), *ASKED, seen('completed'))

        self.assertEqual(MoveState.MOVING, move_of(subject).state)

    def test_no_answer_is_no_failure(self):
        late = NOW + waits.DEFAULT.unanswered_quiet - 1.0
        subject = step(leaving(), ASKED[0], seen(at=late))

        self.assertEqual(MoveState.REQUESTED, move_of(subject).state)

    def test_a_busy_server_without_a_record_is_waited_for(self):
        late = NOW + 10 * waits.DEFAULT.unanswered_quiet
        subject = step(
            leaving(), ASKED[0], seen(at=late, task_state='migrating')
        )

        self.assertEqual(MoveState.REQUESTED, move_of(subject).state)

    def test_a_call_that_nova_never_saw_is_made_again_later(self):
        late = NOW + waits.DEFAULT.unanswered_quiet
        subject = step(leaving(), ASKED[0], seen(at=late))

        self.assertEqual(MoveState.QUEUED, move_of(subject).state)
        self.assertGreater(move_of(subject).retry_at, late)

    def test_an_open_record_is_never_given_up(self):
        late = NOW + 100000.0
        subject = step(leaving(), *ASKED, seen('running', at=late))
        again = step(subject, seen('running', at=late + 1))

        self.assertEqual(MoveState.MOVING, move_of(again).state)
        self.assertEqual(
            1, sum(e.code == 'migrate-slow' for e in again.timeline)
        )

    def test_a_failed_one_is_asked_again_three_times_in_all(self):
        subject = leaving(moves=(incident.Move('vm-1'),))
        for number in range(3):
            at = NOW + 100.0 * number
            record = dataclasses.replace(
                examples.record('error', uuid=f'mig-{number}'),
                kind='live-migration',
            )
            failed = network_events.MovesSeen(
                at,
                (network_events.MoveSeen('vm-1', record, examples.view()),),
            )
            subject = step(
                subject, network_events.MoveIntended(at, 'vm-1'), failed
            )

        self.assertEqual(MoveState.FAILED, move_of(subject).state)

    def test_a_record_from_before_the_call_is_not_its_answer(self):
        moves = (incident.Move('vm-1', baseline='mig-1'),)
        subject = step(leaving(moves=moves), *ASKED, seen('error'))

        self.assertEqual(MoveState.REQUESTED, move_of(subject).state)

    def test_what_is_refused_for_load_is_no_attempt(self):
        subject = step(
            leaving(),
            ASKED[0],
            network_events.MoveRefused(NOW, 'vm-1', 'busy', busy=True),
        )

        self.assertEqual(
            (MoveState.QUEUED, 0),
            (move_of(subject).state, move_of(subject).attempts),
        )

    def test_an_owner_who_takes_the_tag_off_keeps_the_server_there(self):
        subject = step(leaving(), seen(metadata={'ha:policy': 'none'}))

        self.assertEqual(MoveState.LEFT, move_of(subject).state)

    def test_an_open_migration_of_somebody_else_is_followed(self):
        subject = step(leaving(), seen('running'))

        self.assertEqual(
            (MoveState.MOVING, 'cmp-2', 0),
            (
                move_of(subject).state,
                move_of(subject).destination,
                move_of(subject).attempts,
            ),
        )


BACK = network_events.NetworksSeen(NOW + 5, None)


class EndTest(unittest.TestCase):
    def test_when_the_network_is_back_no_further_server_begins(self):
        subject = step(leaving(), *ASKED, BACK)

        self.assertEqual(MoveState.LEFT, move_of(subject, 'vm-2').state)
        self.assertEqual(MoveState.REQUESTED, move_of(subject).state)
        self.assertEqual(Phase.MIGRATING, subject.phase)

    def test_the_service_is_enabled_before_the_incident_ends(self):
        subject = step(leaving(), BACK)
        self.assertEqual(Phase.MIGRATING, subject.phase)

        done = step(
            subject,
            events.StepIntended(NOW + 6, containment.Step.ENABLE),
            events.StepDone(NOW + 6, containment.Step.ENABLE),
        )

        self.assertEqual(Phase.CLOSED, done.phase)

    def test_an_open_migration_is_followed_to_its_end(self):
        enabled = leaving(enabled=StepState.DONE)
        subject = step(enabled, *ASKED, BACK)
        self.assertEqual('migrations-open', subject.code)

        done = step(subject, seen('completed', host='cmp-2'))

        self.assertEqual(
            (Phase.CLOSED, 'resolved'), (done.phase, done.outcome)
        )

    def test_an_operator_may_let_go_of_one_that_nova_lost(self):
        subject = step(leaving(enabled=StepState.DONE), *ASKED, BACK)

        done = step(subject, events.Released(NOW + 9, 'olga', 'it is gone'))

        self.assertEqual(Phase.CLOSED, done.phase)

    def test_a_host_that_falls_silent_is_assessed_with_its_moves_kept(self):
        subject = step(
            leaving(), *ASKED, network_events.HostSilent(NOW + 1, ())
        )

        self.assertEqual(Phase.SUSPECTED, subject.phase)
        self.assertEqual(MoveState.REQUESTED, move_of(subject).state)

    def test_one_that_is_heard_again_is_not_forgotten_disabled(self):
        subject = step(
            leaving(),
            network_events.HostSilent(NOW + 1, ()),
            events.Assessed(NOW + 2, READINGS, 0, None),
        )

        self.assertEqual(Phase.MIGRATING, subject.phase)

    def test_a_fence_whose_device_was_asked_is_not_forgotten(self):
        for calls in (0, 1):
            subject = step(
                leaving(fence=examples.fence(calls=calls)),
                network_events.HostSilent(NOW + 1, ()),
                events.Assessed(NOW + 2, READINGS, 0, None),
            )

            self.assertEqual(Phase.MIGRATING, subject.phase)
            self.assertEqual(bool(calls), subject.fence is not None)

    def test_no_cancelled_fence_leaves_the_service_disabled(self):
        subject = examples.make(
            Phase.FENCING,
            disabled=StepState.DONE,
            networks_lost=('tenant',),
            fence=examples.fence(),
        )

        alive = step(subject, events.SignOfLife(NOW + 1, 'it beats'))

        self.assertEqual(Phase.MIGRATING, alive.phase)
        self.assertIsNone(alive.closed_at)
        self.assertEqual(('tenant',), alive.networks_lost)
