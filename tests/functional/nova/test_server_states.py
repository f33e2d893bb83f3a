# SPDX-License-Identifier: Apache-2.0

"""Every state of a server in which the engine asks nova for something.

The rows of ``recovery.states`` against nova's own code: what it takes, what
it makes of the state, and how the state is put back.
"""

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import states
from tests.functional.nova import recovery

ServerState = incident.ServerState


class StatesTest(recovery.RecoveryCase):
    """One server on a host that dies while it is in some state."""

    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2')
        self.server = self.boot('host1')

    def do(self, **action):
        self.admin_api.post_server_action(self.server['id'], action)

    def recovered(self, vm_state='active'):
        """Recover the host; the server must be elsewhere, in that state."""
        subject = self.recover('host1')
        [found] = subject.servers
        self.assertEqual(
            (ServerState.RECOVERED, ''), (found.state, found.code)
        )
        shown = self.shown(self.server)
        self.assertEqual('host2', shown['OS-EXT-SRV-ATTR:host'])
        self.assertEqual(vm_state, shown['OS-EXT-STS:vm_state'])
        self.assertIsNone(shown['OS-EXT-STS:task_state'])
        self.assertEqual(1, len(self.evacuations_of(self.server)))
        return shown

    def parked(self, code):
        """Recover the host; the server must be where it was, untouched."""
        before = self.shown(self.server)
        subject = self.recover('host1')
        [found] = subject.servers
        self.assertEqual((ServerState.PARKED, code), (found.state, found.code))
        after = self.shown(self.server)
        for key in ('host', 'instance_name'):
            name = f'OS-EXT-SRV-ATTR:{key}'
            self.assertEqual(before[name], after[name])
        for key in ('vm_state', 'task_state'):
            name = f'OS-EXT-STS:{key}'
            self.assertEqual(before[name], after[name])
        self.assertEqual([], self.evacuations_of(self.server))
        return subject

    def test_active_comes_back_active(self):
        self.kill('host1')

        self.recovered()

    def test_stopped_is_stopped_again(self):
        self.do(**{'os-stop': None})
        self._wait_for_state_change(self.server, 'SHUTOFF')
        self.kill('host1')

        self.recovered('stopped')

    def test_paused_is_reset_evacuated_and_paused_again(self):
        self.do(pause=None)
        self._wait_for_state_change(self.server, 'PAUSED')
        self.kill('host1')

        self.recovered('paused')

        actions = self.actions_of(self.server)
        self.assertEqual(1, actions.count('resetState'), actions)
        self.assertEqual(2, actions.count('pause'), actions)

    def test_lock_of_its_tenant_survives(self):
        self.api.post_server_action(
            self.server['id'], {'lock': {'locked_reason': 'payroll'}}
        )
        self.do(**{'os-stop': None})
        self._wait_for_state_change(self.server, 'SHUTOFF')
        self.kill('host1')

        shown = self.recovered('stopped')

        self.assertTrue(shown['locked'])
        self.assertEqual('payroll', shown['locked_reason'])
        self.assertNotIn('unlock', self.actions_of(self.server))

    def test_stale_tasks_exclude_nobody(self):
        tasks = sorted(
            name
            for name, row in states.TASK_STATES.items()
            if row.fate is None and row.wanted in ('', 'active')
        )
        self._recover_busy(tasks[0::2])

    def test_no_other_stale_task_excludes_anybody_either(self):
        tasks = sorted(
            name
            for name, row in states.TASK_STATES.items()
            if row.fate is None and row.wanted in ('', 'active')
        )
        self._recover_busy(tasks[1::2])

    def _recover_busy(self, tasks):
        self.flags(instances=20, cores=20, group='quota')
        busy = {task: self.boot('host1') for task in tasks}
        self.kill('host1')
        for task, server in busy.items():
            self.set_state(server, task_state=task)

        subject = self.recover('host1')

        self.assertEqual(
            {ServerState.RECOVERED}, {s.state for s in subject.servers}
        )
        for task, server in busy.items():
            shown = self.shown(server)
            self.assertEqual(
                ('host2', 'active', None),
                (
                    shown['OS-EXT-SRV-ATTR:host'],
                    shown['OS-EXT-STS:vm_state'],
                    shown['OS-EXT-STS:task_state'],
                ),
                task,
            )

    def test_being_stopped_is_stopped(self):
        self.kill('host1')
        self.set_state(self.server, task_state='powering-off')

        self.recovered('stopped')

    def test_being_paused_is_paused(self):
        self.kill('host1')
        self.set_state(self.server, task_state='pausing')

        self.recovered('paused')

    def test_being_started_is_started(self):
        self.do(**{'os-stop': None})
        self._wait_for_state_change(self.server, 'SHUTOFF')
        self.kill('host1')
        self.set_state(self.server, task_state='powering-on')

        self.recovered('active')

    def test_being_unpaused_runs(self):
        self.do(pause=None)
        self._wait_for_state_change(self.server, 'PAUSED')
        self.kill('host1')
        self.set_state(self.server, task_state='unpausing')

        self.recovered('active')

    def test_hard_reboot_of_a_suspended_server_gives_its_memory_up(self):
        self.do(suspend=None)
        self._wait_for_state_change(self.server, 'SUSPENDED')
        self.kill('host1')
        self.set_state(self.server, task_state='rebooting_hard')

        self.recovered('active')

    def test_no_host_at_first_keeps_paused_in_mind(self):
        self.do(pause=None)
        self._wait_for_state_change(self.server, 'PAUSED')
        self.kill('host1')
        self.force_down('host2')
        subject = self.fenced('host1')
        while not subject.servers or subject.servers[0].waits == 0:
            subject = self.round(subject)
        self.assertEqual('ERROR', self.shown(self.server)['status'])
        self.admin_api.api_put(
            f'/os-services/{self.computes["host2"].service_ref.uuid}',
            {'forced_down': False},
        )

        subject = self.recover('host1', subject)

        self.assertEqual(ServerState.RECOVERED, subject.servers[0].state)
        self.assertEqual('PAUSED', self.shown(self.server)['status'])

    def test_parked_states_are_left_and_recovered_when_they_end(self):
        self.kill('host1')
        for vm_state, code in (
            ('error', 'vm-state-error'),
            ('suspended', 'suspended'),
            ('rescued', 'rescued'),
            ('resized', 'resized'),
            ('building', 'building'),
            ('shelved', 'shelved'),
        ):
            with self.subTest(vm_state):
                self.set_state(self.server, vm_state=vm_state)

                subject = self.parked(code)
                same = self.review(subject)

                self.assertEqual(subject.servers, same.servers)
                self.assertEqual(incident.Phase.RECOVERED, same.phase)

        self.do(**{'os-resetState': {'state': 'active'}})
        subject = self.review(subject)
        self.assertEqual(incident.Phase.EVACUATING, subject.phase)
        subject = self.recover('host1', subject)
        self.assertEqual(ServerState.RECOVERED, subject.servers[0].state)
        self.assertEqual(
            'host2', self.shown(self.server)['OS-EXT-SRV-ATTR:host']
        )

    def test_open_live_migration_is_never_evacuated_blindly(self):
        self.kill('host1')
        self.set_state(self.server, task_state='migrating')
        record = self.write_move(
            self.server, 'host1', 'host2', 'running', 'live-migration'
        )

        subject = self.parked('live-migrating')
        # That somebody resets the state does not say where the guest is.
        self.do(**{'os-resetState': {'state': 'active'}})
        same = self.review(subject)

        self.assertIn("'host2'", subject.servers[0].reason)
        self.assertEqual(incident.Phase.RECOVERED, same.phase)
        self.end_move(record, 'error')
        subject = self.recover('host1', self.review(same))
        self.assertEqual(ServerState.RECOVERED, subject.servers[0].state)

    def test_open_resize_is_never_evacuated_blindly(self):
        self.kill('host1')
        for status, task in (
            ('pre-migrating', 'resize_prep'),
            ('migrating', 'resize_migrating'),
            ('post-migrating', 'resize_migrated'),
            ('reverting', 'resize_reverting'),
            ('migrating', None),
        ):
            with self.subTest(status, task=task):
                self.set_state(self.server, task_state=task)
                record = self.write_move(
                    self.server, 'host1', 'host2', status, 'resize'
                )

                self.parked('moving')

                self.end_move(record, 'error')

    def test_old_moves_that_ended_keep_nobody_back(self):
        for status in sorted(states.MOVE_ENDED - {'done'}):
            self.write_move(
                self.server, 'host1', 'host2', status, 'live-migration'
            )
        self.kill('host1')

        self.recovered()

    def test_nova_refuses_a_paused_server_that_is_not_reset(self):
        # The reason for the row: should nova change its mind, so may we.
        self.do(pause=None)
        self._wait_for_state_change(self.server, 'PAUSED')
        self.kill('host1')

        error = self.assertRaises(
            recovery.doors.Refused, self.door.evacuate, self.server['id']
        )

        self.assertEqual(409, error.status)

    def test_evacuated_by_hand_is_adopted_and_not_asked_twice(self):
        self.kill('host1')
        self.set_state(self.server, vm_state='suspended')
        subject = self.parked('suspended')
        self.do(**{'os-resetState': {'state': 'active'}})
        self.evacuate(self.server)

        subject = self.recover('host1', self.review(subject))

        self.assertEqual(1, len(self.evacuations_of(self.server)))

    def test_forced_down_is_set_again_when_somebody_clears_it(self):
        self.kill('host1')
        subject = self.round(self.fenced('host1'))
        subject = self.round(subject)
        self.admin_api.api_put(
            f'/os-services/{subject.service_uuid}', {'forced_down': False}
        )

        subject = self.recover('host1', subject)

        self.assertEqual(ServerState.RECOVERED, subject.servers[0].state)
        self.assertIn(
            'contain-again', [entry.code for entry in subject.timeline]
        )
