# SPDX-License-Identifier: Apache-2.0

"""That the lab can be broken, and heals: the tools of all other stories."""

import subprocess
import time
import unittest

from lab import bmc
from tests.lab import bench

HOST = 'cmp-3'
# One of each kind; the slow ones to heal are told in other stories.
FAULTS = (
    ('power', HOST),
    ('frozen', HOST),
    ('hung', HOST),
    ('network:management', HOST),
    ('network:storage', HOST),
    ('network:tenant', HOST),
    ('loss:management', HOST, '30'),
    ('delay:rabbitmq', HOST, '200'),
    ('nova-compute:frozen', HOST),
    ('libvirtd:frozen', HOST),
    ('libvirtd:killed', HOST),
    ('ceilometer-polling:killed', HOST),
    ('ceilometer-ha-host:frozen', HOST),
    ('disk:full', HOST),
    ('clock:ceilometer-polling', HOST, '-3600'),
    ('bmc:error', HOST),
    ('bmc:slow', HOST, '2'),
    ('jump:mariadb', '60'),
    ('mariadb:frozen',),
    ('keystone:frozen',),
    ('gnocchi-api:frozen',),
)


class FaultsTest(bench.LabTest):
    armed = False

    def test_every_kind_of_fault_holds_until_it_is_healed(self):
        for name, *arguments in FAULTS:
            with self.subTest(name):
                self.faults.cause(name, *arguments)

                self.assertTrue(self.faults.holds(name, *arguments))
                self.assertIn(
                    ' '.join((name, *arguments)), self.faults.active()
                )

                self.faults.heal(name)

                self.assertFalse(self.faults.holds(name, *arguments))
                self.assertEqual([], self.faults.active())

    def test_guests_go_on_while_their_host_is_cut_off(self):
        self.boot(HOST, ha=0, plain=1)
        for name in ('network:management', 'network:storage', 'libvirtd'):
            fault = name if ':' in name else f'{name}:killed'
            self.faults.cause(fault, HOST)

        self.wait_beats(time.time())

        (server,) = self.servers
        self.assertEqual(1, self.witness(server).boots)


class BmcTest(bench.LabTest):
    """Both protocols of a BMC drive the same power."""

    armed = False

    def setUp(self) -> None:
        super().setUp()
        self.host = self.plan.host('fake-1')
        self.password = str(bmc.files(self.plan, 'password'))

    def ipmi(self, *words: str) -> str:
        done = subprocess.run(
            [
                'ipmitool', '-I', 'lanplus', '-C', '3', '-N', '5', '-R', '2',
                '-H', self.host.bmc_address, '-U', bmc.USER,
                '-f', self.password, *words,
            ],
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        return done.stdout if not done.returncode else 'failed'

    def redfish(self, action: str) -> int:
        """Return how the agent of a cluster ended."""
        script = self.plan.write(
            'run', 'bmc-password', text=f'#!/bin/sh\ncat {self.password}\n'
        )
        script.chmod(0o700)
        return subprocess.run(
            [
                'fence_redfish', '--ssl-insecure',
                f'--ip={self.host.bmc_address}', f'--username={bmc.USER}',
                f'--password-script={script}', '--redfish-uri=/redfish/v1',
                f'--systems-uri=/redfish/v1/Systems/{self.host.system_uuid}',
                f'--action={action}', '--power-timeout=20',
            ],
            capture_output=True, timeout=180, check=False,
        ).returncode  # fmt: skip

    def test_ipmi_switches_off_and_redfish_reads_it_and_the_reverse(self):
        self.assertIn('is on', self.ipmi('power', 'status'))

        self.ipmi('power', 'off')

        bench.wait(lambda: self.power() == 'off', 'the host to be off')
        # As an agent says "it is off".
        self.assertEqual(2, self.redfish('status'))

        self.assertEqual(0, self.redfish('on'))

        self.assertEqual('on', self.power())
        self.assertIn('is on', self.ipmi('power', 'status'))

        self.assertEqual(0, self.redfish('off'))

        self.assertEqual('off', self.power())
        self.assertIn('is off', self.ipmi('power', 'status'))

    def test_both_protocols_have_the_same_fault(self):
        self.faults.cause('bmc:ignore', self.host.name)

        self.assertIn('Down/Off', self.ipmi('power', 'off'))
        self.assertEqual(1, self.redfish('off'))

        self.assertEqual('on', self.power())
        self.assertIn('is on', self.ipmi('power', 'status'))
        self.faults.heal()
        self.faults.cause('bmc:lie', self.host.name)

        self.ipmi('power', 'off')

        self.assertIn('is off', self.ipmi('power', 'status'))
        self.assertEqual(2, self.redfish('status'))
        self.assertEqual('on', self.power())
        self.faults.heal()
        self.faults.cause('bmc:hang', self.host.name)

        self.assertEqual('failed', self.ipmi('power', 'status'))

    def power(self) -> str:
        return self.hosts.power(self.host)


if __name__ == '__main__':
    unittest.main()
