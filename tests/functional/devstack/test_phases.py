# SPDX-License-Identifier: Apache-2.0

"""The plugin's phases on DevStack's own functions: what is there afterwards.

Needs a checkout of DevStack, in /opt/stack/devstack or where NOVA_HA_DEVSTACK
says.
"""

import configparser
import json
import pathlib
import stat
import tempfile
import unittest

from ceilometer import agent
from ceilometer import service
from keystoneauth1 import loading
from oslo_config import cfg
import yaml

from nova_ha_plugins.conf import config
from nova_ha_plugins.fencing import door
from nova_ha_plugins.fencing import map as fencing_map
from tests.functional.devstack import stage

ALL_PHASES = ('stack install', 'stack post-config', 'stack extra')
UNITS = {
    'nova-ha-chassis',
    'nova-ha-engine',
    'nova-ha-receiver',
    'nova-ha-watcher',
    'nova-ha-webhook',
    *(
        f'nova-ha-{part}-stage{number}'
        for part in ('kernel', 'heartbeat')
        for number in (1, 2)
    ),
}


def read_ini(text):
    """Return the options by section."""
    parsed = configparser.RawConfigParser(strict=False, default_section='')
    parsed.optionxform = str
    parsed.read_string(text)
    return {name: dict(parsed.items(name)) for name in parsed.sections()}


def drivers(path):
    """Return the drivers of notifications, as oslo.config reads them."""
    conf = cfg.ConfigOpts()
    conf([], project='nova', default_config_files=[str(path)])
    conf.register_opt(
        cfg.MultiStrOpt('driver'), group='oslo_messaging_notifications'
    )
    return conf.oslo_messaging_notifications.driver


def make_stage(case):
    """Return a stage that goes with the test, or with the class of tests."""
    checkout = stage.checkout()
    if checkout is None:
        raise unittest.SkipTest(
            'no checkout of DevStack: set NOVA_HA_DEVSTACK to one'
        )
    directory = tempfile.TemporaryDirectory(prefix='nova-ha-stage-')
    if isinstance(case, type):
        case.addClassCleanup(directory.cleanup)
    else:
        case.addCleanup(directory.cleanup)
    return stage.Stage(pathlib.Path(directory.name), checkout)


class Reader(unittest.TestCase):
    """Reads what stands on the stage."""

    stage: stage.Stage

    def ini(self, name):
        return read_ini((self.stage.etc / name).read_text())

    def yaml(self, name):
        return yaml.safe_load((self.stage.etc / name).read_text())

    def unit(self, name):
        path = self.stage.path / 'units' / f'devstack@{name}.service'
        return read_ini(path.read_text())['Service']['ExecStart']


class StageCase(Reader):
    """A stage of its own for each test."""

    def setUp(self):
        self.stage = make_stage(self)

    def stack(self, *phases, settings=''):
        done = self.stage.run(*phases, settings=settings)
        self.assertEqual(0, done.returncode, done.stderr)


class TestInstall(StageCase):
    def test_the_package_goes_into_the_one_environment(self):
        self.stack('stack install')

        self.assertEqual(
            [f'setup_develop {stage.ROOT}'], self.stage.calls('setup_develop')
        )
        self.assertTrue(self.stage.calls('pip_install sushy-tools'))

    def test_real_hypervisors_need_no_emulator(self):
        self.stack('stack install', settings='VIRT_DRIVER=libvirt')

        self.assertTrue(self.stage.calls('setup_develop'))
        self.assertFalse(self.stage.calls('pip_install'))


