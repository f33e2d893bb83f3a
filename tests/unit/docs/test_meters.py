# SPDX-License-Identifier: Apache-2.0

"""One table of meters: plugins, gnocchi's file and the page agree with it."""

import pathlib
import unittest
import uuid

from ceilometer_pollsters import meters
from ceilometer_pollsters import reading
from nova_ha_plugins.client import meters as command
from nova_ha_plugins.conf import nova_ha
from tests.unit.docs import test_commands
from tools import meter_table

ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / 'doc' / 'source' / 'admin' / 'meters.inc'

# It goes into the store of the last sign of life.
NOT_KEPT = {'hypervisor.heartbeat'}


class TestTable(unittest.TestCase):
    def test_each_plugin_has_a_row_and_each_row_a_plugin(self):
        for namespace in ('ha', 'ha_host', 'ha_central'):
            self.assertEqual(
                set(
                    test_commands.entry_points(f'ceilometer.poll.{namespace}')
                ),
                {m.name for m in meters.METERS if m.namespace == namespace},
                namespace,
            )

    def test_each_plugin_publishes_under_its_own_name(self):
        for namespace in ('ha_host', 'ha_central'):
            found = test_commands.entry_points(f'ceilometer.poll.{namespace}')
            for name, target in found.items():
                self.assertEqual(name, test_commands.load(target).meter)

    def test_no_meter_is_there_twice(self):
        names = [meter.name for meter in meters.METERS]

        self.assertEqual(sorted(set(names)), sorted(names))

    def test_each_meter_is_polled(self):
        for meter in meters.METERS:
            self.assertLess(0, meter_table.interval(meter))

    def test_page_shows_the_table(self):
        self.assertEqual(
            ''.join(meter_table.table()),
            PAGE.read_text(),
            'tools/meter-table > doc/source/admin/meters.inc',
        )


class TestGnocchi(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.shipped = command.definitions()

    def test_every_meter_is_kept_as_the_resource_of_the_table(self):
        kept = {
            (name, resource['resource_type'])
            for resource in self.shipped['resources']
            for name in resource['metrics']
        }

        self.assertEqual(
            {
                (meter.name, meter.resource)
                for meter in meters.METERS
                if meter.name not in NOT_KEPT
            },
            kept,
        )

    def test_every_policy_is_defined_and_used(self):
        self.assertEqual(
            {policy['name'] for policy in self.shipped['archive_policies']},
            set(meter_table.policies().values()),
        )

    def test_every_attribute_of_a_host_is_one_of_its_type(self):
        made = self.shipped['resource_types']
        for resource in self.shipped['resources']:
            kind = resource['resource_type']
            if kind in made:
                self.assertLessEqual(
                    set(resource.get('attributes', {})), set(made[kind]), kind
                )

    def test_pipeline_hands_over_what_is_kept_and_no_heartbeat(self):
        from ceilometer import agent

        (source,) = meter_table.read('pipeline_gnocchi_ha.yaml')['sources']
        for meter in meters.METERS:
            self.assertEqual(
                meter.name not in NOT_KEPT,
                agent.Source.is_supported(source['meters'], meter.name),
                meter.name,
            )


class TestHealth(unittest.TestCase):
    def test_our_agent_hands_over_heartbeats_and_every_health(self):
        (source,) = meter_table.read('pipeline_ha.yaml')['sources']

        self.assertEqual({*NOT_KEPT, *reading.CHANNELS}, set(source['meters']))

    def test_probe_is_not_missed_between_two_of_its_samples(self):
        timeout = next(
            opt.default
            for opt in nova_ha.nova_ha_opts
            if opt.dest == 'health_timeout'
        )
        for meter in meters.METERS:
            if meter.name in reading.CHANNELS:
                self.assertLessEqual(
                    3 * meter_table.interval(meter), timeout, meter.name
                )


class TestIds(unittest.TestCase):
    def test_host_is_its_service_where_that_is_known(self):
        service = str(uuid.uuid4())

        self.assertEqual(service, meters.host_id('cmp-1', service.upper()))

    def test_host_is_a_uuid_of_its_own_that_never_changes(self):
        self.assertEqual(
            '46812841-39f7-5161-bc45-4c16cba4cb12', meters.host_id('a')
        )
        self.assertNotEqual(meters.host_id('a'), meters.host_id('b', 'none'))

    def test_disk_and_network_of_one_name_are_two_resources(self):
        found = {
            meters.device_id(host, kind, 'x')
            for host in ('a', 'b')
            for kind in (meters.DISK, meters.INTERFACE)
        }

        self.assertEqual(4, len(found))
