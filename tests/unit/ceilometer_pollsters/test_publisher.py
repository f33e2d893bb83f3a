# SPDX-License-Identifier: Apache-2.0

from concurrent import futures
import threading
import unittest
from unittest import mock

from ceilometer import sample
from oslo_config import cfg
from oslo_db import exception as db_exc

from ceilometer_pollsters import publisher
from nova_ha_plugins.store import values


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


class FakeLiveness:
    def __init__(self):
        self.batches = []
        self.away = False

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

    def test_events_are_refused_with_a_sentence(self):
        with self.assertLogs(publisher.LOG.logger, 'ERROR') as logged:
            self.publisher.publish_events([object()])

        self.assertIn('event_pipeline.yaml', logged.output[0])


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
