# SPDX-License-Identifier: Apache-2.0

"""Seconds per stage and counts, read from an incident alone."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import levels
from tests.unit.recovery import examples

OPENED = examples.NOW
Stage = levels.Stage

WHOLE = (
    ('suspected', 0.0),
    ('corroborating', 0.5),
    ('corroborated', 2.0),
    ('fencing', 2.0),
    ('power-off', 2.5),
    ('fenced', 12.0),
    ('forced-down', 12.5),
    ('evacuating', 13.0),
    ('listed', 13.2),
    ('server-recovered', 40.0),
    ('server-left', 41.0),
    ('server-recovered', 95.0),
    ('recovered', 95.5),
)


def silent(age, at=OPENED, sign=incident.Sign.SILENT):
    return incident.Reading(evidence.HEARTBEAT, sign, at, age)


def made(lines=WHOLE, phase=incident.Phase.RECOVERED, **changes):
    given = {
        'readings': (silent(9.0, OPENED + 3.0),),
        'timeline': tuple(
            incident.Entry(seq, OPENED + at, code, code)
            for seq, (code, at) in enumerate(lines, 1)
        ),
        **changes,
    }
    return examples.make(phase, **given)


def seconds(subject):
    return {each.stage: each.seconds for each in levels.reached(subject)}


class ReachedTest(unittest.TestCase):
    def test_stages_of_a_whole_recovery_follow_each_other(self):
        self.assertEqual(
            {
                Stage.DETECT: 6.0,
                Stage.CORROBORATE: 2.0,
                Stage.FENCE: 10.0,
                Stage.FORCE_DOWN: 0.5,
                Stage.FIRST_SERVER: 46.0,
                Stage.LAST_SERVER: 101.0,
            },
            seconds(made()),
        )

    def test_a_hold_is_not_the_fault_of_the_channels(self):
        lines = (('suspected', 0), ('held:storm', 3), ('corroborated', 63))

        found = seconds(made(lines, incident.Phase.FENCING))

        self.assertEqual(3.0, found[Stage.CORROBORATE])
        self.assertEqual(60.0, found[Stage.HOLD])

    def test_a_hold_after_the_decision_is_none_of_its_stages(self):
        lines = (*WHOLE[:4], ('held:storm', 8.0))

        self.assertNotIn(Stage.HOLD, seconds(made(lines)))

    def test_a_host_that_was_never_heard_counts_from_the_suspicion(self):
        found = seconds(made(readings=()))

        self.assertNotIn(Stage.DETECT, found)
        self.assertEqual(40.0, found[Stage.FIRST_SERVER])

    def test_a_heartbeat_of_a_host_that_lives_is_not_its_last(self):
        alive = silent(1.0, sign=incident.Sign.ALIVE)

        self.assertIsNone(levels.heard_at(made(readings=(alive,))))

    def test_a_heartbeat_after_the_suspicion_is_not_the_one_before(self):
        late = silent(1.0, OPENED + 60.0)

        self.assertIsNone(levels.heard_at(made(readings=(late,))))

    def test_nothing_that_goes_on_is_measured(self):
        for end in range(len(WHOLE)):
            with self.subTest(lines=end):
                part = made(WHOLE[:end])
                ends = {each.seq for each in levels.reached(part)}
                self.assertLessEqual(ends, set(range(1, end + 1)))

    def test_a_second_fence_does_not_change_the_first(self):
        again = (('fence-void', 50.0), ('fencing', 51.0), ('fenced', 70.0))

        self.assertEqual(
            seconds(made()), seconds(made((*WHOLE, *again, *WHOLE[-2:])))
        )

    def test_servers_that_were_migrated_from_a_living_host_count_nothing(self):
        lines = (('migrating', 1.0), ('server-recovered', 2.0))

        self.assertEqual({}, seconds(made(lines)))

    def test_a_clock_that_went_back_gives_no_negative_time(self):
        lines = (('corroborated', 5.0), ('fencing', 5.0), ('fenced', -3000.0))

        self.assertEqual(0.0, seconds(made(lines))[Stage.FENCE])


class ChangeTest(unittest.TestCase):
    @examples.many
    @hypothesis.given(
        strategies.lists(
            strategies.integers(0, len(WHOLE)), max_size=6, unique=True
        )
    )
    def test_every_stage_is_told_once_however_it_is_saved(self, cuts):
        """Also by several engines, one after the other."""
        saved = [made(WHOLE[:cut]) for cut in sorted({*cuts, len(WHOLE)})]
        told = [
            each
            for before, after in zip([None, *saved], saved, strict=False)
            for each in levels.change(before, after).reached
        ]

        self.assertEqual(
            sorted(levels.reached(made()), key=str), sorted(told, key=str)
        )

    def test_ends_of_servers_are_counted_as_they_come(self):
        before, after = made(WHOLE[:9]), made(WHOLE[:12])

        found = levels.change(before, after).outcomes

        self.assertEqual(
            {
                incident.ServerState.RECOVERED: 2,
                incident.ServerState.LEFT: 1,
            },
            found,
        )
        self.assertEqual({}, levels.change(after, after).outcomes)

    def test_failed_fences_are_counted_by_their_code(self):
        before = made(WHOLE[:4])
        lines = (('power-unread', 4.0), ('fence-unconfirmed', 40.0))
        after = made((*WHOLE[:4], *lines))

        self.assertEqual(
            ('fence-unconfirmed',), levels.change(before, after).failures
        )


class VainTest(unittest.TestCase):
    def cancelled(self, *codes, **changes):
        lines = tuple((code, 1.0) for code in (*codes, 'cancelled'))
        return made(lines, incident.Phase.CANCELLED, **changes)

    def test_a_host_that_is_heard_again_was_suspected_in_vain(self):
        self.assertEqual(
            levels.Vain.SUSPECTED, levels.vain(self.cancelled('suspected'))
        )

    def test_one_that_is_heard_after_the_decision_is_told_apart(self):
        found = self.cancelled('suspected', 'corroborated', 'fencing')

        self.assertEqual(levels.Vain.DECIDED, levels.vain(found))

    def test_one_whose_device_is_silent_and_that_is_given_up(self):
        found = self.cancelled('corroborated', 'fencing', 'fence-unconfirmed')

        self.assertEqual(levels.Vain.DISMISSED, levels.vain(found))

    def test_a_name_that_nova_does_not_know_was_no_suspicion(self):
        found = self.cancelled('suspected', readings=())

        self.assertIsNone(levels.vain(found))

    def test_a_network_that_was_lost_was_really_lost(self):
        found = self.cancelled('suspected', networks_lost=('storage',))

        self.assertIsNone(levels.vain(found))

    def test_an_incident_that_is_not_cancelled_was_not_in_vain(self):
        self.assertIsNone(levels.vain(made()))

    def test_it_is_told_once(self):
        over = self.cancelled('suspected')
        before = dataclasses.replace(over, phase=incident.Phase.SUSPECTED)

        self.assertEqual(
            levels.Vain.SUSPECTED, levels.change(before, over).vain
        )
        self.assertIsNone(levels.change(over, over).vain)


class StandingTest(unittest.TestCase):
    def test_open_incidents_are_counted_by_what_they_wait_for(self):
        State = incident.ServerState
        server = examples.server
        found = levels.standing(
            [
                examples.make(incident.Phase.HELD, code='storm'),
                examples.make(incident.Phase.HELD, code='storm'),
                examples.make(
                    incident.Phase.EVACUATING,
                    servers=(
                        server('a', state=State.EVACUATING),
                        server('b', state=State.REQUESTED),
                        server('c', state=State.READY, code='no-valid-host'),
                        server('d', state=State.READY),
                        server('e', state=State.RECOVERED),
                    ),
                ),
            ]
        )

        self.assertEqual({'held': 2, 'evacuating': 1}, dict(found.phases))
        self.assertEqual({'storm': 2}, found.held)
        self.assertEqual({'no-valid-host': 1, 'turn': 1}, found.waiting)
        self.assertEqual(2, found.evacuating)


if __name__ == '__main__':
    unittest.main()
