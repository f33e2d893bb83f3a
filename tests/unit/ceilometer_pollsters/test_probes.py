# SPDX-License-Identifier: Apache-2.0

"""The probes of a hypervisor on made-up files of a kernel."""

import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock
import uuid

from oslo_config import cfg

from ceilometer_pollsters import kernel
from ceilometer_pollsters import meters
from ceilometer_pollsters import nics
from ceilometer_pollsters import pressure
from ceilometer_pollsters import probes
from ceilometer_pollsters import smart
from nova_ha_plugins.conf import nova_ha
from nova_ha_plugins.conf import nova_ha_host


class Manager:
    """Stands for a polling agent; what probes share hangs on it."""


class ProbeTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        self.conf = cfg.ConfigOpts()
        self.conf.register_opts([cfg.StrOpt('host', default='cmp-1')])
        nova_ha.register_opts(self.conf)
        nova_ha_host.register_opts(self.conf)
        self.conf([], default_config_files=[])
        self.manager = Manager()

    def override(self, name, value):
        self.conf.set_override(name, value, group='nova_ha_host')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def patch(self, module, name, value):
        patcher = mock.patch.object(module, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def poll(self, pollster, cache=None):
        cache = {} if cache is None else cache
        return list(pollster.get_samples(self.manager, cache, ['ignored']))

    def values(self, pollster):
        return {
            sample.resource_metadata.get('device', ''): sample.volume
            for sample in self.poll(pollster)
        }


class TestPressure(ProbeTest):
    def setUp(self):
        super().setUp()
        self.patch(pressure, 'PATH', self.root)

    def test_average_of_ten_seconds_is_what_is_published(self):
        self.write(
            'io',
            'some avg10=12.50 avg60=1.00 avg300=0.70 total=45\n'
            'full avg10=3.25 avg60=0.41 avg300=0.31 total=14\n',
        )

        (some,) = self.poll(pressure.IoSomePollster(self.conf))
        (full,) = self.poll(pressure.IoFullPollster(self.conf))
        self.assertEqual((12.5, 3.25), (some.volume, full.volume))
        self.assertEqual(
            ('hypervisor.pressure.io.some', 'gauge', '%'),
            (some.name, some.type, some.unit),
        )
        self.assertEqual(meters.host_id('cmp-1'), some.resource_id)
        self.assertEqual({'host': 'cmp-1'}, some.resource_metadata)

    def test_kernel_without_full_pressure_of_processors_says_the_rest(self):
        self.write('cpu', 'some avg10=1.00 avg60=1.00 avg300=0.7 total=4\n')

        self.assertEqual([], self.poll(pressure.CpuFullPollster(self.conf)))
        self.assertEqual(
            {'': 1.0}, self.values(pressure.CpuSomePollster(self.conf))
        )

    def test_kernel_that_does_not_count_it_is_named_once(self):
        each = [
            pressure.MemorySomePollster(self.conf),
            pressure.MemoryFullPollster(self.conf),
            pressure.IoSomePollster(self.conf),
            pressure.CpuFullPollster(self.conf),
        ]

        with self.assertLogs(probes.__name__, 'INFO') as logged:
            found = [self.poll(one) for one in each * 2]

        self.assertEqual([[]] * 8, found)
        self.assertEqual(1, len(logged.output))
        self.assertIn(
            "Host 'cmp-1' publishes nothing of its pressure", logged.output[0]
        )
        self.assertIn('psi=1', logged.output[0])


class TestNics(ProbeTest):
    def setUp(self):
        super().setUp()
        self.patch(nics, 'NICS', self.root)
        self.pollster = nics.NicUpPollster(self.conf)

    def nic(self, name, carrier='1', device=True):
        self.write(f'{name}/carrier', f'{carrier}\n')
        if device:
            (self.root / name / 'device').mkdir(exist_ok=True)

    def test_physical_interfaces_with_a_carrier_are_published(self):
        self.nic('eno1')
        # Nobody has plugged a cable in.
        self.nic('eno2', carrier='0')
        self.nic('tap1', device=False)
        self.nic('eno1v0')
        (self.root / 'eno1v0' / 'device' / 'physfn').mkdir()

        self.assertEqual({'eno1': 1}, self.values(self.pollster))

    def test_port_of_a_guest_in_a_switching_card_is_not_the_hosts(self):
        for name, port in (
            ('eno1', 'p0'),
            ('eno1_3', 'pf0vf3'),
            ('eno1_4', 'c1pf0vf4'),
            ('eno1_5', 'pf0sf88'),
        ):
            self.nic(name)
            self.write(f'{name}/phys_port_name', f'{port}\n')

        self.assertEqual({'eno1': 1}, self.values(self.pollster))

    def test_interface_that_lost_its_carrier_or_is_gone_is_down(self):
        for name in ('eno1', 'eno2', 'eno3'):
            self.nic(name)
        self.values(self.pollster)

        self.nic('eno1', carrier='0')
        # Switched off: the kernel refuses to say.
        (self.root / 'eno2' / 'carrier').unlink()
        self.assertEqual(
            {'eno1': 0, 'eno2': 0, 'eno3': 1}, self.values(self.pollster)
        )

    def test_named_interfaces_are_the_only_ones(self):
        self.override('nics', ['eno2', 'eno9'])
        self.nic('eno1')
        self.nic('eno2')

        self.assertEqual({'eno2': 1, 'eno9': 0}, self.values(self.pollster))

    def test_interface_is_a_resource_of_its_own_and_says_why(self):
        self.override('nics', ['eno1', 'eno2'])
        self.nic('eno1')
        self.nic('eno2', carrier='0')

        up, down = self.poll(self.pollster)
        self.assertNotEqual(up.resource_id, down.resource_id)
        uuid.UUID(up.resource_id)
        self.assertNotIn('reason', up.resource_metadata)
        self.assertEqual(
            "'eno2' has no carrier", down.resource_metadata['reason']
        )

    def test_machine_without_one_publishes_nothing(self):
        self.nic('lo', device=False)

        with self.assertLogs(probes.__name__, 'INFO'):
            self.assertEqual([], self.poll(self.pollster))


BOND = """Ethernet Channel Bonding Driver: v6.1.0

Bonding Mode: IEEE 802.3ad Dynamic link aggregation
MII Status: up
MII Polling Interval (ms): 100

Slave Interface: eno1
MII Status: up
Speed: 25000 Mbps

Slave Interface: eno2
MII Status: down
Speed: Unknown
"""


class TestBonds(ProbeTest):
    def setUp(self):
        super().setUp()
        self.patch(nics, 'BONDS', self.root)

    def test_ports_are_counted_and_those_that_are_down_named(self):
        self.write('bond0', BOND)

        (sample,) = self.poll(nics.BondPortsPollster(self.conf))
        self.assertEqual((1, 'port'), (sample.volume, sample.unit))
        self.assertEqual(
            {
                'host': 'cmp-1',
                'device': 'bond0',
                'ports': 2,
                'ports_down': 'eno2',
            },
            sample.resource_metadata,
        )

    def test_host_without_bonds_publishes_nothing(self):
        self.patch(nics, 'BONDS', self.root / 'missing')

        with self.assertLogs(probes.__name__, 'INFO'):
            self.assertEqual([], self.poll(nics.BondPortsPollster(self.conf)))


class TestHungTasks(ProbeTest):
    def setUp(self):
        super().setUp()
        self.pollster = kernel.HungTasksPollster(self.conf)

    def test_count_of_the_kernel_is_published(self):
        self.patch(kernel, 'HUNG_TASKS', self.write('count', '3\n'))

        (sample,) = self.poll(self.pollster)
        self.assertEqual(('cumulative', 3), (sample.type, sample.volume))

    def test_older_kernel_is_read_from_its_log(self):
        self.patch(kernel, 'HUNG_TASKS', self.root / 'missing')
        reader, writer = os.pipe2(os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self.patch(kernel.os, 'open', lambda path, flags: reader)
        hung = b'3,9,5,-;INFO: task dd:77 blocked for more than 120 seconds.\n'

        os.write(writer, hung)
        self.assertEqual({'': 1}, self.values(self.pollster))
        os.write(writer, b'6,10,6,-;eth0: link becomes ready\n')
        self.assertEqual({'': 1}, self.values(self.pollster))
        os.write(writer, hung.replace(b'blocked', b'blocked in I/O wait'))
        self.assertEqual({'': 2}, self.values(self.pollster))

    def test_what_a_user_wrote_into_the_log_does_not_count(self):
        text = b';INFO: task dd:77 blocked for more than 120 seconds.\n'

        self.assertTrue(kernel.is_hung_task(b'3,9,5,-' + text))
        self.assertFalse(kernel.is_hung_task(b'11,9,5,-' + text))
        self.assertFalse(kernel.is_hung_task(b'nonsense'))

    def test_log_that_may_not_be_read_is_named_once(self):
        self.patch(kernel, 'HUNG_TASKS', self.root / 'missing')
        self.patch(kernel, 'LOG_DEVICE', str(self.root / 'kmsg'))

        with self.assertLogs(probes.__name__, 'INFO') as logged:
            self.assertEqual([], self.poll(self.pollster))
            self.assertEqual([], self.poll(self.pollster))
        self.assertEqual(1, len(logged.output))


class TestMemory(ProbeTest):
    def setUp(self):
        super().setUp()
        self.patch(kernel, 'EDAC', self.root)

    def test_errors_of_all_controllers_are_summed(self):
        for name, ce, ue in (('mc0', 4, 0), ('mc1', 3, 2)):
            self.write(f'{name}/ce_count', f'{ce}\n')
            self.write(f'{name}/ue_count', f'{ue}\n')

        self.assertEqual(
            {'': 7}, self.values(kernel.CorrectedPollster(self.conf))
        )
        self.assertEqual(
            {'': 2}, self.values(kernel.UncorrectedPollster(self.conf))
        )

    def test_virtual_machine_publishes_nothing_and_says_so_once(self):
        with self.assertLogs(probes.__name__, 'INFO') as logged:
            self.assertEqual(
                [], self.poll(kernel.CorrectedPollster(self.conf))
            )
            self.assertEqual(
                [], self.poll(kernel.UncorrectedPollster(self.conf))
            )
        self.assertEqual(1, len(logged.output))


class TestSmart(ProbeTest):
    def setUp(self):
        super().setUp()
        self.override('smart_disks', ['/dev/sda'])
        self.override('smart_deadline', 10.0)
        self.pollster = smart.SmartPollster(self.conf)

    def answer(self, text):
        program = self.write('program.py', text)
        self.override('smart_command', f'{sys.executable} -I {program}')

    def test_disk_that_thinks_well_of_itself_is_1(self):
        self.answer(
            'import json, sys\n'
            'assert sys.argv[1:] == ["-j", "-H", "/dev/sda"]\n'
            'print(json.dumps({"smart_status": {"passed": True}}))\n'
            # Bits of the past: the log of the disk has errors.
            'sys.exit(64)\n'
        )

        self.assertEqual({'/dev/sda': 1}, self.values(self.pollster))

    def test_disk_that_expects_to_fail_is_0(self):
        self.assertFalse(
            smart.judgement('/dev/sda', b'{"smart_status":{"passed":false}}')
        )

    def test_command_without_rights_is_named_once_with_its_reason(self):
        answer = json.dumps(
            {'smartctl': {'messages': [{'string': 'Permission denied\x1b'}]}}
        ).encode()
        with self.assertRaisesRegex(probes.Absent, 'denied $') as raised:
            smart.judgement('/dev/sda', answer)
        self.assertIn("'/dev/sda'", str(raised.exception))

        self.override('smart_command', str(self.root / 'missing'))
        with self.assertLogs(smart.__name__, 'WARNING') as logged:
            self.assertEqual([], self.poll(self.pollster))
            self.assertEqual([], self.poll(self.pollster))
        self.assertEqual(1, len(logged.output))
        self.assertIn('smart_command', logged.output[0])

    def test_nothing_is_asked_unless_a_disk_is_named(self):
        self.override('smart_disks', [])

        with (
            mock.patch('subprocess.Popen', autospec=True) as started,
            self.assertLogs(probes.__name__, 'INFO'),
        ):
            self.assertEqual([], self.poll(self.pollster))
        started.assert_not_called()

    def test_command_that_hangs_is_killed(self):
        disk = smart.Disk('/dev/sda', ['sleep', '60', '#'], 0.05)
        disk._command = ['sleep', '60']

        with self.assertRaisesRegex(probes.Absent, 'within 0.05s'):
            disk.is_good()
        self.assertIsNone(disk._stuck)

    def test_command_that_cannot_be_killed_is_not_started_again(self):
        process = mock.Mock(pid=77, stdout=None)
        process.communicate.side_effect = smart.subprocess.TimeoutExpired(
            'smartctl', 1
        )
        process.wait.side_effect = smart.subprocess.TimeoutExpired('it', 1)
        process.poll.return_value = None
        disk = smart.Disk('/dev/sda', ['smartctl'], 0.01)
        with mock.patch('subprocess.Popen', autospec=True) as started:
            started.return_value = process
            with self.assertRaisesRegex(probes.Absent, 'did not answer'):
                disk.is_good()
            with self.assertRaisesRegex(probes.Absent, 'process 77'):
                disk.is_good()
            self.assertEqual(1, started.call_count)

            process.poll.return_value = -9
            process.communicate.side_effect = None
            process.communicate.return_value = (
                b'{"smart_status":{"passed":true}}',
                None,
            )
            self.assertTrue(disk.is_good())
