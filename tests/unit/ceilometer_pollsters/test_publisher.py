# SPDX-License-Identifier: Apache-2.0

from concurrent import futures
import dataclasses
import pathlib
import tempfile
import threading
import unittest
from unittest import mock

from ceilometer import sample
from oslo_config import cfg
from oslo_db import exception as db_exc

from ceilometer_pollsters import admission
from ceilometer_pollsters import publisher
from nova_ha_plugins.conf import opts
from nova_ha_plugins import signatures
from nova_ha_plugins.store import values

OLD = '1' * 32
NEW = '2' * 32


def heartbeat(host='cmp-1', name='hypervisor.heartbeat', **metadata):
    known = {
        'host': host,
        'boot_id': 'boot',
        'sequence': '7',
        'system_uuid': 'uuid',
        'agent_pid': 1,
    }
    return sample.Sample(
        name,
        'gauge',
        'heartbeat',
        1,
        None,
        None,
        host,
        resource_metadata={**known, **metadata},
    )


def health(name, volume, **metadata):
    return sample.Sample(
        name,
        'gauge',
        '1',
        volume,
        None,
        None,
        'resource',
        resource_metadata={'host': 'cmp-1', **metadata},
    )


class FakeLiveness:
    def __init__(self):
        self.batches = []
        self.seen = []
        self.away = False

    def healths(self, seen):
        if self.away:
            raise values.Unreachable('no')
        self.seen.append(seen)

    def beats(self, heard):
        if self.away:
            raise db_exc.DBConnectionError(
                Exception('mysql://user:hunter2@db')
            )
        self.batches.append(heard)


