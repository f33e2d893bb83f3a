# SPDX-License-Identifier: Apache-2.0
"""The power of an embedded host is never a claim."""

import pathlib
import socket
import tempfile
import unittest

from lab.embedded import power
from lab.embedded import process


class FakeService:
    """Remembers the order of what it was told, and the power seen then."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.told = []
        self.failure = None

    def _note(self, word, host):
        self.told.append((word, self.hosts.hosts[host].state))
        if self.failure == word:
            raise TimeoutError(f'{word} failed')

    def cut(self, host):
        self._note('cut', host)

    def wait_until_idle(self, host, timeout):
        self._note('wait', host)

    def shut_domains(self, host):
        self._note('shut', host)

    def start(self, host):
        self._note('start', host)

    def domains(self, host):
        return {}


class TestHosts(unittest.TestCase):
    """Ways from one power state to another."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.boot_id = pathlib.Path(directory.name, 'boot_id')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.hosts = power.Hosts(
            [
                {
                    'name': 'cmp-1',
                    'system_uuid': 'u',
                    'boot_id_file': str(self.boot_id),
                    'probe_port': self.port,
                }
            ]
        )
        self.host = self.hosts.hosts['cmp-1']
        self.host.change(power.ON)
        self.service = self.hosts.service = FakeService(self.hosts)

    def test_off_is_said_after_everything_else(self):
        self.hosts.set_power('cmp-1', 'off')

        self.assertEqual(
            [('cut', 'hung'), ('wait', 'hung'), ('shut', 'hung')],
            self.service.told,
        )
        self.assertEqual('off', self.host.state)

    def test_work_that_does_not_end_keeps_the_host_from_being_off(self):
        self.service.failure = 'wait'

        with self.assertRaises(TimeoutError):
            self.hosts.set_power('cmp-1', 'off')

        self.assertEqual('hung', self.hosts.describe()['cmp-1']['power'])
        self.assertNotIn(('shut', 'hung'), self.service.told)

    def test_a_hung_host_keeps_its_domains(self):
        self.hosts.set_power('cmp-1', 'hung')

        self.assertEqual([('cut', 'hung')], self.service.told)
        with self.assertRaises(power.PowerLost):
            self.host.check()

    def test_a_hung_host_starts_only_after_off(self):
        self.hosts.set_power('cmp-1', 'hung')

        with self.assertRaisesRegex(process.Refused, 'must be off'):
            self.hosts.set_power('cmp-1', 'on')

        self.assertEqual('hung', self.host.state)

    def test_every_power_on_is_a_new_boot(self):
        boots = set()

        for _ in range(2):
            self.hosts.set_power('cmp-1', 'off')
            self.hosts.set_power('cmp-1', 'on')
            boots.add(self.boot_id.read_text())

        self.assertEqual(2, len(boots))
        self.assertEqual(('start', 'on'), self.service.told[-1])

    def test_a_start_that_fails_leaves_no_host_that_says_off(self):
        self.hosts.set_power('cmp-1', 'off')
        self.service.failure = 'start'

        with self.assertRaises(TimeoutError):
            self.hosts.set_power('cmp-1', 'on')

        self.assertEqual('hung', self.host.state)

    def test_unknown_hosts_and_states_are_refused(self):
        for host, state in (('cmp-9', 'off'), ('cmp-1', 'Off')):
            with self.assertRaises(process.Refused):
                self.hosts.set_power(host, state)

        self.assertEqual('on', self.host.state)

    def test_the_probe_greets_only_while_the_host_is_on(self):
        def greeting():
            address = ('127.0.0.1', self.port)
            with socket.create_connection(address, 5) as connection:
                connection.settimeout(0.05 if self.host.state != 'on' else 5)
                try:
                    return connection.recv(64)
                except TimeoutError:
                    return None

        self.assertEqual(power.BANNER, greeting())
        self.hosts.set_power('cmp-1', 'hung')
        self.assertIsNone(greeting())
        self.hosts.set_power('cmp-1', 'off')
        self.assertIsNone(greeting())
        self.hosts.set_power('cmp-1', 'on')
        self.assertEqual(power.BANNER, greeting())