class TestStacked(Reader):
    """What is there after stack.sh with nothing set; these tests only read."""

    @classmethod
    def setUpClass(cls):
        cls.stage = make_stage(cls)
        done = cls.stage.run(*ALL_PHASES)
        if done.returncode:
            raise AssertionError(done.stderr)

    def test_the_filter_stands_right_before_nova(self):
        paste = self.ini('nova/api-paste.ini')
        self.assertEqual(
            'nova_ha_plugins.api.middleware:filter_factory',
            paste['filter:instance_ha']['paste.filter_factory'],
        )
        for name in ('', '_legacy_v2_compatible'):
            line = paste[f'composite:openstack_compute_api_v21{name}']
            words = line['keystone'].split()
            self.assertEqual(
                ['instance_ha', 'osapi_compute_app_v21'], words[-2:]
            )
            self.assertEqual('keystonecontext', words[-3 - bool(name)])

    def drivers(self):
        return drivers(self.stage.etc / 'nova/nova.conf')

    def test_the_sampler_stands_beside_the_bus(self):
        self.assertEqual(
            {'messagingv2', 'nova_ha_progress'}, set(self.drivers())
        )
        self.assertEqual(2, len(self.drivers()))
        self.assertEqual(
            {'guard': 'True', 'sample_interval': '1'},
            self.ini('nova/nova.conf')['nova_ha_progress'],
        )

    def test_the_engine_tells_the_bus_of_nova(self):
        path = self.stage.etc / 'nova-ha/nova-ha.conf'
        conf = config.load(files=[str(path)])

        self.assertTrue(conf.progress.follow)
        url = self.ini('nova-ha/nova-ha.conf')['DEFAULT']['transport_url']
        self.assertRegex(url, r'^rabbit://\w+:[^@]+@')

    def test_every_host_of_our_plugins_names_the_same_store(self):
        files = (
            'nova-ha/nova-ha.conf',
            'nova/nova.conf',
            'ceilometer/ceilometer.conf',
            'aodh/aodh.conf',
        )
        found = [self.ini(name) for name in files]
        stores = {
            options['nova_ha_database']['connection'] for options in found
        }
        projects = {options['nova_ha']['project_id'] for options in found}
        self.assertEqual(1, len(stores), stores)
        self.assertIn('@127.0.0.1/nova_ha?charset=utf8', stores.pop())
        self.assertEqual({'0123456789abcdef0123456789abcdef'}, projects)
        for options in found[1:]:
            # What was there stays.
            self.assertEqual({'max_retries': '3'}, options['database'])

    def takers(self, name, kind, sent):
        """Return the sinks of a pipeline by what was sent to it."""
        pipeline = self.yaml(f'ceilometer/{name}')
        found = {one: [] for one in sent}
        for source in pipeline['sources']:
            loaded = agent.Source(source)
            loaded.check_source_filtering(source[kind], kind)
            for one in sent:
                if loaded.is_supported(source[kind], one):
                    found[one] += source['sinks']
        return found

    def test_heartbeats_go_to_an_agent_that_does_nothing_else(self):
        self.assertEqual(
            {'hypervisor.heartbeat': ['ha_liveness_sink'], 'cpu': []},
            self.takers(
                'pipeline_ha.yaml', 'meters', ('hypervisor.heartbeat', 'cpu')
            ),
        )
        self.assertNotIn(
            'gnocchi://',
            (self.stage.etc / 'ceilometer/pipeline_ha.yaml').read_text(),
        )
        ours = self.ini('ceilometer/ceilometer-ha-notification.conf')
        beats = self.ini('ceilometer/ceilometer-ha-stage1.conf')
        for options in (ours, beats):
            topics = options['oslo_messaging_notifications']['topics']
            self.assertEqual('nova_ha', topics)
        for name in ('pipeline_cfg_file', 'event_pipeline_cfg_file'):
            self.assertTrue(pathlib.Path(ours['DEFAULT'][name]).exists())
        path = pathlib.Path(ours['event']['definitions_cfg_file'])
        self.assertTrue(path.exists())

    def test_the_receiver_is_told_where_to_listen(self):
        files = [
            str(self.stage.etc / 'ceilometer' / name)
            for name in ('ceilometer.conf', 'ceilometer-ha-notification.conf')
        ]

        conf = service.prepare_service(argv=[], config_files=files)

        self.assertEqual(
            ['ceilometer', 'nova'],
            conf.notification.notification_control_exchanges,
        )

    def test_gnocchi_gets_what_graphs_are_made_of_once(self):
        meters = ('hypervisor.liveness.age', 'instance.state', 'cpu')

        takers = self.takers('pipeline.yaml', 'meters', meters)

        for meter in meters[:2]:
            self.assertEqual(['ha_gnocchi_sink'], takers[meter])
        self.assertEqual(1, len(takers['cpu']))
        self.assertNotIn('ha_gnocchi_sink', takers['cpu'])
        watcher = self.ini('ceilometer/ceilometer-ha-central.conf')
        self.assertEqual(
            'nova_ha,notifications',
            watcher['oslo_messaging_notifications']['topics'],
        )

    def test_gnocchi_gets_a_policy_for_our_meters(self):
        definitions = self.yaml('ceilometer/gnocchi_resources_ha.yaml')
        policies = {one['name'] for one in definitions['archive_policies']}
        for resource in definitions['resources']:
            for options in resource['metrics'].values():
                self.assertIn(options['archive_policy_name'], policies)
        calls = self.stage.calls()
        made = next(n for n, c in enumerate(calls) if 'meters create' in c)
        self.assertIn('--os-username nova-ha', calls[made])

    def test_events_reach_aodh_once(self):
        events = ('compute.host.down', 'instance_ha.evacuation.end')

        takers = self.takers('event_pipeline_ha.yaml', 'events', events)

        for event in events:
            self.assertEqual(['ha_alarm_sink'], takers[event])
        stock = (self.stage.etc / 'ceilometer/event_pipeline.yaml').read_text()
        self.assertNotIn('ha_alarm_sink', stock)
        engine = self.ini('nova-ha/nova-ha.conf')
        topics = engine['oslo_messaging_notifications']['topics']
        self.assertEqual('nova_ha', topics)

    def test_secrets_are_read_by_their_owner_only(self):
        state = self.stage.path / 'data' / 'nova-ha'
        for path in (
            self.stage.etc / 'nova-ha/nova-ha.conf',
            self.stage.etc / 'nova-ha/fencing.yaml',
            state / 'password',
            state / 'htpasswd',
            state / 'bmc.key',
        ):
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual('0o600', oct(mode), path)

    def test_aodh_is_neither_deaf_nor_slow(self):
        options = self.ini('aodh/aodh.conf')
        self.assertEqual('0', options['DEFAULT']['event_alarm_cache_ttl'])
        self.assertEqual('5', options['evaluator']['evaluation_interval'])
        self.assertEqual('2', options['service_credentials']['timeout'])

    def test_policies_can_be_written_where_they_are_read(self):
        for name, rule in (
            ('nova-ha/policy.yaml', 'instance-ha:incidents:report'),
            ('nova/policy.d/nova-ha.yaml', 'os_compute_api:instance-ha:arm'),
        ):
            self.assertIn(f'#"{rule}"', (self.stage.etc / name).read_text())
            # All of it is commented out.
            self.assertIsNone(self.yaml(name))

    def test_the_schema_is_made_after_the_database(self):
        calls = self.stage.calls()
        made = next(n for n, c in enumerate(calls) if 'CREATE DATABASE' in c)
        filled = next(n for n, c in enumerate(calls) if 'db sync' in c)
        self.assertLess(made, filled)

    def test_every_service_runs(self):
        self.assertEqual(UNITS, self.stage.units('started'))
        self.assertEqual(UNITS, self.stage.units('enabled'))

    def test_what_the_units_run(self):
        for name, words in (
            ('nova-ha-engine', f'--config-file {self.stage.etc}/nova-ha/'),
            ('nova-ha-watcher', '--polling-namespaces ha_central'),
            ('nova-ha-receiver', 'ceilometer-ha-notification.conf'),
            ('nova-ha-heartbeat-stage2', 'ceilometer-ha-stage2.conf'),
            ('nova-ha-kernel-stage2', 'kernel stage2'),
            ('nova-ha-chassis', 'fake_hosts.py'),
            ('nova-ha-webhook', 'nova-ha/webhook-uwsgi.ini'),
        ):
            self.assertIn(words, self.unit(name))
            self.assertTrue(self.unit(name).startswith('/'))

    def test_our_password_is_in_no_argument(self):
        # DevStack itself makes users and databases with passwords as
        # arguments; what follows these is ours.
        calls = self.stage.calls()
        ours = [
            call
            for call in calls
            if not call.startswith('mysql ') and 'user create' not in call
        ]
        self.assertTrue([c for c in ours if 'alarms create' in c])
        self.assertEqual([], [c for c in ours if stage.PASSWORD in c])

    def test_the_engine_only_observes_unless_told(self):
        self.assertFalse(self.stage.calls('ha arm'))


