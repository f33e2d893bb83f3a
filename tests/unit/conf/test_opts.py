# SPDX-License-Identifier: Apache-2.0

"""The options: defaults, limits, relations, and the generated sample."""

import io
import pathlib
import re
import tempfile
import unittest

from oslo_config import cfg
from oslo_config import generator

from nova_ha_plugins.conf import config
from nova_ha_plugins.conf import networks
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import evidence

# Options of keystoneauth1 bring their own words.
FOREIGN = {'nova'}

EVERY = (*opts.list_opts(), *opts.list_nova_opts(), *opts.list_host_opts())


def sample(namespace: str) -> str:
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(['--namespace', namespace], project='test')
    written = io.StringIO()
    generator.generate(conf, output_file=written)
    return written.getvalue()


def section_of(text: str, group: str) -> str:
    _, _, rest = text.partition(f'\n[{group}]\n')
    return re.split(r'\n\[\w+\]\n', rest)[0]


class TestSample(unittest.TestCase):
    def assert_lists(self, text, listed):
        for group, options in listed:
            section = section_of(text, group.name)
            for opt in options:
                self.assertRegex(
                    section,
                    rf'(?m)^#{re.escape(opt.dest)} =',
                    f'[{group.name}] {opt.dest}',
                )

    def test_sample_of_the_engine_contains_every_option(self):
        self.assert_lists(sample('nova-ha'), opts.list_opts())

    def test_sample_of_the_plugins_contains_their_two_groups_only(self):
        text = sample('nova-ha.plugins')

        self.assert_lists(text, opts.list_plugin_opts())
        self.assertEqual(
            {'DEFAULT', 'nova_ha', 'nova_ha_database'},
            set(re.findall(r'(?m)^\[(\w+)\]$', text)),
        )

    def test_sample_of_nova_contains_its_own_group_only(self):
        text = sample('nova-ha.nova')

        self.assert_lists(text, opts.list_nova_opts())
        self.assertEqual(
            {'DEFAULT', 'nova_ha_progress'},
            set(re.findall(r'(?m)^\[(\w+)\]$', text)),
        )

    def test_sample_of_a_host_contains_its_groups_only(self):
        text = sample('nova-ha.host')

        self.assert_lists(text, opts.list_host_opts())
        self.assertEqual(
            {'DEFAULT', *(g.name for g, _ in opts.list_host_opts())},
            set(re.findall(r'(?m)^\[(\w+)\]$', text)),
        )

    def test_everything_registered_is_listed(self):
        conf = config.load([], [])
        listed = {
            (group.name, opt.dest)
            for group, options in opts.list_opts()
            for opt in options
        }

        for group, _ in opts.list_opts():
            for name in conf[group.name]:
                self.assertIn((group.name, name), listed)


class TestHelp(unittest.TestCase):
    def test_every_option_of_ours_is_explained(self):
        for group, options in EVERY:
            if group.name in FOREIGN:
                continue
            for opt in options:
                name = f'[{group.name}] {opt.name}'
                text = opt.help.strip()
                self.assertGreater(len(text), 60, name)
                self.assertTrue(text.endswith('.'), name)
                self.assertTrue(text[0].isupper() or text[0] == '`', name)

    def test_numbers_have_a_smallest_value(self):
        for group, options in EVERY:
            if group.name in FOREIGN:
                continue
            for opt in options:
                if isinstance(opt, cfg.IntOpt | cfg.FloatOpt):
                    self.assertIsNotNone(
                        opt.type.min, f'[{group.name}] {opt.name}'
                    )

    def test_what_may_hold_a_password_is_secret(self):
        conf = config.load([], [])

        for group, name in (
            ('nova_ha_database', 'connection'),
            ('webhook', 'secret'),
        ):
            (opt,) = (
                opt
                for listed, options in opts.list_opts()
                for opt in options
                if (listed.name, opt.dest) == (group, name)
            )
            self.assertTrue(opt.secret)
            self.assertFalse(conf[group][name])


