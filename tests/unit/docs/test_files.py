# SPDX-License-Identifier: Apache-2.0

"""The files of etc/nova-ha work as they are, and the pages name no others."""

import configparser
import pathlib
import re
import unittest

import yaml

from nova_ha_plugins.conf import opts
from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.fencing import redfish
from tests.unit.docs import test_commands

ROOT = test_commands.ROOT
ETC = ROOT / 'etc' / 'nova-ha'
DATA = ROOT / 'ceilometer_pollsters' / 'data'


def parse(path):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(path)
    return parser


class TestFencingSample(unittest.TestCase):
    def test_sample_is_a_map_without_a_mistake(self):
        entries = fencing_map.load(str(ETC / 'fencing.yaml.sample'))
        drivers = {
            host: redfish.RedfishDriver(host, entry.options, 10.0)
            for host, entry in entries.items()
        }

        fencing_map.check_devices('sample', drivers)
        self.assertEqual({'cmp-1', 'cmp-2'}, set(drivers))

    def test_documented_keys_are_the_keys_of_the_driver(self):
        page = (ROOT / 'doc/source/admin/fencing.rst').read_text()
        _, _, table = page.partition('Keys of ``redfish``')
        table, _, _ = table.partition('Nothing is believed')
        rows = re.findall(r'^   \* - (``.*``)$', table, re.M)
        named = {key for row in rows for key in re.findall(r'``(\w+)``', row)}

        self.assertEqual(redfish._KEYS, named)


class TestUnits(unittest.TestCase):
    def test_each_unit_starts_something_that_exists(self):
        scripts = set(test_commands.entry_points('console_scripts'))
        units = sorted(ETC.glob('*.service'))
        for unit in units:
            with self.subTest(unit=unit.name):
                words = parse(unit)['Service']['ExecStart'].split()
                program = pathlib.Path(words[0]).name
                self.assertIn(
                    program,
                    scripts
                    | {
                        'ceilometer-agent-notification',
                        'ceilometer-polling',
                        'waitress-serve',
                    },
                )

        self.assertEqual(6, len(units))

    def test_polling_units_name_namespaces_that_have_pollsters(self):
        for name, namespace in (
            ('ceilometer-polling-ha', 'ha'),
            ('ceilometer-polling-ha-host', 'ha_host'),
            ('ceilometer-polling-ha-central', 'ha_central'),
        ):
            command = parse(ETC / f'{name}.service')['Service']['ExecStart']

            self.assertIn(f'--polling-namespaces {namespace} ', command)
            self.assertTrue(
                test_commands.entry_points(f'ceilometer.poll.{namespace}')
            )

    def test_copy_of_the_system_uuid_is_the_one_that_is_read(self):
        unit = parse(ETC / 'ceilometer-polling-ha.service')['Service']
        sample = parse(ETC / 'ceilometer-ha.conf.sample')
        copied = unit['ExecStartPre'].split()[-1]

        self.assertEqual(sample['nova_ha']['system_uuid_file'], copied)
        self.assertTrue(copied.startswith(f'/run/{unit["RuntimeDirectory"]}/'))


class TestSamples(unittest.TestCase):
    def test_our_groups_have_only_options_that_exist(self):
        known = {
            group.name: {opt.dest for opt in listed}
            for group, listed in (
                *opts.list_plugin_opts(),
                *opts.list_host_opts(),
            )
        }
        for path in sorted(ETC.glob('ceilometer-*.conf.sample')):
            sample = parse(path)
            for group in set(sample.sections()) & set(known):
                found = set(sample[group]) - set(sample.defaults())
                self.assertLessEqual(found, known[group], path)

    def test_paste_filter_is_the_entry_point(self):
        snippet = parse(ETC / 'nova-api-paste.ini.snippet')
        target = test_commands.entry_points('paste.filter_factory')

        self.assertEqual(
            target['instance_ha'],
            snippet['filter:instance_ha']['paste.filter_factory'],
        )

    def test_heartbeats_come_more_than_twice_per_timeout(self):
        with open(DATA / 'polling_ha.yaml') as stream:
            source = yaml.safe_load(stream)['sources'][0]
        timeout = next(
            opt.default
            for group, listed in opts.list_plugin_opts()
            for opt in listed
            if (group.name, opt.dest) == ('nova_ha', 'heartbeat_timeout')
        )

        self.assertLess(source['interval'], timeout / 2)

    def test_timeout_that_a_sample_or_a_page_sets_is_the_default(self):
        default = next(
            opt.default
            for group, listed in opts.list_plugin_opts()
            for opt in listed
            if (group.name, opt.dest) == ('nova_ha', 'heartbeat_timeout')
        )
        named = [
            (path.name, float(value))
            for path in (*ETC.glob('ceilometer-*'), *test_commands.PAGES)
            for value in re.findall(
                r'^\s*#?heartbeat_timeout = ([\d.]+)$', path.read_text(), re.M
            )
        ]

        self.assertIn(('ceilometer-ha-central.conf.sample', default), named)
        self.assertEqual({default}, {value for _, value in named}, named)


