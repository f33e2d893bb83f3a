# SPDX-License-Identifier: Apache-2.0

"""Fake hosts have a power that is true, on real sockets, before our engine.

systemd is a script here: a unit runs while there is a file of its name.
"""

import contextlib
import importlib.util
import io
import json
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from sushy_tools import error

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import probe
from nova_ha_plugins.fencing import door
from nova_ha_plugins.recovery import incident
from tests.functional.devstack import stage

TOOL = stage.PLUGIN / 'tools' / 'fake_hosts.py'

SYSTEMCTL = """#!/bin/bash
cd {directory}
action=$1
echo "$*" >> calls
for unit in "$@"; do
    [[ "$unit" == devstack@* ]] || continue
    case $action in
    show)
        if [[ -e "$unit" ]]; then echo ActiveState=active
        else echo ActiveState=failed; fi
        echo;;
    start) touch "$unit";;
    kill) [[ -e immortal ]] || rm -f "$unit";;
    esac
done
[[ ! -e broken ]]
"""


def load_tool():
    """Return fake_hosts.py as a module; it is in no package."""
    spec = importlib.util.spec_from_file_location('fake_hosts', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake_hosts = load_tool()


def free_ports(count):
    """Return the first of so many free ports in a row.

    Not the lowest: another run of these tests would take the same.
    """
    starts = range(20000, 31000, count)
    for first in random.sample(starts, len(starts)):
        try:
            for port in range(first, first + count):
                with socket.socket() as tried:
                    tried.bind(('127.0.0.1', port))
        except OSError:
            continue
        return first
    raise RuntimeError('no free ports')


def until(what, check):
    """Return once a check is true."""
    deadline = time.monotonic() + 60
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f'Not within 60 s: {what}')
        time.sleep(0.05)


