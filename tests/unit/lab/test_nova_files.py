# SPDX-License-Identifier: Apache-2.0
"""A hypervisor's nova.conf has what is its own, and no more."""

import configparser
import pathlib
import stat
import tempfile
import unittest

from oslo_config import cfg

from lab import nova
from lab import plan as planning
from lab import rc


class NovaFilesTest(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.plan = planning.make(pathlib.Path(directory), 2, 1, 'shared')

    def read(self, host):
        path = pathlib.Path(nova.write_compute_config(self.plan, host))
        parser = configparser.RawConfigParser(strict=False)
        parser.read(path)
        return path, parser

    def test_hypervisors_know_no_database(self):
        path, conf = self.read(self.plan.hosts[0])

        self.assertNotIn('mysql', path.read_text())
        self.assertFalse(conf.has_section('api_database'))
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))

    def test_real_hosts_show_what_they_copy_beside_their_notifications(self):
        found = []
        for host in self.plan.hosts:
            path, _ = self.read(host)
            conf = cfg.ConfigOpts()
            conf([], project='nova', default_config_files=[str(path)])
            conf.register_opt(
                cfg.MultiStrOpt('driver'), group='oslo_messaging_notifications'
            )
            found.append(conf.oslo_messaging_notifications.driver)

        both = ['messagingv2', 'nova_ha_progress']
        self.assertEqual([both, both, ['messagingv2']], found)

    def test_service_host_is_the_name_of_the_plan(self):
        host = self.plan.hosts[1]
        _, conf = self.read(host)

        self.assertEqual(host.name, conf.defaults()['host'])
        self.assertEqual(host.address(), conf.defaults()['my_ip'])

    def test_real_hosts_have_one_path_of_disks_and_their_own_identity(self):
        (_, first), (_, second), (_, fake) = map(self.read, self.plan.hosts)

        paths = [
            conf.defaults()['instances_path'] for conf in (first, second, fake)
        ]
        self.assertEqual(paths[0], paths[1])
        self.assertNotEqual(paths[0], paths[2])
        self.assertNotEqual(
            first.defaults()['state_path'], second.defaults()['state_path']
        )
        self.assertIn('libvirt', first.defaults()['compute_driver'])
        self.assertIn('fake', fake.defaults()['compute_driver'])


class ClientsTest(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.plan = planning.make(pathlib.Path(directory), 1, 0, 'shared')

    def test_clients_enter_the_network_of_the_lab(self):
        rc.write(self.plan)

        for path in (self.plan.directory / 'bin').iterdir():
            self.assertIn(
                f'/run/netns/{self.plan.namespace} ', path.read_text()
            )

    def test_only_their_owner_reads_passwords(self):
        rc.write(self.plan)

        for name in ('clouds.yaml', 'openrc'):
            path = self.plan.directory / name
            self.assertIn(self.plan.passwords['admin'], path.read_text())
            self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