class TestSettings(StageCase):
    """What the variables change."""

    def configure(self, settings=''):
        self.stack('stack post-config', settings=settings)

    def start(self, settings=''):
        self.stack('stack post-config', 'stack extra', settings=settings)

    def test_the_engine_reads_what_was_written(self):
        self.configure(settings='NOVA_HA_HEARTBEAT_TIMEOUT=9')

        path = self.stage.etc / 'nova-ha/nova-ha.conf'
        conf = config.load(files=[str(path)])
        self.assertEqual(9.0, conf.nova_ha.heartbeat_timeout)
        self.assertEqual('RegionOne', conf.nova.region_name)
        loading.load_auth_from_conf_options(conf, 'nova')
        self.assertEqual('nova-ha', conf.nova.username)
        self.assertEqual(stage.PASSWORD, conf.nova.password)

    def test_what_is_switched_off_is_not_there(self):
        self.configure(
            'NOVA_HA_SAMPLER=False\nNOVA_HA_GUARD=False\nNOVA_HA_FOLLOW=False'
        )

        path = self.stage.etc / 'nova/nova.conf'
        self.assertEqual(['messagingv2'], drivers(path))
        options = self.ini('nova/nova.conf')['nova_ha_progress']
        self.assertEqual('False', options['guard'])
        engine = self.ini('nova-ha/nova-ha.conf')
        self.assertEqual({'follow': 'False'}, engine['progress'])
        self.assertNotIn('transport_url', engine['DEFAULT'])
        self.assertNotIn('oslo_messaging_notifications', engine)

    def test_without_gnocchi_nothing_is_published_to_it(self):
        before = (self.stage.etc / 'ceilometer/pipeline.yaml').read_text()

        self.start('ENABLED_SERVICES=n-api,n-cpu,mysql')

        after = (self.stage.etc / 'ceilometer/pipeline.yaml').read_text()
        self.assertEqual(before, after)
        self.assertEqual([], self.stage.calls('meters create'))
        # Nobody would read the other topic.
        watcher = self.ini('ceilometer/ceilometer-ha-central.conf')
        topics = watcher['oslo_messaging_notifications']['topics']
        self.assertEqual('nova_ha', topics)

    def test_each_fake_host_says_who_it_is(self):
        self.configure(settings='NOVA_HA_HEARTBEAT_INTERVAL=1')

        files = [
            self.ini(f'ceilometer/ceilometer-ha-stage{number}.conf')
            for number in (1, 2)
        ]
        told = [options['nova_ha'] for options in files]
        self.assertEqual(['stage1', 'stage2'], [one['host'] for one in told])
        for name in ('system_uuid_file', 'boot_id_file'):
            values = {pathlib.Path(one[name]).read_text() for one in told}
            self.assertEqual(2, len(values))
        for options in files:
            # Or the agents would take turns.
            self.assertEqual({'backend_url': ''}, options['coordination'])
            self.assertEqual(
                options['nova_ha']['host'], options['DEFAULT']['host']
            )
        polling = self.yaml('ceilometer/polling_ha.yaml')
        self.assertEqual(1, polling['sources'][0]['interval'])

    def test_each_fake_host_has_a_bmc_and_a_channel_of_its_own(self):
        self.configure(settings='NOVA_HA_BMC_PORT=28900')

        entries = fencing_map.load(
            str(self.stage.etc / 'nova-ha/fencing.yaml')
        )
        self.assertEqual({'stage1', 'stage2'}, set(entries))
        self.assertEqual(
            ['127.0.0.1:28901', '127.0.0.1:28902'],
            [entry.probe for entry in entries.values()],
        )
        conf = config.load(
            files=[str(self.stage.etc / 'nova-ha/nova-ha.conf')]
        )
        self.assertEqual(('stage1', 'stage2'), door.FencingDoor(conf).hosts())

    def test_a_map_of_the_operator_wins(self):
        theirs = self.stage.path / 'theirs.yaml'
        theirs.write_text('hosts: {}\n')

        self.configure(settings=f'NOVA_HA_FENCING_MAP={theirs}')

        self.assertEqual({'hosts': {}}, self.yaml('nova-ha/fencing.yaml'))

    def test_a_wrong_word_for_fencing_ends_it(self):
        done = self.stage.run(
            'stack post-config', settings='NOVA_HA_FENCING=maybe'
        )

        self.assertNotEqual(0, done.returncode)
        self.assertIn(
            "NOVA_HA_FENCING is 'maybe', expected 'emulated' or 'manual'",
            done.stdout + done.stderr,
        )

    def test_real_hypervisors_get_no_chassis(self):
        with open(self.stage.etc / 'nova' / 'nova.conf', 'a') as stream:
            stream.write('[DEFAULT]\nhost = cmp-7\n')

        self.start('VIRT_DRIVER=libvirt')

        self.assertEqual(
            {
                'nova-ha-engine',
                'nova-ha-heartbeat-cmp-7',
                'nova-ha-probes-cmp-7',
                'nova-ha-receiver',
                'nova-ha-watcher',
                'nova-ha-webhook',
            },
            self.stage.units('started'),
        )
        self.assertFalse((self.stage.etc / 'nova-ha/fencing.yaml').exists())
        (asked,) = self.stage.calls('/sys/class/dmi/id/product_uuid')
        self.assertTrue(asked.endswith('/cmp-7/product_uuid'), asked)
        self.assertIn('ha_host', self.unit('nova-ha-probes-cmp-7'))
        probes = self.ini('ceilometer/ceilometer-ha-host-cmp-7.conf')
        self.assertEqual('cmp-7', probes['nova_ha']['host'])
        path = probes['nova_ha_host']['instances_paths']
        self.assertTrue(pathlib.Path(path, '.nova-ha').is_dir())

    def test_manual_fencing_keeps_the_channels_and_not_the_bmcs(self):
        self.configure('NOVA_HA_FENCING=manual')

        plan = self.stage.path / 'data' / 'nova-ha' / 'plan.json'
        self.assertFalse(json.loads(plan.read_text())['bmc'])
        path = self.stage.etc / 'nova-ha' / 'fencing.yaml'
        probes = [entry.probe for entry in fencing_map.load(path).values()]
        self.assertEqual(['127.0.0.1:8901', '127.0.0.1:8902'], probes)

    def test_a_service_that_is_disabled_stays_so(self):
        self.stack(
            'stack post-config',
            'stack extra',
            settings='disable_service nova-ha-webhook',
        )

        self.assertEqual(
            UNITS - {'nova-ha-webhook'}, self.stage.units('started')
        )

    def test_alarms_are_made_in_the_project_of_the_events(self):
        self.start('NOVA_HA_NOTIFY=https://pager.example/')

        (made,) = self.stage.calls('alarms create')
        self.assertTrue(
            made.endswith(
                'ha alarms create '
                '--ha-project 0123456789abcdef0123456789abcdef '
                '--action trust+nova-ha:// --notify https://pager.example/'
            ),
            made,
        )
        self.assertIn('--os-project-name service', made)

    def test_no_alarm_where_none_is_wanted(self):
        self.start('NOVA_HA_CREATE_ALARMS=False')

        self.assertFalse(self.stage.calls('alarms create'))

    def test_the_alarm_can_call_the_webhook(self):
        self.start(
            'NOVA_HA_ALARM_ACTION='
            "'trust+http://$SERVICE_HOST$NOVA_HA_WEBHOOK_PATH/v1/alarm'"
        )

        self.assertIn('/v1/alarm', self.stage.calls('alarms create')[0])

    def test_the_engine_is_armed_where_it_was_told(self):
        self.start('NOVA_HA_ARM=True')

        self.assertEqual(1, len(self.stage.calls('openstack ha arm')))

    def test_without_the_engine_the_plugin_does_nothing(self):
        before = self.stage.files()

        self.stack(
            *ALL_PHASES,
            settings='disable_service nova-ha-engine',
        )

        self.assertEqual(before, self.stage.files())
        self.assertEqual([], self.stage.calls())


