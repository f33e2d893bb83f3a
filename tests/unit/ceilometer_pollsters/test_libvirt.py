# SPDX-License-Identifier: Apache-2.0

"""What is published of libvirtd, whatever it does."""

import unittest
from unittest import mock

from ceilometer.polling import manager
from ceilometer import service
import oslo_messaging

from ceilometer_pollsters import children
from ceilometer_pollsters import instances
from ceilometer_pollsters import libvirt
from ceilometer_pollsters import meters
from ceilometer_pollsters import probes
from ceilometer_pollsters import servers
from nova_ha_plugins.conf import nova_ha
from tests.unit.ceilometer_pollsters import test_servers

UP = {'seconds': 0.002, 'fresh': False, 'servers': {}}


class Daemon:
    """A libvirtd of which only the answers exist."""

    def __init__(self, told=None):
        self.now = 100.0
        self.child = mock.create_autospec(
            children.Child, instance=True, stuck=0, starting=0.0
        )
        with mock.patch.object(
            children, 'Child', autospec=True, return_value=self.child
        ):
            self.ours = libvirt.Libvirtd('qemu:///system', 'cmp-1', 4.0, told)
        self.ours.clock = lambda: self.now

    def look(self, answer, took=0.0):
        def ask(request, deadline):
            self.deadline = deadline
            self.now += took
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.child.ask.side_effect = ask
        return self.ours.look({})


class LookTest(unittest.TestCase):
    def setUp(self):
        self.logs = self.enterContext(
            self.assertLogs(libvirt.LOG.logger, 'DEBUG')
        )
        libvirt.LOG.debug('not empty')

    def said(self, level):
        return [r for r in self.logs.records if r.levelname == level]

    def test_answer_in_time_is_up_with_its_time(self):
        self.assertEqual(libvirt.Look(True, 0.002), Daemon().look(UP))

    def test_process_that_has_to_start_first_gets_the_time_for_it(self):
        daemon = Daemon()
        daemon.look(UP)
        self.assertEqual(4.0, daemon.deadline)
        daemon.child.starting = 3.0

        daemon.look(UP)

        self.assertEqual(7.0, daemon.deadline)

    def test_hung_libvirtd_is_down_for_as_long_as_it_is_waited_for(self):
        daemon = Daemon()
        daemon.look(UP)

        first = daemon.look(children.Late('late'), took=4.0)
        daemon.now += 1
        second = daemon.look(children.Late('late'), took=4.0)

        self.assertEqual((False, 4.0), (first.up, first.seconds))
        self.assertEqual((False, 9.0), (second.up, second.seconds))
        self.assertIn('within the deadline of 4s', first.reason)
        self.assertTrue(daemon.ours.is_down)
        self.assertEqual(1, len(self.said('ERROR')))

        self.assertTrue(daemon.look(UP).up)
        self.assertFalse(daemon.ours.is_down)
        self.assertEqual(1, len(self.said('WARNING')))
        third = daemon.look(children.Late('late'), took=4.0)
        self.assertEqual(4.0, third.seconds)

    def test_process_that_cannot_be_killed_is_counted(self):
        daemon = Daemon()
        daemon.child.stuck = 1

        look = daemon.look(children.Stuck('stuck'))

        self.assertEqual((False, 1), (look.up, look.stuck))
        self.assertIn('cannot be killed', look.reason)

    def test_host_that_never_had_libvirt_has_nothing_to_say(self):
        with self.assertRaisesRegex(probes.Absent, 'qemu:///system.*socket'):
            Daemon().look({'failed': 'no socket'})

    def test_host_that_had_libvirt_is_down(self):
        daemon = Daemon()
        daemon.look(UP)

        look = daemon.look({'failed': 'no\nsocket'})

        self.assertEqual((False, 'no socket'), (look.up, look.reason))

    def test_broken_probe_says_nothing_of_libvirt(self):
        daemon = Daemon()
        daemon.look(UP)

        with self.assertRaisesRegex(probes.Absent, 'probe is broken: x'):
            daemon.look(children.Broken('x'))

        self.assertFalse(daemon.ours.is_down)

    def test_meters_of_one_cycle_share_one_look_and_its_failure(self):
        daemon = Daemon()
        daemon.child.ask.side_effect = [{'failed': 'no socket'}]
        cache = {}

        for _ in range(2):
            with self.assertRaises(probes.Absent):
                daemon.ours.look(cache)

    def test_what_happened_while_nobody_listened_is_told(self):
        told = mock.Mock(spec=lambda item: None)
        daemon = Daemon(told)
        running = {**UP, 'servers': {'a': ['running', 'booted']}}
        crashed = {**UP, 'servers': {'a': ['shutoff', 'crashed']}}
        daemon.look({**running, 'fresh': True})
        daemon.look(children.Late('late'))
        told.assert_not_called()

        daemon.look({**crashed, 'fresh': True})

        item = told.call_args.args[0]
        self.assertEqual(
            ('a', 'stopped', 'crashed', True),
            (item['id'], item['name'], item['detail'], item['missed']),
        )

    def test_what_libvirt_has_told_itself_is_not_told_twice(self):
        told = mock.Mock(spec=lambda item: None)
        daemon = Daemon(told)
        daemon.look({**UP, 'servers': {'a': ['running', 'booted']}})

        daemon.look({**UP, 'servers': {'a': ['shutoff', 'crashed']}})

        told.assert_not_called()


