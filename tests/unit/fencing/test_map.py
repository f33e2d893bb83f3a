# SPDX-License-Identifier: Apache-2.0

"""Tests of the fencing map and the door that loads it."""

import os
import tempfile
import textwrap
from unittest import mock

import fixtures
from oslo_config import cfg
import testtools

from nova_ha_plugins.conf import fencing as fencing_conf
from nova_ha_plugins.engine import doors
from nova_ha_plugins.fencing import door
from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.recovery import incident
from tests.unit.fencing import servers


class MapCase(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp()
        self.path = os.path.join(self.directory, 'fencing.yaml')
        self.addCleanup(os.rmdir, self.directory)

    def write(self, text):
        with open(self.path, 'w') as target:
            target.write(textwrap.dedent(text))
        self.addCleanup(
            lambda: os.path.exists(self.path) and os.unlink(self.path)
        )

    def door(self, call_timeout=5.0):
        conf = cfg.ConfigOpts()
        fencing_conf.register_opts(conf)
        conf([])
        conf.set_override('map_file', self.path, 'fencing')
        conf.set_override('call_timeout', call_timeout, 'fencing')
        return door.FencingDoor(conf)


class MapTest(MapCase):
    def wrong(self, text, *parts):
        self.write(text)
        error = self.assertRaises(fencing_map.MapError, self.door)
        for part in (self.path, *parts):
            self.assertIn(part, str(error))

    def test_absent_file_is_an_empty_map_and_says_so(self):
        log = self.useFixture(fixtures.FakeLogger(level=30))

        self.assertEqual((), self.door().hosts())
        self.assertIn('no host can be fenced', log.output)

    def test_empty_file_is_an_empty_map(self):
        for text in ('', 'hosts:\n', 'hosts: {}\n'):
            self.write(text)
            self.assertEqual((), self.door().hosts())

    def test_hosts_and_their_drivers_are_known(self):
        self.write("""
            hosts:
              cmp-2:
                driver: redfish
                address: https://bmc2
                system: /redfish/v1/Systems/1
              cmp-1:
                driver: redfish
                address: https://bmc1
                system: /redfish/v1/Systems/1
                probe: 10.0.0.1:16509
        """)

        found = self.door()

        self.assertEqual(('cmp-1', 'cmp-2'), found.hosts())
        self.assertEqual('redfish', found.driver_name('cmp-1'))
        self.assertEqual('', found.driver_name('cmp-9'))
        entries = fencing_map.load(self.path)
        self.assertEqual('10.0.0.1:16509', entries['cmp-1'].probe)
        self.assertEqual('', entries['cmp-2'].probe)

    def test_file_that_is_not_yaml_names_the_line(self):
        self.wrong('hosts:\n  cmp-1: {driver: redfish\n', 'line')

    def test_file_that_cannot_be_read_is_not_an_empty_map(self):
        self.write('hosts: {}\n')
        with mock.patch(
            'builtins.open', autospec=True, side_effect=PermissionError('no')
        ):
            self.assertRaises(fencing_map.MapError, self.door)

    def test_other_top_level_is_refused(self):
        self.wrong('host: {}\n', "'hosts'", "['host']")
        self.wrong('[1]\n', "'hosts'")
        self.wrong('hosts: [1]\n', "key 'hosts'")

    def test_host_that_stands_twice_is_refused(self):
        self.wrong(
            """
            hosts:
              cmp-1: {driver: redfish, address: 'https://a', system: /a}
              cmp-1: {driver: redfish, address: 'https://b', system: /b}
            """,
            "'cmp-1' stands twice",
        )

    def test_host_name_that_yaml_reads_as_a_number_is_refused(self):
        self.wrong('hosts: {17: {driver: redfish}}\n', '17', 'quotes')

    def test_missing_driver_names_host_and_key(self):
        self.wrong(
            'hosts: {cmp-1: {address: x}}\n', "host 'cmp-1'", "key 'driver'"
        )

    def test_unknown_driver_is_named(self):
        self.wrong(
            'hosts: {cmp-1: {driver: redfsh}}\n',
            "host 'cmp-1'",
            "There is no driver 'redfsh'; expected one of: redfish",
        )

    def test_wrong_option_names_host_and_key(self):
        self.wrong(
            """
            hosts:
              cmp-1: {driver: redfish, address: bmc, system: /a}
            """,
            "host 'cmp-1'",
            "key 'address'",
            "found 'bmc'",
        )

    def test_wrong_probe_names_host_and_key(self):
        self.wrong(
            'hosts: {cmp-1: {driver: redfish, probe: 22}}\n',
            "host 'cmp-1'",
            "key 'probe'",
        )

    def networks(self, text):
        return f'hosts: {{cmp-1: {{driver: redfish, networks: {text}}}}}\n'

    def test_networks_are_kept_in_their_order(self):
        self.write(
            self.networks(
                "{tenant: '10.2.0.1:22', storage: cmp-1.san, "
                "san_2: '[2001:db8::1]:16509'}"
            )
        )

        (entry,) = fencing_map.load(self.path).values()

        self.assertEqual(
            [
                ('tenant', '10.2.0.1:22'),
                ('storage', 'cmp-1.san'),
                ('san_2', '[2001:db8::1]:16509'),
            ],
            list(entry.networks.items()),
        )
        self.assertNotIn('networks', entry.options)

    def test_host_without_networks_has_none(self):
        for text in ('{}', ''):
            self.write(self.networks(text))

            (entry,) = fencing_map.load(self.path).values()

            self.assertEqual({}, entry.networks)

    def test_networks_that_are_no_mapping_are_refused(self):
        self.wrong(
            self.networks('[10.0.0.1]'),
            "host 'cmp-1', key 'networks'",
            'a value of type list',
        )

    def test_wrong_name_of_a_network_is_refused(self):
        for name in ('Storage', '1st', "'a b'", "'a:b'", '7', "''", 'a' * 33):
            self.wrong(
                self.networks(f'{{{name}: 10.0.0.1}}'),
                "host 'cmp-1', key 'networks'",
                'expected the name of a network',
            )

    def test_name_of_the_plain_probes_network_is_refused(self):
        self.wrong(
            self.networks('{management: 10.0.0.1}'),
            "key 'networks.management'",
            "key 'probe'",
        )

    def test_wrong_address_names_host_and_network(self):
        for address in ('7', "''", "':22'", "'a:ssh'", "'a b'", '[]'):
            self.wrong(
                self.networks(f'{{storage: {address}}}'),
                "host 'cmp-1', key 'networks.storage'",
                "expected 'address' or 'address:port'",
            )

    def test_malformed_probe_is_refused(self):
        self.wrong(
            'hosts: {cmp-1: {driver: redfish, probe: "cmp-1:ssh"}}\n',
            "host 'cmp-1', key 'probe'",
            "found 'cmp-1:ssh'",
        )

    def test_address_of_two_channels_is_refused(self):
        self.wrong(
            self.networks('{storage: Cmp-1.san, tenant: cmp-1.san}'),
            "host 'cmp-1', key 'networks.tenant'",
            "key 'networks.storage' of host 'cmp-1' as well",
        )
        self.wrong(
            """
            hosts:
              cmp-1: {driver: redfish, probe: '10.0.0.1:22'}
              cmp-2: {driver: redfish, networks: {storage: '10.0.0.1:22'}}
            """,
            "host 'cmp-2', key 'networks.storage'",
            "key 'probe' of host 'cmp-1' as well",
        )

    def test_ports_of_one_address_are_channels_of_their_own(self):
        self.write(
            self.networks("{storage: '127.0.0.1:1', tenant: '127.0.0.1:2'}")
        )

        (entry,) = fencing_map.load(self.path).values()

        self.assertEqual(2, len(entry.networks))

    def test_one_device_for_two_hosts_is_refused(self):
        self.wrong(
            """
            hosts:
              cmp-1: {driver: redfish, address: 'https://B', system: /a/1}
              cmp-2: {driver: redfish, address: 'https://b:443', system: /a/1}
            """,
            "host 'cmp-2'",
            "host 'cmp-1'",
            'https://b/a/1',
        )

    def test_password_in_the_map_is_refused_and_not_repeated(self):
        self.write("""
            hosts:
              cmp-1:
                driver: redfish
                address: https://bmc
                system: /a
                password: calvin
        """)
        error = self.assertRaises(fencing_map.MapError, self.door)

        self.assertIn("key 'password'", str(error))
        self.assertNotIn('calvin', str(error))


class DoorTest(MapCase):
    def setUp(self):
        super().setUp()
        self.bench = servers.LyingBmc()
        self.addCleanup(self.bench.close)
        options = self.bench.options()
        self.write(f"""
            hosts:
              cmp-1:
                driver: redfish
                address: {options['address']}
                system: {options['system']}
        """)

    def test_host_is_switched_off_and_read(self):
        found = self.door()

        self.assertEqual(incident.Power.ON, found.read('cmp-1').power)
        found.power_off('cmp-1')

        self.assertEqual(incident.Power.OFF, found.read('cmp-1').power)
        self.assertEqual(
            self.bench.uuid.lower(), found.read('cmp-1').system_uuid
        )

    def test_host_without_device_is_refused(self):
        found = self.door()

        for call in (found.power_off, found.read):
            error = self.assertRaises(doors.Refused, call, 'cmp-9')
            self.assertIn("'cmp-9'", str(error))

    def test_other_system_is_left_alone(self):
        self.assertRaises(
            doors.Refused,
            self.door().power_off,
            'cmp-1',
            '99999999-8888-4777-8666-555555555555',
        )

        self.assertTrue(self.bench.on)

    def test_driver_that_fails_in_an_unforeseen_way_is_no_answer(self):
        found = self.door()
        self.useFixture(fixtures.FakeLogger())

        with mock.patch.object(
            found._drivers['cmp-1'],
            'read',
            autospec=True,
            side_effect=ZeroDivisionError,
        ):
            error = self.assertRaises(doors.Unanswered, found.read, 'cmp-1')

        self.assertIn('ZeroDivisionError', str(error))
