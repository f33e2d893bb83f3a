# SPDX-License-Identifier: Apache-2.0

import gc
import unittest
from unittest import mock
import weakref

from ceilometer.polling import manager as polling
from ceilometer.polling import plugin_base
from oslo_config import cfg
from oslo_db import exception as db_exc

from ceilometer_pollsters import discovery
from ceilometer_pollsters import liveness
from nova_ha_plugins.recovery import views


class FakeStore:
    def __init__(self):
        self.ages = {}
        self.reads = 0
        self.away = False

    def read(self):
        self.reads += 1
        if self.away:
            raise db_exc.DBConnectionError(Exception('down'))
        return tuple(
            views.Beat(host, f'uuid-{host}', 'boot', 1, '', age)
            for host, age in self.ages.items()
        )


class FakeManager:
    """What a polling agent shows to its pollsters."""

    def __init__(self):
        self.notifier = mock.Mock()


class LivenessTest(unittest.TestCase):
    def setUp(self):
        self.store = FakeStore()
        patch = mock.patch.object(
            liveness.liveness, 'open_liveness', lambda conf: self.store
        )
        patch.start()
        self.addCleanup(patch.stop)
        self.conf = cfg.ConfigOpts()
        self.conf.register_opts(polling.POLLING_OPTS, group='polling')
        self.conf([], default_config_files=[])
        self.age = liveness.LivenessAgePollster(self.conf)
        self.up = liveness.LivenessUpPollster(self.conf)
        self.conf.set_override('project_id', 'ha-project', group='nova_ha')
        self.manager = FakeManager()
        self.now = 1000.0
        self.watcher = liveness.watcher_of(self.manager, self.conf, self.store)
        self.watcher.clock = lambda: self.now

    def cycle(self, seconds=100.0, resources=(discovery.FLEET,)):
        self.now = self.now + seconds
        cache = {}
        return [
            {
                sample.resource_metadata['host']: sample.volume
                for sample in pollster.get_samples(
                    self.manager, cache, list(resources)
                )
            }
            for pollster in (self.age, self.up)
        ]

    def test_both_meters_share_one_read(self):
        self.store.ages = {'a': 0.5, 'b': 1.25}
        ages, ups = self.cycle()

        self.assertEqual({'a': 0.5, 'b': 1.25}, ages)
        self.assertEqual({'a': 1, 'b': 1}, ups)
        self.assertEqual(1, self.store.reads)

    def test_a_silent_host_is_zero_and_an_event_of_the_project(self):
        self.store.ages = {'a': 0.5, 'b': 7.5, 'c': 0.7}
        _, ups = self.cycle(1e6)

        self.assertEqual({'a': 1, 'b': 0, 'c': 1}, ups)
        ((ctxt, event, payload), _) = self.manager.notifier.error.call_args
        self.assertEqual(({}, 'compute.host.down'), (ctxt, event))
        self.assertEqual(
            {
                'host': 'b',
                'service_uuid': 'uuid-b',
                'silent_for': 7.0,
                'tenant_id': 'ha-project',
                'reason': 'No heartbeat for 7.0s, expected one within 6.0s',
            },
            payload,
        )

    def test_a_host_that_stays_down_is_told_again_but_logged_once(self):
        self.store.ages = {'a': 0.5, 'b': 7.5, 'c': 0.7}
        with self.assertLogs(liveness.LOG.logger, 'WARNING') as logged:
            self.cycle(1e6)
            self.cycle(11.0)
            self.cycle(11.0)

        self.assertEqual(3, self.manager.notifier.error.call_count)
        self.assertEqual(1, len(logged.output))

    def test_the_return_of_a_host_is_an_event_too(self):
        self.store.ages = {'a': 0.5, 'b': 7.5, 'c': 0.7}
        self.cycle(1e6)
        self.store.ages['b'] = 0.1
        self.cycle(1.0)
        self.cycle(1.0)

        ((_, event, payload), _) = self.manager.notifier.info.call_args
        self.assertEqual(('compute.host.up', 'b'), (event, payload['host']))
        self.assertEqual(1, self.manager.notifier.info.call_count)

    def test_an_unknown_host_has_an_age_but_is_neither_up_nor_down(self):
        self.store.ages = {'a': 60.0, 'b': 61.0, 'c': 62.0}
        with self.assertLogs(liveness.LOG.logger, 'ERROR') as logged:
            ages, ups = self.cycle()
            self.cycle()

        self.assertEqual({'a': 60.0, 'b': 61.0, 'c': 62.0}, ages)
        self.assertEqual({}, ups)
        self.assertEqual(1, len(logged.output))
        self.assertIn('Monitoring is blind', logged.output[0])

    def test_a_store_that_is_away_makes_no_samples_and_no_events(self):
        self.store.ages = {'a': 0.5, 'b': 1.0}
        self.cycle()
        self.store.away = True
        with self.assertLogs(liveness.LOG.logger, 'WARNING') as logged:
            first = self.cycle()
            self.cycle()
            self.store.away = False
            self.cycle()

        self.assertEqual([{}, {}], first)
        self.assertEqual(2, len(logged.output))
        self.assertIn('cannot be read: DBConnectionError', logged.output[0])
        self.assertIn('can be read again', logged.output[1])
        self.manager.notifier.error.assert_not_called()

    def test_an_agent_that_was_not_given_the_fleet_looks_at_nothing(self):
        self.assertEqual([{}, {}], self.cycle(resources=()))
        self.assertEqual(0, self.store.reads)

    def test_two_agents_have_two_watchers_that_end_with_them(self):
        other = FakeManager()
        watcher = weakref.ref(
            liveness.watcher_of(other, self.conf, self.store)
        )
        self.assertIsNot(self.watcher, watcher())
        del other
        gc.collect()

        self.assertIsNone(watcher())

    def test_an_empty_project_is_said_at_once(self):
        self.conf.set_override('project_id', '', group='nova_ha')
        with self.assertLogs(liveness.LOG.logger, 'ERROR') as logged:
            liveness.watcher_of(FakeManager(), self.conf, self.store)

        self.assertIn('[nova_ha] project_id is empty', logged.output[0])

    def test_an_agent_without_notifications_gets_no_pollster(self):
        self.conf.set_override('enable_notifications', False, group='polling')
        with (
            self.assertLogs(liveness.LOG.logger, 'ERROR') as logged,
            self.assertRaises(plugin_base.ExtensionLoadError),
        ):
            liveness.LivenessUpPollster(self.conf)

        self.assertIn('enable_notifications', logged.output[0])


class DiscoveryTest(unittest.TestCase):
    def test_the_fleet_is_one_resource(self):
        found = discovery.FleetDiscovery(cfg.ConfigOpts()).discover(None)

        self.assertEqual([discovery.FLEET], found)
