# SPDX-License-Identifier: Apache-2.0

"""Late hosts are probed before their silence counts, a few at a time."""

import dataclasses
import threading
import unittest
from unittest import mock

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors as product_doors
from nova_ha_plugins.engine import suspects
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.recovery import suspicion
from nova_ha_plugins.recovery import views
from tests.scenarios import doors
from tests.scenarios import simulation
from tests.scenarios import tell

HOSTS = {f'h{number}': 'az1' for number in range(1, 31)}


class Recorder(doors.Probe):
    """Keeps who is probed, in which second."""

    def __init__(self, sim):
        super().__init__(sim.outside)
        self.sim = sim
        self.asked = []

    def probe_all(self, host, address):
        self.asked.append((self.sim.t, host))
        return super().probe_all(host, address)


class RoundsTest(tell.QuietTest):
    """In the rounds of an engine, with a timeout of six seconds."""

    def begin(self, **settings):
        self.sim = simulation.Simulation(dict(HOSTS), **settings)
        self.sim.cloud.boot('s1', 'h1', {'ha:policy': 'evacuate'}, 'active')
        self.sim.prelude()
        self.probe = Recorder(self.sim)
        self.sim.engine.ctx.probe = self.probe

    def asked(self, host):
        return [at for at, name in self.probe.asked if name == host]

    def test_nobody_is_probed_while_all_are_heard(self):
        self.begin()

        self.sim.run(10)

        self.assertEqual([], self.probe.asked)

    def test_a_late_host_is_probed_before_it_is_down(self):
        self.begin()
        self.sim.world.hang('h1')

        self.sim.run(5)

        # Silence counts against the newest heartbeat of the others.
        self.assertEqual([4.0, 5.0], self.asked('h1'))
        self.assertIsNone(self.sim.newest('h1'))

    def test_it_is_fenced_as_soon_as_its_heartbeats_have_stopped(self):
        self.begin()
        self.sim.world.hang('h1')

        self.sim.run(6)

        fence = self.sim.newest('h1').fence
        self.assertIsNotNone(fence)
        self.assertEqual(3, self.sim.newest('h1').silent_probes)

    def test_it_needs_no_alarm_then(self):
        self.begin()
        self.sim.alarms = False
        self.sim.world.hang('h1')

        self.sim.run(7)

        first = self.sim.newest('h1').timeline[0]
        self.assertIn('silent to 3 probes in a row', first.text)

    def test_without_probes_that_agree_the_alarm_is_waited_for(self):
        self.begin()
        self.sim.alarms = False
        self.sim.world.hosts['h1'].agent = False

        self.sim.run(11)

        self.assertIsNone(self.sim.newest('h1'))
        self.sim.run(3)
        self.assertEqual('degraded', self.sim.newest('h1').code)

    def test_an_answer_while_it_was_late_keeps_it_from_being_fenced(self):
        self.begin()
        self.sim.world.hosts['h1'].agent = False
        self.sim.run(5)
        self.sim.world.hang('h1')

        self.sim.run(8)

        self.assertIsNone(self.sim.newest('h1').fence)
        self.assertEqual('answered-lately', self.sim.newest('h1').code)

    def test_many_late_hosts_are_probed_a_few_at_a_time(self):
        self.begin()
        for number in range(1, 13):
            self.sim.world.hosts[f'h{number}'].agent = False

        self.sim.run(4)

        self.assertEqual(suspects.MOST, len(self.probe.asked))

    def test_a_host_with_an_incident_is_probed_by_its_looks_only(self):
        self.begin()
        self.sim.world.hosts['h1'].agent = False
        self.sim.run(10)
        self.probe.asked.clear()

        self.sim.run(10)

        self.assertEqual('degraded', self.sim.newest('h1').code)
        self.assertLessEqual(len(self.asked('h1')), 6)

    def test_a_store_that_answers_late_blinds_nobody(self):
        self.begin()
        self.sim.world.hang('h1')
        self.sim.run(2)
        liveness = self.sim.engine.ctx.liveness
        real = liveness.read

        def late():
            self.sim.world.advance(3.5)
            return real()

        with mock.patch.object(
            liveness, 'read', autospec=True, side_effect=late
        ):
            look = self.sim.engine._snapshot().look

        self.assertEqual(('clear', ''), (str(look.sight), look.reason))


