# SPDX-License-Identifier: Apache-2.0

"""What Prometheus is told: of saves, and of what is true right now."""

import dataclasses
import threading
import unittest
from unittest import mock
import urllib.request

from prometheus_client import parser

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import exporter
from nova_ha_plugins.engine import metrics
from nova_ha_plugins.engine import situation
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values
from tests.unit.recovery import examples
from tests.unit.recovery import test_levels


LIMITS = situation.Limits(timeout=6.0, patience=60.0, evacuations=32)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Store:
    """One look at a store with something of everything."""

    def __init__(self):
        self.status = {
            'age': 1.5,
            'sight': 'clear',
            'loop_late': 0.25,
        }
        self.counted = values.Census(7, {'untagged': 2}, 3, age=60.0)

    def now(self):
        return 5000.0

    def open_incidents(self):
        return (examples.make(incident.Phase.HELD, code='storm'),)

    def host_records(self):
        return (
            values.HostRecord('a', map_state='verified', verified_at=4000.0),
            values.HostRecord('b', map_state='absent'),
        )

    def arm_state(self):
        return values.ArmState(True, 'lena', '', 0.0)

    def engine_status(self):
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def census(self):
        return self.counted


class Liveness:
    def read(self):
        return tuple(
            views.Beat(host, '', 'boot', 1, '', age)
            for host, age in (('a', 0.5), ('b', 90.0), ('c', -1.0))
        )

    def read_healths(self):
        return tuple(
            views.HostHealth(host, channel, ok, 0.0, '', age)
            for host, channel, ok, age in (
                ('', 'watcher:ctl-1', True, 0.75),
                ('', 'watcher:ctl-2', False, 1.0),
                ('', 'watcher:ctl-3', True, 80.0),
                ('a', 'storage:/one', False, 1.0),
                ('a', 'storage:/two', False, 1.0),
                ('b', 'storage:/one', False, 1.0),
                ('b', 'libvirt', True, 1.0),
                ('b', 'told:down', False, 1.0),
            )
        )


class MetricsTestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.clock = Clock()
        self.metrics = metrics.Metrics(lambda: True, self.clock)

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels)


class SavedTest(MetricsTestCase):
    def test_stages_and_servers_of_a_recovery_are_counted_once(self):
        before = None
        for end in range(1, len(test_levels.WHOLE) + 1):
            after = test_levels.made(test_levels.WHOLE[:end], engine='me')
            self.metrics.saved(before, after)
            before = after

        for name, seconds in (
            ('detect', 6.0),
            ('corroborate', 2.0),
            ('fence', 10.0),
            ('force_down', 0.5),
            ('first_server', 46.0),
            ('last_server', 101.0),
        ):
            with self.subTest(stage=name):
                full = f'nova_ha_{name}_seconds'
                self.assertEqual(1, self.value(f'{full}_count'))
                self.assertEqual(seconds, self.value(f'{full}_sum'))
        self.assertEqual(1, self.value('nova_ha_incidents_total'))
        self.assertEqual(
            2, self.value('nova_ha_servers_ended_total', outcome='recovered')
        )

    def test_an_incident_of_the_webhook_counts_when_it_is_taken_on(self):
        theirs = examples.make(engine='')
        ours = dataclasses.replace(theirs, engine='me')

        self.metrics.saved(theirs, ours)
        self.metrics.saved(ours, ours)

        self.assertEqual(1, self.value('nova_ha_incidents_total'))

    def test_series_of_rare_events_begin_with_zero(self):
        """Prometheus sees no rise of a series that begins with 1."""
        for name, label, value in (
            ('false_suspicions', 'stage', 'decided'),
            ('fence_failures', 'code', 'fence-unconfirmed'),
            ('servers_ended', 'outcome', 'parked'),
        ):
            full = f'nova_ha_{name}_total'
            self.assertEqual(0, self.value(full, **{label: value}), name)

    def test_what_cannot_be_counted_ends_no_recovery(self):
        with self.assertLogs(metrics.LOG.logger, 'ERROR'):
            self.metrics.saved(None, None)

    def test_a_round_that_does_not_end_shows(self):
        self.metrics.turned(0.25)
        self.clock.now += 40.0

        self.assertEqual(40.0, self.value('nova_ha_round_age_seconds'))
        self.assertEqual(0.25, self.value('nova_ha_round_seconds_sum'))


