# SPDX-License-Identifier: Apache-2.0

"""No side effect without an intent that was saved just now."""

import ast
import dataclasses
import pathlib
import threading
import unittest

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import permits
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.scenarios import simulation

ENGINE = pathlib.Path(permits.__file__).parent


class Recorder:
    """A door that says yes to everything and keeps what it was asked."""

    def __init__(self):
        self.called = []

    def __getattr__(self, name):
        return lambda *args: self.called.append((name, *args))


class FakeStore:
    def __init__(self):
        self.lost = False
        self.saving = lambda: None

    def save(self, subject, lease):
        self.saving()
        return dataclasses.replace(subject, generation=subject.generation + 1)

    def renew_lease(self, lease):
        if self.lost:
            raise values.LeaseLost('somebody else has it')
        return lease


def a_subject():
    return incident.Incident(
        uuid='inc-1',
        host='cmp-1',
        service_uuid='svc-1',
        epoch=1,
        phase=incident.Phase.CONTAINING,
        opened_at=1.0,
        updated_at=1.0,
        fence=incident.FenceRecord(
            incident.FenceState.VALID, epoch=1, attempt=1, intended_at=1.0
        ),
    )


INTENT = events.StepIntended(2.0, 'force-down')


class PermitsTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 100.0
        self.nova, self.fencing = Recorder(), Recorder()
        self.store = FakeStore()
        self.ctx = context.Context(
            store=self.store,
            liveness=None,
            nova=self.nova,
            identity=None,
            fencing=self.fencing,
            probe=None,
            allows=None,
            settings=simulation.settings(),
            lease=values.Lease(7, 'engine-7'),
            monotonic=lambda: self.now,
        )

    def force_down(self):
        return doors.attempt(self.ctx.nova.force_down, 'svc-1', True)

    def test_every_method_that_returns_nothing_is_a_side_effect(self):
        self.assertLessEqual(
            {'force_down', 'disable', 'enable', 'evacuate', 'stop'},
            permits.effects_of(doors.Nova),
        )
        self.assertEqual({'power_off'}, permits.effects_of(doors.Fencing))
        for reading in ('services', 'servers_on', 'server', 'evacuations'):
            self.assertNotIn(reading, permits.effects_of(doors.Nova))

    def test_no_side_effect_of_any_door_happens_without_an_intent(self):
        for door, protocol in (
            (self.ctx.nova, doors.Nova),
            (self.ctx.fencing, doors.Fencing),
        ):
            for name in permits.effects_of(protocol):
                with self.assertRaisesRegex(permits.NoIntentError, name):
                    getattr(door, name)('cmp-1')

        self.assertEqual([], self.nova.called + self.fencing.called)

    def test_saved_intent_is_good_for_one_call(self):
        self.ctx.apply(a_subject(), INTENT)

        self.assertIsNone(self.force_down())
        with self.assertRaises(permits.NoIntentError):
            self.force_down()
        self.assertEqual([('force_down', 'svc-1', True)], self.nova.called)

    def test_intent_that_changes_nothing_is_saved_all_the_same(self):
        subject = self.ctx.apply(a_subject(), INTENT)
        self.force_down()
        again = self.ctx.apply(subject, INTENT)
        self.force_down()

        self.assertEqual(subject.generation + 1, again.generation)
        self.assertEqual(2, len(self.nova.called))

    def test_observation_gives_no_permit_and_takes_one_back(self):
        seen = events.SignOfLife(2.0, 'it was heard')
        subject = self.ctx.apply(a_subject(), INTENT)
        self.ctx.apply(subject, seen)

        with self.assertRaises(permits.NoIntentError):
            self.force_down()

    def test_intent_of_another_thread_is_none(self):
        thread = threading.Thread(
            target=self.ctx.apply, args=(a_subject(), INTENT)
        )
        thread.start()
        thread.join()

        with self.assertRaises(permits.NoIntentError):
            self.force_down()

    def test_late_call_is_not_made_and_says_so(self):
        self.ctx.apply(a_subject(), INTENT)
        self.now += self.ctx.settings.call_deadline

        refused = self.force_down()

        self.assertIsInstance(refused, doors.Refused)
        self.assertEqual(429, refused.status)
        self.assertRegex(str(refused), r"'force_down' was not called: 2.0 s")
        self.assertEqual([], self.nova.called)

    def test_time_counts_from_before_the_save(self):
        def stand_still():
            self.now += 60.0

        self.store.saving = stand_still
        self.ctx.apply(a_subject(), INTENT)

        self.assertIsInstance(self.force_down(), doors.Refused)
        self.assertEqual([], self.nova.called)

    def test_time_of_the_last_look_at_the_lease_counts_too(self):
        self.ctx.apply(a_subject(), INTENT)

        def slow(lease):
            self.now += 60.0

        self.store.renew_lease = slow

        self.assertIsInstance(self.force_down(), doors.Refused)
        self.assertEqual([], self.nova.called)

    def test_engine_that_lost_its_lease_after_the_save_calls_nothing(self):
        self.ctx.apply(a_subject(), INTENT)
        self.store.lost = True

        with self.assertRaises(values.LeaseLost):
            self.force_down()
        self.assertEqual([], self.nova.called)


class SourceTest(unittest.TestCase):
    """Nobody reaches a door around the guard."""

    def test_doors_are_made_and_unwrapped_in_one_place_each(self):
        made, unwrapped = set(), set()
        for path in ENGINE.glob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    if node.attr in ('NovaDoor', 'FencingDoor'):
                        made.add(path.name)
                    if node.attr == '_door':
                        unwrapped.add(path.name)

        self.assertEqual({'service.py'}, made)
        self.assertEqual({'permits.py'}, unwrapped)
