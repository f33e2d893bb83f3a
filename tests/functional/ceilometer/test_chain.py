# SPDX-License-Identifier: Apache-2.0

"""Our entry points inside ceilometer's own agents, over ``fake://``."""

import time
import unittest

from ceilometer.polling import manager
from ceilometer import publisher
from stevedore import extension

from ceilometer_pollsters import meters
from ceilometer_pollsters import publisher as our_publisher
from nova_ha_plugins.recovery import health
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values
from tests.functional import telemetry


class Heard:
    """What arrives for aodh's event alarms."""

    def __init__(self):
        self.events = []

    def sample(self, notifications):
        for notification in notifications:
            for event in notification['payload']:
                traits = {item[0]: item[2] for item in event['traits']}
                self.events.append((event['event_type'], traits))

    def of(self, event_type, host):
        return [
            traits
            for kind, traits in list(self.events)
            if kind == event_type and traits['host'] == host
        ]


class ChainTest(unittest.TestCase):
    """Hosts that really poll, a watcher that really looks."""

    @classmethod
    def setUpClass(cls):
        cls.cloud = telemetry.Cloud(
            settings={'nova_ha': {'reemit_interval': 2.0}}
        )
        cls.addClassCleanup(cls.cloud.stop)
        cls.services = cls.cloud.telemetry
        cls.services.start_notification()
        cls.store = liveness.open_liveness(cls.cloud.conf)
        bus = telemetry.Bus(cls.cloud.plan)
        cls.central = bus.conf
        cls.heard = Heard()
        cls.addClassCleanup(bus.listen(cls.heard).stop)
        cls.services.start_agents()
        telemetry.wait_for(
            lambda: len(cls.store.read()) == 3, 'all hosts are heard'
        )
        telemetry.wait_for(
            lambda: any(
                each.clear for each in health.watches(cls.store.read_healths())
            ),
            'the watcher sees',
        )

    def setUp(self):
        self.heard.events.clear()

    def sequence(self, host):
        return {b.host: b.sequence for b in self.store.read()}[host]

    def power(self, host, state):
        self.services.set_power(host, state)

    def test_the_agent_of_a_hypervisor_loads_the_heartbeat_only(self):
        agent = manager.AgentManager(0, self.central, ['ha'])

        self.assertEqual(
            ['hypervisor.heartbeat'], [ext.name for ext in agent.extensions]
        )
        self.assertEqual(
            ['local_node'], [ext.name for ext in agent.discoveries]
        )

    def test_the_central_agent_loads_its_meters_and_the_fleet(self):
        agent = manager.AgentManager(0, self.central, ['ha_central'])

        self.assertEqual(
            sorted(
                each.name
                for each in meters.METERS
                if each.namespace == 'ha_central'
            ),
            sorted(ext.name for ext in agent.extensions),
        )
        self.assertEqual(['nova-ha-fleet'], agent.discover(['ha_fleet']))

    def test_stock_namespaces_do_not_know_our_pollsters(self):
        for namespace in ('compute', 'central', 'ipmi'):
            names = extension.ExtensionManager(
                f'ceilometer.poll.{namespace}', invoke_on_load=False
            ).entry_points_names()
            self.assertEqual(
                [], [name for name in names if name.startswith('hypervisor')]
            )

    def test_the_publisher_is_found_by_its_scheme(self):
        found = publisher.get_publisher(
            self.central, 'nova-ha-liveness://', 'ceilometer.sample.publisher'
        )

        self.assertIsInstance(found, our_publisher.LivenessPublisher)

    def test_heartbeats_arrive_with_the_identity_of_their_host(self):
        before = self.sequence('cmp-1')
        telemetry.wait_for(
            lambda: self.sequence('cmp-1') > before, 'a newer heartbeat'
        )

        for beat, host in zip(
            self.store.read(), self.cloud.plan['hosts'], strict=True
        ):
            self.assertEqual(host['name'], beat.host)
            self.assertEqual(host['system_uuid'], beat.system_uuid)
            self.assertLess(beat.age, 3.0)

    def test_a_dead_host_is_one_event_again_and_again_until_it_returns(self):
        self.addCleanup(self.power, 'cmp-2', 'on')
        self.power('cmp-2', 'off')
        last = self.sequence('cmp-2')
        died = time.monotonic()
        telemetry.wait_for(
            lambda: len(self.heard.of('compute.host.down', 'cmp-2')) >= 2,
            'two announcements',
        )

        self.assertLess(time.monotonic() - died, 15)
        traits = self.heard.of('compute.host.down', 'cmp-2')[0]
        project = self.cloud.plan['ha_project_id']
        self.assertEqual(
            (project, project), (traits['project_id'], traits['tenant_id'])
        )
        self.assertGreaterEqual(traits['silent_for'], 3.0)
        self.assertIn('No heartbeat for', traits['reason'])
        self.assertIn("'cmp-2' was last heard", traits['evidence'])
        self.assertEqual(
            1, len(self.heard.of('compute.host.suspected', 'cmp-2'))
        )
        self.assertEqual(last, self.sequence('cmp-2'))
        for other in ('cmp-1', 'cmp-3'):
            self.assertEqual([], self.heard.of('compute.host.down', other))

        self.power('cmp-2', 'on')
        telemetry.wait_for(
            lambda: self.heard.of('compute.host.up', 'cmp-2'), 'its return'
        )

    def test_a_probe_that_complains_is_an_event_and_no_death(self):
        trouble = values.Health('cmp-1', 'libvirt', False, 0.0, 'no answer')
        self.store.healths([trouble])
        self.addCleanup(
            self.store.healths, [values.Health('cmp-1', 'libvirt', True)]
        )
        traits = telemetry.wait_for(
            lambda: self.heard.of('compute.host.degraded', 'cmp-1'),
            'word of the trouble',
        )[0]

        self.assertIn("libvirt not well, 'no answer'", traits['evidence'])
        self.assertEqual([], self.heard.of('compute.host.down', 'cmp-1'))

    def test_the_watcher_leaves_word_of_its_looks(self):
        (watch,) = telemetry.wait_for(
            lambda: [
                each
                for each in health.watches(self.store.read_healths())
                if each.clear and each.age < 2.0
            ],
            'a watcher that sees',
        )

        self.assertEqual(('controller', 3), (watch.name, watch.hosts))

    def test_hung_is_silent_as_well_and_a_new_boot_has_a_new_id(self):
        self.addCleanup(self.power, 'cmp-3', 'on')
        self.power('cmp-3', 'hung')
        before = self.sequence('cmp-3')
        host = self.cloud.plan['hosts'][2]
        with open(host['boot_id_file'], 'w') as stream:
            stream.write('a-new-boot\n')
        self.assertFalse(self.services.describe()['cmp-3']['polling'])
        time.sleep(1.5)
        self.assertEqual(before, self.sequence('cmp-3'))

        self.power('cmp-3', 'on')
        beat = telemetry.wait_for(
            lambda: [
                b for b in self.store.read() if b.boot_id == 'a-new-boot'
            ],
            'a heartbeat of the new boot',
        )
        self.assertEqual('cmp-3', beat[0].host)

    def test_when_all_fall_silent_nobody_is_down(self):
        for host in self.services.hosts:
            self.addCleanup(self.power, host, 'on')
            self.power(host, 'off')
        telemetry.wait_for(
            lambda: min(beat.age for beat in self.store.read()) > 8,
            'eight seconds of silence',
        )

        self.assertEqual(
            [], [one for one in self.heard.events if 'down' in one[0]]
        )


if __name__ == '__main__':
    unittest.main()
