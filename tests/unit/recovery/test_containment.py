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


LONG_AGO = LATER - 60.0


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
            self.recovered(
                servers=(parked,),
                return_released=True,
                beating_since=LONG_AGO,
            ),
            seen(),
        )

        self.assertEqual(Phase.RETURNING, found.phase)

    def test_other_parked_servers_do_not_keep_the_host_out(self):
        parked = examples.server(
            state=incident.ServerState.PARKED, code='vm-state-error'
        )

        found = after(
            self.recovered(servers=(parked,), beating_since=LONG_AGO), seen()
        )

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
        subject = after(
            self.recovered(beating_since=LONG_AGO),
            seen(up=False, forced_down=True),
        )
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
        for reason in ('', 'maintenance', 'nova-ha-maintenance'):
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

    def test_a_host_is_let_back_after_a_time_of_heartbeats(self):
        first = after(self.recovered(), seen())
        self.assertEqual('healthy-delay', first.code)
        self.assertIn('60 s of heartbeats', first.reason)

        soon = after(first, dataclasses.replace(seen(), at=LATER + 59.9))
        self.assertIs(first, soon)
        late = after(first, dataclasses.replace(seen(), at=LATER + 60.0))
        self.assertEqual(Phase.RETURNING, late.phase)

    def test_the_time_of_heartbeats_begins_anew_after_a_silence(self):
        first = after(self.recovered(), seen())
        silent = after(first, events.HostSeen(LATER + 30, False, None, 0))
        self.assertEqual('contained', silent.code)

        again = after(silent, dataclasses.replace(seen(), at=LATER + 61))

        self.assertEqual('healthy-delay', again.code)
        self.assertEqual(LATER + 61, again.beating_since)

    def test_a_clock_that_went_back_begins_the_time_anew(self):
        subject = self.recovered(beating_since=LATER + 5000)

        found = after(subject, seen())

        self.assertEqual(LATER, found.beating_since)

    def test_servers_that_others_evacuate_keep_the_host_out(self):
        busy = dataclasses.replace(seen(), evacuating=2)
        self.held(
            busy,
            'still-evacuating',
            f'openstack ha release {examples.HOST}',
            beating_since=LONG_AGO,
        )
        subject = after(self.recovered(beating_since=LONG_AGO), busy)

        released = after(subject, events.Released(LATER, 'alice', 'stale'))

        self.assertEqual(Phase.RETURNING, after(released, busy).phase)

    def test_a_quarantined_host_stays_disabled_until_released(self):
        subject = examples.make(
            Phase.RETURNING, unforced=StepState.DONE, quarantined=True
        )
        look = seen(disabled=True, disabled_reason=OWN)

        kept = after(subject, look)

        self.assertEqual(
            (Phase.RETURNING, 'quarantined'), (kept.phase, kept.code)
        )
        self.assertIn(f'openstack ha release {examples.HOST}', kept.reason)
        self.assertEqual(Do.WATCH_RETURN, machine.todo(kept, LATER))
        freed = after(kept, events.Released(LATER, 'alice', 'new RAM'), look)
        self.assertEqual(Do.ENABLE, machine.todo(freed, LATER))

    def test_the_disable_of_an_earlier_incident_is_ours(self):
        subject = examples.make(Phase.RETURNING, unforced=StepState.DONE)

        found = after(
            subject,
            seen(disabled=True, disabled_reason='nova-ha: incident before'),
        )

        self.assertEqual(Do.ENABLE, machine.todo(found, LATER))

    def test_a_returning_host_that_dies_again_is_judged_anew(self):
        subject = examples.make(Phase.RETURNING, unforced=StepState.DONE)

        waits = after(subject, events.HostSeen(LATER, False, service(), 0))
        dead = after(
            subject, events.HostSeen(LATER, False, None, 0, silent=True)
        )

        self.assertEqual(
            (Phase.RETURNING, 'silent-again'), (waits.phase, waits.code)
        )
        self.assertEqual(Phase.CLOSED, dead.phase)
        self.assertIn('failed again', dead.reason)

    def test_forced_down_is_set_again_but_not_for_ever(self):
        subject = examples.make(Phase.EVACUATING)
        for _ in range(containment.CONTAIN_AGAIN):
            subject = after(subject, events.Uncontained(LATER))
            self.assertEqual(Do.FORCE_DOWN, machine.todo(subject, LATER))
            subject = dataclasses.replace(
                subject,
                phase=Phase.EVACUATING,
                forced_down=StepState.DONE,
                disabled=StepState.DONE,
            )

        found = after(subject, events.Uncontained(LATER))

        self.assertEqual(
            (Phase.EVACUATING, 'not-contained'), (found.phase, found.code)
        )


