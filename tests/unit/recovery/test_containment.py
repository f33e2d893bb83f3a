# SPDX-License-Identifier: Apache-2.0

"""The service of a fenced host: kept out, then let back in by nova's order."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import views
from tests.unit.recovery import examples

Do = machine.Do
Phase = incident.Phase
Step = containment.Step
StepState = incident.StepState

NOW = examples.NOW
LATER = NOW + 100


def after(subject, *happened):
    for event in happened:
        subject = machine.step(subject, event)
    return subject


def service(**changes):
    given = {
        'host': examples.HOST,
        'uuid': 'svc-1',
        'up': True,
        'forced_down': False,
        'disabled': False,
        **changes,
    }
    return views.ServiceView(**given)


def seen(beating=True, uncleaned=0, **changes):
    return events.HostSeen(LATER, beating, service(**changes), uncleaned)


OWN = 'nova-ha: incident inc-1'


class ContainTest(unittest.TestCase):
    def test_forced_down_comes_before_disabled_comes_before_evacuation(self):
        subject = examples.make(Phase.CONTAINING)

        order = []
        while subject.phase == Phase.CONTAINING:
            do = machine.todo(subject, LATER)
            order.append(do)
            subject = after(
                subject,
                events.StepIntended(LATER, do.value),
                events.StepDone(LATER, do.value),
            )

        self.assertEqual([Do.FORCE_DOWN, Do.DISABLE], order)
        self.assertEqual(Phase.EVACUATING, subject.phase)
        self.assertEqual(StepState.DONE, subject.forced_down)
        self.assertEqual(StepState.DONE, subject.disabled)

    def test_the_intent_is_on_record_before_the_call(self):
        done = StepState.DONE
        before = {
            Step.FORCE_DOWN: examples.make(Phase.CONTAINING),
            Step.DISABLE: examples.make(Phase.CONTAINING, forced_down=done),
            Step.UNFORCE: examples.make(Phase.RETURNING),
            Step.ENABLE: examples.make(Phase.RETURNING, unforced=done),
        }
        for step, field in containment.STEP_FIELDS.items():
            found = after(before[step], events.StepIntended(LATER, step))

            self.assertEqual(StepState.INTENDED, getattr(found, field))
            self.assertEqual(before[step].phase, found.phase)

    def test_a_step_out_of_its_order_is_impossible_and_changes_nothing(self):
        for phase, step in (
            (Phase.CONTAINING, Step.DISABLE),
            (Phase.CONTAINING, Step.UNFORCE),
            (Phase.CONTAINING, Step.ENABLE),
            (Phase.RETURNING, Step.FORCE_DOWN),
            (Phase.RETURNING, Step.DISABLE),
            (Phase.RETURNING, Step.ENABLE),
        ):
            for make in (events.StepIntended, events.StepDone):
                subject = examples.make(phase)
                with (
                    self.subTest(phase=phase, step=step),
                    self.assertRaisesRegex(
                        events.ImpossibleEventError, f"'{step}'"
                    ),
                ):
                    after(subject, make(LATER, step))

                self.assertEqual(examples.make(phase), subject)

    def test_an_intended_step_is_asked_for_again_after_a_crash(self):
        subject = after(
            examples.make(Phase.CONTAINING),
            events.StepIntended(LATER, Step.FORCE_DOWN),
        )

        self.assertEqual(Do.FORCE_DOWN, machine.todo(subject, LATER))

    def test_a_refusal_is_told_once_and_tried_again_later(self):
        no = events.StepRefused(LATER, Step.FORCE_DOWN, 'nova said 503')

        found = after(examples.make(Phase.CONTAINING), no, no)

        self.assertEqual(1, len(found.timeline))
        self.assertEqual('nova said 503', found.reason)
        self.assertEqual(Phase.CONTAINING, found.phase)
        self.assertIsNone(machine.todo(found, LATER + 4.9))
        self.assertEqual(Do.FORCE_DOWN, machine.todo(found, LATER + 5))


class ReturnTest(unittest.TestCase):
    def recovered(self, **changes):
        return examples.make(Phase.RECOVERED, outcome='resolved', **changes)

    def held(self, event, code, words, **changes):
        found = after(self.recovered(**changes), event)

        self.assertEqual(Phase.RECOVERED, found.phase)
        self.assertEqual(code, found.code)
        self.assertIn(words, found.reason)

    def test_a_host_that_is_off_stays_contained(self):
        self.held(
            events.HostSeen(LATER, False, None, 0),
            'contained',
            'until somebody switches it on',
        )

    def test_old_guests_are_removed_before_the_host_returns(self):
        self.held(
            seen(uncleaned=3),
            'cleaning',
            '3 evacuated servers are not yet cleaned up',
        )

    def test_a_service_that_nova_forgot_is_named(self):
        self.held(
            events.HostSeen(LATER, True, None, 0), 'service-gone', "'svc-1'"
        )

    def test_a_service_that_nova_forgot_can_be_closed_by_a_release(self):
        gone = after(self.recovered(), events.HostSeen(LATER, True, None, 0))
        self.assertIn(f'openstack ha release {examples.HOST}', gone.reason)

        found = after(gone, events.Released(LATER, 'alice', 'scrapped'))

        self.assertEqual(Phase.CLOSED, found.phase)
        self.assertIn('scrapped', found.timeline[-1].text)

    def test_a_guest_left_somewhere_keeps_the_host_out_until_released(self):
        parked = examples.server(
            state=incident.ServerState.PARKED, code='destination-unproven'
        )
        self.held(
            seen(),
            'parked-servers',
            f'openstack ha release {examples.HOST}',
            servers=(parked,),
        )

        found = after(
            self.recovered(servers=(parked,), return_released=True), seen()
        )

        self.assertEqual(Phase.RETURNING, found.phase)

    def test_other_parked_servers_do_not_keep_the_host_out(self):
        parked = examples.server(
            state=incident.ServerState.PARKED, code='vm-state-error'
        )

        found = after(self.recovered(servers=(parked,)), seen())

        self.assertEqual(Phase.RETURNING, found.phase)

    def test_the_same_look_again_changes_nothing(self):
        first = after(self.recovered(), seen(uncleaned=3))

        self.assertIs(first, after(first, seen(uncleaned=3)))

    def test_progress_of_the_cleaning_is_shown_without_a_line_each(self):
        first = after(self.recovered(), seen(uncleaned=3))

        found = after(first, seen(uncleaned=2))

        self.assertIn('2 evacuated', found.reason)
        self.assertEqual(first.timeline, found.timeline)

    def test_unforce_waits_for_up_waits_for_enable(self):
        subject = after(self.recovered(), seen(up=False, forced_down=True))
        self.assertEqual(Do.UNFORCE, machine.todo(subject, LATER))

        subject = after(
            subject,
            events.StepIntended(LATER, Step.UNFORCE),
            events.StepDone(LATER, Step.UNFORCE),
        )
        self.assertEqual(Do.WATCH_RETURN, machine.todo(subject, LATER))

        waiting = after(subject, seen(up=False))
        self.assertIs(subject, waiting)

        subject = after(subject, seen(disabled=True, disabled_reason=OWN))
        self.assertEqual(Do.ENABLE, machine.todo(subject, LATER))

        subject = after(
            subject,
            events.StepIntended(LATER, Step.ENABLE),
            events.StepDone(LATER, Step.ENABLE),
        )
        self.assertEqual(Phase.CLOSED, subject.phase)
        self.assertEqual(LATER, subject.closed_at)
        self.assertIsNone(machine.todo(subject, LATER))

    def test_a_disable_of_somebody_else_stays(self):
        subject = examples.make(Phase.RETURNING, unforced=StepState.DONE)
        for reason in ('', 'maintenance', 'nova-ha: incident other'):
            with self.subTest(reason=reason):
                found = after(
                    subject, seen(disabled=True, disabled_reason=reason)
                )

                self.assertEqual(Phase.CLOSED, found.phase)
                self.assertEqual(StepState.NONE, found.enabled)
                self.assertIn(
                    f"stays disabled: '{reason}'", found.timeline[-1].text
                )

    def test_an_enabled_service_that_is_up_closes_the_incident(self):
        subject = examples.make(
            Phase.RETURNING, unforced=StepState.DONE, outcome='partial'
        )

        found = after(subject, seen())

        self.assertEqual(Phase.CLOSED, found.phase)
        self.assertEqual('partial', found.outcome)
        self.assertEqual(found.timeline[-1].text, found.reason)

    def test_a_refused_enable_is_tried_again(self):
        subject = after(
            examples.make(Phase.RETURNING, unforced=StepState.DONE),
            seen(disabled=True, disabled_reason=OWN),
            events.StepIntended(LATER, Step.ENABLE),
            events.StepRefused(LATER, Step.ENABLE, 'nova said 503'),
        )

        self.assertEqual(Do.ENABLE, machine.todo(subject, LATER + 5))

    def test_we_know_our_own_disable_by_its_incident(self):
        one = examples.make()
        two = dataclasses.replace(one, uuid='inc-2')

        self.assertEqual(OWN, containment.owner(one))
        self.assertNotEqual(containment.owner(one), containment.owner(two))