class TestDefaults(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.conf = config.load([], [])

    def test_nothing_is_evacuated_that_was_not_tagged(self):
        self.assertEqual('none', self.conf.engine.default_policy)

    def test_one_host_or_a_tenth_may_be_fenced(self):
        self.assertEqual(1, self.conf.gates.storm_max_hosts)
        self.assertEqual(0.10, self.conf.gates.storm_max_share)
        self.assertEqual(600.0, self.conf.gates.storm_window)

    def test_host_without_its_management_network_is_left_alone(self):
        self.assertEqual('alert', self.conf.networks.management)
        self.assertRaises(
            ValueError,
            self.conf.set_override,
            'management',
            'migrate',
            'networks',
        )

    def test_old_name_of_the_response_is_still_read(self):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as target:
            target.write('[gates]\nmanagement_lost = fence\n')
            target.flush()
            conf = config.load([], [target.name])

            self.assertEqual('fence', conf.networks.management)

    def test_response_of_another_network_is_one_that_exists(self):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as target:
            target.write('[networks]\nothers = ceph:fence,backup:retreat\n')
            target.flush()
            conf = config.load([], [target.name])

            with self.assertRaises(ValueError):
                _ = conf.networks.others

    def test_the_loss_of_no_network_changes_anything_by_itself(self):
        self.assertEqual('alert', self.conf.networks.storage)
        self.assertEqual('alert', self.conf.networks.tenant)
        self.assertEqual({}, self.conf.networks.others)

    def test_policies_of_the_core_are_the_choices_of_the_options(self):
        for opt in networks.networks_opts:
            if opt.name in ('storage', 'tenant'):
                self.assertEqual(
                    list(evidence.Response), list(opt.type.choices)
                )
        self.assertEqual(tuple(evidence.Response), tuple(networks.RESPONSES))

    def test_related_options_are_in_the_order_their_help_demands(self):
        conf = self.conf
        for smaller, larger in (
            (conf.nova_ha.heartbeat_timeout, conf.nova_ha.reemit_interval),
            (conf.nova_ha.heartbeat_timeout, conf.engine.warm_up),
            (5 * conf.engine.interval, conf.engine.lease_ttl),
            (
                conf.fencing.call_timeout + conf.engine.call_deadline,
                conf.engine.lease_ttl,
            ),
            (conf.fencing.call_timeout, conf.engine.take_over_quiet + 0.1),
            (conf.fencing.call_timeout, conf.fencing.timeout),
            (
                conf.evacuation.max_per_destination,
                conf.evacuation.max_open,
            ),
            (
                conf.nova_ha_database.db_retry_interval,
                conf.nova_ha_database.db_max_retry_interval,
            ),
        ):
            self.assertLessEqual(smaller, larger)

    def test_nova_is_reached_over_the_internal_endpoint_first(self):
        self.assertEqual('compute', self.conf.nova.service_type)
        self.assertEqual(
            ['internal', 'public'], self.conf.nova.valid_interfaces
        )


class TestLoad(unittest.TestCase):
    def write(self, text):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = pathlib.Path(directory.name) / 'nova-ha.conf'
        path.write_text(text)
        return str(path)

    def test_file_is_read(self):
        path = self.write('[engine]\ninterval = 0.5\n')

        self.assertEqual(0.5, config.load([], [path]).engine.interval)
        self.assertEqual(
            0.5, config.load(['--config-file', path]).engine.interval
        )

    def test_value_out_of_range_is_refused(self):
        path = self.write('[engine]\ninterval = 0\n')

        with self.assertRaisesRegex(cfg.ConfigFileValueError, 'interval'):
            config.load([], [path]).engine.interval  # noqa: B018

    def test_two_configurations_share_nothing(self):
        first = config.load([], [])
        first.set_override('interval', 9.0, 'engine')

        self.assertEqual(1.0, config.load([], []).engine.interval)

    def test_host_may_load_several_of_our_plugins(self):
        conf = cfg.ConfigOpts()
        opts.register_plugin_opts(conf)
        opts.register_plugin_opts(conf)

        self.assertEqual(5.0, conf.nova_ha.heartbeat_timeout)