class ChainTest(unittest.TestCase):
    """The work of one thread on one host."""

    def setUp(self):
        self.now = 100.0
        self.took = 0.8
        self.sign = incident.Sign.SILENT
        self.ctx = mock.Mock(
            spec=['settings', 'stopping', 'monotonic', 'probe', 'store']
        )
        self.ctx.settings = simulation.settings()
        self.ctx.stopping = threading.Event()
        self.ctx.monotonic = self.ctx.store.now = lambda: self.now
        self.ctx.probe = mock.create_autospec(
            product_doors.Probe, instance=True
        )
        self.ctx.probe.probe_all.side_effect = self.probe
        self.ctx.probe.networks_of.return_value = ('management',)
        self.witness = incident.Sign.ALIVE
        self.ctx.probe.compare.side_effect = self.compare
        self.beat = 1
        self.suspects = suspects.Suspects(self.ctx)

    def probe(self, host, address):
        self.now += self.took
        return (incident.Reading('probe', self.sign, self.now),)

    def compare(self, targets, since):
        return tuple(
            reach.Witness(target.host, target.network, self.witness)
            for target in targets
        )

    def look(self, silence, sight=detector.Sight.CLEAR):
        late = detector.HostLook(
            'h1', '', detector.Liveness.UP, silence, silence, suspected=True
        )
        other = detector.HostLook('h2', '', detector.Liveness.UP, 0.1, 0.1)
        beat = views.Beat('h1', '', 'boot', self.beat, '', silence)
        state = dataclasses.replace(detector.begin(0.0), heard={'h1': beat})
        return detector.Look(state, sight, '', (late, other), ())

    def known(self, silence=4.0, sight=detector.Sight.CLEAR):
        return self.suspects.tracks(self.look(silence, sight))

    def ask(self):
        snapshot = mock.create_autospec(context.Snapshot, instance=True)
        snapshot.look, snapshot.services = self.look(4.0), {}
        self.suspects._probe('h1', '10.0.0.1', snapshot)

    def test_a_silent_host_is_asked_again_at_once(self):
        self.ask()

        self.assertTrue(self.suspects.finished.is_set())
        self.assertTrue(suspicion.complete(self.known()['h1'], 3, self.now))
        self.assertEqual(3, self.ctx.probe.probe_all.call_count)

    def test_what_was_refused_on_the_way_is_asked_in_the_next_round(self):
        self.took = 0.001

        self.ask()

        self.assertEqual(1, self.ctx.probe.probe_all.call_count)
        self.assertFalse(self.suspects.finished.is_set())

    def test_a_host_that_answers_asks_for_no_round(self):
        self.sign = incident.Sign.ALIVE

        self.ask()

        self.assertEqual(1, self.ctx.probe.probe_all.call_count)
        self.assertFalse(self.suspects.finished.is_set())

    def test_a_host_that_is_heard_meanwhile_is_forgotten(self):
        def heard(host, address):
            self.known(silence=0.1)
            return self.probe(host, address)

        self.ctx.probe.probe_all.side_effect = heard

        self.ask()

        self.assertEqual({}, self.known())
        self.assertFalse(self.suspects.finished.is_set())

    def test_silence_that_all_share_is_our_own_and_not_counted(self):
        self.witness = incident.Sign.SILENT

        self.ask()

        self.assertEqual(0, self.known()['h1'].silent)
        self.assertFalse(self.suspects.finished.is_set())

    def test_a_leg_that_is_whole_again_makes_no_silence_of_before_true(self):
        self.witness = incident.Sign.SILENT
        self.ask()
        self.witness = incident.Sign.ALIVE

        self.took = 0.1
        self.ask()

        self.assertEqual(1, self.known()['h1'].silent)

    def test_a_heartbeat_that_no_round_saw_ends_the_count(self):
        self.ask()

        self.beat += 1

        self.assertEqual({}, self.known())

    def test_a_heartbeat_during_a_probe_ends_the_count(self):
        def heard(host, address):
            self.beat += 1
            self.known()
            return self.probe(host, address)

        self.ctx.probe.probe_all.side_effect = heard

        self.ask()

        self.assertEqual({}, self.known())
        self.assertFalse(self.suspects.finished.is_set())

    def test_probes_from_before_monitoring_was_blind_count_no_more(self):
        self.ask()
        self.known(sight=detector.Sight.BLIND)

        self.took = 0.1
        self.ask()

        self.assertEqual(1, self.known()['h1'].silent)

    def test_blindness_in_the_middle_begins_the_count_anew(self):
        def blind(host, address):
            if self.ctx.probe.probe_all.call_count == 3:
                self.known(sight=detector.Sight.BLIND)
            return self.probe(host, address)

        self.ctx.probe.probe_all.side_effect = blind

        self.ask()

        self.assertEqual(5, self.ctx.probe.probe_all.call_count)

    def test_it_asks_for_a_round_only_once(self):
        self.ask()
        self.known()

        self.ask()

        self.assertFalse(self.suspects.finished.is_set())

    def test_an_engine_that_stops_asks_nobody(self):
        self.ctx.stopping.set()

        self.ask()

        self.ctx.probe.probe_all.assert_not_called()


if __name__ == '__main__':
    unittest.main()