class LieTest(unittest.TestCase):
    """A device that read Off while the host lived."""

    def fenced(self, age, mark=('boot-a', 5000)):
        return machine.step(
            examples.make(Phase.FENCING, expected_system_uuid=examples.SYSTEM),
            dataclasses.replace(
                examples.power(incident.Power.OFF, mark=mark), beat_age=age
            ),
        )

    def test_the_mark_is_what_only_a_later_heartbeat_can_carry(self):
        found = self.fenced(8.0)

        self.assertEqual(('boot-a', 5000 + 38000), found.fence.off_mark)

    def test_without_a_heartbeat_there_is_no_mark(self):
        self.assertIsNone(self.fenced(None, None).fence.off_mark)

    def test_a_lie_stops_everything_until_somebody_signs(self):
        for phase in (Phase.CONTAINING, Phase.EVACUATING):
            with self.subTest(phase=phase):
                lied = after(
                    examples.make(phase),
                    events.SignOfLife(LATER, 'It beats', True),
                )
                self.assertEqual(
                    (Phase.NEEDS_OPERATOR, 'device-lied'),
                    (lied.phase, lied.code),
                )
                self.assertIn('ha attest cmp-1 --off', lied.reason)

                off = after(lied, examples.power(incident.Power.OFF))
                self.assertEqual(lied.phase, off.phase)
                self.assertEqual(incident.FenceState.INTENDED, off.fence.state)

                signed = after(
                    dataclasses.replace(off, readings=examples.readings()),
                    events.Attested(LATER, 'alice', 'pulled', examples.MARK),
                )
                self.assertEqual(Phase.CONTAINING, signed.phase)

    def test_a_device_that_lied_is_not_believed_after_the_next_sign(self):
        subject = after(
            examples.make(Phase.EVACUATING),
            events.SignOfLife(LATER, 'It beats', True),
        )
        subject = dataclasses.replace(
            subject, readings=examples.readings(), next_look_at=None
        )
        subject = after(
            subject,
            events.Attested(LATER, 'alice', 'pulled', examples.MARK),
            events.SignOfLife(LATER, 'It beats once more'),
        )
        self.assertEqual(Phase.FENCING, subject.phase)

        found = after(subject, examples.power(incident.Power.OFF))

        self.assertEqual(
            (Phase.NEEDS_OPERATOR, 'device-lied'), (found.phase, found.code)
        )

    def test_a_lie_that_is_found_after_the_end_is_told_too(self):
        moved = examples.server(
            state=incident.ServerState.RECOVERED, attempts=1
        )
        found = after(
            examples.make(Phase.RECOVERED, servers=(moved,)),
            events.HostSeen(LATER, True, None, 0, lied=True),
        )

        self.assertEqual('device-lied', found.code)
        self.assertIn('may run twice', found.reason)

    def test_a_host_that_lives_is_given_back_if_nothing_moved(self):
        said = events.Released(LATER, 'alice', 'it lives')
        lied = events.SignOfLife(LATER, 'It beats', True)
        untouched = after(examples.make(Phase.CONTAINING), lied, said)
        self.assertEqual(Phase.CANCELLED, untouched.phase)
        contained = after(examples.make(Phase.EVACUATING), lied, said)
        self.assertEqual(Do.UNFORCE, machine.todo(contained, LATER))

        moved = examples.server(attempts=1)
        kept = after(
            examples.make(Phase.EVACUATING, servers=(moved,)), lied, said
        )

        self.assertEqual(Phase.NEEDS_OPERATOR, kept.phase)


class RefusedReturnTest(unittest.TestCase):
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
