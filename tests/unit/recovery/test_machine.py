# SPDX-License-Identifier: Apache-2.0

"""The state machine as a whole: its table, its order, its promises."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples

Do = machine.Do
FenceState = incident.FenceState
Phase = incident.Phase
Power = incident.Power
ServerState = incident.ServerState
Sign = incident.Sign
Step = containment.Step
StepState = incident.StepState

NOW = examples.NOW
PATIENCE = waits.Patience()

# What people and alarms may say at any time; the rest comes from ourselves.
ANYTIME = frozenset(
    {
        events.Suspected,
        events.Released,
        events.Attested,
        events.TakenOver,
    }
)

LOST = networks.Answer(
    lost=('storage',),
    response=evidence.Response.MIGRATE,
    code='',
    text='storage is lost',
    acting=('storage',),
)

# One event of each kind.
ONE_OF_EACH = (
    events.Suspected(NOW, 'notifier', 'Alarm says it is down'),
    events.Identified(NOW, 'svc-1', 'az1', examples.SYSTEM),
    events.Listed(NOW, (examples.server(),)),
    examples.assessed(),
    events.Dismissed(NOW, 'no such host'),
    events.IntentExpired(NOW),
    events.Heard(NOW, examples.readings()),
    events.PowerCalled(NOW, 'redfish'),
    events.PowerNotCalled(NOW),
    examples.power(Power.ON),
    events.PowerUnread(NOW, 'no answer'),
    events.Attested(NOW, 'alice', 'unplugged', examples.MARK),
    events.Released(NOW, 'alice', 'they are dead'),
    events.SignOfLife(NOW, 'heartbeat'),
    events.StepIntended(NOW, 'force-down'),
    events.StepDone(NOW, 'force-down'),
    events.StepRefused(NOW, 'force-down', 'nova said 503'),
    events.BatchHeld(NOW, 'power-unread', 'the device is silent'),
    events.EvacuationSeen(NOW, 'vm-1', None, examples.view()),
    events.EvacuateIntended(NOW, 'vm-1'),
    events.EvacuateAccepted(NOW, 'vm-1'),
    events.EvacuateRefused(NOW, 'vm-1', 'nova said 409'),
    events.Appeared(NOW, (examples.server('vm-9'),)),
    events.Reviewed(NOW),
    events.Uncontained(NOW),
    events.ResetIntended(NOW, 'vm-1'),
    events.ResetDone(NOW, 'vm-1'),
    events.RestoreIntended(NOW, 'vm-1'),
    events.HostSeen(NOW, False, None, 0),
    events.TakenOver(NOW, 'engine-2', 2),
    network_events.NetworksAssessed(NOW, examples.readings(), LOST),
    network_events.NetworksSeen(NOW, LOST),
    network_events.HostSilent(NOW, examples.readings()),
    network_events.MovesSeen(NOW, ()),
    network_events.MoveIntended(NOW, 'vm-1'),
    network_events.MoveAccepted(NOW, 'vm-1'),
    network_events.MoveRefused(NOW, 'vm-1', 'nova said 409'),
)


# What state a server has when it is intended for something.
WITH_A_SERVER = {
    events.EvacuateIntended: ServerState.READY,
    events.ResetIntended: ServerState.READY,
    events.RestoreIntended: ServerState.RESTORING,
}


def event_classes():
    found, todo = set(), [events.Event]
    while todo:
        for each in todo.pop().__subclasses__():
            found.add(each)
            todo.append(each)
    # No event itself: what all intents are.
    return found - {events.Intent}


class TableTest(unittest.TestCase):
    def test_the_example_has_one_event_of_each_kind(self):
        self.assertEqual(event_classes(), {type(e) for e in ONE_OF_EACH})
        self.assertEqual(len(event_classes()), len(ONE_OF_EACH))

    def test_every_event_is_possible_somewhere(self):
        possible = set(ANYTIME)
        for handlers in machine.TABLE.values():
            possible |= set(handlers)

        self.assertEqual(event_classes(), possible)

    def test_every_open_phase_has_a_row_and_a_closed_one_has_none(self):
        self.assertEqual(
            set(Phase) - incident.CLOSED_PHASES, set(machine.TABLE)
        )

    def test_what_is_not_in_the_table_is_refused_and_changes_nothing(self):
        refused = 0
        for phase in Phase:
            for event in ONE_OF_EACH:
                if type(event) in ANYTIME:
                    continue
                if type(event) in machine.TABLE.get(phase, {}):
                    continue
                refused += 1
                subject = examples.make(phase)
                before = dataclasses.asdict(subject)
                with self.subTest(phase=phase, event=type(event).__name__):
                    with self.assertRaises(
                        events.ImpossibleEventError
                    ) as caught:
                        machine.step(subject, event)

                    self.assertEqual(before, dataclasses.asdict(subject))
                    for words in (
                        subject.uuid,
                        subject.host,
                        phase,
                        type(event).__name__,
                    ):
                        self.assertIn(words, str(caught.exception))

        self.assertEqual(
            len(Phase) * (len(ONE_OF_EACH) - len(ANYTIME)) - self.pairs(),
            refused,
        )

    @staticmethod
    def pairs():
        return sum(len(handlers) for handlers in machine.TABLE.values())

    def test_what_is_in_the_table_makes_an_incident_of_a_new_value(self):
        taken = 0
        for phase, handlers in machine.TABLE.items():
            for event in ONE_OF_EACH:
                if type(event) not in handlers:
                    continue
                taken += 1
                subject = examples.make(phase)
                before = dataclasses.asdict(subject)
                if isinstance(event, events.StepIntended | events.StepDone):
                    if phase == Phase.RETURNING:
                        event = dataclasses.replace(event, step='un-force')
                    if phase == Phase.MIGRATING:
                        event = dataclasses.replace(event, step='disable')
                if type(event) in WITH_A_SERVER:
                    state = WITH_A_SERVER[type(event)]
                    subject = examples.make(
                        phase, servers=(examples.server(state=state),)
                    )
                    before = dataclasses.asdict(subject)
                if phase == Phase.MIGRATING:
                    steps = isinstance(
                        event, events.StepIntended | events.StepDone
                    )
                    subject = dataclasses.replace(
                        subject,
                        moves=(incident.Move('vm-1'),),
                        networks_lost=('storage',),
                        disabled=StepState.NONE if steps else StepState.DONE,
                    )
                    before = dataclasses.asdict(subject)
                with self.subTest(phase=phase, event=type(event).__name__):
                    found = machine.step(subject, event)

                    self.assertIsInstance(found, incident.Incident)
                    self.assertEqual(before, dataclasses.asdict(subject))

        self.assertEqual(self.pairs(), taken)

    def test_what_anybody_may_say_is_taken_in_every_phase(self):
        for phase in Phase:
            for event in ONE_OF_EACH:
                if type(event) in ANYTIME:
                    with self.subTest(phase=phase, event=type(event)):
                        machine.step(examples.make(phase), event)

    def test_a_closed_incident_stays_closed_whatever_is_said(self):
        for phase in incident.CLOSED_PHASES:
            subject = examples.make(phase, readings=examples.readings())
            for event in ONE_OF_EACH:
                if type(event) in ANYTIME:
                    found = machine.step(subject, event)

                    self.assertEqual(phase, found.phase)
                    self.assertEqual(subject.fence, found.fence)


class TodoTest(unittest.TestCase):
    def test_each_phase_has_its_work(self):
        expected = {
            Phase.SUSPECTED: Do.ASSESS,
            Phase.HELD: Do.ASSESS,
            Phase.MIGRATING: Do.LEAVE,
            Phase.FENCING: Do.READ_POWER,
            Phase.CONTAINING: Do.FORCE_DOWN,
            Phase.EVACUATING: Do.FOLLOW,
            Phase.RECOVERED: Do.REVIEW,
            Phase.RETURNING: Do.UNFORCE,
            Phase.NEEDS_OPERATOR: Do.READ_POWER,
            Phase.CLOSED: None,
            Phase.CANCELLED: None,
        }

        self.assertEqual(
            expected,
            {p: machine.todo(examples.make(p), NOW) for p in Phase},
        )

    def test_nothing_is_done_before_its_time(self):
        for phase in Phase:
            subject = examples.make(phase, next_look_at=NOW + 5)

            self.assertIsNone(machine.todo(subject, NOW + 4.9))
            self.assertEqual(
                machine.todo(examples.make(phase), NOW + 5),
                machine.todo(subject, NOW + 5),
            )

    def test_the_servers_are_listed_only_after_the_host_is_contained(self):
        subject = examples.make(Phase.EVACUATING, listed=False)

        self.assertEqual(Do.LIST, machine.todo(subject, NOW))

    def test_a_damaged_incident_is_named_not_guessed_at(self):
        subject = examples.make(Phase.FENCING, fence=None)

        with self.assertRaisesRegex(
            ValueError, "'inc-1' of host 'cmp-1' is fencing without a fence"
        ):
            machine.todo(subject, NOW)


# --- any sequence of events -------------------------------------------------

TIMES = st.floats(0.0, 40.0)


@st.composite
def _evacuation_seen(draw):
    status = draw(
        st.sampled_from(
            [
                None,
                'accepted',
                'pre-migrating',
                'done',
                'completed',
                'error',
                'failed',
            ]
        )
    )
    destination = draw(st.sampled_from([None, 'd1', 'd2']))
    record = status and examples.record(
        status,
        draw(st.sampled_from(['mig-1', 'mig-2'])),
        destination,
        draw(st.sampled_from(['vm-1', 'vm-2'])),
    )
    view = examples.view(
        host=draw(st.sampled_from([examples.HOST, 'd1'])),
        vm_state=draw(st.sampled_from(['active', 'stopped', 'error'])),
        task_state=draw(st.sampled_from([None, 'rebuilding'])),
    )
    server = draw(st.sampled_from(['vm-1', 'vm-2']))
    if draw(st.integers(0, 9)) == 0:
        view = None
    return events.EvacuationSeen(0.0, server, record, view)


SERVERS = (
    examples.server('vm-1', priority=900),
    examples.server('vm-2', vm_state='stopped'),
    examples.server('vm-3', protected=False, state=ServerState.LEFT),
)
SIGNS = st.sampled_from(Sign)
UUIDS = st.sampled_from(['vm-1', 'vm-2'])
STEPS = st.sampled_from(Step)
HOLDS = st.sampled_from([None, gates.Hold('storm', 'too many', 5.0)])
POWERS = st.sampled_from(Power)
SYSTEMS = st.sampled_from([examples.SYSTEM, examples.OTHER_SYSTEM, ''])


def _dead_or_held(heartbeat, probe, hold):
    """Return an assessment as the engine makes it: only dead has no hold."""
    if (heartbeat, probe) != (Sign.SILENT, Sign.SILENT) and hold is None:
        hold = gates.Hold('evidence-unknown', 'unknown is not dead')
    return examples.assessed(hold=hold, heartbeat=heartbeat, probe=probe)


LOOKING = st.one_of(
    st.just(events.Identified(0.0, 'svc-1', 'az1', examples.SYSTEM)),
    st.just(events.Listed(0.0, SERVERS)),
    st.builds(_dead_or_held, SIGNS, SIGNS, HOLDS),
)
SPEAKING = st.sampled_from(
    [
        events.Suspected(0.0, 'notifier', 'Alarm says it is down'),
        events.Released(0.0, 'alice', 'they are dead'),
        events.Attested(0.0, 'alice', 'unplugged', examples.MARK),
    ]
)
POWERING = st.one_of(
    st.builds(examples.power, POWERS, SYSTEMS),
    st.just(events.PowerUnread(0.0, 'no answer')),
    st.just(events.PowerCalled(0.0, 'redfish')),
    st.just(events.PowerNotCalled(0.0)),
    st.just(events.SignOfLife(0.0, 'heartbeat')),
    st.just(events.IntentExpired(0.0)),
    st.builds(
        lambda probe: events.Heard(0.0, examples.readings(probe=probe)), SIGNS
    ),
)
STEPPING = st.one_of(
    st.builds(lambda step: events.StepIntended(0.0, step.value), STEPS),
    st.builds(lambda step: events.StepDone(0.0, step.value), STEPS),
    st.builds(lambda step: events.StepRefused(0.0, step.value, 'no'), STEPS),
)
EVACUATING = st.one_of(
    st.just(events.BatchHeld(0.0, 'power-unread', 'the device is silent')),
    _evacuation_seen(),
    st.builds(lambda uuid: events.EvacuateIntended(0.0, uuid), UUIDS),
    st.builds(lambda uuid: events.EvacuateAccepted(0.0, uuid), UUIDS),
    st.builds(lambda uuid: events.EvacuateRefused(0.0, uuid, 'no'), UUIDS),
    st.builds(lambda uuid: events.RestoreIntended(0.0, uuid), UUIDS),
    st.builds(lambda uuid: events.ResetIntended(0.0, uuid), UUIDS),
    st.builds(lambda uuid: events.ResetDone(0.0, uuid), UUIDS),
    st.just(events.Appeared(0.0, (examples.server('vm-9'),))),
    st.sampled_from([events.Reviewed(0.0), events.Uncontained(0.0)]),
)
RETURNING = st.builds(
    lambda beating, up, disabled, reason, uncleaned: events.HostSeen(
        0.0,
        beating,
        views.ServiceView(examples.HOST, 'svc-1', up, False, disabled, reason),
        uncleaned,
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(['nova-ha: incident inc-1', 'maintenance']),
    st.integers(0, 2),
)
ANY = st.one_of(LOOKING, SPEAKING, POWERING, STEPPING, EVACUATING, RETURNING)
ANY_SEQUENCE = st.lists(st.tuples(TIMES, ANY), max_size=40)
# Chance alone would seldom get far: begin anywhere.
ANYWHERE = st.builds(
    lambda phase, servers, listed: examples.make(
        phase,
        servers=servers,
        readings=examples.readings(),
        **({'listed': False} if not listed else {}),
    ),
    st.sampled_from(Phase),
    st.sampled_from([SERVERS, ()]),
    st.booleans(),
)


def at(event, when):
    return dataclasses.replace(event, at=when)


def walk(subject, sequence, check):
    """Take every possible event; ``check(before, event, after)`` each time."""
    now = NOW
    for pause, event in sequence:
        now += pause
        event = at(event, now)
        try:
            after = machine.step(subject, event, PATIENCE)
        except events.ImpossibleEventError:
            continue
        except KeyError:
            # The incident has no such server: no event of the engine.
            continue
        check(subject, event, after)
        subject = after
    return subject


def answer(do, choice):
    """Return what may come back for a piece of work; the engine's part."""
    good = choice % 3 != 0
    match do:
        case Do.ASSESS:
            return [events.Listed(0.0, SERVERS), examples.assessed()]
        case Do.READ_POWER:
            state = (Power.ON, Power.OFF, Power.CHANGING)[choice % 3]
            return [examples.power(state)]
        case Do.POWER_OFF:
            return [
                events.PowerCalled(0.0, 'redfish'),
                examples.power(Power.OFF)
                if good
                else events.PowerUnread(0.0, 'no answer'),
            ]
        case Do.FORCE_DOWN | Do.DISABLE | Do.UNFORCE | Do.ENABLE:
            done = (
                events.StepDone(0.0, do.value)
                if good
                else events.StepRefused(0.0, do.value, 'no')
            )
            return [events.StepIntended(0.0, do.value), done]
        case Do.LIST:
            return [events.Listed(0.0, SERVERS)]
        case Do.FOLLOW:
            return [
                events.EvacuationSeen(
                    0.0,
                    uuid,
                    examples.record('done', f'm-{uuid}', 'd1', uuid),
                    examples.view(
                        uuid, host='d1', vm_state=vm_state, task_state=None
                    ),
                )
                for uuid, vm_state in (('vm-1', 'active'), ('vm-2', 'stopped'))
            ]
        case Do.REVIEW:
            # Then the host is looked at in the same stride.
            return [events.Reviewed(0.0), *answer(Do.WATCH_RETURN, choice)]
        case Do.LEAVE:
            return [network_events.MovesSeen(0.0, ())]
        case Do.WATCH_RETURN:
            return [
                events.HostSeen(
                    0.0,
                    good,
                    views.ServiceView(
                        examples.HOST,
                        'svc-1',
                        True,
                        False,
                        True,
                        'nova-ha: incident inc-1',
                    ),
                    0,
                )
            ]
    raise AssertionError(do)