class SituationTest(MetricsTestCase):
    def setUp(self):
        super().setUp()
        self.store = Store()
        self.reader = situation.Reader(
            self.store, Liveness(), LIMITS, self.clock
        )
        self.metrics.show(self.reader)

    def look(self):
        """Look as the thread does that looks every five seconds."""
        stop = mock.create_autospec(threading.Event(), instance=True)
        stop.is_set.side_effect = [False, True]
        self.reader.run(stop, 5.0)

    def test_everything_is_told_of_one_look(self):
        self.look()

        for expected, name, labels in (
            (1, 'store_up', {}),
            (1, 'engine_acting', {}),
            (1.5, 'acting_engine_age_seconds', {}),
            (1, 'armed', {}),
            (0.25, 'loop_late_seconds', {}),
            (1, 'sight', {'sight': 'clear'}),
            (0, 'sight', {'sight': 'blind'}),
            (0.75, 'watcher_age_seconds', {'watcher': 'ctl-1'}),
            (1, 'watcher_sees', {'watcher': 'ctl-1'}),
            (0, 'watcher_sees', {'watcher': 'ctl-2'}),
            (0, 'watcher_sees', {'watcher': 'ctl-3'}),
            (0.0, 'observer_lag_seconds', {}),
            (2, 'hosts', {'heartbeat': 'in-time'}),
            (1, 'hosts', {'heartbeat': 'missing'}),
            (1, 'hosts_fencing', {'state': 'verified'}),
            (1000.0, 'fence_check_age_seconds', {}),
            (2, 'hosts_degraded', {'channel': 'storage'}),
            (None, 'hosts_degraded', {'channel': 'libvirt'}),
            (None, 'hosts_degraded', {'channel': 'told'}),
            (1, 'incidents_open', {'phase': 'held'}),
            (0, 'incidents_open', {'phase': 'fencing'}),
            (1, 'incidents_held', {'code': 'storm'}),
            (0, 'evacuations_open', {}),
            (32, 'evacuations_limit', {}),
            (7, 'servers_protected', {}),
            (2, 'servers_unprotected', {'reason': 'untagged'}),
            (60.0, 'census_age_seconds', {}),
        ):
            with self.subTest(name=name, **labels):
                found = self.value(f'nova_ha_{name}', **labels)
                self.assertEqual(expected, found)

    def test_nothing_old_is_told(self):
        self.look()
        self.store.status = values.StoreError('away')
        with self.assertLogs(situation.LOG.logger, 'WARNING'):
            self.look()
        kept = self.value('nova_ha_armed')
        self.clock.now += 21.0

        self.assertEqual(1, kept)
        self.assertIsNone(self.value('nova_ha_armed'))
        self.assertEqual(0, self.value('nova_ha_store_up'))
        self.assertEqual(1, self.value('nova_ha_engine_acting'))

    def test_what_takes_long_is_read_less_often_and_grows_older(self):
        liveness, clock = Liveness(), self.clock
        reads = []

        def read_healths():
            reads.append(clock.now)
            clock.now += 2.0
            return Liveness().read_healths()

        liveness.read_healths = read_healths
        reader = situation.Reader(self.store, liveness, LIMITS, clock)
        reader.look()
        clock.now += 10.0
        (watch, *_) = reader.look().watchers
        clock.now += 30.0
        reader.look()

        self.assertEqual([100.0, 142.0], reads)
        self.assertEqual(0.75 + 12.0, watch.age)

    def test_what_was_never_said_has_no_series(self):
        self.store.status, self.store.counted = {}, None
        self.look()

        for name in (
            'acting_engine_age_seconds',
            'loop_late_seconds',
            'servers_protected',
        ):
            self.assertIsNone(self.value(f'nova_ha_{name}'), name)


class OpenTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.conf = config.load([], [])
        self.stop = threading.Event()
        self.addCleanup(self.stop.set)

    def test_nobody_is_answered_unless_an_option_says_so(self):
        with mock.patch.object(exporter, 'serve', autospec=True) as server:
            metrics.open_metrics(self.conf, lambda: False, self.stop)

        server.assert_not_called()

    def test_an_engine_whose_port_is_taken_goes_on(self):
        self.conf.set_override('port', 9748, 'metrics')
        with (
            mock.patch.object(
                exporter,
                'serve',
                autospec=True,
                side_effect=OSError(98, 'Address already in use'),
            ),
            mock.patch.object(situation, 'open_reader', autospec=True),
            self.assertLogs(metrics.LOG.logger, 'ERROR') as told,
        ):
            found = metrics.open_metrics(self.conf, lambda: False, self.stop)

        found.saved(None, examples.make())
        self.assertIn('port 9748', told.output[0])
        self.assertIn('already in use', told.output[0])

    def test_prometheus_can_read_the_answer(self):
        found = metrics.Metrics()
        reader = situation.Reader(Store(), Liveness(), LIMITS)
        reader.turn()
        found.show(reader)
        server = exporter.serve('127.0.0.1', 0, found.registry)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f'http://127.0.0.1:{server.server_port}/metrics'

        text = urllib.request.urlopen(url, timeout=5).read().decode()

        told = list(parser.text_string_to_metric_families(text))
        self.assertGreater(len(told), 30)
        for family in told:
            self.assertTrue(family.name.startswith('nova_ha_'), family.name)
            self.assertGreater(len(family.documentation), 20, family.name)


if __name__ == '__main__':
    unittest.main()