class TestAgents(unittest.TestCase):
    """Which agent reads what, by the samples."""

    def sample(self, name):
        return parse(ETC / f'ceilometer-{name}.conf.sample')

    def topics(self, name):
        listed = self.sample(name)['oslo_messaging_notifications']['topics']
        return set(listed.split(','))

    def test_each_unit_reads_a_file_that_has_a_sample(self):
        for unit in ETC.glob('ceilometer-*.service'):
            command = parse(unit)['Service']['ExecStart']
            (name,) = re.findall(r'/etc/ceilometer/(\S+-ha\S*)', command)
            self.assertTrue((ETC / f'{name}.sample').exists(), name)

    def test_heartbeats_are_read_by_our_agent_and_nobody_else(self):
        self.assertEqual({'nova_ha'}, self.topics('ha'))
        self.assertEqual({'nova_ha'}, self.topics('ha-notification'))
        for name in ('ha-host', 'ha-central'):
            self.assertEqual({'nova_ha', 'notifications'}, self.topics(name))

    def test_what_other_agents_are_told_silences_none_of_ours(self):
        for name in ('ha', 'ha-host', 'ha-central'):
            polling = self.sample(name)['polling']

            self.assertEqual('true', polling['enable_notifications'])
            self.assertEqual('false', polling['enable_prometheus_exporter'])

    def test_no_agent_of_ours_waits_for_gnocchi(self):
        for name in ('pipeline_ha.yaml', 'event_pipeline_ha.yaml'):
            self.assertNotIn(
                'gnocchi:', (DATA / name).read_text(), 'it may hang'
            )

    def test_every_file_that_an_agent_is_told_to_read_is_shipped(self):
        own = self.sample('ha-notification')
        for name in (
            own['DEFAULT']['pipeline_cfg_file'],
            own['DEFAULT']['event_pipeline_cfg_file'],
            self.sample('ha')['polling']['cfg_file'],
            self.sample('ha-host')['polling']['cfg_file'],
            self.sample('ha-central')['polling']['cfg_file'],
        ):
            self.assertTrue((DATA / name).exists(), name)

    def test_sources_that_may_not_wait_for_each_other_have_own_intervals(self):
        with open(DATA / 'polling_ha_host.yaml') as stream:
            intervals = [
                source['interval']
                for source in yaml.safe_load(stream)['sources']
            ]

        self.assertEqual([5, 10, 60], intervals)


class TestNamedFiles(unittest.TestCase):
    def test_each_file_that_a_page_names_is_there(self):
        pattern = re.compile(
            r'(?<![\w/.-])((?:etc/nova-ha|tools|doc/source|tests|lab|devstack'
            r'|nova_ha_plugins|ceilometer_pollsters|aodh_actions)'
            r'/[\w./-]*[\w])'
        )
        for page in test_commands.PAGES:
            for found in pattern.finditer(page.read_text()):
                name = found[1]
                if name.endswith('.conf.sample') and 'ceilometer' not in name:
                    continue
                self.assertTrue((ROOT / name).exists(), f'{page.name}: {name}')


class TestGenerators(unittest.TestCase):
    def test_every_policy_rule_of_ours_is_in_a_sample(self):
        namespaces = set()
        for path in ETC.glob('policy-generator*.conf'):
            namespaces.add(parse(path).get('DEFAULT', 'namespace'))

        self.assertEqual(
            set(test_commands.entry_points('oslo.policy.policies')),
            namespaces,
        )
