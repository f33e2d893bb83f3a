# SPDX-License-Identifier: Apache-2.0

import unittest
from unittest import mock

from ceilometer.polling import plugin_base

from ceilometer_pollsters import discovery
from ceilometer_pollsters import liveness
from ceilometer_pollsters import meters
from ceilometer_pollsters import watching
from tests.unit.ceilometer_pollsters import watchers


class LivenessTest(unittest.TestCase):
    """What the meters show of what a watcher saw."""

    def setUp(self):
        self.store = watchers.FakeStore()
        self.conf = watchers.conf_of()
        self.manager = watchers.FakeManager()
        self.now = 1000.0
        self.watcher = watching.Watcher(
            self.conf, self.store, self.manager.notifier
        )
        self.watcher.clock = lambda: self.now
        for target, name, found in (
            (liveness.liveness, 'open_liveness', self.store),
            (liveness.watching, 'watcher_of', self.watcher),
        ):
            patch = mock.patch.object(
                target, name, autospec=True, return_value=found
            )
            patch.start()
            self.addCleanup(patch.stop)

    def samples(self, resources=(discovery.FLEET,)):
        return [
            list(pollster.get_samples(self.manager, {}, list(resources)))
            for pollster in (
                liveness.LivenessAgePollster(self.conf),
                liveness.LivenessUpPollster(self.conf),
            )
        ]

    def cycle(self, **arguments):
        for _ in range(20):
            self.now += 1.0
            self.watcher.look()
        return [
            {
                sample.resource_metadata['host']: sample.volume
                for sample in found
            }
            for found in self.samples(**arguments)
        ]

    def test_both_meters_show_one_look(self):
        self.store.ages = {'a': 0.5, 'b': 1.25}
        ages, ups = self.cycle()

        self.assertEqual({'a': 0.5, 'b': 1.25}, ages)
        self.assertEqual({'a': 1, 'b': 1}, ups)

    def test_a_silent_host_is_zero(self):
        self.store.ages = {'a': 0.5, 'b': 7.5, 'c': 0.7}
        _, ups = self.cycle()

        self.assertEqual({'a': 1, 'b': 0, 'c': 1}, ups)

    def test_an_unknown_host_has_an_age_but_is_neither_up_nor_down(self):
        self.store.ages = {'a': 60.0, 'b': 61.0, 'c': 62.0}
        ages, ups = self.cycle()

        self.assertEqual({'a': 60.0, 'b': 61.0, 'c': 62.0}, ages)
        self.assertEqual({}, ups)

    def test_a_watcher_that_does_not_look_shows_nothing(self):
        self.store.ages = {'a': 0.5}
        self.cycle()
        self.now += 60.0

        self.assertEqual([[], []], self.samples())

    def test_an_agent_that_was_not_given_the_fleet_shows_nothing(self):
        self.store.ages = {'a': 0.5}

        self.assertEqual([{}, {}], self.cycle(resources=()))

    def test_a_sample_belongs_to_the_resource_of_its_host(self):
        self.store.ages = {'a': 0.5}
        self.cycle()
        (sample,), _ = self.samples()

        self.assertEqual(meters.host_id('a', 'uuid-a'), sample.resource_id)

    def test_an_agent_without_notifications_gets_no_pollster(self):
        self.conf.set_override('enable_notifications', False, group='polling')
        with (
            self.assertLogs(liveness.LOG.logger, 'ERROR') as logged,
            self.assertRaises(plugin_base.ExtensionLoadError),
        ):
            liveness.LivenessUpPollster(self.conf)

        self.assertIn('enable_notifications', logged.output[0])
