# SPDX-License-Identifier: Apache-2.0

"""Three engines: the one that acts is killed, frozen, or cut off."""

import collections
from concurrent import futures
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import typing
import unittest

from lab import calls
from lab import engine as engine_room
from lab import plan as planning
from lab import processes as running
from tests.lab import bench
from tests.lab import steps

# More often: each kill in a recovery of its own, so many times.
REPEAT = int(os.environ.get('NOVA_HA_LAB_REPEAT', '1'))
TIMES = os.environ.get('NOVA_HA_LAB_TIMES')
# Engine after engine in one recovery; then with a step in peace in between,
# when there is time for it (tools/test lab-all).
ROUNDS = (steps.STEPS, steps.STEPS[::2], steps.STEPS[1::2])
if not os.environ.get('NOVA_HA_LAB_ALL'):
    ROUNDS = ROUNDS[:1]
PAIR = ('cmp-1', 'cmp-2')
TTL = float(engine_room.SETTINGS['engine']['lease_ttl'])
# Between the end of the lease and the next engine: a round, a busy machine.
SLACK = 5.0
BUSY = float(os.environ.get('NOVA_HA_LAB_BUSY', '1'))
EX_CONFIG = 78


class EnginesTest(bench.LabTest):
    """What all of them share: three engines, a hung host, its servers.

    A hung host has power, so it takes a device to fence it.
    """

    engines = 3
    # One host fails after the other, and each of them is meant.
    settings: typing.ClassVar = {
        'gates': {
            'storm_window': '1',
            'storm_interval': '0',
            'storm_cooldown': '0',
            'healthy_delay': '5',
            'flap_limit': '0',
        }
    }

    def setUp(self) -> None:
        super().setUp()
        # An engine that is stopped for the next story is not healed there.
        self.addCleanup(self.faults.heal)
        # All servers go from one host to the other, and back.
        for service in self.operator.services():
            if service['host'] not in PAIR:
                self.operator.disable(service['id'])
        self.pool = self.enterContext(futures.ThreadPoolExecutor(4))
        self.kills: list[steps.Kill] = []
        # How often each server was started, from its first boot on.
        self.boots: collections.Counter[str] = collections.Counter()

    def watch(self, host: str) -> steps.Watcher:
        watcher = steps.Watcher(self.plan, self.lab.processes, host)
        self.addCleanup(watcher.close)
        return watcher

    def start_again(self, name: str) -> futures.Future[None]:
        """Have an engine start while the story goes on."""
        return self.pool.submit(
            engine_room.start,
            self.plan,
            self.lab.processes,
            self.plan.engine(name),
        )

    def kill_at(self, watcher: steps.Watcher, wanted: str) -> steps.Kill:
        """Kill whoever acts at a step, and return when another one acts."""
        kill = watcher.kill(wanted, bench.PATIENCE)
        watcher.taken_over(kill, bench.PATIENCE)
        # As systemd would, only that it had more patience.
        self.addCleanup(self.start_again(kill.engine).result)
        self.kills.append(kill)
        self.assertNotIn(kill.took_over, ('', kill.engine))
        self.assertLess(kill.seconds, TTL + SLACK * BUSY, kill)
        return kill

    def calls(self, since: float) -> list[calls.Call]:
        """Return what was asked of nova and the BMCs by engines."""
        ours = {
            planning.Engine(n + 1).address()
            for n in range(planning.MOST_ENGINES)
        }
        return [
            each
            for each in calls.read(self.plan, since)
            if each.client in ours
        ]

    def evacuations(self, uuid: str) -> list[dict[str, typing.Any]]:
        """Return nova's own records of the evacuations of a server."""
        found = self.operator.get(
            '/os-migrations', migration_type='evacuation'
        )['migrations']
        return [each for each in found if each['instance_uuid'] == uuid]

    def assert_once(
        self,
        uuids: typing.Collection[str],
        source: str,
        began: float,
        kills: typing.Sequence[steps.Kill] = (),
    ) -> None:
        """Each server is elsewhere, and was evacuated and started once."""
        self.wait_guests(uuids)
        servers = self.operator.servers()
        domains = self.stage.domains()
        asked = [
            each.path.split('/')[-2]
            for each in self.calls(began)
            if each.what == 'evacuate' and each.status in (0, 200, 202)
        ]
        for uuid in uuids:
            self.boots[uuid] += 1
            host = servers[uuid]['OS-EXT-SRV-ATTR:host']
            self.assertNotEqual(source, host)
            self.assertEqual('active', servers[uuid]['OS-EXT-STS:vm_state'])
            self.assertIsNone(servers[uuid]['OS-EXT-STS:task_state'])
            running_on = [
                name
                for name in domains[uuid]
                if self.hosts.power(self.plan.host(name)) == 'on'
            ]
            self.assertEqual([host], running_on)
            self.assertEqual(1 + self.boots[uuid], self.witness(uuid).boots)
            records = self.evacuations(uuid)
            self.assertEqual(self.boots[uuid], len(records), records)
            self.assertEqual(1, asked.count(uuid), self.calls(began))
        self.assert_nobody_ran_twice()
        self.assert_fenced_once(source, began, kills)

    def assert_fenced_once(
        self, host: str, began: float, kills: typing.Sequence[steps.Kill]
    ) -> None:
        """Nobody switches off what is off; who was killed may have tried."""
        system = self.plan.host(host).system_uuid
        offs = [
            each
            for each in self.calls(began)
            if each.what == 'ForceOff' and system in each.path
        ]
        ended = sum(each.step == steps.ASKED for each in kills)
        self.assertTrue(1 <= len(offs) <= 1 + ended, offs)
        for each in self.calls(began):
            if each.what == 'ForceOff':
                self.assertIn(system, each.path)
        codes = self.codes(host)
        self.assertEqual(1, codes.count('fenced'), codes)
        self.assertNotIn('fence-void', codes)

    def assert_plain_left(self, source: str, plain: str, boots: int) -> None:
        server = self.operator.servers()[plain]
        self.assertEqual(source, server['OS-EXT-SRV-ATTR:host'])
        self.assertEqual(boots, self.witness(plain).boots)
        self.assertEqual([], self.evacuations(plain))

    def assert_silent(
        self, name: str, since: float, watcher: steps.Watcher
    ) -> None:
        """An engine asked nobody for anything, and knows that it watches."""
        address = self.plan.engine(name).address()
        bench.wait(
            lambda: 'took over' in self.plan.log(name).read_text(),
            f'{name} to notice that another engine took over',
        )
        mine = [each for each in self.calls(since) if each.client == address]
        self.assertEqual([], mine)
        self.assertNotEqual(name, watcher.look().lease.engine)

    def note_times(self) -> None:
        lines = steps.summary(self.kills)
        if TIMES:
            with pathlib.Path(TIMES).open('a') as stream:
                for kill in self.kills:
                    stream.write(f'{kill}\n')
                stream.writelines(f'{line}\n' for line in lines)


