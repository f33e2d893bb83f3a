# SPDX-License-Identifier: Apache-2.0

"""The look at living hosts: spread over its time, and cheap for a thousand."""

import collections
import time

from tests.scenarios import doors
from tests.scenarios import simulation
from tests.scenarios import tell


class Recorder(doors.Probe):
    """Keeps who is asked, in which second."""

    def __init__(self, sim):
        super().__init__(sim.outside)
        self.sim = sim
        self.asked = collections.defaultdict(list)

    def sweep(self, targets):
        targets = tuple(targets)
        self.asked[int(self.sim.t)] += [(t.host, t.network) for t in targets]
        return super().sweep(targets)


class WatchTest(tell.QuietTest):
    def begin(self, hosts, probed=('storage', 'tenant'), **settings):
        names = {f'h{number:04}': 'az1' for number in range(hosts)}
        self.sim = simulation.Simulation(names, **settings)
        self.sim.world.probed = probed
        self.sim.prelude()
        self.probe = Recorder(self.sim)
        self.sim.engine.ctx.probe = self.probe

    def test_every_living_host_is_asked_once_in_an_interval(self):
        self.begin(6)

        self.sim.run(30)

        counted = collections.Counter(
            pair for asked in self.probe.asked.values() for pair in asked
        )
        self.assertEqual(18, len(counted))
        self.assertLessEqual(max(counted.values()), 7)
        self.assertGreaterEqual(min(counted.values()), 5)

    def test_the_hosts_are_spread_over_the_interval(self):
        self.begin(100)

        self.sim.run(20)

        most = max(len(asked) for asked in self.probe.asked.values())
        self.assertLessEqual(most, 3 * (100 // 5 + 1))

    def test_a_host_that_is_not_heard_is_not_asked(self):
        self.begin(4)
        self.sim.world.hosts['h0001'].agent = False
        self.sim.run(10)
        self.probe.asked.clear()

        self.sim.run(10)

        asked = {h for pairs in self.probe.asked.values() for h, _ in pairs}
        self.assertEqual({'h0000', 'h0002', 'h0003'}, asked)

    def test_hosts_with_the_management_network_only_are_not_asked(self):
        self.begin(4, probed=())

        self.sim.run(20)

        self.assertEqual({}, self.probe.asked)

    def test_interval_0_asks_nobody(self):
        self.begin(4)
        self.sim.engine.networks.rules = (
            self.sim.engine.networks.rules.__class__(interval=0.0)
        )

        self.sim.run(20)

        self.assertEqual({}, self.probe.asked)

    def test_an_outage_is_told_in_few_incidents(self):
        self.begin(40)
        for number in range(30):
            self.sim.world.net(f'h{number:04}', 'storage', False)

        self.sim.run(60)

        opened = self.sim.store.open_incidents()
        self.assertEqual({'network-outage'}, {each.code for each in opened})
        self.assertEqual(10, len(opened))
        told = self.sim.store.status['networks']['storage']
        self.assertEqual(30, len(told['hosts']))

    def test_a_thousand_hosts_are_judged_in_a_moment(self):
        self.begin(1000, probed=('storage',))
        for number in range(500):
            self.sim.world.net(f'h{number:04}', 'storage', False)
        watch = self.sim.engine.networks
        targets = [
            target
            for host in self.sim.world.hosts
            for target in watch._networks(host, 'address')
        ]
        snapshot = self.sim.engine._snapshot()
        for _ in range(4):
            watch._ask(snapshot, targets)
            self.sim.world.advance(5.0)

        began = time.process_time()
        picture = watch.picture(snapshot.look, ())
        took = time.process_time() - began

        self.assertEqual(500, len(picture.losses))
        self.assertLess(took, 0.5)