class HostsCase(unittest.TestCase):
    """Two hosts that are on."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='fake-hosts-')
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)
        self.port = free_ports(3)
        self.run_tool(
            *('prepare', '--map', str(self.path / 'fencing.yaml')),
            *('--port', str(self.port), 'cmp1', 'cmp2'),
        )
        systemctl = self.path / 'systemctl'
        systemctl.write_text(SYSTEMCTL.format(directory=self.path))
        systemctl.chmod(0o755)
        self.plan = fake_hosts.read_plan(self.path)
        self.plan['systemctl'] = [str(systemctl)]
        for host in self.plan['hosts']:
            for unit in host['units']:
                (self.path / unit).touch()
        self.chassis = fake_hosts.Chassis(self.path, self.plan)

    def run_tool(self, *words):
        fake_hosts.main(['--directory', str(self.path), *words])

    def conf(self):
        path = self.path / 'nova-ha.conf'
        path.write_text(
            f'[fencing]\nmap_file = {self.path}/fencing.yaml\n'
            '[probe]\ntimeout = 2\n'
        )
        return config.load(files=[str(path)])


class TestPower(HostsCase):
    """Chassis."""

    def test_off_is_said_of_a_host_that_was_told(self):
        self.assertEqual('on', self.chassis.power('cmp1'))

        self.chassis.set_power('cmp1', 'off')

        self.assertEqual('off', self.chassis.power('cmp1'))
        self.assertEqual('on', self.chassis.power('cmp2'))
        self.assertEqual([], [p.name for p in self.path.glob('devstack@*1')])

    def test_a_host_whose_units_died_is_hung_and_not_off(self):
        self.chassis.set_power('cmp1', 'hung')

        self.assertEqual('hung', self.chassis.power('cmp1'))

    def test_one_unit_that_runs_is_a_host_that_runs(self):
        self.chassis.set_power('cmp1', 'off')
        (self.path / 'devstack@n-cpu-1').touch()

        self.assertEqual('on', self.chassis.power('cmp1'))

    def test_power_on_is_a_new_boot_of_the_same_machine(self):
        boot_id = (self.path / 'cmp1' / 'boot_id').read_text()
        identity = (self.path / 'cmp1' / 'product_uuid').read_text()
        self.chassis.set_power('cmp1', 'off')

        self.chassis.set_power('cmp1', 'on')

        self.assertEqual('on', self.chassis.power('cmp1'))
        self.assertNotEqual(
            boot_id, (self.path / 'cmp1' / 'boot_id').read_text()
        )
        self.assertEqual(
            identity, (self.path / 'cmp1' / 'product_uuid').read_text()
        )

    def test_what_survives_sigkill_is_never_off(self):
        (self.path / 'immortal').touch()

        with (
            mock.patch.object(fake_hosts, 'PATIENCE', 0.5),
            self.assertRaisesRegex(
                error.FishyError, "'cmp1' still runs .* after SIGKILL"
            ),
        ):
            self.chassis.set_power('cmp1', 'off')

        self.assertEqual('on', self.chassis.power('cmp1'))

    def test_a_systemd_that_fails_says_nothing_of_power(self):
        self.chassis.set_power('cmp1', 'off')
        (self.path / 'broken').touch()

        with self.assertRaisesRegex(error.FishyError, 'did not show'):
            self.chassis.power('cmp1')

    def test_all_processes_of_a_unit_are_killed(self):
        self.chassis.set_power('cmp1', 'off')

        killed = [
            line
            for line in (self.path / 'calls').read_text().splitlines()
            if line.startswith('kill')
        ]
        self.assertEqual(
            [
                f'kill --kill-who=all --signal=SIGKILL {unit}'
                for unit in self.plan['hosts'][0]['units']
            ],
            killed,
        )


class TestEngineView(HostsCase):
    """What our own driver and probe see of it, over TLS and TCP."""

    def setUp(self):
        super().setUp()
        fake_hosts.Network(self.path, self.plan)
        self.probe = probe.TcpProbe(self.conf())

    def start_kernel(self, host):
        kernel = subprocess.Popen(
            [
                *(sys.executable, str(TOOL), '--directory', str(self.path)),
                *('kernel', host),
            ]
        )
        self.addCleanup(kernel.wait)
        self.addCleanup(kernel.kill)
        until(
            'the kernel greets',
            lambda: self.probe.probe(host, '').sign == incident.Sign.ALIVE,
        )
        return kernel

    def test_the_second_channel_dies_with_the_host(self):
        kernel = self.start_kernel('cmp1')
        self.start_kernel('cmp2')

        kernel.kill()
        kernel.wait()

        reading = self.probe.probe('cmp1', '')
        self.assertEqual(incident.Sign.SILENT, reading.sign, reading.text)
        other = self.probe.probe('cmp2', '')
        self.assertEqual(incident.Sign.ALIVE, other.sign, other.text)

    def test_a_frozen_host_is_silent(self):
        kernel = self.start_kernel('cmp1')

        kernel.send_signal(signal.SIGSTOP)

        reading = self.probe.probe('cmp1', '')
        self.assertEqual(incident.Sign.SILENT, reading.sign, reading.text)

    def test_a_host_comes_back_on_the_same_port(self):
        kernel = self.start_kernel('cmp1')
        kernel.kill()
        kernel.wait()
        self.assertEqual(
            incident.Sign.SILENT, self.probe.probe('cmp1', '').sign
        )

        self.start_kernel('cmp1')

        self.assertEqual(
            incident.Sign.ALIVE, self.probe.probe('cmp1', '').sign
        )

    def test_our_driver_switches_the_host_off_and_reads_it(self):
        # The emulator moves the directory of temporary files.
        self.addCleanup(setattr, tempfile, 'tempdir', tempfile.tempdir)
        server = fake_hosts.make_bmc(self.path, self.plan)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        fencing = door.FencingDoor(self.conf())
        uuid = (self.path / 'cmp1' / 'product_uuid').read_text().strip()
        # Hung: dead, and never told to be off.
        self.chassis.set_power('cmp1', 'hung')
        before = fencing.read('cmp1')

        fencing.power_off('cmp1', uuid)

        self.assertEqual(incident.Power.ON, before.power)
        self.assertEqual(uuid, before.system_uuid)
        until(
            'the host reads as off',
            lambda: fencing.read('cmp1').power == incident.Power.OFF,
        )
        self.assertEqual(incident.Power.ON, fencing.read('cmp2').power)


class TestByHand(HostsCase):
    """What an operator types."""

    def power(self, *words):
        (self.path / 'plan.json').write_text(json.dumps(self.plan))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.run_tool('power', *words)
        return said.getvalue().strip()

    def test_a_host_is_hung_and_read(self):
        self.assertEqual('on', self.power('cmp1'))
        self.assertEqual('hung', self.power('cmp1', 'hung'))
        self.assertEqual('hung', self.power('cmp1'))

    def test_an_unknown_host_is_named(self):
        with self.assertRaisesRegex(
            SystemExit, r"No fake host 'x', only \['cmp1', 'cmp2'\]"
        ):
            self.power('x', 'off')

    def test_preparing_again_keeps_identities_and_secrets(self):
        def kept():
            return [
                (self.path / name).read_text()
                for name in (
                    'cmp1/product_uuid',
                    'password',
                    'htpasswd',
                    'bmc.key',
                    'bmc-127.0.0.1.crt',
                    'fencing.yaml',
                )
            ]

        before = kept()

        self.run_tool(
            *('prepare', '--map', str(self.path / 'fencing.yaml')),
            *('--port', str(self.port), 'cmp1', 'cmp2'),
        )

        self.assertEqual(before, kept())