class KillTest(EnginesTest):
    """SIGKILL to the engine that acts, at ten steps of a recovery."""

    def recover(
        self,
        victim: str,
        protected: list[str],
        wanted: typing.Sequence[str],
    ) -> None:
        """Tell one failure, from the silence of a host to its return."""
        began = time.time()
        watcher = self.watch(victim)
        before = len(self.kills)
        self.faults.cause('hung', victim)
        for step in steps.STEPS:
            if step == steps.RETURNING:
                self.wait_phase(victim, 'recovered')
                self.assert_once(protected, victim, began, self.kills[before:])
                self.stage.power_on(victim)
                self.faults.heal()
            if step in wanted:
                self.kill_at(watcher, step)
        self.wait_phase(victim, 'closed')
        service = self.operator.service(victim)
        self.assertEqual('enabled', service['status'])
        self.assertFalse(service['forced_down'])
        self.wait_guests(self.servers)
        watcher.close()

    def test_every_server_comes_back_once_whenever_an_engine_dies(self):
        protected = self.boot('cmp-1', ha=4, plain=1)
        (plain,) = set(self.servers) - set(protected)
        rounds: typing.Sequence[typing.Sequence[str]] = ROUNDS
        if REPEAT > 1:
            rounds = [(step,) for step in steps.STEPS] * REPEAT
        here, there = PAIR
        plain_boots = 1
        for wanted in rounds:
            self.recover(here, protected, wanted)
            plain_boots += here == 'cmp-1'
            self.assert_plain_left('cmp-1', plain, plain_boots)
            here, there = there, here
        self.note_times()
        # What the store said after the end, not what was aimed at.
        for wanted in {kill.wanted for kill in self.kills}:
            self.assertIn(wanted, {kill.step for kill in self.kills})
        tokens = [kill.token for kill in self.kills]
        self.assertEqual(sorted(set(tokens)), tokens)