class TestAgain(StageCase):
    """stack.sh where there was one before, and what undoes it."""

    def configure(self):
        self.stack('stack post-config')

    def test_a_second_time_changes_nothing(self):
        self.configure()
        before = self.stage.files()

        self.configure()

        self.assertEqual(before, self.stage.files())

    def test_a_second_stack_after_the_services_wrote_anew(self):
        self.configure()
        before = self.stage.files()
        self.stage.set_the_table()

        self.configure()

        self.assertEqual(before, self.stage.files())

    def test_unstack_stops_what_was_started(self):
        self.stack(*ALL_PHASES)
        self.assertEqual(UNITS, self.stage.units('started'))

        self.stack('unstack')

        self.assertEqual(set(), self.stage.units('started'))
        self.assertEqual(set(), self.stage.units('enabled'))

    def test_clean_leaves_the_files_as_they_were(self):
        before = self.stage.files()
        self.stack(*ALL_PHASES)

        self.stack('unstack', 'clean')

        after = self.stage.files()
        self.assertEqual(set(before), set(after))
        for name, text in before.items():
            read = yaml.safe_load if name.endswith('.yaml') else read_ini
            self.assertEqual(read(text), read(after[name]), name)
        self.assertFalse((self.stage.path / 'data' / 'nova-ha').exists())

    def test_clean_after_the_services_have_cleaned(self):
        self.stack(*ALL_PHASES)
        for path in self.stage.etc.rglob('*'):
            if path.is_file() and 'nova-ha' not in path.parts[-2]:
                path.unlink()

        self.stack('unstack', 'clean')

        self.assertEqual({}, self.stage.files())

    def test_a_host_keeps_its_identity_from_stack_to_stack(self):
        self.stack(*ALL_PHASES)
        identity = self.stage.path / 'data' / 'nova-ha/stage1/product_uuid'
        before = identity.read_text()

        self.stack('unstack')
        self.stack(*ALL_PHASES)

        self.assertEqual(before, identity.read_text())
