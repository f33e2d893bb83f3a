# SPDX-License-Identifier: Apache-2.0

"""Stories of hosts that fall silent while their guests run."""

import time
import typing
import unittest

from lab import plan as planning
from tests.lab import bench

# How long a story that must end with nothing waits for something.
LOOKED_ON = 20.0


class StillAliveTest(bench.LabTest):
    """What all of them share."""

    def look_on(self) -> None:
        """Let the time pass in which something wrong would be done."""
        deadline = time.monotonic() + LOOKED_ON
        while time.monotonic() < deadline:
            self.assert_nothing_fenced()
            time.sleep(1.0)

    def assert_guests_run_on(self) -> None:
        self.wait_guests(self.servers)
        for uuid in self.servers:
            self.assertEqual(1, self.witness(uuid).boots)
        self.assert_nobody_ran_twice()


class AgentTest(StillAliveTest):
    def test_killed_agents_raise_an_alarm_and_nothing_is_fenced(self):
        self.boot('cmp-1', ha=1, plain=1)
        alarm = self.operator.alarm()
        self.operator.calm(alarm)

        self.faults.cause('ceilometer-polling:killed', 'cmp-1')
        self.faults.cause('nova-compute:killed', 'cmp-1')

        found = self.wait_code('cmp-1', 'degraded')
        self.assertIn('probe alive', found['reason'])
        # The engine may have looked by itself before it was told.
        bench.wait(
            lambda: self.operator.alarm_state(alarm) == 'alarm', 'the alarm'
        )
        self.look_on()
        self.assert_guests_run_on()

        self.faults.heal()

        self.wait_phase('cmp-1', 'cancelled')
        self.assert_nothing_fenced()


class ManagementNetworkTest(StillAliveTest):
    def test_by_default_a_host_cut_off_is_told_and_not_fenced(self):
        self.boot('cmp-1', ha=1, plain=1)

        self.faults.cause('network:management', 'cmp-1')

        found = self.wait_code('cmp-1', 'management-lost')
        self.assertIn('storage', found['reason'])
        self.look_on()
        self.assert_guests_run_on()

        self.faults.heal()

        self.wait_phase('cmp-1', 'cancelled')
        self.assert_nothing_fenced()


class OwnReachTest(StillAliveTest):
    def test_what_nobody_answers_is_not_held_against_one_host(self):
        self.boot('cmp-1', ha=1, plain=0)
        # To the engine it is all the same whether the cables of all hosts
        # are pulled or its own.
        for host in self.plan.hosts:
            self.faults.cause('network:storage', host.name)

        self.faults.cause('network:management', 'cmp-1')

        found = self.wait_code('cmp-1', 'own-reach')
        self.assertIn("network 'storage'", found['reason'])
        self.look_on()
        self.assert_guests_run_on()


class FencePolicyTest(StillAliveTest):
    settings: typing.ClassVar = {'networks': {'management': 'fence'}}

    def test_a_host_cut_off_is_fenced_first_and_evacuated_then(self):
        protected = self.boot('cmp-1', ha=1, plain=1)

        self.faults.cause('network:management', 'cmp-1')

        self.wait_phase('cmp-1', 'recovered')
        codes = self.codes('cmp-1')
        self.assertLess(codes.index('power-off'), codes.index('fenced'))
        self.assertLess(codes.index('fenced'), codes.index('evacuate'))
        self.assertEqual('off', self.hosts.power(self.plan.host('cmp-1')))
        self.assert_recovered(protected, 'cmp-1')
        self.assert_left_alone('cmp-1')
        self.assert_nobody_ran_twice()

    def test_a_bmc_that_lies_about_off_is_not_believed_against_a_voice(self):
        self.boot('cmp-1', ha=1, plain=0)
        self.faults.cause('bmc:lie', 'cmp-1')

        self.faults.cause('network:management', 'cmp-1')

        bench.wait(
            lambda: 'reads Off, yet it answers' in self.told('cmp-1'),
            'the lie to be told and contradicted',
        )
        deadline = time.monotonic() + LOOKED_ON
        while time.monotonic() < deadline:
            self.assertNotIn('evacuate', self.codes('cmp-1'))
            time.sleep(1.0)
        self.assertEqual('on', self.hosts.power(self.plan.host('cmp-1')))
        self.assert_guests_run_on()