class PublisherTest(unittest.TestCase):
    def setUp(self):
        self.store = FakeLiveness()
        patch = mock.patch.object(
            publisher.liveness, 'open_liveness', lambda conf: self.store
        )
        patch.start()
        self.addCleanup(patch.stop)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        self.publisher = publisher.LivenessPublisher(conf, None)
        self.now = 1000.0
        self.slept = []
        self.publisher.clock = lambda: self.now
        self.publisher.sleep = self.sleep

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def test_the_heartbeats_of_a_call_are_one_batch(self):
        self.publisher.publish_samples(
            [heartbeat('cmp-1'), heartbeat('cmp-2', sequence=8)]
        )

        self.assertEqual(
            [
                [
                    values.Heard('cmp-1', 'boot', 7, 'uuid'),
                    values.Heard('cmp-2', 'boot', 8, 'uuid'),
                ]
            ],
            self.store.batches,
        )

    def test_other_samples_pass_by(self):
        self.publisher.publish_samples([heartbeat(name='cpu')])

        self.assertEqual([], self.store.batches)

    def test_a_bad_sample_is_named_and_the_others_count(self):
        bad = (
            {'host': ''},
            {'host': 5},
            {'host': 'h' * 256},
            {'boot_id': None},
            {'sequence': 'seven'},
            {'sequence': None},
            {'sequence': -1},
            {'sequence': str(2**63)},
            {'system_uuid': ['x']},
            {'system_uuid': 's' * 65},
            {'service_uuid': 's' * 65},
            {'boot_id': 'b' * 65},
            {'boot_id': 'two words'},
            {'host': 'cmp\x00'},
            {'host': 'cmp\x1b[2J'},
            {'host': 'cmp\n2026 ERROR'},
        )
        for wrong in bad:
            self.store.batches.clear()
            self.publisher._refused.clear()
            with (
                self.subTest(wrong=wrong),
                self.assertLogs(publisher.LOG.logger, 'ERROR') as logged,
            ):
                self.publisher.publish_samples(
                    [
                        heartbeat(**{'host': 'cmp-1', **wrong}),
                        heartbeat('cmp-2'),
                    ]
                )
                ((good,),) = self.store.batches
                self.assertEqual('cmp-2', good.host)
                self.assertIn(
                    f"'{next(iter(wrong))}' should", logged.output[0]
                )

    def test_the_name_of_a_bad_sample_forges_no_line_of_the_log(self):
        odd = heartbeat('x\n2026 ERROR \x1b[2J')
        odd.resource_metadata = None
        with self.assertLogs(publisher.LOG.logger, 'ERROR') as logged:
            self.publisher.publish_samples([odd])

        self.assertTrue(logged.output[0].isprintable(), logged.output[0])

    def test_metadata_that_is_no_dictionary_is_a_bad_sample(self):
        odd = heartbeat()
        odd.resource_metadata = ['host']
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            self.publisher.publish_samples([odd])

        self.assertEqual([], self.store.batches)

    def test_a_store_that_is_away_is_said_when_it_goes_and_returns(self):
        self.store.away = True
        with self.assertLogs(publisher.LOG.logger, 'WARNING') as logged:
            self.publisher.publish_samples([heartbeat()])
            self.publisher.publish_samples([heartbeat()])
            self.store.away = False
            self.publisher.publish_samples([heartbeat()])
            self.publisher.publish_samples([heartbeat()])

        self.assertEqual(2, len(logged.output))
        self.assertIn('ERROR', logged.output[0])
        self.assertIn('DBConnectionError', logged.output[0])
        self.assertIn('2 were lost', logged.output[1])
        self.assertNotIn('hunter2', str(logged.output))

    def test_what_arrives_while_one_writes_is_written_together(self):
        writing, go_on = threading.Event(), threading.Event()
        real = self.store.beats

        def slow(heard):
            writing.set()
            go_on.wait(10)
            real(heard)

        self.store.beats = slow
        first = threading.Thread(
            target=self.publisher.publish_samples, args=([heartbeat('a')],)
        )
        first.start()
        writing.wait(10)
        for host, sequence in (('b', 1), ('c', 5), ('c', 6), ('c', 4)):
            self.publisher.publish_samples(
                [heartbeat(host, sequence=sequence)]
            )
        self.assertEqual([], self.store.batches)
        go_on.set()
        first.join(10)

        self.assertEqual(
            [[('a', 7)], [('b', 1), ('c', 6)]],
            [
                [(one.host, one.sequence) for one in batch]
                for batch in self.store.batches
            ],
        )

    def test_heartbeats_of_two_boots_both_wait(self):
        self.publisher._writing = True
        self.publisher.publish_samples([heartbeat('a', sequence=9)])
        self.publisher.publish_samples(
            [heartbeat('a', boot_id='new', sequence=1)]
        )

        self.assertEqual(2, len(self.publisher._waiting))

    def test_an_error_that_nobody_expected_does_not_end_the_writing(self):
        self.store.beats = mock.Mock(side_effect=[ZeroDivisionError, None])
        with self.assertRaises(ZeroDivisionError):
            self.publisher.publish_samples([heartbeat()])
        self.publisher.publish_samples([heartbeat(sequence=8)])

        self.assertEqual(2, self.store.beats.call_count)

    def test_a_writer_returns_although_heartbeats_never_end(self):
        def more(heard):
            self.store.batches.append(heard)
            self.publisher.publish_samples(
                [heartbeat(sequence=heard[0].sequence + 1)]
            )

        self.store.beats = more
        self.publisher.publish_samples([heartbeat(sequence=0)])
        self.assertEqual(publisher.TURNS, len(self.store.batches))

        self.publisher.publish_samples([heartbeat(sequence=1000)])
        self.assertEqual(1000, self.store.batches[publisher.TURNS][0].sequence)

    def test_many_threads_lose_no_host(self):
        hosts = [f'cmp-{number}' for number in range(200)]
        with futures.ThreadPoolExecutor(16) as pool:
            list(
                pool.map(
                    lambda host: self.publisher.publish_samples(
                        [heartbeat(host)]
                    ),
                    hosts,
                )
            )

        stored = [one.host for batch in self.store.batches for one in batch]
        self.assertEqual(sorted(hosts), sorted(stored))

    def test_the_first_heartbeat_waits_for_nothing(self):
        self.publisher.publish_samples([heartbeat()])

        self.assertEqual([], self.slept)

    def test_a_heartbeat_right_after_waits_for_others(self):
        self.publisher.publish_samples([heartbeat(sequence=1)])
        self.now += 0.01
        self.publisher.publish_samples([heartbeat(sequence=2)])
        self.now += 1
        self.publisher.publish_samples([heartbeat(sequence=3)])

        self.assertEqual(1, len(self.slept))
        self.assertAlmostEqual(publisher.GATHER - 0.01, self.slept[0])
        self.assertEqual(3, len(self.store.batches))

    def test_a_bad_sample_is_said_once_in_a_while(self):
        with self.assertLogs(publisher.LOG.logger, 'ERROR') as logged:
            for _ in range(3):
                self.publisher.publish_samples([heartbeat(boot_id='')])
            self.publisher.publish_samples([heartbeat(system_uuid='a b')])
            self.now += publisher.SAY_AGAIN
            self.publisher.publish_samples([heartbeat(system_uuid='a b')])

        self.assertEqual(3, len(logged.output))

    def test_health_is_stored_by_its_channel(self):
        self.publisher.publish_samples(
            [
                health('hypervisor.libvirt.up', 1),
                health(
                    'hypervisor.storage.up', 0, device='/srv', reason='I/O'
                ),
                health('hypervisor.nic.up', 0, device='eno1'),
                health('hypervisor.disk.smart', 1, device='sda'),
                health('hypervisor.storage.latency', 9, device='/srv'),
            ]
        )

        self.assertEqual([], self.store.batches)
        self.assertEqual(
            [
                [
                    values.Health('cmp-1', 'libvirt', True, 1),
                    values.Health('cmp-1', 'storage:/srv', False, 0, 'I/O'),
                    values.Health(
                        'cmp-1',
                        'nic:eno1',
                        False,
                        0,
                        'hypervisor.nic.up is 0, expected 1',
                    ),
                    values.Health('cmp-1', 'smart:sda', True, 1),
                ]
            ],
            self.store.seen,
        )

    def test_nobody_fills_the_store_with_parts_of_a_host(self):
        for number in range(3 * admission.CHANNELS):
            self.publisher.publish_samples(
                [health('hypervisor.storage.up', 0, device=f'/{number}')]
            )
            self.now += 100

        stored = [each.channel for batch in self.store.seen for each in batch]
        self.assertEqual(admission.CHANNELS, len(stored))
        self.publisher.publish_samples(
            [health('hypervisor.storage.up', 1, device='/0')]
        )
        self.assertTrue(self.store.seen[-1][0].ok)

    def test_no_sample_is_the_word_of_a_watcher(self):
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            for metadata in (
                {'host': ''},
                {'host': 'h' * 256},
                {'device': 'd' * 256},
                {'device': ['x']},
                {'device': 'a\nb'},
            ):
                self.publisher.publish_samples(
                    [health('hypervisor.storage.up', 1, **metadata)]
                )
            for volume in ('much', None, float('nan'), float('inf')):
                self.publisher.publish_samples(
                    [health('hypervisor.libvirt.up', volume)]
                )
        self.publisher.publish_samples(
            [health('hypervisor.libvirt.up', 1, device='x', channel='told')]
        )

        ((only,),) = self.store.seen
        self.assertEqual('libvirt:x', only.channel)

    def test_health_that_does_not_change_is_written_now_and_then(self):
        for _ in range(5):
            self.publisher.publish_samples(
                [health('hypervisor.libvirt.up', 1)]
            )
            self.now += 5
        self.publisher.publish_samples([health('hypervisor.libvirt.up', 0)])
        self.publisher.publish_samples([health('hypervisor.libvirt.up', 0)])

        self.assertEqual(
            [True, True, False], [one.ok for (one,) in self.store.seen]
        )

    def test_health_that_was_not_written_is_written_next_time(self):
        self.store.away = True
        with self.assertLogs(publisher.LOG.logger, 'WARNING'):
            self.publisher.publish_samples(
                [health('hypervisor.libvirt.up', 1)]
            )
            self.store.away = False
            self.publisher.publish_samples(
                [health('hypervisor.libvirt.up', 1)]
            )

        self.assertEqual(1, len(self.store.seen))

    def test_events_are_refused_with_a_sentence(self):
        with self.assertLogs(publisher.LOG.logger, 'ERROR') as logged:
            self.publisher.publish_events([object()])

        self.assertIn('event_pipeline.yaml', logged.output[0])


