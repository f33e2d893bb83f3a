# SPDX-License-Identifier: Apache-2.0

"""Users and operators act while a host is recovered; and capacity is short.

====  =====================================================================
Row   Test
====  =====================================================================
F25   test_no_room_*
F37   test_user_*
F38   test_forced_down_by_others_*, test_disarmed_*, test_host_that_*
F44   test_unmovable_*
====  =====================================================================
"""

import time

from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench
from tests.functional.engine import faults

Phase = incident.Phase
State = incident.ServerState


class OperatorsTest(bench.Case):
    """Four hosts die; somebody else has a hand in each."""

    HOSTS = 10
    FOREIGN, DISARMED, USERS, CROWDED = 'cmp-1', 'cmp-2', 'cmp-3', 'cmp-4'
    CHANGES = {'nova_ha': {'mass_silence_share': 0.9}}

    @classmethod
    def prepare(cls):
        cls.foreign = cls.cloud.add_server(cls.FOREIGN, 'foreign')
        cls.waits = [
            cls.cloud.add_server(cls.DISARMED, f'waits-{n}') for n in range(3)
        ]
        cls.users = {
            name: cls.cloud.add_server(cls.USERS, name)
            for name in (
                'deleted',
                'deleting',
                'locked',
                'resized',
                'rebuilt',
                'vtpm',
            )
        }
        cls.crowded = [
            cls.cloud.add_server(cls.CROWDED, f'crowded-{n}') for n in range(3)
        ]
        for server in cls.crowded:
            cls.cloud.outcomes[server] = ['no-host', 'no-host', 'done']

    @classmethod
    def tell(cls):
        cls.somebody_forces_down()
        cls.users_act()
        cls.bench.die(cls.CROWDED)
        cls.moving = cls.bench.until('the move is waited for', cls._waits)
        cls.asked_moving = cls.cloud.counts('evacuate', cls.users['resized'])
        cls.cloud.change(cls.users['resized'], task_state=None)
        cls.bench.until_recovered(cls.USERS)
        cls.no_room = cls.bench.until_code(cls.CROWDED, 'servers-wait')
        cls.bench.until_recovered(cls.CROWDED)
        cls.somebody_disarms()
        cls.somebody_lets_go()

    @classmethod
    def somebody_forces_down(cls):
        """Another HA system, or a person, was first at this host."""
        with cls.cloud.lock:
            cls.cloud.services[cls.FOREIGN].update(
                {'forced_down': True, 'state': 'down'}
            )
        cls.bench.die(cls.FOREIGN)
        cls.foreign_held = cls.bench.until_code(cls.FOREIGN, 'not-ours')
        cls.foreign_resets = cls.racks.resets(cls.FOREIGN)

    @classmethod
    def users_act(cls):
        """Everything at the moment in which the list has been read."""
        cloud, users = cls.cloud, cls.users
        cloud.script.add(
            'evacuate',
            users['vtpm'],
            *[faults.refuse(400, VTPM)] * 5,
        )

        def act():
            cloud.delete(users['deleted'])
            cloud.change(users['deleting'], task_state='deleting')
            cloud.change(users['resized'], task_state='resize_prep')
            cloud.change(users['rebuilt'], task_state='rebuilding')
            with cloud.lock:
                cloud.servers[users['locked']]['locked'] = True

        cloud.script.add('disable', cls.USERS, faults.after(act))
        cls.bench.die(cls.USERS)

    @classmethod
    def _waits(cls):
        subject = cls.bench.incident_of(cls.USERS)
        if not subject or not subject.listed:
            return None
        told = bench.server_of(subject, cls.users['resized'])
        return told if told.code == 'moving' else None

    @classmethod
    def somebody_disarms(cls):
        """In the middle of an incident, before anything was evacuated."""
        cls.racks.script.add(
            'reset', cls.DISARMED, faults.after(lambda: cls.arm(False))
        )
        cls.bench.die(cls.DISARMED)
        cls.bench.until(
            'somebody disarmed', lambda: not cls.store.arm_state().armed
        )
        time.sleep(3)
        cls.while_disarmed = cls.bench.incident_of(cls.DISARMED)
        cls.arm(True)
        cls.bench.until_recovered(cls.DISARMED)

    @classmethod
    def arm(cls, armed):
        cls.store.set_arm_state(armed, 'somebody', 'test')

    @classmethod
    def somebody_lets_go(cls):
        """Whoever forced the first host down clears it again."""
        with cls.cloud.lock:
            cls.cloud.services[cls.FOREIGN].update(
                {'forced_down': False, 'state': 'up'}
            )
        cls.bench.until_recovered(cls.FOREIGN)

    def user(self, name):
        return bench.server_of(
            self.bench.incident_of(self.USERS), self.users[name]
        )

    def test_forced_down_by_others_is_left_to_them(self):
        self.assertEqual(0, self.foreign_resets)
        self.assertEqual(Phase.HELD, self.foreign_held.phase)
        self.assertIn('somebody else', self.foreign_held.reason)

    def test_host_that_they_let_go_is_recovered(self):
        self.assertEqual(1, self.racks.resets(self.FOREIGN))
        self.assertEqual(1, self.cloud.performed[self.foreign])

    def test_disarmed_on_the_way_finishes_what_was_begun(self):
        # S11: a disarm begins nothing new and breaks nothing off.
        self.assertIn(
            self.while_disarmed.phase, (Phase.EVACUATING, Phase.RECOVERED)
        )
        for server in self.waits:
            self.assertEqual(1, self.cloud.performed[server])

    def test_user_who_deletes_is_yielded_to(self):
        for name in ('deleted', 'deleting'):
            with self.subTest(name):
                self.assertEqual(
                    0, self.cloud.counts('evacuate', self.users[name])
                )
        self.assertEqual(State.LEFT, self.user('deleting').state)

    def test_user_who_locks_gets_the_server_and_keeps_the_lock(self):
        self.assertEqual(State.RECOVERED, self.user('locked').state)
        self.assertTrue(self.cloud.servers[self.users['locked']]['locked'])

    def test_user_who_resizes_is_waited_for(self):
        # Its disk may be on the way to another host.
        self.assertEqual(0, self.asked_moving)
        self.assertIn('moving it', self.moving.reason)
        self.assertEqual(State.RECOVERED, self.user('resized').state)

    def test_user_who_rebuilds_is_evacuated_once(self):
        self.assertEqual(1, self.cloud.performed[self.users['rebuilt']])

    def test_unmovable_server_is_parked_in_novas_words(self):
        told = self.user('vtpm')

        self.assertEqual((State.PARKED, 'refused'), (told.state, told.code))
        self.assertIn(VTPM, told.reason)

    def test_no_room_is_said_and_waited_for(self):
        self.assertIn('no host with room', self.no_room.reason)
        for server in self.crowded:
            self.assertEqual(3, self.cloud.performed[server])
            self.assertNotEqual(self.CROWDED, self.cloud.host_of(server))


