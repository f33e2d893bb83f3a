# SPDX-License-Identifier: Apache-2.0
"""The embedded cloud does what the demo believes of it."""

import json
import socket
import tempfile
import time
import typing
import unittest

import openstack
import sushy
from sushy import auth as sushy_auth

from lab.embedded import cloud as clouds

MICROVERSION = '2.74'
DEAD = 'cmp-1'


def until(what: str, check: typing.Callable[[], typing.Any]) -> typing.Any:
    """Return the first true answer, within 30 seconds."""
    deadline = time.monotonic() + 30
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f'Not within 30 s: {what}')
        time.sleep(0.2)


def greeting(port: int) -> bytes:
    """Return what a host's probe port says within half a second."""
    with socket.create_connection(('127.0.0.1', port), 0.5) as connection:
        try:
            return connection.recv(64)
        except TimeoutError:
            return b''


class TestEmbeddedCloud(unittest.TestCase):
    """One cloud, one host that dies and comes back."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix='embedded-')
        cls.addClassCleanup(directory.cleanup)
        cls.cloud = clouds.Cloud(directory.name, hosts=3)
        cls.addClassCleanup(cls.cloud.stop)
        cls.cloud.start()
        cls.compute = cls.connect('admin').compute

    @classmethod
    def connect(cls, user):
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth=cls.cloud.credentials(user),
            region_name=cls.cloud.plan['region'],
        )

    def get(self, path):
        answer = self.compute.get(path, microversion=MICROVERSION)
        self.assertEqual(200, answer.status_code, answer.text)
        return answer.json()

    def boot(self, name, host):
        image = next(iter(self.connect('admin').image.images())).id
        answer = self.compute.post(
            '/servers',
            json={
                'server': {
                    'name': name,
                    'imageRef': image,
                    'flavorRef': '1',
                    'networks': 'none',
                    'availability_zone': f'nova:{host}',
                }
            },
            microversion=MICROVERSION,
        )
        self.assertEqual(202, answer.status_code, answer.text)
        return answer.json()['server']['id']

    def server(self, uuid):
        found = self.get(f'/servers/{uuid}')['server']
        return found['status'], found['OS-EXT-SRV-ATTR:host']

    def service(self, host):
        found = self.get(f'/os-services?binary=nova-compute&host={host}')
        return found['services'][0]

    def force_down(self, host, forced):
        return self.compute.put(
            f'/os-services/{self.service(host)["id"]}',
            json={'forced_down': forced},
            microversion=MICROVERSION,
        )

    def statuses(self):
        found = self.get(f'/os-migrations?source_compute={DEAD}')
        return sorted(one['status'] for one in found['migrations'])

    def system(self, host):
        bmc = self.cloud.plan['bmc']
        with open(bmc['password_file']) as stream:
            password = stream.read()
        described = next(
            one for one in self.cloud.plan['hosts'] if one['name'] == host
        )
        return sushy.Sushy(
            bmc['url'],
            auth=sushy_auth.BasicAuth(bmc['username'], password),
            verify=bmc['certificate'],
        ).get_system(f'/redfish/v1/Systems/{described["system_uuid"]}')

    def power_state(self, system):
        system.refresh()
        return system.power_state

    def test_a_tenant_is_a_tenant(self):
        alice = self.connect('alice').compute

        self.assertEqual(403, alice.get('/os-services').status_code)

    def test_a_wrong_password_opens_no_bmc(self):
        bmc = self.cloud.plan['bmc']

        with self.assertRaises(sushy.exceptions.AccessError):
            sushy.Sushy(
                bmc['url'],
                auth=sushy_auth.BasicAuth(bmc['username'], 'guess'),
                verify=bmc['certificate'],
            ).get_system_collection()

    def test_host_dies_and_returns(self):
        servers = [self.boot(name, DEAD) for name in ('one', 'two')]
        stays = self.boot('three', DEAD)
        for uuid in [*servers, stays]:
            until(
                f'server {uuid} is ACTIVE',
                lambda uuid=uuid: self.server(uuid) == ('ACTIVE', DEAD),
            )
        port = self.cloud.hosts()[DEAD]['probe_port']
        self.assertTrue(greeting(port).startswith(b'SSH-2.0'))

        with self.subTest('a hung host is silent, its guests still write'):
            self.cloud.set_power(DEAD, 'hung')
            system = self.system(DEAD)
            self.assertEqual(b'', greeting(port))
            self.assertEqual([DEAD], self.cloud.domains()[servers[0]])
            self.assertEqual(sushy.PowerState.ON, system.power_state)

        with self.subTest('the BMC says Off when it is true'):
            system.reset_system(sushy.ResetType.FORCE_OFF)
            until(
                'the BMC reads Off',
                lambda: self.power_state(system) == sushy.PowerState.OFF,
            )
            self.assertEqual('off', self.cloud.hosts()[DEAD]['power'])
            self.assertNotIn(servers[0], self.cloud.domains())
            self.assertEqual(b'', greeting(port))

        with self.subTest('servers are evacuated'):
            self.assertEqual(
                200, self.force_down(DEAD, forced=True).status_code
            )
            for uuid in servers:
                answer = self.compute.post(
                    f'/servers/{uuid}/action',
                    json={'evacuate': {}},
                    microversion=MICROVERSION,
                )
                self.assertEqual(200, answer.status_code, answer.text)
            until('both are done', lambda: self.statuses() == ['done'] * 2)
            for uuid in servers:
                status, host = self.server(uuid)
                self.assertEqual('ACTIVE', status)
                self.assertNotEqual(DEAD, host)
                self.assertEqual([host], self.cloud.domains()[uuid])

        with self.subTest('nova refuses a host that still has leftovers'):
            self.assertEqual(
                400, self.force_down(DEAD, forced=False).status_code
            )

        with self.subTest('the host returns clean'):
            boot_id = self.boot_id()
            system.reset_system(sushy.ResetType.ON)
            until(
                'the BMC reads On',
                lambda: self.power_state(system) == sushy.PowerState.ON,
            )
            self.assertNotEqual(boot_id, self.boot_id())
            self.assertEqual(['completed'] * 2, self.statuses())
            self.assertEqual(
                [stays], list(self.cloud.hosts()[DEAD]['domains'])
            )
            self.assertEqual([DEAD], self.cloud.domains()[stays])
            self.assertEqual(
                200, self.force_down(DEAD, forced=False).status_code
            )
            self.assertEqual('up', self.service(DEAD)['state'])
            self.assertTrue(greeting(port).startswith(b'SSH-2.0'))

    def boot_id(self):
        described = next(
            one for one in self.cloud.plan['hosts'] if one['name'] == DEAD
        )
        with open(described['boot_id_file']) as stream:
            return stream.read()


class TestStart(unittest.TestCase):
    """What a cloud says when it cannot start."""

    def test_a_failure_names_the_process_and_shows_its_log(self):
        with tempfile.TemporaryDirectory() as directory:
            cloud = clouds.Cloud(
                directory, with_telemetry=False, nova={'port': -1}
            )

            with self.assertRaises(clouds.StartError) as caught:
                cloud.start()

            self.assertIn('nova_cloud has ended', str(caught.exception))
            self.assertIn('Traceback', str(caught.exception))
            self.assertEqual([], cloud.processes())

    def test_leftovers_of_another_run_are_ended(self):
        with tempfile.TemporaryDirectory() as directory:
            first = clouds.Cloud(
                directory, hosts=1, with_telemetry=False, outlive=True
            )
            first.start()
            left = first.processes()
            second = clouds.Cloud(directory, hosts=1, with_telemetry=False)
            self.addCleanup(first.stop)

            second.start()

            self.assertEqual([False] * 3, [one.alive for one in left])
            self.assertEqual([True] * 3, [p.alive for p in second.processes()])
            with open(f'{directory}/cloud.json') as stream:
                self.assertEqual(second.plan, json.load(stream))
