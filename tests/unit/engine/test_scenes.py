# SPDX-License-Identifier: Apache-2.0

"""The scene of a decision: counted from what the store and the round know."""

import dataclasses

from nova_ha_plugins.engine import scenes
from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.scenarios import simulation
from tests.scenarios import tell
from tests.unit.recovery import examples

Phase = incident.Phase


class SceneTest(tell.QuietTest):
    ZONES = {
        **{f'a{number}': 'az1' for number in range(1, 7)},
        **{f'b{number}': 'az2' for number in range(1, 5)},
    }

    def setUp(self):
        super().setUp()
        self.sim = simulation.Simulation(dict(self.ZONES))
        self.sim.prelude()

    def of(self, host='a1', fresh=False, **changes):
        """Return the scene of a host at this moment."""
        subject = examples.make(
            host=host,
            domain=self.ZONES[host],
            opened_at=self.sim.store.now(),
            **changes,
        )
        engine = self.sim.engine
        made = scenes.Scenes(engine.ctx, engine._snapshot())
        scene = made.fresh if fresh else made.known
        return scene(subject, self.sim.store.now())

    def keep(self, host, phase, ago=5.0, **changes):
        """Store an incident of another host that was opened so long ago."""
        at = self.sim.store.now() - ago
        fence = changes.pop('fence', None) or examples.fence(intended_at=at)
        subject = examples.make(
            phase,
            uuid=f'inc-{host}-{ago}',
            host=host,
            domain=self.ZONES[host],
            opened_at=at,
            updated_at=at,
            closed_at=at if phase in incident.CLOSED_PHASES else None,
            fence=fence
            if phase not in (Phase.HELD, Phase.SUSPECTED)
            else None,
            **changes,
        )
        self.sim.store.by_uuid[subject.uuid] = subject
        return subject

    def test_a_quiet_cloud_has_only_its_own_domain(self):
        found = self.of()

        self.assertEqual(10, found.hosts)
        self.assertEqual(0, found.silent)
        self.assertIsNone(found.newest_silence)
        self.assertEqual((gates.Domain('az1', 6),), found.domains)
        self.assertEqual((), found.fences)
        self.assertTrue(found.own.mapped)

    def test_silent_hosts_are_counted_by_domain(self):
        for host in ('a1', 'a2', 'b1'):
            self.sim.world.hosts[host].agent = False
        self.sim.run(9)

        found = self.of()

        self.assertEqual(3, found.silent)
        self.assertEqual(
            [('az1', 6, 2), ('az2', 4, 1)],
            [(d.name, d.hosts, d.silent) for d in found.domains],
        )
        self.assertLess(found.newest_silence, 5.0)

    def test_hosts_in_maintenance_are_no_part_of_a_storm(self):
        self.sim.world.hosts['a2'].agent = False
        self.sim.store.set_brake(values.Brake('maintenance', 'a2'))
        self.sim.run(9)

        found = self.of()

        self.assertEqual(0, found.domains[0].silent)
        self.assertIsNone(found.newest_silence)
        self.assertEqual((), found.brakes)
        self.assertEqual(('a2',), tuple(b.name for b in self.of('a2').brakes))

    def test_fences_count_whatever_came_of_their_incidents(self):
        self.keep('a2', Phase.CLOSED)
        self.keep('a3', Phase.CANCELLED)
        self.keep('a4', Phase.FENCING)
        self.keep('b1', Phase.RECOVERED, released=True)
        self.keep('b2', Phase.HELD, code='storm')
        self.keep('b3', Phase.CLOSED, ago=601.0)

        for fresh in (False, True):
            found = self.of(fresh=fresh)
            self.assertEqual(
                ['a2', 'a3', 'a4', 'b1'], [f.host for f in found.fences]
            )

    def test_the_own_fence_and_the_older_one_of_a_host_do_not_count(self):
        self.keep('a1', Phase.CLOSED)
        self.keep('a2', Phase.CLOSED, ago=300.0)
        newer = self.keep('a2', Phase.RECOVERED, ago=5.0)

        (fence,) = self.of().fences

        self.assertEqual(newer.fence.intended_at, fence.at)

    def test_the_first_of_each_domain_that_waits_longer_is_named(self):
        self.keep('a2', Phase.HELD, ago=20.0, code='storm')
        self.keep('a3', Phase.HELD, ago=25.0, code='storm-rate')
        self.keep('b1', Phase.HELD, ago=9.0, code='storm')

        found = self.of()

        self.assertEqual(['a3', 'b1'], [d.waiting.host for d in found.domains])

    def test_who_is_held_for_else_released_or_stuck_keeps_nobody(self):
        self.keep('a2', Phase.HELD, ago=20.0, code='degraded')
        self.keep('a3', Phase.HELD, ago=25.0, code='storm', released=True)
        self.keep('b1', Phase.HELD, ago=31.0, code='storm')

        self.assertEqual({None}, {d.waiting for d in self.of().domains})

    def test_servers_on_their_way_to_the_host_are_counted(self):
        self.keep(
            'a2',
            Phase.EVACUATING,
            servers=(
                examples.server(
                    's1',
                    state=incident.ServerState.EVACUATING,
                    destination='a1',
                ),
                examples.server('s2', destination='a1'),
            ),
        )

        self.assertEqual(1, self.of('a1').own.incoming)
        self.assertEqual(0, self.of('a3').own.incoming)

    def test_a_fresh_scene_knows_what_was_said_since_the_round_began(self):
        engine = self.sim.engine
        made = scenes.Scenes(engine.ctx, engine._snapshot())
        subject, now = examples.make(host='a1'), self.sim.store.now()
        made.known(subject, now)
        self.sim.store.arm = values.ArmState(False, 'olga', 'stop', now)
        self.sim.store.set_brake(values.Brake('pause', 'upgrade'))
        self.keep('a2', Phase.FENCING)

        known, fresh = made.known(subject, now), made.fresh(subject, now)

        self.assertEqual((True, False), (known.armed, fresh.armed))
        self.assertEqual((0, 1), (len(known.brakes), len(fresh.brakes)))
        self.assertEqual((0, 1), (len(known.fences), len(fresh.fences)))

    def test_failures_of_the_host_are_counted_for_the_decision(self):
        self.keep('a1', Phase.CLOSED, ago=600.0)
        self.keep('a1', Phase.CLOSED, ago=3700.0)
        self.keep('a2', Phase.CLOSED, ago=600.0)

        self.assertEqual(1, self.of(fresh=True).flaps)
        self.assertEqual(0, self.of().flaps)


class SizeTest(tell.QuietTest):
    def test_a_thousand_dead_hosts_make_no_larger_record(self):
        hosts = {f'h{n:04}': f'az{n % 5}' for n in range(1000)}
        sim = simulation.Simulation(hosts)
        sim.run(3)
        engine = sim.engine
        snapshot = engine._snapshot()
        silent = dataclasses.replace(
            snapshot.look,
            hosts=tuple(
                dataclasses.replace(host, silent_for=60.0)
                for host in snapshot.look.hosts
            ),
        )
        made = scenes.Scenes(
            engine.ctx, dataclasses.replace(snapshot, look=silent)
        )

        scene = made.known(
            examples.make(host='h0001', domain='az1'), sim.store.now()
        )

        self.assertEqual(1000, scene.silent)
        self.assertEqual([200] * 5, [d.silent for d in scene.domains])
        record = decision.record('fence', {'scene': scene})
        self.assertLess(len(record), 2000)