# nova.exception.OperationNotSupportedForVTPM
VTPM = "Operation 'evacuate' not supported for vTPM-enabled instance (server)."


class MassTest(bench.Case):
    """More hosts die than may be fenced; staggered, then nearly all at once.

    F34, with the gates as strict as an operator gets them.
    """

    HOSTS = 10
    CHANGES = {
        'gates': {
            'storm_max_hosts': 1,
            'storm_max_share': 0.2,
            'storm_window': 600,
        },
    }

    @classmethod
    def prepare(cls):
        cls.servers = {
            host: cls.cloud.add_server(host, f'on-{host}')
            for host in cls.racks.machines
        }

    @classmethod
    def tell(cls):
        # One after another: each is known before the next one dies.
        for number in (1, 2, 3):
            cls.bench.machine(f'cmp-{number}').hang()
            cls.bench.until(
                f'cmp-{number} is an incident',
                lambda host=f'cmp-{number}': cls.bench.incident_of(host),
            )
        cls.storm = cls.bench.until('one waits for the storm gate', cls._held)
        # Then the switch of a whole rack.
        for number in (4, 5, 6, 7, 8):
            cls.bench.machine(f'cmp-{number}').hang()
        cls.bench.until(
            'the engine calls itself blind',
            lambda: 'Monitoring is blind' in cls.bench.log(),
        )
        time.sleep(2 * bench.TIMEOUT)

    @classmethod
    def _held(cls):
        for number in (1, 2, 3):
            subject = cls.bench.incident_of(f'cmp-{number}')
            if subject.code == 'storm':
                return subject
        return None

    def test_no_more_hosts_are_fenced_than_the_gate_allows(self):
        fenced = [
            host for host in self.racks.machines if self.racks.resets(host)
        ]

        self.assertEqual(2, len(fenced), fenced)
        self.assertNotIn(self.storm.host, fenced)
        self.assertLessEqual(set(fenced), {'cmp-1', 'cmp-2', 'cmp-3'})

    def test_held_host_says_how_it_is_released(self):
        self.assertIn(f'ha release {self.storm.host}', self.storm.reason)
        server = self.servers[self.storm.host]
        self.assertEqual(0, self.cloud.counts('evacuate', server))

    def test_rack_that_falls_silent_is_a_network_first(self):
        for number in (4, 5, 6, 7, 8):
            self.assertEqual(0, self.racks.resets(f'cmp-{number}'))
            self.assertEqual(
                0, self.cloud.counts('force-down', f'cmp-{number}')
            )
