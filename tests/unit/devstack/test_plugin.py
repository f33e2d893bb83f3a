# SPDX-License-Identifier: Apache-2.0

"""The DevStack plugin does on paper what it should; see paper.sh.

This is no DevStack: it shows what would be asked of one, and that the files
of other projects are right afterwards.
"""

import configparser
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]

PASTE = """\
[composite:openstack_compute_api_v21]
use = call:nova.api.auth:pipeline_factory_v21
keystone = cors authtoken keystonecontext osapi_compute_app_v21

[composite:openstack_compute_api_v21_legacy_v2_compatible]
use = call:nova.api.auth:pipeline_factory_v21
keystone = cors authtoken keystonecontext legacy osapi_compute_app_v21
"""


def stock_pipelines():
    package = importlib.util.find_spec('ceilometer').origin
    return pathlib.Path(package).parent / 'pipeline' / 'data'


class TestPlugin(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.stack = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.stack)
        for name in ('nova', 'ceilometer', 'aodh', 'bin'):
            (self.stack / name).mkdir()
        for name in ('nova/nova', 'ceilometer/ceilometer', 'aodh/aodh'):
            (self.stack / f'{name}.conf').touch()
        (self.stack / 'alarms').touch()
        (self.stack / 'nova' / 'api-paste.ini').write_text(PASTE)
        for path in stock_pipelines().glob('*.yaml'):
            shutil.copy(path, self.stack / 'ceilometer')
        manage = self.stack / 'bin' / 'nova-ha-manage'
        manage.write_text('#!/bin/sh\necho nova-ha-manage "$@"\n')
        manage.chmod(0o755)

    def run_phases(self, *phases, services='n-cpu'):
        stack = self.stack
        done = subprocess.run(
            ['bash', str(HERE / 'paper.sh'), *phases],
            capture_output=True,
            text=True,
            env={
                'PATH': os.environ['PATH'],
                'PYTHON': sys.executable,
                'STACK': str(stack),
                'DEST': str(stack),
                'DATA_DIR': str(stack / 'data'),
                'STACK_USER': str(os.getuid()),
                'HOSTNAME': 'dev',
                'VIRT_DRIVER': 'fake',
                'NUMBER_FAKE_NOVA_COMPUTE': '3',
                'ENABLED_SERVICES': services,
                'ENABLE_DEBUG_LOG_LEVEL': 'True',
                'SERVICE_PROJECT_NAME': 'service',
                'SERVICE_DOMAIN_NAME': 'Default',
                'SERVICE_PASSWORD': 'very secret',
                'OS_CLOUD': 'devstack-admin',
                'KEYSTONE_SERVICE_URI': 'http://keystone',
                'REGION_NAME': 'RegionOne',
                'NOVA_CONF': f'{stack}/nova/nova.conf',
                'NOVA_API_PASTE_INI': f'{stack}/nova/api-paste.ini',
                'CEILOMETER_CONF': f'{stack}/ceilometer/ceilometer.conf',
                'CEILOMETER_CONF_DIR': f'{stack}/ceilometer',
                'AODH_CONF': f'{stack}/aodh/aodh.conf',
                'NOVA_HA_DIR': str(ROOT),
                'NOVA_HA_CONF_DIR': f'{stack}/nova-ha',
            },
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.splitlines()

    def ini(self, name):
        parser = configparser.RawConfigParser()
        parser.read(self.stack / name)
        return parser

    def yaml(self, name):
        with open(self.stack / 'ceilometer' / name) as stream:
            return yaml.safe_load(stream)

    def test_filter_stands_right_before_nova_and_once(self):
        self.run_phases('stack post-config', 'stack post-config')

        paste = self.ini('nova/api-paste.ini')
        self.assertEqual(
            'cors authtoken keystonecontext instance_ha osapi_compute_app_v21',
            paste['composite:openstack_compute_api_v21']['keystone'],
        )
        self.assertEqual(
            'cors authtoken keystonecontext legacy instance_ha '
            'osapi_compute_app_v21',
            paste['composite:openstack_compute_api_v21_legacy_v2_compatible'][
                'keystone'
            ],
        )

    def test_what_ceilometer_had_stays_and_ours_is_added_once(self):
        stock = {
            path.name: yaml.safe_load(path.read_text())
            for path in stock_pipelines().glob('*.yaml')
        }

        self.run_phases('stack post-config', 'stack post-config')

        sources = self.yaml('pipeline.yaml')['sources']
        self.assertEqual(
            ['meter_source', 'ha_heartbeat_source'],
            [source['name'] for source in sources],
        )
        self.assertEqual(['*', '!hypervisor.heartbeat'], sources[0]['meters'])
        sources = self.yaml('event_pipeline.yaml')['sources']
        self.assertEqual(
            [*stock['event_pipeline.yaml']['sources']], sources[:-1]
        )
        definitions = self.yaml('event_definitions.yaml')
        self.assertEqual(stock['event_definitions.yaml'], definitions[:-1])
        self.assertIn('compute.host.down', definitions[-1]['event_type'])

    def test_all_files_name_the_same_database_and_project(self):
        self.run_phases('stack post-config')

        for name in (
            'nova-ha/nova-ha.conf',
            'nova/nova.conf',
            'ceilometer/ceilometer.conf',
            'aodh/aodh.conf',
        ):
            found = self.ini(name)
            self.assertEqual(
                'mysql+pymysql://root@db/nova_ha',
                found['nova_ha_database']['connection'],
                name,
            )
            self.assertEqual(
                '0123456789abcdef', found['nova_ha']['project_id'], name
            )
        self.assertEqual(
            '0', self.ini('aodh/aodh.conf')['DEFAULT']['event_alarm_cache_ttl']
        )

    def test_each_fake_host_has_a_name_and_an_identity_of_its_own(self):
        self.run_phases('stack post-config')

        hosts, identities = [], set()
        for path in sorted((self.stack / 'ceilometer').glob('*-dev?.conf')):
            options = self.ini(path)['nova_ha']
            hosts.append(options['host'])
            identities.add(
                pathlib.Path(options['system_uuid_file']).read_text()
            )
        self.assertEqual(['dev1', 'dev2', 'dev3'], hosts)
        self.assertEqual(3, len(identities))

    def test_processes_run_and_stop_by_the_same_names(self):
        self.run_phases('stack post-config')

        started = self.run_phases('stack extra')
        stopped = self.run_phases('unstack')

        names = [
            line.split()[1]
            for line in started
            if line.startswith('run_process')
        ]
        self.assertEqual(
            {
                'nova-ha-engine',
                'nova-ha-watcher',
                'nova-ha-heartbeat-dev1',
                'nova-ha-heartbeat-dev2',
                'nova-ha-heartbeat-dev3',
            },
            set(names),
        )
        self.assertEqual(set(names), {line.split()[1] for line in stopped})

    def test_alarm_is_made_once_and_no_password_is_an_argument(self):
        self.run_phases('stack post-config')

        told = self.run_phases('stack extra', 'stack extra')

        made = [line for line in told if 'alarm create' in line]
        self.assertEqual(1, len(made))
        self.assertIn('--repeat-actions True', made[0])
        self.assertIn('--alarm-action trust+nova-ha://', made[0])
        self.assertNotIn('very secret', '\n'.join(told))

    def test_nothing_of_ours_is_left_after_clean(self):
        self.run_phases('stack post-config')

        self.run_phases('clean')

        left = [
            str(path.relative_to(self.stack))
            for path in self.stack.rglob('*ha*')
            if path.name not in ('nova-ha-manage',)
        ]
        self.assertEqual([], left)
