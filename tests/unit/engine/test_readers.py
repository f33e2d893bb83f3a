# SPDX-License-Identifier: Apache-2.0

"""Power devices that do not answer keep no recovery waiting."""

from concurrent import futures

from tests.scenarios import simulation
from tests.scenarios import tell


class Stuck:
    """Begins nothing: every thread waits for a device."""

    def __init__(self):
        self.given = 0

    def submit(self, work, /, *args):
        self.given += 1
        return futures.Future()


class ReadersTest(tell.QuietTest):
    def test_a_host_is_recovered_while_devices_of_others_hang(self):
        hosts = {f'h{number}': 'az1' for number in range(1, 7)}
        sim = simulation.Simulation(hosts)
        sim.cloud.boot('s1', 'h1', {'ha:policy': 'evacuate'}, 'active')
        sim.prelude()
        sim.engine.readers = stuck = Stuck()
        # They are read again after so long; none of them ends.
        sim.run(1)
        for record in sim.store.host_records():
            sim.engine.registry._read.discard(record.host)
        sim.world.hang('h1')

        sim.run(40)

        self.assertEqual('recovered', sim.newest('h1').phase)
        self.assertGreaterEqual(stuck.given, len(hosts) - 1)
