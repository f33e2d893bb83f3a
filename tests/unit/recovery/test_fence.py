# SPDX-License-Identifier: Apache-2.0

"""From suspicion to proof: what counts as off, and what never does."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import waits
from tests.unit.recovery import examples

Phase = incident.Phase
Power = incident.Power
Sign = incident.Sign
FenceState = incident.FenceState

NOW = examples.NOW
PATIENCE = waits.Patience(fence_timeout=60.0, fence_repeat=15.0)


def after(subject, *happened):
    for event in happened:
        subject = machine.step(subject, event, PATIENCE)
    return subject


def codes(subject):
    return [entry.code for entry in subject.timeline]


class AssessTest(unittest.TestCase):
    def test_open_gates_and_two_silent_channels_decide_the_fence(self):
        found = after(examples.make(), examples.assessed())

        self.assertEqual(Phase.FENCING, found.phase)
        self.assertEqual(FenceState.INTENDED, found.fence.state)
        self.assertEqual((1, 0), (found.fence.attempt, found.fence.calls))
        self.assertEqual(['corroborated', 'fencing'], codes(found))
        self.assertIn('heartbeat silent 9.5 s', found.timeline[0].text)

    def test_a_heartbeat_cancels_and_nothing_was_done(self):
        for phase in (Phase.SUSPECTED, Phase.HELD):
            found = after(
                examples.make(phase), examples.assessed(heartbeat=Sign.ALIVE)
            )

            self.assertEqual(Phase.CANCELLED, found.phase)
            self.assertEqual(NOW, found.closed_at)
            self.assertIsNone(found.fence)

    def test_a_heartbeat_cancels_even_where_a_gate_holds(self):
        hold = gates.Hold('storm', 'too many')

        found = after(
            examples.make(),
            examples.assessed(hold=hold, heartbeat=Sign.ALIVE),
        )

        self.assertEqual(Phase.CANCELLED, found.phase)

    def test_a_hold_is_kept_with_its_sentence_and_its_time(self):
        hold = gates.Hold('storm', 'too many', after=5.0)

        found = after(examples.make(), examples.assessed(hold=hold))

        self.assertEqual(Phase.HELD, found.phase)
        self.assertEqual(('storm', 'too many'), (found.code, found.reason))
        self.assertEqual(NOW + 5.0, found.next_look_at)
        self.assertIsNone(found.fence)

    def test_the_same_hold_is_told_once(self):
        hold = gates.Hold('warm-up', 'began 1 s ago')
        later = gates.Hold('warm-up', 'began 3 s ago')

        found = after(
            examples.make(),
            examples.assessed(hold=hold),
            examples.assessed(at=NOW + 2, hold=later),
        )

        self.assertEqual(['held:warm-up'], codes(found))
        self.assertEqual('began 3 s ago', found.reason)

    def test_a_hold_that_changes_is_told_again(self):
        found = after(
            examples.make(),
            examples.assessed(hold=gates.Hold('warm-up', 'w')),
            examples.assessed(hold=gates.Hold('storm', 's')),
            examples.assessed(),
        )

        self.assertEqual(Phase.FENCING, found.phase)
        self.assertEqual(('', ''), (found.code, found.reason))
        self.assertEqual(['held:warm-up', 'held:storm'], codes(found)[:2])

    def test_holds_that_come_and_go_get_one_line_a_minute_each(self):
        subject = examples.make()
        for second in (0, 1, 2, 3, 59, 60, 61, 62):
            code = 'storm' if second % 2 else 'degraded'
            subject = after(
                subject,
                examples.assessed(
                    at=NOW + second, hold=gates.Hold(code, 'why')
                ),
            )

        self.assertEqual(
            [
                (0, 'held:degraded'),
                (1, 'held:storm'),
                (60, 'held:degraded'),
                (61, 'held:storm'),
            ],
            [(entry.at - NOW, entry.code) for entry in subject.timeline],
        )

    def test_what_was_seen_is_kept_as_evidence(self):
        found = after(examples.make(), examples.assessed(silent_probes=4))

        self.assertEqual(incident.Verdict.DEAD, found.verdict)
        self.assertEqual(4, found.silent_probes)
        self.assertEqual(3, len(found.readings))

    def test_no_verdict_but_dead_decides_a_fence_even_without_a_hold(self):
        for signs in (
            {'probe': Sign.ALIVE},
            {'probe': Sign.UNKNOWN},
            {'heartbeat': Sign.UNKNOWN},
            {'storage': Sign.ALIVE},
            {'storage': Sign.UNKNOWN},
        ):
            found = after(examples.make(), examples.assessed(**signs))

            self.assertNotEqual(Phase.FENCING, found.phase)

    def test_a_lost_management_network_is_fenced_where_policy_says_so(self):
        for signs, phase in (
            ({'storage': Sign.ALIVE}, Phase.FENCING),
            ({'storage': Sign.ALIVE, 'probe': Sign.ALIVE}, Phase.HELD),
            ({'storage': Sign.ALIVE, 'probe': Sign.UNKNOWN}, Phase.HELD),
            ({'storage': Sign.UNKNOWN}, Phase.HELD),
        ):
            with self.subTest(**signs):
                found = after(
                    examples.make(),
                    examples.assessed(
                        management_lost=evidence.Response.FENCE, **signs
                    ),
                )

                self.assertEqual(phase, found.phase)

    def test_the_decision_names_every_channel_and_the_policy(self):
        found = after(
            examples.make(),
            examples.assessed(
                management_lost=evidence.Response.FENCE, storage=Sign.ALIVE
            ),
        )

        self.assertEqual('corroborated', found.timeline[0].code)
        self.assertEqual(incident.Verdict.ISOLATED, found.verdict)
        for words in (
            'lost its management network',
            'heartbeat silent 9.5 s, probe silent, probe:storage alive',
            '[networks] management = fence',
        ):
            self.assertIn(words, found.timeline[0].text)

    def test_an_answer_that_forbids_the_fence_is_kept_with_its_time(self):
        hold = gates.Hold('management-lost', 'cut')
        for policy, signs, expected in (
            ('alert', {'storage': Sign.ALIVE}, NOW),
            ('alert', {'probe': Sign.ALIVE}, NOW),
            ('fence', {'storage': Sign.ALIVE}, None),
            ('fence', {'probe': Sign.ALIVE}, NOW),
            ('alert', {'storage': Sign.UNKNOWN}, None),
            ('alert', {}, None),
        ):
            with self.subTest(policy=policy, **signs):
                found = after(
                    examples.make(),
                    examples.assessed(
                        hold=hold,
                        management_lost=evidence.Response(policy),
                        **signs,
                    ),
                )

                self.assertEqual(expected, found.answered_at)


class PowerReadTest(unittest.TestCase):
    def fencing(self, **changes):
        return examples.make(Phase.FENCING, fence=examples.fence(**changes))

    def test_off_from_the_right_device_is_proof(self):
        subject = after(
            self.fencing(calls=1, called_at=NOW), examples.power(Power.OFF)
        )

        fence = subject.fence
        self.assertEqual(Phase.CONTAINING, subject.phase)
        self.assertEqual(FenceState.VALID, fence.state)
        self.assertEqual(
            incident.FenceClass.CONFIRMED_OFF, fence.evidence_class
        )
        self.assertEqual(NOW + 1, fence.confirmed_at)
        self.assertEqual(examples.MARK, fence.beat_mark)
        self.assertEqual(examples.SYSTEM, fence.system_uuid)
        self.assertIn('1.0 s', subject.timeline[-1].text)

    def test_a_host_that_is_off_already_needs_no_call(self):
        subject = after(self.fencing(), examples.power(Power.OFF))

        self.assertEqual(FenceState.VALID, subject.fence.state)
        self.assertEqual(0, subject.fence.calls)

    def test_nothing_but_off_is_proof(self):
        for state in Power:
            if state != Power.OFF:
                with self.subTest(state=state):
                    subject = after(self.fencing(), examples.power(state))

                    self.assertEqual(Phase.FENCING, subject.phase)
                    self.assertEqual(FenceState.INTENDED, subject.fence.state)
                    self.assertEqual(state, subject.fence.power)

    def test_off_of_another_system_is_no_proof_and_is_not_touched(self):
        subject = after(
            self.fencing(),
            examples.power(Power.OFF, system=examples.OTHER_SYSTEM),
        )

        self.assertEqual(Phase.NEEDS_OPERATOR, subject.phase)
        self.assertEqual('identity-mismatch', subject.code)
        self.assertEqual(FenceState.INTENDED, subject.fence.state)
        self.assertEqual(Power.UNKNOWN, subject.fence.power)
        for words in (
            examples.HOST,
            examples.SYSTEM,
            examples.OTHER_SYSTEM,
            'Correct the fencing map',
            f'openstack ha attest {examples.HOST}',
        ):
            self.assertIn(words, subject.reason)

    def test_a_device_without_identity_is_no_proof(self):
        subject = after(self.fencing(), examples.power(Power.OFF, system=''))

        self.assertEqual('identity-mismatch', subject.code)
        self.assertIn("'unknown'", subject.reason)

    def test_a_host_that_never_named_itself_cannot_be_proven_off(self):
        subject = dataclasses.replace(self.fencing(), expected_system_uuid='')

        for system in ('', examples.SYSTEM):
            found = after(subject, examples.power(Power.OFF, system=system))

            self.assertEqual('identity-mismatch', found.code)

    def test_once_the_map_is_corrected_everything_is_asked_again(self):
        held = after(
            self.fencing(),
            examples.power(Power.ON, system=examples.OTHER_SYSTEM),
        )

        found = after(held, examples.power(Power.ON, at=NOW + 500))

        self.assertEqual(Phase.SUSPECTED, found.phase)
        self.assertEqual(('', 0), (found.code, found.silent_probes))
        self.assertIsNone(found.fence)
        self.assertEqual(
            machine.Do.ASSESS, machine.todo(found, NOW + 500, PATIENCE)
        )

    def test_a_host_that_came_back_is_switched_off_by_the_corrected_map(self):
        held = after(
            self.fencing(attempt=2),
            examples.power(Power.ON, system=examples.OTHER_SYSTEM),
        )

        found = after(held, examples.power(Power.ON, at=NOW + 500))

        self.assertEqual(Phase.FENCING, found.phase)
        self.assertEqual(('', ''), (found.code, found.reason))
        self.assertEqual(NOW + 500, found.fence.intended_at)
        self.assertEqual(
            machine.Do.POWER_OFF, machine.todo(found, NOW + 500, PATIENCE)
        )

    def test_a_call_that_was_made_is_not_forgotten_with_the_old_map(self):
        held = after(
            self.fencing(calls=1, called_at=NOW),
            examples.power(Power.ON, system=examples.OTHER_SYSTEM),
        )

        found = after(held, examples.power(Power.ON, at=NOW + 500))

        self.assertIsNotNone(found.fence)
        self.assertEqual(1, found.fence.calls)

    def test_a_call_that_was_not_made_is_made_without_the_usual_pause(self):
        subject = self.fencing(power=Power.ON)
        called = after(subject, events.PowerCalled(NOW + 1, 'redfish'))

        found = after(called, events.PowerNotCalled(NOW + 4))

        self.assertEqual((0, None), (found.fence.calls, found.fence.called_at))
        self.assertEqual('power-not-asked', found.timeline[-1].code)
        self.assertIsNone(machine.todo(found, NOW + 4.5))
        self.assertEqual(machine.Do.POWER_OFF, machine.todo(found, NOW + 5))

    def test_a_clock_that_went_back_makes_nobody_wait_for_an_hour(self):
        subject = self.fencing(
            power=Power.ON,
            calls=1,
            called_at=NOW + 3600,
            intended_at=NOW + 3600,
        )

        self.assertEqual(machine.Do.POWER_OFF, machine.todo(subject, NOW))
        later = after(subject, events.PowerUnread(NOW, 'no answer'))
        asked = after(later, events.PowerUnread(NOW + 60, 'no answer'))
        self.assertEqual(Phase.NEEDS_OPERATOR, asked.phase)

    def test_no_answer_is_never_success(self):
        subject = after(
            self.fencing(calls=1, called_at=NOW, power=Power.ON),
            events.PowerUnread(NOW + 1, 'timed out after 10 s'),
        )

        self.assertEqual(Phase.FENCING, subject.phase)
        self.assertEqual(Power.UNKNOWN, subject.fence.power)
        self.assertEqual('timed out after 10 s', subject.fence.raw)

    def test_after_the_time_an_operator_is_asked_and_told_how(self):
        for event in (
            events.PowerUnread(NOW + 60, 'no route to the device'),
            examples.power(Power.CHANGING, at=NOW + 60),
        ):
            subject = after(self.fencing(), event)

            self.assertEqual(Phase.NEEDS_OPERATOR, subject.phase)
            self.assertEqual('fence-unconfirmed', subject.code)
            self.assertEqual(NOW + 70, subject.next_look_at)
            for words in (
                examples.HOST,
                '60 s',
                'Nothing is evacuated',
                f'openstack ha attest {examples.HOST} --off',
            ):
                self.assertIn(words, subject.reason)

    def test_one_moment_earlier_nobody_is_asked(self):
        subject = after(
            self.fencing(), events.PowerUnread(NOW + 59.9, 'silence')
        )

        self.assertEqual(Phase.FENCING, subject.phase)

    def test_switched_off_by_hand_is_found_while_an_operator_is_asked(self):
        asked = after(self.fencing(), events.PowerUnread(NOW + 60, 'silence'))

        found = after(asked, examples.power(Power.OFF, at=NOW + 300))

        self.assertEqual(Phase.CONTAINING, found.phase)
        self.assertEqual(FenceState.VALID, found.fence.state)

    def test_asking_again_and_again_is_told_once(self):
        asked = after(self.fencing(), events.PowerUnread(NOW + 60, 'silence'))

        found = after(
            asked,
            events.PowerUnread(NOW + 70, 'silence'),
            examples.power(Power.ON, at=NOW + 80),
        )

        self.assertEqual(codes(asked), codes(found))
        self.assertEqual(NOW + 90, found.next_look_at)


class PowerOffTest(unittest.TestCase):
    def test_it_is_read_before_it_is_switched(self):
        subject = after(examples.make(), examples.assessed())

        first = machine.todo(subject, NOW, PATIENCE)
        then = machine.todo(
            after(subject, examples.power(Power.ON)), NOW + 1, PATIENCE
        )

        self.assertEqual(machine.Do.READ_POWER, first)
        self.assertEqual(machine.Do.POWER_OFF, then)

    def test_the_call_is_on_record_before_it_is_made(self):
        subject = examples.make(
            Phase.FENCING, fence=examples.fence(power=Power.ON)
        )

        found = after(subject, events.PowerCalled(NOW + 2, 'redfish'))

        self.assertEqual(1, found.fence.calls)
        self.assertEqual(NOW + 2, found.fence.called_at)
        self.assertEqual('redfish', found.fence.driver)
        self.assertEqual('power-off', found.timeline[-1].code)

    def test_it_is_asked_again_only_while_it_reads_on_and_after_a_pause(self):
        def due(at, **changes):
            fence = examples.fence(calls=1, called_at=NOW, **changes)
            subject = examples.make(Phase.FENCING, fence=fence)
            return machine.todo(subject, at, PATIENCE)

        self.assertEqual(
            machine.Do.READ_POWER, due(NOW + 14.9, power=Power.ON)
        )
        self.assertEqual(machine.Do.POWER_OFF, due(NOW + 15, power=Power.ON))
        for power in (Power.CHANGING, Power.UNKNOWN):
            self.assertEqual(machine.Do.READ_POWER, due(NOW + 50, power=power))

    def test_an_operator_who_was_asked_is_not_overtaken_by_a_call(self):
        subject = examples.make(
            Phase.NEEDS_OPERATOR,
            fence=examples.fence(power=Power.ON, calls=3, called_at=NOW),
        )

        self.assertEqual(
            machine.Do.READ_POWER, machine.todo(subject, NOW + 999, PATIENCE)
        )


class SignOfLifeTest(unittest.TestCase):
    HEARD = events.SignOfLife(NOW + 3, 'heartbeat')

    def test_before_the_first_call_it_cancels(self):
        for phase in (Phase.FENCING, Phase.NEEDS_OPERATOR):
            found = after(examples.make(phase), self.HEARD)

            self.assertEqual(Phase.CANCELLED, found.phase)
            self.assertEqual(FenceState.VOID, found.fence.state)

    def test_after_a_call_it_goes_on_to_off(self):
        subject = examples.make(
            Phase.FENCING, fence=examples.fence(calls=1, called_at=NOW)
        )

        found = after(subject, self.HEARD)

        self.assertEqual(Phase.FENCING, found.phase)

    def test_it_ends_a_fence_whose_device_did_not_switch_off(self):
        def heard(at, **changes):
            given = {'calls': 1, 'called_at': NOW, 'power': Power.ON}
            subject = examples.make(
                Phase.FENCING, fence=examples.fence(**given | changes)
            )
            return after(subject, events.SignOfLife(at, 'heartbeat'))

        ended = heard(NOW + 15)

        self.assertEqual(Phase.CANCELLED, ended.phase)
        self.assertEqual(FenceState.VOID, ended.fence.state)
        self.assertIn('did not switch it off', ended.reason)
        # Too early to say, not known to be on, or to be off in any case.
        for going_on in (
            heard(NOW + 14.9),
            heard(NOW + 15, power=Power.CHANGING),
            heard(NOW + 15, power=Power.UNKNOWN),
            heard(NOW + 15, attempt=2),
        ):
            self.assertEqual(Phase.FENCING, going_on.phase)

    def test_after_a_call_it_forbids_to_attest_that_the_host_is_off(self):
        subject = examples.make(
            Phase.NEEDS_OPERATOR,
            fence=examples.fence(calls=1, called_at=NOW),
            readings=examples.readings(),
        )

        found = after(
            subject,
            self.HEARD,
            events.Attested(NOW + 4, 'alice', 'it is off', examples.MARK),
        )

        self.assertEqual(Phase.NEEDS_OPERATOR, found.phase)

    def test_of_a_fenced_host_it_voids_the_record(self):
        for phase in (Phase.CONTAINING, Phase.EVACUATING):
            with self.subTest(phase=phase):
                found = after(examples.make(phase), self.HEARD)

                self.assertEqual(Phase.FENCING, found.phase)
                self.assertEqual('returned-early', found.code)
                self.assertEqual(FenceState.INTENDED, found.fence.state)
                self.assertEqual(2, found.fence.attempt)
                self.assertIsNone(found.fence.confirmed_at)
                self.assertIsNone(found.fence.evidence_class)
                self.assertEqual('fence-void', found.timeline[-1].code)

    def test_once_off_again_it_is_contained_again_and_then_goes_on(self):
        found = after(
            examples.make(Phase.EVACUATING),
            self.HEARD,
            examples.power(Power.OFF, at=NOW + 5, mark=('boot-b', 1)),
        )

        self.assertEqual(Phase.CONTAINING, found.phase)
        self.assertEqual(incident.StepState.NONE, found.forced_down)
        self.assertEqual(incident.StepState.NONE, found.disabled)
        self.assertEqual(('boot-b', 1), found.fence.beat_mark)

        found = after(
            found,
            events.StepDone(NOW + 6, 'force-down'),
            events.StepDone(NOW + 6, 'disable'),
        )
        self.assertEqual(Phase.EVACUATING, found.phase)
        self.assertTrue(found.listed)
        self.assertEqual(
            machine.Do.FOLLOW, machine.todo(found, NOW + 7, PATIENCE)
        )

    def test_a_second_return_is_counted_as_well(self):
        found = after(
            examples.make(Phase.CONTAINING),
            self.HEARD,
            examples.power(Power.OFF, at=NOW + 5),
            events.SignOfLife(NOW + 6, 'reads On'),
        )

        self.assertEqual(3, found.fence.attempt)


class AttestTest(unittest.TestCase):
    WORD = events.Attested(NOW + 9, 'alice', 'pulled the plug', examples.MARK)

    def silent(self, phase, **changes):
        return examples.make(phase, readings=examples.readings(), **changes)

    def test_the_word_of_an_operator_is_proof_of_its_own_class(self):
        for phase in (
            Phase.SUSPECTED,
            Phase.HELD,
            Phase.NEEDS_OPERATOR,
        ):
            with self.subTest(phase=phase):
                found = after(self.silent(phase), self.WORD)

                fence = found.fence
                self.assertEqual(Phase.CONTAINING, found.phase)
                self.assertEqual(FenceState.VALID, fence.state)
                self.assertEqual(
                    incident.FenceClass.OPERATOR_ATTESTED,
                    fence.evidence_class,
                )
                self.assertEqual(
                    ('alice', 'pulled the plug'), (fence.by, fence.raw)
                )
                self.assertIn('alice', found.timeline[-1].text)

    def refused(self, subject, words):
        found = after(subject, self.WORD)

        self.assertEqual(subject.phase, found.phase)
        self.assertEqual(subject.fence, found.fence)
        self.assertEqual('attest-refused', found.timeline[-1].code)
        self.assertIn(words, found.timeline[-1].text)

    def test_it_is_refused_while_a_channel_hears_the_host(self):
        subject = self.silent(Phase.HELD)
        for signs, channel in (
            ({'heartbeat': Sign.ALIVE}, 'heartbeat'),
            ({'probe': Sign.ALIVE}, 'probe'),
            ({'storage': Sign.ALIVE}, 'probe:storage'),
        ):
            self.refused(
                dataclasses.replace(
                    subject, readings=examples.readings(**signs)
                ),
                f'the {channel} still hears the host',
            )

    def test_it_is_refused_while_the_device_reads_on(self):
        self.refused(
            self.silent(
                Phase.NEEDS_OPERATOR, fence=examples.fence(power=Power.ON)
            ),
            'reads On',
        )

    def test_it_is_refused_before_anything_was_read(self):
        self.refused(examples.make(), 'no channel has been read yet')

    def test_it_is_refused_where_it_makes_no_sense(self):
        for phase in (
            Phase.CONTAINING,
            Phase.EVACUATING,
            Phase.RECOVERED,
            Phase.RETURNING,
            Phase.CLOSED,
            Phase.CANCELLED,
        ):
            with self.subTest(phase=phase):
                self.refused(self.silent(phase), f'the incident is {phase}')

    def test_it_is_refused_while_the_device_is_at_work(self):
        self.refused(self.silent(Phase.FENCING), 'wait for that')

    def test_what_is_heard_while_an_operator_is_asked_refuses_it(self):
        subject = after(
            self.silent(Phase.NEEDS_OPERATOR),
            events.Heard(NOW + 1, examples.readings(probe=Sign.ALIVE)),
        )

        self.refused(subject, 'the probe still hears the host')

    def test_what_is_heard_while_an_operator_is_asked_is_kept(self):
        subject = self.silent(Phase.NEEDS_OPERATOR)

        for signs, expected in (
            ({'probe': Sign.ALIVE}, NOW + 1),
            ({'storage': Sign.ALIVE}, NOW + 1),
            ({'storage': Sign.UNKNOWN}, subject.answered_at),
        ):
            found = after(
                subject, events.Heard(NOW + 1, examples.readings(**signs))
            )

            self.assertEqual(expected, found.answered_at)

    def test_what_is_heard_and_read_at_that_moment_refuses_it(self):
        subject = self.silent(Phase.HELD)
        for now, words in (
            (
                {'readings': examples.readings(heartbeat=Sign.ALIVE)},
                'the heartbeat still hears the host',
            ),
            ({'power': Power.ON}, 'reads On'),
        ):
            found = after(subject, dataclasses.replace(self.WORD, **now))

            self.assertEqual(Phase.HELD, found.phase)
            self.assertIsNone(found.fence)
            self.assertIn(words, found.timeline[-1].text)

    def test_it_stands_in_for_a_device_that_went_silent_later(self):
        for code in ('power-unread', 'identity-mismatch'):
            subject = self.silent(
                Phase.EVACUATING, code=code, next_look_at=NOW + 99
            )

            found = after(subject, self.WORD)

            self.assertEqual(Phase.EVACUATING, found.phase)
            self.assertEqual('', found.code)
            self.assertIsNone(found.next_look_at)
            self.assertEqual(FenceState.VALID, found.fence.state)
            self.assertEqual(
                incident.FenceClass.OPERATOR_ATTESTED,
                found.fence.evidence_class,
            )
            self.assertEqual(subject.fence.beat_mark, found.fence.beat_mark)

    def test_it_does_not_stand_in_while_the_host_is_heard(self):
        self.refused(
            examples.make(
                Phase.EVACUATING,
                code='power-unread',
                readings=examples.readings(heartbeat=Sign.ALIVE),
            ),
            'the heartbeat still hears the host',
        )

    def test_nova_that_says_up_does_not_refuse_it(self):
        subject = dataclasses.replace(
            self.silent(Phase.HELD),
            readings=examples.readings(nova=Sign.ALIVE),
        )

        self.assertEqual(Phase.CONTAINING, after(subject, self.WORD).phase)


class ReleaseTest(unittest.TestCase):
    WORD = events.Released(NOW + 9, 'alice', 'all three are dead')

    def test_a_held_incident_is_released_and_looked_at_at_once(self):
        subject = examples.make(Phase.HELD, code='storm', next_look_at=NOW + 5)

        found = after(subject, self.WORD)

        self.assertTrue(found.released)
        self.assertEqual(machine.Do.ASSESS, machine.todo(found, NOW, PATIENCE))
        self.assertIn('all three are dead', found.timeline[-1].text)

    def test_a_release_is_no_fence(self):
        found = after(examples.make(Phase.HELD), self.WORD)

        self.assertEqual(Phase.HELD, found.phase)
        self.assertIsNone(found.fence)

    def test_it_dismisses_what_waits_for_an_operator(self):
        found = after(examples.make(Phase.NEEDS_OPERATOR), self.WORD)

        self.assertEqual(Phase.CANCELLED, found.phase)

    def test_it_does_not_dismiss_what_was_begun(self):
        subject = examples.make(Phase.NEEDS_OPERATOR, listed=True)

        found = after(subject, self.WORD)

        self.assertEqual(Phase.NEEDS_OPERATOR, found.phase)
        self.assertEqual('release-ignored', found.timeline[-1].code)

    def test_it_does_not_dismiss_a_host_whose_service_was_forced_down(self):
        subject = examples.make(
            Phase.NEEDS_OPERATOR,
            fence=examples.fence(attempt=2),
            forced_down=incident.StepState.DONE,
        )

        found = after(subject, self.WORD)

        self.assertEqual(Phase.NEEDS_OPERATOR, found.phase)

    def test_a_dismissed_incident_keeps_no_open_fence(self):
        found = after(examples.make(Phase.NEEDS_OPERATOR), self.WORD)

        self.assertEqual(FenceState.VOID, found.fence.state)

    def test_it_does_not_dismiss_a_host_that_was_contained_before(self):
        # Contained, back, off again, and back before it was forced down.
        subject = examples.make(
            Phase.NEEDS_OPERATOR, fence=examples.fence(attempt=3)
        )

        found = after(subject, self.WORD)

        self.assertEqual(Phase.NEEDS_OPERATOR, found.phase)

    def test_it_lets_the_host_of_parked_servers_return(self):
        subject = examples.make(Phase.RECOVERED, code='parked-servers')

        found = after(subject, self.WORD)

        self.assertTrue(found.return_released)

    def test_anywhere_else_it_is_written_down_and_changes_nothing(self):
        for phase in (
            Phase.FENCING,
            Phase.CONTAINING,
            Phase.EVACUATING,
            Phase.RECOVERED,
            Phase.RETURNING,
        ):
            with self.subTest(phase=phase):
                subject = examples.make(phase)

                found = after(subject, self.WORD)

                self.assertEqual('release-ignored', found.timeline[-1].code)
                self.assertEqual(
                    subject,
                    dataclasses.replace(
                        found,
                        timeline=subject.timeline,
                        updated_at=subject.updated_at,
                    ),
                )


class ExpiryTest(unittest.TestCase):
    OLD = events.IntentExpired(NOW + 100)

    def test_a_decision_that_nobody_acted_on_is_made_anew(self):
        found = after(examples.make(Phase.FENCING), self.OLD)

        self.assertEqual(Phase.SUSPECTED, found.phase)
        self.assertIsNone(found.fence)
        self.assertEqual(0, found.silent_probes)
        self.assertEqual('reassess', found.timeline[-1].code)

    def test_a_call_that_was_made_or_a_second_switch_off_goes_on(self):
        for fence in (
            examples.fence(calls=1, called_at=NOW),
            examples.fence(attempt=2),
        ):
            subject = examples.make(Phase.FENCING, fence=fence)

            self.assertIs(subject, after(subject, self.OLD))


class DismissTest(unittest.TestCase):
    def test_what_is_no_host_is_cancelled_with_the_reason(self):
        for phase in (Phase.SUSPECTED, Phase.HELD):
            found = after(
                examples.make(phase), events.Dismissed(NOW, 'no such host')
            )

            self.assertEqual(Phase.CANCELLED, found.phase)
            self.assertEqual('no such host', found.reason)


class SuspectTest(unittest.TestCase):
    def test_a_repeated_alarm_joins_without_a_second_line(self):
        word = events.Suspected(NOW, 'notifier', 'Alarm says it is down')
        again = dataclasses.replace(word, at=NOW + 10)

        found = after(examples.make(), word, again, again)

        self.assertEqual(['suspected'], codes(found))

    def test_another_witness_gets_a_line_and_moves_nothing(self):
        for phase in Phase:
            subject = examples.make(phase)

            found = after(
                subject,
                events.Suspected(NOW, 'notifier', 'Alarm says it is down'),
                events.Suspected(NOW, 'round', 'Its heartbeats stopped'),
            )

            self.assertEqual(2, len(found.timeline))
            self.assertEqual(subject.phase, found.phase)

    def test_identity_is_kept_before_the_fence(self):
        found = after(
            examples.make(expected_system_uuid=''),
            events.Identified(NOW, 'svc-9', 'az7', 'sys-9'),
        )

        self.assertEqual(
            ('svc-9', 'az7', 'sys-9'),
            (found.service_uuid, found.domain, found.expected_system_uuid),
        )

    def test_the_preview_of_the_servers_is_not_the_list(self):
        servers = (examples.server('a'),)

        found = after(examples.make(), events.Listed(NOW, servers))

        self.assertEqual(servers, found.servers)
        self.assertFalse(found.listed)
