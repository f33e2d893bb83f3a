# SPDX-License-Identifier: Apache-2.0

"""The table of server states is complete, and says what is safe."""

import itertools
import unittest

from nova.compute import task_states
from nova.compute import vm_states

from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views
from tests.unit.recovery import examples

Fate = states.Fate

# What nova's own API takes for an evacuation: vm_states of the decorator of
# nova.compute.api.API.evacuate.
TAKEN = {'active', 'stopped', 'error'}


def words(module):
    """The states that a module of nova names."""
    return {
        value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


def judge(vm_state='active', task_state=None, was='', **given):
    view = examples.view(vm_state=vm_state, task_state=task_state)
    return states.judge(view, was, **given)


def move(status, kind='live-migration', source=examples.HOST, dest='d1'):
    return views.MigrationView('mig-9', 'vm-1', source, dest, status, '', kind)


class CompleteTest(unittest.TestCase):
    def test_every_state_of_nova_has_a_row_and_no_other(self):
        self.assertEqual(words(vm_states), set(states.VM_STATES))
        self.assertEqual(words(task_states), set(states.TASK_STATES))

    def test_every_row_has_a_reason_and_a_code_when_it_does_nothing(self):
        rows = (*states.VM_STATES.values(), *states.TASK_STATES.values())
        for row in rows:
            with self.subTest(row):
                self.assertTrue(row.why)
                if row.fate in (Fate.WAIT, Fate.PARK, Fate.LEAVE):
                    self.assertRegex(row.code, '^[a-z]+(-[a-z]+)*$')

    def test_only_what_nova_takes_is_evacuated_without_a_reset(self):
        for vm_state in states.VM_STATES:
            if judge(vm_state).fate == Fate.EVACUATE:
                self.assertIn(vm_state, TAKEN)

    def test_a_state_of_a_later_nova_is_parked_and_looked_at_again(self):
        for found in (judge('hibernated'), judge(task_state='teleporting')):
            self.assertEqual(Fate.PARK, found.fate)
            self.assertIn(found.code, states.REVIEWED)


class JudgeTest(unittest.TestCase):
    def test_all_that_moves_waits_whatever_else_is_so(self):
        moving = [
            task
            for task, row in states.TASK_STATES.items()
            if row.code in ('moving', 'live-migrating')
        ]
        self.assertEqual(7, len(moving))
        for task, vm_state in itertools.product(moving, TAKEN):
            found = judge(vm_state, task, was='active')

            self.assertEqual(Fate.WAIT, found.fate, (task, vm_state))

    def test_an_open_record_counts_more_than_a_state_that_was_reset(self):
        for kind in ('live-migration', 'migration', 'resize'):
            for status in ('accepted', 'running', 'running (post-copy)'):
                found = judge(move=move(status, kind))

                self.assertEqual(Fate.WAIT, found.fate, (kind, status))

    def test_a_record_that_ended_keeps_nobody_back(self):
        for status in states.MOVE_ENDED:
            self.assertEqual(
                Fate.EVACUATE, judge(move=move(status)).fate, status
            )

    def test_the_reason_names_the_host_where_the_guest_may_be(self):
        for record in (
            move('running'),
            move('running', source='d1', dest=examples.HOST),
        ):
            self.assertIn("'d1'", judge(move=record).reason)

    def test_it_can_run_nowhere_when_both_ends_are_off(self):
        found = judge(
            task_state='migrating', move=move('running'), other_off=True
        )
        self.assertEqual(Fate.EVACUATE, found.fate)

        # The disk of a resize is not where nova looks for it, though.
        found = judge(
            task_state='resize_migrating',
            move=move('migrating', 'resize'),
            other_off=True,
        )
        self.assertEqual(Fate.WAIT, found.fate)

    def test_that_it_waits_for_its_owner_is_no_open_move(self):
        found = judge('resized', move=move('finished', 'resize'))

        self.assertEqual((Fate.PARK, 'resized'), (found.fate, found.code))

    def test_error_counts_only_when_it_was_there_before(self):
        self.assertEqual('vm-state-error', judge('error').code)
        self.assertEqual('vm-state-error', judge('error', was='error').code)
        for was in ('active', 'stopped', 'paused'):
            self.assertEqual(Fate.EVACUATE, judge('error', was=was).fate)

    def test_deleting_is_stronger_than_everything_but_taking_back(self):
        for vm_state in states.VM_STATES:
            found = judge(vm_state, 'deleting', move=move('running'))

            self.assertEqual('being-deleted', found.code, vm_state)
        self.assertEqual('restoring', judge('soft-delete', 'restoring').code)
        self.assertTrue(
            policy.being_deleted(examples.view(vm_state='soft-delete'))
        )

    def test_memory_is_dropped_only_when_its_owner_said_so(self):
        self.assertEqual(Fate.PARK, judge('suspended').fate)
        self.assertEqual(Fate.PARK, judge('suspended', 'resuming').fate)
        for task in ('rebooting_hard', 'reboot_started_hard'):
            self.assertEqual(Fate.RESET, judge('suspended', task).fate)
        self.assertEqual(Fate.RESET, judge('paused').fate)

    def test_the_reason_says_what_nova_says(self):
        for vm_state in ('error', 'suspended', 'rescued', 'building'):
            self.assertIn(vm_state, judge(vm_state).reason)
        self.assertIn('unshelving', judge('shelved', 'unshelving').reason)


class WantedTest(unittest.TestCase):
    def test_the_last_wish_of_its_owner_is_put_back(self):
        for vm_state, task_state, expected in (
            ('active', '', 'active'),
            ('stopped', '', 'stopped'),
            ('paused', '', 'paused'),
            ('active', 'powering-off', 'stopped'),
            ('stopped', 'powering-on', 'active'),
            ('active', 'pausing', 'paused'),
            ('paused', 'unpausing', 'active'),
            ('stopped', 'rebooting_hard', 'active'),
            ('paused', 'rebooting_hard', 'active'),
            ('stopped', 'image_uploading', 'stopped'),
            ('active', 'suspending', 'active'),
            ('suspended', 'rebooting_hard', 'active'),
            ('error', '', 'active'),
        ):
            with self.subTest(vm_state=vm_state, task_state=task_state):
                self.assertEqual(expected, states.wanted(vm_state, task_state))

    def test_only_what_nova_has_a_call_for_is_put_back(self):
        for vm_state, task in itertools.product(
            states.VM_STATES, ('', *states.TASK_STATES)
        ):
            self.assertIn(states.wanted(vm_state, task), states.RESTORABLE)