class AnySequenceTest(unittest.TestCase):
    """Events in any order, as no engine would ever bring them."""

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_the_timeline_is_gapless_and_only_grows(self, subject, sequence):
        def check(before, event, after):
            count = len(before.timeline)
            self.assertEqual(before.timeline, after.timeline[:count])
            self.assertEqual(
                list(range(1, len(after.timeline) + 1)),
                [entry.seq for entry in after.timeline],
            )
            for entry in after.timeline[count:]:
                self.assertEqual(event.at, entry.at)
                self.assertTrue(entry.code and entry.text)

        walk(examples.make(servers=()), sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_who_it_is_never_changes(self, subject, sequence):
        def check(before, event, after):
            for field in ('uuid', 'host', 'epoch', 'opened_at', 'generation'):
                self.assertEqual(getattr(before, field), getattr(after, field))

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_a_valid_fence_comes_from_off_or_from_an_operator_only(
        self, subject, sequence
    ):
        def check(before, event, after):
            was = before.fence and before.fence.state == FenceState.VALID
            now = after.fence and after.fence.state == FenceState.VALID
            if was or not now:
                return
            if isinstance(event, events.Attested):
                self.assertEqual(
                    incident.FenceClass.OPERATOR_ATTESTED,
                    after.fence.evidence_class,
                )
                self.assertEqual('alice', after.fence.by)
                return
            self.assertIsInstance(event, events.PowerRead)
            self.assertEqual(Power.OFF, event.reading.power)
            self.assertEqual(
                before.expected_system_uuid, event.reading.system_uuid
            )
            self.assertTrue(event.reading.system_uuid)

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_evacuation_is_on_only_behind_a_valid_fence_of_this_epoch(
        self, subject, sequence
    ):
        def check(before, event, after):
            if after.phase in (Phase.CONTAINING, Phase.EVACUATING):
                self.assertEqual(FenceState.VALID, after.fence.state)
                self.assertEqual(after.epoch, after.fence.epoch)
            if isinstance(event, events.EvacuateIntended):
                self.assertEqual(Phase.EVACUATING, before.phase)

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_a_sign_of_life_stops_evacuation_in_the_same_step(
        self, subject, sequence
    ):
        def check(before, event, after):
            if isinstance(event, events.SignOfLife):
                self.assertIn(
                    after.phase,
                    (Phase.FENCING, Phase.NEEDS_OPERATOR, Phase.CANCELLED),
                )
                self.assertNotEqual(FenceState.VALID, after.fence.state)
                self.assertNotIn(
                    machine.todo(after, event.at + 999),
                    (Do.FOLLOW, Do.LIST),
                )

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_no_work_is_named_that_was_not_recorded(self, subject, sequence):
        """Every side effect that todo names has its reason on record."""

        def check(before, event, after):
            for later in (0.0, 20.0, 1000.0):
                do = machine.todo(after, event.at + later, PATIENCE)
                fence = after.fence
                if do in (Do.READ_POWER, Do.POWER_OFF):
                    self.assertEqual(FenceState.INTENDED, fence.state)
                    self.assertIsNotNone(fence.intended_at)
                if do == Do.POWER_OFF:
                    self.assertEqual(Phase.FENCING, after.phase)
                    self.assertEqual(Power.ON, fence.power)
                if do in (Do.FORCE_DOWN, Do.DISABLE, Do.LIST, Do.FOLLOW):
                    self.assertEqual(FenceState.VALID, fence.state)
                if do in (Do.UNFORCE, Do.ENABLE):
                    self.assertEqual(Phase.RETURNING, after.phase)

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_an_open_incident_always_has_work_and_a_closed_one_none(
        self, subject, sequence
    ):
        def check(before, event, after):
            do = machine.todo(after, event.at + 1000, PATIENCE)
            if after.phase in incident.CLOSED_PHASES:
                self.assertIsNone(do)
                self.assertIsNotNone(after.closed_at)
            else:
                self.assertIsNotNone(do)

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(ANYWHERE, ANY_SEQUENCE)
    def test_a_held_or_asking_incident_says_why(self, subject, sequence):
        def check(before, event, after):
            if after.phase in (Phase.HELD, Phase.NEEDS_OPERATOR):
                self.assertTrue(after.code)
                self.assertTrue(after.reason)

        walk(subject, sequence, check)


class NeverOffTest(unittest.TestCase):
    """A device that never says Off, in every way that it can fail."""

    NOT_OFF = st.one_of(
        st.builds(
            examples.power,
            st.sampled_from([Power.ON, Power.CHANGING, Power.UNKNOWN]),
            SYSTEMS,
        ),
        st.builds(
            examples.power,
            st.just(Power.OFF),
            st.sampled_from([examples.OTHER_SYSTEM, '']),
        ),
        st.just(events.PowerUnread(0.0, 'no answer')),
        st.just(events.PowerCalled(0.0, 'redfish')),
        # A corrected map begins again: dead, decided, and asked once more.
        st.just(examples.assessed()),
    )

    @examples.many
    @hypothesis.given(
        st.sampled_from([Phase.FENCING, Phase.NEEDS_OPERATOR]),
        st.integers(1, 3),
        st.lists(st.tuples(TIMES, NOT_OFF), max_size=40),
    )
    def test_it_never_makes_a_valid_fence_nor_an_evacuation(
        self, phase, attempt, sequence
    ):
        def check(before, event, after):
            if after.phase == Phase.SUSPECTED:
                self.assertIsNone(after.fence)
                return
            self.assertIn(after.phase, (Phase.FENCING, Phase.NEEDS_OPERATOR))
            self.assertEqual(FenceState.INTENDED, after.fence.state)
            self.assertIsNone(after.fence.evidence_class)
            self.assertIsNone(after.fence.confirmed_at)

        subject = examples.make(phase, fence=examples.fence(attempt=attempt))

        walk(subject, sequence, check)

    @examples.many
    @hypothesis.given(st.lists(st.tuples(TIMES, NOT_OFF), max_size=40))
    def test_waiting_turns_unknown_into_a_question_never_into_off(
        self, sequence
    ):
        subject = walk(examples.make(Phase.FENCING), sequence, lambda *_: None)

        if subject.phase == Phase.SUSPECTED:
            subject = machine.step(subject, examples.assessed())
        last = machine.step(
            subject,
            events.PowerUnread(NOW + 1e6, 'no answer'),
            PATIENCE,
        )

        self.assertEqual(Phase.NEEDS_OPERATOR, last.phase)


class WorkTest(unittest.TestCase):
    """Events as the engine brings them: the answer to what todo named."""

    @examples.many
    @hypothesis.given(st.lists(st.integers(0, 8), min_size=60, max_size=60))
    def test_work_that_now_and_then_fails_comes_to_an_end(self, choices):
        subject, now = examples.make(servers=()), NOW
        for choice in choices:
            now += 11.0
            do = machine.todo(subject, now, PATIENCE)
            if do is None:
                break
            for event in answer(do, choice):
                if type(event) not in machine.TABLE[subject.phase]:
                    break
                subject = machine.step(subject, at(event, now), PATIENCE)

        for _ in range(40):
            now += 400.0
            do = machine.todo(subject, now, PATIENCE)
            if do is None:
                break
            for event in answer(do, 1):
                if type(event) not in machine.TABLE[subject.phase]:
                    break
                subject = machine.step(subject, at(event, now), PATIENCE)

        self.assertEqual(Phase.CLOSED, subject.phase)
        self.assertEqual('resolved', subject.outcome)

    def test_everything_that_todo_names_can_be_answered(self):
        """Each answer to each work is possible in the phase that named it."""
        for phase in machine.TABLE:
            for subject in (
                examples.make(phase),
                examples.make(phase, forced_down=StepState.DONE)
                if phase == Phase.CONTAINING
                else examples.make(phase, code='enable')
                if phase == Phase.RETURNING
                else examples.make(phase, listed=False),
            ):
                do = machine.todo(subject, NOW + 1000)
                for choice in range(3):
                    first = answer(do, choice)[0]

                    self.assertIn(type(first), machine.TABLE[phase])
