# SPDX-License-Identifier: Apache-2.0

import pathlib
import tempfile
import unittest
from unittest import mock

from ceilometer.polling import plugin_base
from oslo_config import cfg

from ceilometer_pollsters import heartbeat
from ceilometer_pollsters import reading
from nova_ha_plugins.conf import nova_ha
from nova_ha_plugins import signatures


class HeartbeatTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.boot = pathlib.Path(directory.name) / 'boot_id'
        self.uuid = pathlib.Path(directory.name) / 'product_uuid'
        self.boot.write_text('0e4d-boot\n')
        self.uuid.write_text('4C4C4544-0042-3510\n')
        self.conf = cfg.ConfigOpts()
        self.conf.register_opts([cfg.StrOpt('host', default='short-name')])
        self.conf.register_opts(
            [cfg.BoolOpt('enable_notifications', default=True)],
            group='polling',
        )
        nova_ha.register_opts(self.conf)
        self.conf([], default_config_files=[])
        self.override('boot_id_file', str(self.boot))
        self.override('system_uuid_file', str(self.uuid))

    def override(self, name, value):
        self.conf.set_override(name, value, group='nova_ha')

    def poll(self, pollster):
        return list(pollster.get_samples(None, {}, ['ignored']))

    def test_one_sample_says_who_and_which_boot(self):
        pollster = heartbeat.HeartbeatPollster(self.conf)
        (sample,) = self.poll(pollster)

        self.assertEqual(
            ('hypervisor.heartbeat', 'gauge', 'heartbeat', 1, 'short-name'),
            (
                sample.name,
                sample.type,
                sample.unit,
                sample.volume,
                sample.resource_id,
            ),
        )
        self.assertEqual('0e4d-boot', sample.resource_metadata['boot_id'])
        self.assertEqual(
            '4c4c4544-0042-3510', sample.resource_metadata['system_uuid']
        )

    def test_the_host_is_what_nova_calls_it(self):
        self.override('host', 'cmp-1.example.org')
        pollster = heartbeat.HeartbeatPollster(self.conf)
        (sample,) = self.poll(pollster)

        self.assertEqual('cmp-1.example.org', sample.resource_id)
        self.assertEqual('cmp-1.example.org', sample.resource_metadata['host'])

    def test_the_sequence_rises_however_fast_it_is_asked(self):
        pollster = heartbeat.HeartbeatPollster(self.conf)
        numbers = [pollster.next_sequence() for _ in range(100)]

        self.assertEqual(sorted(set(numbers)), numbers)

    def test_the_sequence_goes_on_where_the_last_agent_left_it(self):
        with mock.patch('time.clock_gettime_ns', autospec=True) as clock:
            clock.return_value = 5_000_000_000
            first = heartbeat.HeartbeatPollster(self.conf).next_sequence()
            clock.return_value = 6_000_000_000
            second = heartbeat.HeartbeatPollster(self.conf).next_sequence()

        self.assertEqual((5000, 6000), (first, second))

    def test_agent_that_may_send_nothing_says_so(self):
        self.conf.set_override('enable_notifications', False, group='polling')
        with (
            self.assertLogs(heartbeat.__name__, 'ERROR') as logs,
            self.assertRaises(plugin_base.ExtensionLoadError),
        ):
            heartbeat.HeartbeatPollster(self.conf)

        self.assertIn('enable_notifications', logs.output[0])

    def test_no_boot_id_is_an_error_in_the_log_and_no_pollster(self):
        for content in (None, '', 'two words'):
            if content is None:
                self.boot.unlink()
            else:
                self.boot.write_text(content)
            with (
                self.subTest(content=content),
                self.assertLogs(heartbeat.LOG.logger, 'ERROR') as logged,
                self.assertRaises(plugin_base.ExtensionLoadError),
            ):
                heartbeat.HeartbeatPollster(self.conf)
            self.assertIn(str(self.boot), logged.output[0])
            self.assertIn("'short-name' sends no heartbeat", logged.output[0])

    def test_no_system_uuid_is_said_once_and_the_heart_beats_on(self):
        self.uuid.unlink()
        with self.assertLogs(heartbeat.LOG.logger, 'ERROR') as logged:
            pollster = heartbeat.HeartbeatPollster(self.conf)
            (first,) = self.poll(pollster)
            self.poll(pollster)

        self.assertEqual('', first.resource_metadata['system_uuid'])
        self.assertEqual(1, len(logged.output))
        self.assertIn('is not protected', logged.output[0])

    def test_heartbeat_is_signed_with_the_key_of_its_host(self):
        master = signatures.Key('m1', b's' * 32)
        path = self.boot.with_name('key')
        path.write_text(
            signatures.format_key(signatures.derive(master, 'short-name'))
        )
        self.override('heartbeat_key_file', str(path))
        (sample,) = self.poll(heartbeat.HeartbeatPollster(self.conf))

        told = sample.resource_metadata
        self.assertEqual(
            signatures.Verdict.SIGNED,
            signatures.Masters((master,)).judge(
                reading.heard(sample), *reading.signature(sample)
            ),
        )
        self.assertNotIn(path.read_text().split()[1], str(told))

    def test_key_that_changes_is_used_at_once(self):
        path = self.boot.with_name('key')
        path.write_text(f'old {"a" * 64}\n')
        self.override('heartbeat_key_file', str(path))
        pollster = heartbeat.HeartbeatPollster(self.conf)
        self.poll(pollster)
        path.write_text(f'newer {"b" * 64}\n')
        (sample,) = self.poll(pollster)

        self.assertEqual('newer', sample.resource_metadata['key_id'])

    def test_key_that_cannot_be_read_is_said_once_and_the_heart_beats(self):
        path = self.boot.with_name('key')
        path.write_text(f'id hunter2{"a" * 64}\n')
        self.override('heartbeat_key_file', str(path))
        with self.assertLogs(heartbeat.LOG.logger, 'ERROR') as logged:
            pollster = heartbeat.HeartbeatPollster(self.conf)
            (first,) = self.poll(pollster)

        self.assertNotIn('signature', first.resource_metadata)
        self.assertEqual(1, len(logged.output))
        self.assertIn('without a signature', logged.output[0])
        self.assertNotIn('hunter2', logged.output[0])

    def test_key_that_cannot_be_read_any_more_is_still_good(self):
        path = self.boot.with_name('key')
        path.write_text(f'old {"a" * 64}\n')
        self.override('heartbeat_key_file', str(path))
        pollster = heartbeat.HeartbeatPollster(self.conf)
        # Somebody writes it anew and has not come to the end.
        path.write_text('newer ')
        with self.assertLogs(heartbeat.LOG.logger, 'ERROR') as logged:
            for _ in range(2):
                (sample,) = self.poll(pollster)

        self.assertEqual('old', sample.resource_metadata['key_id'])
        self.assertIn('signature', sample.resource_metadata)
        self.assertEqual(1, len(logged.output))
        self.assertIn('read before', logged.output[0])

    def test_a_system_uuid_that_appears_later_is_sent(self):
        content = self.uuid.read_text()
        self.uuid.unlink()
        with self.assertLogs(heartbeat.LOG.logger, 'ERROR'):
            pollster = heartbeat.HeartbeatPollster(self.conf)
        self.uuid.write_text(content)
        (sample,) = self.poll(pollster)

        self.assertEqual(
            '4c4c4544-0042-3510', sample.resource_metadata['system_uuid']
        )