class BmcTest(StillAliveTest):
    def test_a_bmc_that_does_nothing_stops_the_recovery(self):
        self.boot('cmp-1', ha=1, plain=0)
        self.faults.cause('bmc:ignore', 'cmp-1')

        # Silent on every channel, while its power is on.
        self.faults.cause('hung', 'cmp-1')

        bench.wait(
            lambda: 'power-off' in self.codes('cmp-1'), 'the host to be fenced'
        )
        self.wait_phase('cmp-1', 'fencing', 'needs-operator')
        deadline = time.monotonic() + LOOKED_ON
        while time.monotonic() < deadline:
            self.assertNotIn('fenced', self.codes('cmp-1'))
            self.assertNotIn('evacuate', self.codes('cmp-1'))
            time.sleep(1.0)
        self.assert_nobody_ran_twice()


class BrokerTest(StillAliveTest):
    def test_when_all_fall_silent_monitoring_is_blind_and_nothing_happens(
        self,
    ):
        self.boot('cmp-1', ha=1, plain=0)

        self.faults.cause('rabbitmq:down')

        bench.wait(lambda: self.sight() == 'blind', 'monitoring to be blind')
        self.look_on()
        self.assert_guests_run_on()

        self.faults.heal()

        bench.wait(lambda: self.sight() == 'clear', 'monitoring to see')
        self.assert_nothing_fenced()


class DatabaseTest(StillAliveTest):
    def test_a_database_that_stands_still_convicts_nobody(self):
        self.boot('cmp-1', ha=1, plain=0)

        # Longer than any host may be silent; nobody can be asked meanwhile.
        self.faults.cause('mariadb:frozen')
        time.sleep(LOOKED_ON)
        self.faults.heal()

        bench.wait(lambda: self.sight() == 'clear', 'monitoring to see')
        self.look_on()
        self.assert_guests_run_on()


class ReturnTest(StillAliveTest):
    def has_booted(self, host: planning.Host) -> bool:
        """Say whether it can be asked for its agents yet."""
        try:
            return bool(self.hosts.agents(host))
        except planning.LabError:
            return False

    def beats(self, name: str) -> bool:
        """Say whether the engine hears a host."""
        (host,) = (h for h in self.status()['hosts'] if h['host'] == name)
        return host['heartbeat_age'] is not None and host['heartbeat_age'] < 5

    def test_a_host_is_not_enabled_before_its_nova_compute_is_clean(self):
        protected = self.boot('cmp-1', ha=1, plain=0)
        self.cut_power('cmp-1')
        self.wait_phase('cmp-1', 'recovered')

        host = self.plan.host('cmp-1')
        self.stage.power_on('cmp-1')
        bench.wait(lambda: self.has_booted(host), 'cmp-1 to boot')
        self.faults.cause('nova-compute:killed', 'cmp-1')
        # From now on only nova-compute is missing.
        bench.wait(lambda: self.beats('cmp-1'), 'a heartbeat of cmp-1')

        deadline = time.monotonic() + LOOKED_ON
        while time.monotonic() < deadline:
            service = self.operator.service('cmp-1')
            self.assertEqual('disabled', service['status'])
            self.assertTrue(service['forced_down'])
            time.sleep(1.0)

        self.faults.heal('nova-compute:killed', 'cmp-1')

        self.wait_phase('cmp-1', 'closed')
        self.assertEqual('enabled', self.operator.service('cmp-1')['status'])
        self.assert_recovered(protected, 'cmp-1')
        self.assert_nobody_ran_twice()


if __name__ == '__main__':
    unittest.main()
