# SPDX-License-Identifier: Apache-2.0

"""Before a silence counts, others are asked over the same network."""

import unittest

from nova_ha_plugins.recovery import incident
from tests.scenarios import doors
from tests.scenarios import simulation
from tests.scenarios import tell

HOSTS = {f'h{number}': 'az1' for number in range(1, 7)}


class Recorder(doors.Probe):
    """Keeps what is compared."""

    def __init__(self, sim):
        super().__init__(sim.outside)
        self.asked = []
        self.since = []

    def compare(self, targets, since):
        targets = tuple(targets)
        if since:
            # The cheap look at all networks asks with no time to compare.
            self.asked.append(targets)
            self.since.append(since)
        return super().compare(targets, since)


class CompareTest(tell.QuietTest):
    def setUp(self):
        super().setUp()
        self.sim = simulation.Simulation(dict(HOSTS))
        self.sim.world.probed = ('storage',)
        self.sim.cloud.boot('s1', 'h1', {'ha:policy': 'evacuate'}, 'active')
        self.sim.prelude()
        self.probe = Recorder(self.sim)
        self.sim.engine.ctx.probe = self.probe

    def test_a_host_that_answers_costs_no_comparison(self):
        self.sim.world.hosts['h1'].agent = False

        self.sim.run(30)

        self.assertEqual('degraded', self.sim.newest('h1').code)
        self.assertEqual([], self.probe.asked)

    def test_three_living_hosts_are_asked_on_each_silent_network(self):
        self.sim.world.legs['storage'].works = False
        # Not heard for a moment only: nobody to vouch for anything.
        self.sim.world.hosts['h2'].beat_lost = 1
        self.sim.world.hang('h1')

        self.sim.run(40)

        self.assertEqual('own-reach', self.sim.newest('h1').code)
        self.assertGreater(len(self.probe.asked), 5)
        for asked in self.probe.asked:
            self.assertEqual(
                ['management'] * 3 + ['storage'] * 3,
                [target.network for target in asked],
            )
        hosts = {t.host for asked in self.probe.asked for t in asked}
        self.assertEqual({'h3', 'h4', 'h5', 'h6'}, hosts)
        self.assertEqual(
            {f'10.0.0.{host}' for host in hosts},
            {t.address for asked in self.probe.asked for t in asked},
        )

    def test_it_is_compared_with_what_was_asked_after_the_silence(self):
        self.sim.world.legs['storage'].works = False
        self.sim.world.hang('h1')

        self.sim.run(10)

        (reading,) = (
            each
            for each in self.sim.newest('h1').readings
            if each.channel == 'probe:storage'
        )
        self.assertEqual(incident.Sign.UNKNOWN, reading.sign)
        self.assertEqual(self.probe.since[-1], reading.at)
        self.assertIn("cut off from network 'storage'", reading.text)
        self.assertIn(
            "'engine-1' to network 'storage'", self.sim.newest('h1').reason
        )

    def test_networks_that_the_others_do_not_have_let_it_stand(self):
        networks_of = self.probe.networks_of
        self.probe.networks_of = lambda host, address: (
            networks_of(host, address) if host == 'h1' else ()
        )
        self.sim.world.legs['storage'].works = False
        self.sim.world.hang('h1')

        self.sim.run(30)

        self.assertIsNotNone(self.sim.newest('h1').fence)
        self.assertEqual({()}, set(self.probe.asked))


if __name__ == '__main__':
    unittest.main()