class StandstillTest(EnginesTest):
    """Frozen for longer than the lease, and let go on."""

    def test_an_engine_that_slept_through_its_lease_does_nothing_more(self):
        protected = self.boot('cmp-1', ha=2, plain=1)
        began = time.time()
        watcher = self.watch('cmp-1')
        self.faults.cause('hung', 'cmp-1')
        seen = watcher.reach(steps.DECIDED, bench.PATIENCE)
        sleeper = seen.lease

        self.freeze_in_a_save(sleeper.engine)
        frozen_at = time.time()

        watcher.until(
            lambda seen: seen.lease.token > sleeper.token and seen.lease.valid,
            'another engine to take over',
            TTL + SLACK * BUSY,
        )
        self.wait_phase('cmp-1', 'evacuating', 'recovered')
        # However quick the other one was: it has slept through its lease.
        time.sleep(max(0.0, frozen_at + TTL - time.time()))
        resumed_at = time.time()
        self.faults.heal(f'{sleeper.engine}:frozen')

        self.wait_phase('cmp-1', 'recovered')
        self.assert_once(protected, 'cmp-1', began)
        self.assert_left_alone('cmp-1')
        self.assert_silent(sleeper.engine, resumed_at, watcher)

    def freeze_in_a_save(self, name: str) -> None:
        """Freeze an engine while it has a transaction open, if it can be met.

        The rows that it has locked then stay locked, that of the lease too.
        """
        address = self.plan.engine(name).address()
        with steps.leases.connect(self.plan) as connection:
            deadline = time.monotonic() + 4.0
            while time.monotonic() < deadline:
                self.lab.processes.signal(name, signal.SIGSTOP)
                # For so long MariaDB repeats what it said of transactions.
                time.sleep(0.12)
                if steps.in_transaction(connection, address):
                    break
                self.lab.processes.signal(name, signal.SIGCONT)
                time.sleep(random.uniform(0.01, 0.04))
            else:
                print(f'{name} was met in no transaction', file=sys.stderr)
        self.faults.cause(f'{name}:frozen')


class CutTest(EnginesTest):
    """The engine that acts loses the database, and nothing else."""

    def test_an_engine_without_its_database_does_nothing_more(self):
        protected = self.boot('cmp-1', ha=2, plain=1)
        began = time.time()
        watcher = self.watch('cmp-1')
        self.faults.cause('hung', 'cmp-1')
        lost = watcher.reach(steps.FENCED, bench.PATIENCE).lease

        self.faults.cause('database:cut', lost.engine)
        cut_at = time.time()

        watcher.until(
            lambda seen: seen.lease.token > lost.token and seen.lease.valid,
            'another engine to take over',
            TTL + SLACK * BUSY,
        )
        self.wait_phase('cmp-1', 'recovered')
        self.assert_once(protected, 'cmp-1', began)
        self.assert_left_alone('cmp-1')
        self.faults.heal('database:cut', lost.engine)
        # What it had saved before the cut it may still have asked for.
        self.assert_silent(lost.engine, cut_at + TTL, watcher)


class AloneTest(EnginesTest):
    """Two engines that know nothing of each other."""

    armed = False

    def test_an_engine_without_coordination_refuses_to_be_the_second(self):
        shared = engine_room.conf_file(self.plan).read_text()
        conf = self.plan.write(
            'nova-ha',
            'alone.conf',
            text='\n'.join(
                line
                for line in shared.splitlines()
                if not line.startswith('backend_url')
            ),
        )
        extra = planning.Engine(self.engines + 1)
        service = engine_room.service(
            self.plan, self.lab.processes, extra, conf
        )

        done = subprocess.run(
            running.inside(self.plan.namespace, *service.argv),
            env=running.environment(),
            cwd=self.plan.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bench.PATIENCE,
            check=False,
        )

        self.assertEqual(EX_CONFIG, done.returncode, done.stderr[-2000:])
        self.assertIn('backend_url', done.stdout + done.stderr)


if __name__ == '__main__':
    unittest.main()
