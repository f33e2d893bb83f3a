# SPDX-License-Identifier: Apache-2.0

"""Stories of hosts that lose their power."""

import json
import os
import pathlib
import time
import unittest

from lab.demo import watch
from tests.lab import bench

# How often the main story is told; ten times before a release.
REPEAT = int(os.environ.get('NOVA_HA_LAB_REPEAT', '1'))
# A file that gets a line of JSON for each time: seconds since the power cut.
TIMES = os.environ.get('NOVA_HA_LAB_TIMES')


class PowerCutTest(bench.LabTest):
    """The main job, on shared disks."""

    def tell(self, victim: str) -> None:
        protected = self.boot(victim, ha=2, plain=1)

        cut_at = time.time()
        self.cut_power(victim)

        self.wait_phase(victim, 'recovered')
        self.assert_recovered(protected, victim)
        self.assert_left_alone(victim)
        self.note_times(victim, protected, cut_at)
        codes = self.codes(victim)
        for earlier, later in (
            ('suspected', 'corroborated'),
            ('corroborated', 'fencing'),
            ('fencing', 'fenced'),
            ('fenced', 'forced-down'),
            ('forced-down', 'evacuate'),
            ('evacuate', 'recovered'),
        ):
            self.assertLess(codes.index(earlier), codes.index(later))

        self.stage.power_on(victim)

        self.wait_phase(victim, 'closed')
        service = self.operator.service(victim)
        self.assertEqual('enabled', service['status'])
        self.assertFalse(service['forced_down'])
        # The server that nobody protects boots again where it was.
        self.wait_guests(self.servers)
        for uuid in self.servers:
            self.assertEqual(2, self.witness(uuid).boots)
        self.assert_nobody_ran_twice()

    def note_times(
        self, victim: str, protected: list[str], cut_at: float
    ) -> None:
        if not TIMES:
            return
        told = self.incident(victim)['timeline']
        times = {
            name: [
                watch.epoch(entry['at'])
                for entry in told
                if entry['code'] == code
            ]
            for name, code in (
                ('detect_s', 'suspected'),
                ('fence_s', 'fenced'),
                ('force_down_s', 'forced-down'),
                ('first_evacuation_s', 'evacuate'),
                ('last_evacuation_s', 'evacuate'),
                ('all_recovered_s', 'recovered'),
            )
        }
        times['guest_up_s'] = [
            self.witness(uuid).runs[-1].first for uuid in protected
        ]
        line = {
            name: round(
                (min if name.startswith('first') else max)(found) - cut_at, 2
            )
            for name, found in times.items()
        }
        with pathlib.Path(TIMES).open('a') as stream:
            stream.write(json.dumps(line) + '\n')

    def test_protected_servers_come_back_once_and_the_host_returns(self):
        for number in range(REPEAT):
            if number:
                self.setUp()
            self.tell('cmp-1')


class NamesDifferTest(PowerCutTest):
    """The same on the host whose kernel calls itself by its full name."""

    def test_protected_servers_come_back_once_and_the_host_returns(self):
        self.tell('cmp-2')


class WithoutGnocchiTest(PowerCutTest):
    """No recovery waits for a metric."""

    def test_protected_servers_come_back_once_and_the_host_returns(self):
        self.faults.cause('gnocchi-api:down')
        self.faults.cause('gnocchi-metricd:down')

        self.tell('cmp-3')


class OwnDisksTest(bench.LabTest):
    """Every host has disks of its own: a server comes back on a new one."""

    storage = 'local'

    def test_servers_come_back_on_new_disks_and_the_old_ones_go(self):
        protected = self.boot('cmp-1', ha=2, plain=1)

        self.cut_power('cmp-1')

        self.wait_phase('cmp-1', 'recovered')
        self.assert_recovered(protected, 'cmp-1')
        for uuid in protected:
            before, after = self.witness(uuid).runs
            self.assertEqual('cmp-1', before.disk)
            self.assertNotEqual('cmp-1', after.disk)
            self.assertEqual(1, after.boot)

        self.stage.power_on('cmp-1')

        self.wait_phase('cmp-1', 'closed')
        left = self.plan.directory / 'hosts' / 'cmp-1' / 'instances'
        for uuid in protected:
            self.assertFalse((left / uuid).exists(), uuid)
        self.assert_nobody_ran_twice()


class TwoHostsTest(bench.LabTest):
    """Two of five hosts die at once."""

    def test_storm_gate_holds_the_second_until_an_operator_releases_it(self):
        first = self.boot('cmp-1', ha=1, plain=1)
        second = self.boot('cmp-2', ha=1, plain=0)

        self.cut_power('cmp-1', 'cmp-2')

        held = bench.wait(self._held, 'one of the two to be held as storm')
        other = 'cmp-1' if held == 'cmp-2' else 'cmp-2'
        self.wait_phase(other, 'evacuating', 'recovered')
        self.assertEqual('storm', self.incident(held)['code'])
        self.assertNotIn('fencing', self.codes(held))

        self.release(held)

        for host in ('cmp-1', 'cmp-2'):
            self.wait_phase(host, 'recovered')
        self.assert_recovered(first, 'cmp-1')
        self.assert_recovered(second, 'cmp-2')
        self.assert_nobody_ran_twice()

    def _held(self) -> str:
        for host in ('cmp-1', 'cmp-2'):
            found = self.incident(host)
            if found and found['code'] == 'storm':
                return host
        return ''


class DestinationDiesTest(bench.LabTest):
    """The host that a server is being moved to loses its power too."""

    def test_the_server_ends_up_on_the_third_host_exactly_once(self):
        (server,) = self.boot('cmp-1', ha=1, plain=0)

        self.cut_power('cmp-1')

        destination = bench.wait(self._destination, 'a destination')
        self.cut_power(destination)
        self.wait_code(destination, 'storm')
        self.release(destination)

        self.wait_phase(destination, 'recovered')
        self.wait_phase('cmp-1', 'recovered')
        third = ({'cmp-1', 'cmp-2', 'cmp-3'} - {'cmp-1', destination}).pop()
        self.wait_guests([server])
        self.assertEqual([third], self.stage.domains()[server])
        self.assert_nobody_ran_twice()

    def _destination(self) -> str:
        found = self.evacuations()
        return (found[0]['dest_compute'] or '') if found else ''


class SourceReturnsTest(bench.LabTest):
    """Somebody switches the dead host on while it is being evacuated."""

    def test_no_server_runs_twice(self):
        protected = self.boot('cmp-1', ha=2, plain=0)

        self.cut_power('cmp-1')
        bench.wait(
            lambda: 'evacuate' in self.codes('cmp-1'), 'the first evacuation'
        )
        self.stage.power_on('cmp-1')

        bench.wait(self._at_rest, 'every server to be at rest')
        self.wait_guests(protected)
        domains = self.stage.domains()
        for uuid in protected:
            self.assertEqual(1, len(domains[uuid]), domains)
        self.assert_nobody_ran_twice()

    def _at_rest(self) -> bool:
        found = self.incident('cmp-1')
        servers = self.operator.servers().values()
        return found['phase'] in ('recovered', 'closed') and all(
            server['OS-EXT-STS:task_state'] is None for server in servers
        )


if __name__ == '__main__':
    unittest.main()