class PollsterTest(unittest.TestCase):
    """Our pollsters in an agent, with a libvirt that is told what to say."""

    def setUp(self):
        self.conf = service.prepare_service([], [])
        nova_ha.register_opts(self.conf)
        self.conf.set_override('project_id', 'an-operator', 'nova_ha')
        self.manager = mock.create_autospec(
            manager.AgentManager, instance=True
        )
        self.manager.notifier = mock.create_autospec(
            oslo_messaging.Notifier, instance=True
        )
        child = mock.create_autospec(children.Child, instance=True)
        child.stuck, child.starting = 0, 0.0
        child.ask.side_effect = self.ask
        self.enterContext(
            mock.patch.object(
                children, 'Child', autospec=True, return_value=child
            )
        )
        self.look = UP
        self.servers = [test_servers.told('a')]
        self.disks = {}

    def ask(self, request, deadline=None):
        if request['ask'] == 'look':
            return self.look
        if request['ask'] == 'servers':
            return {'servers': self.servers}
        return {'disks': self.disks}

    def samples(self, pollster):
        found = pollster(self.conf).get_samples(
            self.manager, {}, ['http://localhost']
        )
        return list(found)

    def test_samples_of_the_host(self):
        (up,) = self.samples(libvirt.LibvirtUpPollster)
        (latency,) = self.samples(libvirt.LibvirtLatencyPollster)

        self.assertEqual(1, up.volume)
        self.assertEqual(0.002, latency.volume)
        self.assertEqual(
            (meters.host_id(self.conf.host), {'host': self.conf.host}),
            (up.resource_id, up.resource_metadata),
        )

    def test_down_says_why(self):
        self.samples(libvirt.LibvirtUpPollster)
        self.look = {'failed': 'no socket'}
        with self.assertLogs(libvirt.LOG.logger, 'ERROR'):
            (up,) = self.samples(libvirt.LibvirtUpPollster)

        self.assertEqual(0, up.volume)
        self.assertEqual('no socket', up.resource_metadata['reason'])

    def test_machine_without_libvirt_publishes_nothing_and_says_it_once(self):
        self.look = {'failed': 'no module'}
        with self.assertLogs(probes.LOG.logger, 'INFO') as logs:
            found = [self.samples(libvirt.LibvirtUpPollster) for _ in '123']

        self.assertEqual([[], [], []], found)
        self.assertEqual(1, len(logs.output))

    def test_samples_of_a_server_belong_to_its_project(self):
        (state,) = self.samples(instances.StatePollster)

        self.assertEqual(
            ('a', 'a-project', 'a-user', 1),
            (
                state.resource_id,
                state.project_id,
                state.user_id,
                state.volume,
            ),
        )
        self.assertEqual(
            {
                'instance_host': self.conf.host,
                'display_name': 'server a',
                'flavor_id': '42',
                'flavor_name': 'm1',
                'state': 'running',
                'reason': 'booted',
            },
            state.resource_metadata,
        )

    def test_what_nova_did_not_say_is_not_sent(self):
        self.servers = [test_servers.told('a', flavor_id='')]

        (state,) = self.samples(instances.StatePollster)

        self.assertNotIn('flavor_id', state.resource_metadata)

    def test_every_meter_of_a_server(self):
        self.disks = {'vdb': 'no_space', 'vda': 'unspec'}
        values = {
            pollster.meter: [s.volume for s in self.samples(pollster)]
            for pollster in (
                instances.StatePollster,
                instances.StateReasonPollster,
                instances.DiskErrorsPollster,
                instances.AgentConnectedPollster,
                instances.AgentPingPollster,
                instances.MonitorStuckPollster,
            )
        }

        self.assertEqual(
            {
                'instance.state': [1],
                'instance.state.reason': [1],
                'instance.disk.errors': [2],
                'instance.agent.connected': [1],
                'instance.agent.ping': [],
                'instance.monitor.stuck': [0.0],
            },
            values,
        )
        (errors,) = self.samples(instances.DiskErrorsPollster)
        self.assertEqual(
            'vda: unspec, vdb: no_space', errors.resource_metadata['reason']
        )

    def test_servers_of_a_libvirtd_that_is_down_are_not_waited_for(self):
        self.samples(libvirt.LibvirtUpPollster)
        self.look = {'failed': 'no socket'}
        with self.assertLogs(libvirt.LOG.logger, 'ERROR'):
            self.samples(libvirt.LibvirtUpPollster)

        with self.assertLogs(instances.LOG.logger, 'WARNING') as logs:
            found = [self.samples(instances.StatePollster) for _ in '12']

        self.assertEqual([[], []], found)
        self.assertEqual(1, len(logs.output))

    def test_agent_without_a_bus_polls_and_says_that_it_sends_nothing(self):
        del self.manager.notifier
        with self.assertLogs(libvirt.LOG.logger, 'ERROR') as logs:
            (up,) = self.samples(libvirt.LibvirtUpPollster)

        self.assertEqual(1, up.volume)
        self.assertIn('enable_notifications', logs.output[0])

    def test_events_without_a_project_are_named(self):
        self.conf.clear_override('project_id', 'nova_ha')
        with self.assertLogs(libvirt.LOG.logger, 'WARNING') as logs:
            self.samples(libvirt.LibvirtUpPollster)

        self.assertIn('project_id is empty', logs.output[0])

    def test_every_pollster_has_its_row_among_the_meters(self):
        for module in (libvirt, instances):
            for name, pollster in vars(module).items():
                if name.endswith('Pollster') and hasattr(pollster, 'meter'):
                    self.assertEqual(
                        'ha_host', meters.of(pollster.meter).namespace
                    )


class ServerTest(unittest.TestCase):
    def test_command_starts_nothing_from_the_current_directory(self):
        self.assertIn('-P', servers.command('qemu:///system'))


if __name__ == '__main__':
    unittest.main()
