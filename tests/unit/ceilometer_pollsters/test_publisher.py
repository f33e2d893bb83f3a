# SPDX-License-Identifier: Apache-2.0

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
