# SPDX-License-Identifier: Apache-2.0

"""What the driver makes of notifications, and that it is never in the way."""

import time
import unittest
from unittest import mock

from oslo_config import cfg

from nova_ha_plugins.compute import driver
from nova_ha_plugins.compute import sampler
from nova_ha_plugins.compute import watched

LEGACY = {
    'instance_id': 'server',
    'host': 'host1',
    'image_ref_url': 'http://glance:9292/images/image',
}
VERSIONED = {
    'nova_object.name': 'InstanceActionRebuildPayload',
    'nova_object.data': {
        'uuid': 'server',
        'host': 'host1',
        'image_uuid': 'image',
    },
}


class DriverTest(unittest.TestCase):
    def setUp(self):
        self.sampler = mock.create_autospec(sampler.Sampler, instance=True)
        patch = mock.patch.object(
            driver, 'sampler_of', autospec=True, return_value=self.sampler
        )
        patch.start()
        self.addCleanup(patch.stop)
        self.conf = cfg.ConfigOpts()
        self.driver = driver.ProgressDriver(self.conf, ['topic'], None)

    def notify(self, event, payload=LEGACY, publisher='compute.host2'):
        self.driver.notify(
            {},
            {
                'publisher_id': publisher,
                'event_type': event,
                'payload': payload,
            },
            'INFO',
            None,
        )

    def told(self):
        """What was told after the name of the host."""
        return [
            call.args[0]
            for call in self.sampler.tell.call_args_list
            if not isinstance(call.args[0], str)
        ]

    def test_its_options_are_known(self):
        self.assertEqual(1.0, self.conf.nova_ha_progress.sample_interval)

    def test_a_start_in_both_formats(self):
        self.notify('compute.instance.rebuild.start')
        self.notify('instance.rebuild.start', VERSIONED, 'nova-compute:host2')

        for start in self.told():
            self.assertEqual(
                ('server', 'host2', 'host1', 'image'),
                (start.server, start.host, start.source, start.image),
            )
            self.assertAlmostEqual(time.time(), start.at, delta=5)
        self.assertEqual(2, len(self.told()))

    def test_an_end_and_an_error(self):
        for event, succeeded in (('end', True), ('error', False)):
            self.sampler.tell.reset_mock()
            self.notify(f'compute.instance.rebuild.{event}')
            self.notify(
                f'instance.rebuild.{event}', VERSIONED, 'nova-compute:host2'
            )

            end = watched.End('server', 'host2', succeeded)
            self.assertEqual([end, end], self.told())

    def test_a_server_that_boots_from_a_volume_has_no_image(self):
        self.notify(
            'compute.instance.rebuild.start',
            {**LEGACY, 'image_ref_url': 'http://glance:9292/images/'},
        )
        self.notify(
            'compute.instance.rebuild.start',
            {**LEGACY, 'image_ref_url': None},
        )
        data = {**VERSIONED['nova_object.data'], 'image_uuid': None}
        self.notify(
            'instance.rebuild.start',
            {'nova_object.data': data},
            'nova-compute:host2',
        )

        self.assertEqual([''] * 3, [start.image for start in self.told()])

    def test_a_rebuild_in_place_is_no_evacuation(self):
        self.notify(
            'compute.instance.rebuild.start', {**LEGACY, 'host': 'host2'}
        )
        self.notify('compute.instance.rebuild.start', {**LEGACY, 'host': None})

        self.assertEqual([], self.told())

    def test_a_host_with_dots(self):
        self.notify(
            'compute.instance.rebuild.end', publisher='compute.host2.example'
        )

        self.assertEqual('host2.example', self.told()[0].host)

    def test_other_services_and_other_events_are_nothing(self):
        self.notify('compute.instance.rebuild.start', publisher='api.host2')
        self.notify(
            'instance.rebuild_scheduled', VERSIONED, 'nova-conductor:host2'
        )
        self.sampler.tell.assert_not_called()
        self.notify('compute.instance.update')

        self.assertEqual([], self.told())

    def test_a_nova_compute_that_came_up_is_told_once(self):
        for _time in range(3):
            self.notify('compute.instance.update')

        self.sampler.tell.assert_called_once_with('host2')

    def test_nothing_gets_out(self):
        with self.assertLogs(driver.LOG, 'WARNING') as logs:
            self.driver.notify(None, None, 'INFO', None)
            self.notify('compute.instance.rebuild.start', {})
            self.notify('compute.instance.rebuild.start', None)
            self.sampler.tell.side_effect = MemoryError
            self.notify('compute.instance.rebuild.end')

        self.assertEqual(1, len(logs.output))
        self.assertIn('said once', logs.output[0])

    def test_a_dropped_word_is_said(self):
        self.sampler.tell.return_value = False
        with self.assertLogs(driver.LOG, 'DEBUG') as logs:
            self.notify('compute.instance.rebuild.start')

        self.assertIn('queue is full', logs.output[0])
        # The context of a request may hold a token.
        self.assertNotIn('context', logs.output[0])

    def test_it_costs_nothing_that_could_be_felt(self):
        times = []
        for _time in range(500):
            began = time.perf_counter()
            self.notify('compute.instance.update')
            times.append(time.perf_counter() - began)

        self.assertLess(sorted(times)[250], 0.0005)


class SamplerOfTest(unittest.TestCase):
    def test_both_notifiers_of_nova_share_one(self):
        conf = cfg.ConfigOpts()
        self.addCleanup(driver._samplers.pop, id(conf), None)

        one = driver.ProgressDriver(conf, ['topic'], None)
        two = driver.ProgressDriver(conf, ['other'], None)

        self.assertIs(one._sampler, two._sampler)
