# SPDX-License-Identifier: Apache-2.0

"""Incidents are worked on side by side; the gates must hold all the same."""

import threading

from nova_ha_plugins.engine import recover
from nova_ha_plugins.recovery import incident
from tests.scenarios import simulation
from tests.scenarios import tell
from tests.scenarios import verbs


class StormTest(tell.QuietTest):
    """Two hosts that die together are assessed by two threads."""

    def _two_suspects(self) -> simulation.Simulation:
        zones = dict.fromkeys(('h1', 'h2', 'h3', 'h4', 'h5'), 'az1')
        # The cooldown of a storm would hold both.
        sim = simulation.Simulation(zones, storm_cooldown=0.0)
        for uuid, host in (('s1', 'h1'), ('s2', 'h2')):
            sim.cloud.boot(uuid, host, verbs.METADATA['ha'], 'active')
        sim.prelude()
        sim.world.hang('h1')
        sim.world.hang('h2')
        while len(sim.store.open_incidents()) < 2:
            sim.second()
        sim.world.advance(1.0)
        return sim

    def test_one_of_them_at_most_passes_the_storm_gate(self) -> None:
        sim = self._two_suspects()
        engine = sim.engine
        assert engine is not None
        worker = recover.Recovery(engine.ctx, engine._snapshot())
        both = threading.Barrier(2)
        listed = sim.store.incidents

        def incidents(
            limit: int, host: str | None = None
        ) -> tuple[incident.Incident, ...]:
            found = listed(limit, host)
            try:
                # Whoever looks waits for the other one to look as well.
                both.wait(0.3)
            except threading.BrokenBarrierError:
                pass
            return found

        sim.store.incidents = incidents  # type: ignore[method-assign]
        sim.invariants.saved = lambda before, after: None  # type: ignore
        threads = [
            threading.Thread(target=worker.advance, args=(subject,))
            for subject in sim.store.open_incidents()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        fenced = [i for i in sim.store.open_incidents() if i.fence]
        self.assertEqual(1, len(fenced))