class SignatureTest(unittest.TestCase):
    """Heartbeats of two hosts and of one who is neither."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name) / 'masters'
        self.path.write_text(f'2026 {OLD}\n')
        self.store = FakeLiveness()
        patch = mock.patch.object(
            publisher.liveness, 'open_liveness', lambda conf: self.store
        )
        patch.start()
        self.addCleanup(patch.stop)
        self.now = 1000.0
        self.sequence = 0
        self.key = self.key_of(OLD)

    def key_of(self, secret, host='cmp-1', key_id='2026'):
        return signatures.derive(signatures.Key(key_id, secret.encode()), host)

    def open(self, mode):
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        opts.register_plugin_opts(conf)
        conf.set_override('heartbeat_signatures', mode, 'nova_ha')
        conf.set_override('heartbeat_masters_file', str(self.path), 'nova_ha')
        self.publisher = publisher.LivenessPublisher(conf, None)
        self.publisher.clock = lambda: self.now
        self.publisher.sleep = lambda seconds: None
        self.publisher._admission.clock = lambda: self.now

    def send(self, key=None, host='cmp-1', **changed):
        """Whether a heartbeat counts that was changed after it was signed."""
        self.sequence += 1
        self.now += 100
        one = values.Heard(host, 'boot', self.sequence, 'uuid')
        signed = {
            'host': host,
            'boot_id': 'boot',
            'sequence': str(self.sequence),
            'system_uuid': 'uuid',
        }
        if key:
            signed['key_id'] = key.id
            signed['signature'] = signatures.sign(key, one)
        before = len(self.store.batches)
        self.publisher.publish_samples([heartbeat(**{**signed, **changed})])
        return len(self.store.batches) > before

    def said(self):
        """What was said last of the host's signature."""
        (one,) = self.store.seen[-1]
        self.assertEqual(('cmp-1', 'signature'), (one.host, one.channel))
        return one

    def test_off_looks_at_nothing(self):
        self.path.unlink()
        self.open('off')

        self.assertTrue(self.send())
        self.assertTrue(self.send(self.key, signature='f' * 64))
        self.assertEqual([], self.store.seen)

    def test_require_takes_what_its_host_signed(self):
        self.open('require')

        self.assertTrue(self.send(self.key))
        self.assertEqual((True, 1.0, ''), dataclasses.astuple(self.said())[2:])

    def test_require_takes_nothing_else(self):
        self.open('require')
        self.assertTrue(self.send(self.key))
        with self.assertLogs(publisher.LOG.logger, 'ERROR') as logged:
            for name, sent in {
                'unsigned': lambda: self.send(),
                'other host': lambda: self.send(self.key_of(OLD, 'cmp-2')),
                'other secret': lambda: self.send(self.key_of(NEW)),
                'unknown key': lambda: self.send(
                    self.key_of(OLD, key_id='2025')
                ),
                'boot': lambda: self.send(self.key, boot_id='b'),
                'sequence': lambda: self.send(self.key, sequence='99999'),
                'uuid': lambda: self.send(self.key, system_uuid='other'),
                'service': lambda: self.send(self.key, service_uuid='s'),
                'host': lambda: self.send(self.key, host='cmp-2'),
                'odd': lambda: self.send(self.key, signature='\u00e9' * 64),
                'list': lambda: self.send(self.key, signature=['x']),
            }.items():
                with self.subTest(name):
                    self.assertFalse(sent())

        self.assertIn('it is not signed', logged.output[0])
        self.assertNotIn(self.key.secret.hex(), str(logged.output))
        self.assertNotIn(OLD, str(logged.output))

    def test_accept_takes_unsigned_ones_but_no_forgery(self):
        self.open('accept')

        self.assertTrue(self.send())
        self.assertEqual(
            (True, 0.0, 'not signed'), dataclasses.astuple(self.said())[2:]
        )
        self.assertTrue(self.send(self.key_of(OLD, key_id='2025')))
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            self.assertFalse(self.send(self.key_of(NEW)))

    def test_forgery_is_told_of_the_host_for_a_while(self):
        self.open('require')
        self.send(self.key)
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            self.send(self.key_of(NEW))
        self.assertFalse(self.said().ok)
        self.assertIn('wrongly signed and refused', self.said().text)

        self.assertTrue(self.send(self.key))
        self.assertTrue(self.said().ok)

    def test_good_heartbeat_does_not_cover_a_forgery_at_once(self):
        self.open('require')
        self.send(self.key)
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            self.send(self.key_of(NEW))
        self.now -= 100 - 1

        self.assertTrue(self.send(self.key))
        self.assertFalse(self.said().ok)

    def test_nobody_fills_the_store_with_hosts_that_are_none(self):
        self.open('require')
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            self.send(self.key_of(NEW))
            self.send()

            self.publisher.publish_samples(
                [health('hypervisor.libvirt.up', 0)]
            )
        self.assertEqual([], self.store.seen)

        self.send(self.key)
        self.now += 100
        self.publisher.publish_samples([health('hypervisor.libvirt.up', 0)])
        self.assertEqual('libvirt', self.store.seen[-1][0].channel)

    def test_keys_are_changed_while_the_heart_beats(self):
        self.open('require')
        new = self.key_of(NEW, key_id='2027')
        self.assertTrue(self.send(self.key))

        self.path.write_text(f'2027 {NEW}\n2026 {OLD}\n')
        self.assertTrue(self.send(self.key))
        self.assertTrue(self.send(self.key))
        self.assertEqual(
            (True, 0.5, 'signed with an old key'),
            dataclasses.astuple(self.said())[2:],
        )
        self.assertTrue(self.send(new))
        self.assertEqual(1.0, self.said().value)
        self.path.write_text(f'2027 {NEW}\n')
        self.assertTrue(self.send(new))
        with self.assertLogs(publisher.LOG.logger, 'ERROR'):
            self.assertFalse(self.send(self.key))

    def test_masters_that_break_count_on(self):
        self.open('require')
        self.path.write_text('2027 short\n')
        with self.assertLogs(publisher.LOG.logger.name.rpartition('.')[0]) as (
            logged
        ):
            self.assertTrue(self.send(self.key))
            self.assertTrue(self.send(self.key))

        self.assertEqual(1, len(logged.output))
        self.assertIn('count on', logged.output[0])
        self.assertNotIn('short', logged.output[0].partition('found')[0])

    def test_no_masters_at_all_are_said_before_ceilometer_swallows_it(self):
        self.path.unlink()
        for mode in ('accept', 'require'):
            with (
                self.assertLogs(publisher.LOG.logger, 'ERROR') as logged,
                self.assertRaises(values.NotConfigured),
            ):
                self.open(mode)
            self.assertIn('heartbeat_masters_file', logged.output[0])


class NotConfiguredTest(unittest.TestCase):
    def test_no_database_is_said_before_ceilometer_swallows_it(self):
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        with (
            self.assertLogs(publisher.LOG.logger, 'ERROR') as logged,
            self.assertRaises(values.NotConfigured),
        ):
            publisher.LivenessPublisher(conf, None)

        self.assertIn('[nova_ha_database] connection', logged.output[0])
