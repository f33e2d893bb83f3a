# SPDX-License-Identifier: Apache-2.0
"""Telemetry of the lab reads what an installer would have written."""

import configparser
import dataclasses
import json
import pathlib
import stat
import tempfile
import unittest

from ceilometer.pipeline import sample as pipeline
import yaml

from lab import database
from lab import engine
from lab import plan as planning
from lab import telemetry
from lab import telemetry_files


def parse(path):
    parser = configparser.RawConfigParser(default_section='')
    parser.read(path)
    return parser


class TelemetryFilesTest(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.plan = planning.make(pathlib.Path(directory), 2, 1, 'shared')
        place = database.directory(self.plan)
        place.mkdir()
        (place / 'identity.json').write_text(
            json.dumps({'projects': {'service': 'the-project'}, 'users': {}})
        )

    def yaml(self, name):
        telemetry_files.write(self.plan)
        return yaml.safe_load(self.plan.path('telemetry', name).read_text())

    def test_gnocchi_gets_no_heartbeats(self):
        sources = self.yaml('pipeline.yaml')['sources']

        meters = {source['name']: source['meters'] for source in sources}
        self.assertIn('*', meters['meter_source'])
        self.assertIn('!hypervisor.*', meters['meter_source'])
        for source in sources:
            matches = pipeline.SampleSource(source)
            for meter in ('hypervisor.heartbeat', 'hypervisor.liveness.up'):
                with self.subTest(source=source['name'], meter=meter):
                    self.assertEqual(
                        source['name'] == 'ha_gnocchi_source'
                        and meter != 'hypervisor.heartbeat',
                        matches.support_meter(meter),
                    )

    def test_events_go_to_alarms_only(self):
        sources = self.yaml('event_pipeline_ha.yaml')['sources']

        self.assertEqual(
            ['ha_event_source'], [source['name'] for source in sources]
        )

    def test_hypervisors_know_no_database(self):
        host = self.plan.hosts[1]
        path = pathlib.Path(telemetry.polling_conf(self.plan, host))

        conf = parse(path)
        self.assertNotIn('mysql', path.read_text())
        self.assertEqual(host.name, conf['DEFAULT']['host'])
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))

    def test_only_controllers_know_the_redis_of_the_heartbeats(self):
        self.plan = dataclasses.replace(self.plan, liveness='redis')
        telemetry_files.write(self.plan)
        directory = self.plan.path('telemetry')

        for name in ('ceilometer-ha-notification', 'ceilometer-central-1'):
            conf = parse(directory / f'{name}.conf')
            self.assertEqual('redis', conf['nova_ha']['liveness_backend'])
            self.assertEqual(
                self.plan.redis_url, conf['nova_ha']['liveness_url']
            )
        for probes in (False, True):
            path = telemetry.polling_conf(
                self.plan, self.plan.hosts[0], probes
            )
            self.assertNotIn('redis', pathlib.Path(path).read_text())

    def test_the_watchers_are_two_that_know_of_each_other(self):
        telemetry_files.write(self.plan)
        one, two = (
            parse(self.plan.path('telemetry', f'{name}.conf'))
            for name in telemetry.WATCHERS
        )

        self.assertNotEqual(one['DEFAULT']['host'], two['DEFAULT']['host'])
        self.assertEqual(dict(one['coordination']), dict(two['coordination']))

    def test_a_gnocchi_that_hangs_keeps_no_heartbeat_waiting(self):
        telemetry_files.write(self.plan)
        path = self.plan.path('telemetry', 'ceilometer-ha-notification.conf')
        conf = parse(path)

        pipeline_file = pathlib.Path(conf['DEFAULT']['pipeline_cfg_file'])
        self.assertNotIn('gnocchi://', pipeline_file.read_text())
        self.assertEqual(
            'nova_ha', conf['oslo_messaging_notifications']['topics']
        )

    def test_everybody_agrees_on_project_and_silence(self):
        telemetry_files.write(self.plan)
        own = parse(engine.write_conf(self.plan))
        watcher = parse(
            self.plan.path('telemetry', 'ceilometer-central-2.conf')
        )

        self.assertEqual('the-project', watcher['nova_ha']['project_id'])
        self.assertEqual(dict(own['nova_ha']), dict(watcher['nova_ha']))

    def test_a_change_of_the_engine_holds_once(self):
        changed = parse(
            engine.write_conf(
                self.plan, {'gates': {'storm_window': 5}, 'new': {'a': 'b'}}
            )
        )
        plain = parse(engine.write_conf(self.plan))

        self.assertEqual('5', changed['gates']['storm_window'])
        self.assertEqual('b', changed['new']['a'])
        self.assertEqual(
            engine.SETTINGS['gates']['storm_window'],
            plain['gates']['storm_window'],
        )
        self.assertNotIn('new', plain)

    def test_the_fencing_map_holds_no_password(self):
        path = engine.write_fencing(self.plan)

        hosts = yaml.safe_load(path.read_text())['hosts']
        self.assertEqual([host.name for host in self.plan.hosts], list(hosts))
        self.assertNotIn(self.plan.passwords['bmc'], path.read_text())


class TimesTest(unittest.TestCase):
    def test_times_fit_together(self):
        def seconds(group, name):
            return float(engine.SETTINGS[group][name])

        timeout = seconds('nova_ha', 'heartbeat_timeout')
        self.assertLess(engine.HEARTBEAT_INTERVAL, timeout / 2)
        self.assertGreaterEqual(seconds('engine', 'warm_up'), timeout)
        self.assertGreater(seconds('nova_ha', 'reemit_interval'), timeout)
        self.assertGreaterEqual(
            seconds('engine', 'lease_ttl'), 5 * seconds('engine', 'interval')
        )
