# SPDX-License-Identifier: Apache-2.0
"""A host finds what belongs to it, and nothing of who switched it on."""

import dataclasses
import json
import pathlib
import tempfile
import unittest
from unittest import mock

from lab import database
from lab import host_files
from lab import nova
from lab import plan as planning
from lab import preload


class HostFilesTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.plan = planning.make(self.directory, 2, 1, 'shared')
        place = database.directory(self.plan)
        place.mkdir()
        (place / 'identity.json').write_text(
            json.dumps({'projects': {'service': 'the-project'}, 'users': {}})
        )
        # Would ask for programs that not every machine has.
        self.enterContext(
            mock.patch.object(host_files, '_host_key', autospec=True)
        )
        self.enterContext(
            mock.patch.object(
                preload, 'library', autospec=True, return_value='disk.so'
            )
        )

    def spec(self, host):
        host_files.boot_command(self.plan, host)
        path = self.directory / 'run' / 'hosts' / f'{host.name}.spec'
        return json.loads(path.read_text())

    def disks(self, host):
        return {target: source for source, target in self.spec(host)['binds']}[
            nova.INSTANCES
        ]

    def test_hosts_share_their_disks_only_with_shared_storage(self):
        first, second = self.plan.hosts[:2]

        self.assertEqual(self.disks(first), self.disks(second))
        self.plan = dataclasses.replace(self.plan, storage='local')
        self.assertNotEqual(self.disks(first), self.disks(second))

    def test_each_power_on_is_another_boot(self):
        host = self.plan.hosts[0]
        file = self.directory / 'hosts' / host.name / 'boot_id'

        first = self.spec(host)['boot_id']
        second = self.spec(host)['boot_id']

        self.assertNotEqual(first, second)
        self.assertEqual(second, file.read_text().strip())

    def test_a_fake_host_has_no_libvirt(self):
        fake = self.plan.hosts[2]

        self.assertNotIn('libvirtd', self.spec(fake)['agents'])
        self.assertNotIn('after', self.spec(fake)['agents']['nova-compute'])

    def test_a_host_is_called_by_its_host_name_first(self):
        # libvirt takes the first name for the one nova is to hear.
        names = self.spec(self.plan.hosts[0])['files']['/etc/hosts']

        self.assertIn('10.99.0.12 cmp-2.lab.example cmp-2\n', names)

    def test_the_environment_of_the_caller_is_not_written_down(self):
        with mock.patch.dict('os.environ', {'MY_TOKEN': 'tell-nobody'}):
            spec = json.dumps(self.spec(self.plan.hosts[0]))

        self.assertNotIn('tell-nobody', spec)
