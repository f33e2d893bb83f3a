# SPDX-License-Identifier: Apache-2.0

"""Service levels as meters: nothing twice, nothing lost."""

import datetime
import unittest
from unittest import mock
import uuid

from ceilometer.polling import manager as polling
from ceilometer.polling import plugin_base

from ceilometer_pollsters import discovery
from ceilometer_pollsters import meters
from ceilometer_pollsters import service_levels
from nova_ha_plugins.conf import config
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import levels
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values
from tests.unit.docs import test_commands
from tests.unit.recovery import test_levels

NOW = test_levels.OPENED + 200.0


class Store:
    """A store with one recovery of everything."""

    def __init__(self):
        self.now_is = NOW
        self.found = [test_levels.made()]
        self.looks = 0
        self.away = False

    def now(self):
        return self.now_is

    def engine_status(self):
        self.looks += 1
        if self.away:
            raise values.StoreError('away')
        return {'age': 1.25}

    def incidents(self, limit):
        return tuple(self.found)

    def open_incidents(self):
        return tuple(self.found)

    def census(self):
        return values.Census(7, {'untagged': 2, 'policy-none': 1}, 3)


class Heartbeats:
    def read(self):
        return tuple(
            views.Beat(host, '', 'boot', 1, '', age)
            for host, age in (('a', 90.0), ('b', 0.75))
        )


class ServiceLevelsTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.conf = config.load([], [])
        self.conf.set_override('connection', 'sqlite://', 'nova_ha_database')
        self.store = Store()
        self.start()

    def start(self):
        """An agent was just started."""
        self.manager = mock.create_autospec(
            polling.AgentManager, instance=True
        )
        self.cache = {}

    def poll(self, kind, resources=(discovery.FLEET,)):
        with (
            mock.patch.object(
                store_api, 'open_store', autospec=True, return_value=self.store
            ),
            mock.patch.object(
                liveness,
                'open_liveness',
                autospec=True,
                return_value=Heartbeats(),
            ),
        ):
            pollster = kind(self.conf)
            samples = pollster.get_samples(self.manager, self.cache, resources)
        for each in samples:
            each.set_timestamp('2026-01-01T00:00:00')
        return samples

    def volumes(self, kind):
        return [each.volume for each in self.poll(kind)]

    def test_every_stage_has_a_meter(self):
        stages = {
            kind.stage: self.volumes(kind)
            for kind in service_levels._StagePollster.__subclasses__()
        }

        self.assertEqual(set(levels.Stage), set(stages))
        self.assertEqual([6.0], stages[levels.Stage.DETECT])
        self.assertEqual([], stages[levels.Stage.HOLD])
        self.assertEqual([101.0], stages[levels.Stage.LAST_SERVER])

    def test_an_end_keeps_its_own_time_whenever_it_is_polled(self):
        (found,) = self.poll(service_levels.FencePollster)

        self.assertEqual(
            datetime.datetime(1970, 1, 1, 0, 16, 52),
            datetime.datetime.fromisoformat(found.timestamp),
        )

    def test_an_end_is_that_of_the_host_as_a_resource(self):
        (found,) = self.poll(service_levels.FencePollster)

        self.assertEqual(meters.host_id('cmp-1', 'svc-1'), found.resource_id)
        self.assertEqual('cmp-1', found.resource_metadata['host'])

    def test_an_end_is_published_for_an_hour_and_after_a_start_for_a_day(self):
        self.store.now_is = NOW + 80000.0
        first = self.volumes(service_levels.FencePollster)
        self.cache = {}
        second = self.volumes(service_levels.FencePollster)
        self.start()
        restarted = self.volumes(service_levels.FencePollster)

        self.assertEqual(([10.0], [], [10.0]), (first, second, restarted))

    def test_servers_are_counted_at_the_end(self):
        servers = tuple(
            test_levels.examples.server(name, state=state)
            for name, state in (
                ('a', incident.ServerState.RECOVERED),
                ('b', incident.ServerState.RECOVERED),
                ('c', incident.ServerState.PARKED),
            )
        )
        self.store.found = [
            test_levels.made(servers=servers),
            test_levels.made(test_levels.WHOLE[:-1]),
        ]

        self.assertEqual([2], self.volumes(service_levels.RecoveredPollster))
        self.assertEqual([1], self.volumes(service_levels.ParkedPollster))

    def test_a_false_suspicion_is_one_of_its_host(self):
        cancelled = test_levels.made(
            (('suspected', 0.0), ('cancelled', 3.0)),
            incident.Phase.CANCELLED,
            closed_at=NOW - 10.0,
        )
        self.store.found.append(cancelled)

        found = self.volumes(service_levels.FalseSuspicionPollster)

        self.assertEqual([1], found)

    def test_every_fence_that_failed_is_one_of_its_host(self):
        lines = (
            *test_levels.WHOLE[:4],
            ('fence-unconfirmed', 60.0),
            ('device-lied', 70.0),
        )
        self.store.found = [test_levels.made(lines)]

        found = self.poll(service_levels.FenceFailurePollster)

        self.assertEqual([1, 1], [each.volume for each in found])
        self.assertEqual(2, len({each.timestamp for each in found}))

    def test_the_service_itself_is_one_resource(self):
        for kind, volume in (
            (service_levels.EngineAgePollster, 1.25),
            (service_levels.IncidentsPollster, 1),
            (service_levels.LagPollster, 0.75),
            (service_levels.WaitingPollster, 0),
            (service_levels.ProtectedPollster, 7),
            (service_levels.UnprotectedPollster, 3),
        ):
            (found,) = self.poll(kind)
            self.assertEqual(volume, found.volume)
            self.assertEqual(meters.SERVICE_ID, found.resource_id)
            self.assertTrue(uuid.UUID(found.resource_id))

    def test_a_cycle_looks_once(self):
        self.volumes(service_levels.FencePollster)
        self.volumes(service_levels.EngineAgePollster)

        self.assertEqual(1, self.store.looks)

    def test_an_agent_without_the_fleet_publishes_nothing(self):
        self.assertEqual(
            [], self.poll(service_levels.FencePollster, resources=())
        )
        self.assertEqual(0, self.store.looks)

    def test_a_store_that_is_away_is_told_once_and_loses_nothing(self):
        self.store.now_is = NOW + 80000.0
        self.store.away = True
        with self.assertLogs(service_levels.LOG.logger, 'WARNING') as told:
            away = self.volumes(service_levels.FencePollster)
            self.cache = {}
            self.volumes(service_levels.FencePollster)
        self.store.away, self.cache = False, {}
        back = self.volumes(service_levels.FencePollster)

        self.assertEqual([], away)
        self.assertEqual(1, len(told.output))
        self.assertEqual([10.0], back)

    def test_without_a_database_the_reason_is_told_once(self):
        conf = config.load([], [])
        service_levels._REFUSED.clear()

        with self.assertLogs(service_levels.LOG.logger, 'ERROR') as told:
            for kind in (
                service_levels.FencePollster,
                service_levels.EngineAgePollster,
            ):
                self.assertRaises(plugin_base.ExtensionLoadError, kind, conf)
        self.assertEqual(1, len(told.output))
        self.assertIn('[nova_ha_database] connection', told.output[0])

    def test_every_meter_is_an_entry_point_under_its_name(self):
        points = test_commands.entry_points('ceilometer.poll.ha_central')
        found = {
            name: target.partition(':')[2]
            for name, target in points.items()
            if name.startswith('instance_ha.')
        }

        self.assertEqual(
            {
                kind.meter: kind.__name__
                for kind in _leaves(service_levels._Pollster)
            },
            found,
        )


def _leaves(kind):
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from _leaves(each)


if __name__ == '__main__':
    unittest.main()
