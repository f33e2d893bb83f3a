# SPDX-License-Identifier: Apache-2.0

"""A sufficient core heals, the rest stays broken for ever: what must happen.

After the random faults of a seed most hosts heal, and nova, bus, store and one
engine work. One or two victims and a part of what surrounds them never do:
no alarm ever comes again, keystone is away, the engine is killed over and
over, a server can be claimed nowhere, a device hangs or lies. Within the
bound then, and without a person:

L1   a host that is dead, whose device works and which may be fenced, is
     evacuated: every server that asked for it runs elsewhere, in the state it
     had, but a poisoned one.
L3   a host that cannot be fenced needs an operator, and his word unblocks it.
L4   a host that lives is not suspected any more.
L5   an engine that is killed every minute finishes all the same.
L6   every incident is over, or says what it waits for.
L8   a poisoned server is parked, and the others are not.
L9   what no alarm says is found.
L10  a host of the core is in service again, if nothing of it waits.

The other bounds have stories: L2 ``no-room-*``, L7 ``storm-*``, L11
``armed-*``, L13 ``slow-server-*``. L12 is the command's and the lab's.

``python -m tests.scenarios.liveness --seeds 500``.
"""

import argparse
from collections.abc import Iterator
import logging
import random
import sys

from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from tests.scenarios import invariants
from tests.scenarios import language
from tests.scenarios import random_runs
from tests.scenarios import server_law
from tests.scenarios import simulation
from tests.scenarios import verbs

Phase = incident.Phase
Violation = invariants.Violation

# To find it, to ask twice, to wait for the device, to be evacuated with three
# attempts for each server one after the other, and the window of the storm
# gate for each host that was fenced before.
STORM_WINDOW = 60.0
BOUND = 600
# The operator's word, containment, a batch and its retries.
AFTER_ATTEST = 240
_EVERY_MINUTE = 60

# A victim whose guests run on.
_LIVES = 'agent-dead'
# What never heals of a victim; {h} is the host.
VICTIMS: dict[str, tuple[str, ...]] = {
    'dead': ('power-off {h}',),
    'hangs': ('hang {h}',),
    'dead-device-hangs': ('power-off {h}', 'device {h} hang'),
    'dead-device-fails': ('power-off {h}', 'device {h} error'),
    'dead-device-settles-never': ('power-off {h}', 'device {h} changing'),
    'hangs-device-lies': ('hang {h}', 'device {h} lie'),
    _LIVES: ('agent-stop {h}',),
    'probe-unknown': ('hang {h}', 'probe-unknown {h}'),
}
_FENCEABLE = ('dead', 'hangs')
_UNFENCEABLE = (
    'dead-device-hangs',
    'dead-device-fails',
    'dead-device-settles-never',
    'hangs-device-lies',
)
SURROUNDINGS: dict[str, tuple[str, ...]] = {
    'no-alarms': ('alarms-off',),
    'no-keystone': ('identity-down',),
    'slow-nova': ('nova-slow 1',),
    'killed-engine': (),
    'poison': (),
    'beats-twice': ('beat-twice {h}',),
}
# Codes with which an incident waits for somebody whom it names.
_SOMEBODY = frozenset(
    {
        'contained',
        'cleaning',
        'degraded',
        'disarmed',
        'evidence-unknown',
        'management-lost',
        'not-mapped',
        'not-ours',
        'nothing-protected',
        'own-reach',
        'parked-servers',
        'quarantined',
        'service-gone',
        'servers-wait',
        'power-unread',
        'identity-mismatch',
        'wait-up',
    }
)


class Run:
    """One seed, with what stays broken in it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(f'liveness {seed}')
        self.story = random_runs.plan(seed)
        self.story.settings['storm_window'] = STORM_WINDOW
        hosts = list(self.story.zones)
        count = 1 if len(hosts) < 5 else self.chance.randint(1, 2)
        self.victims = {
            host: self.chance.choice(sorted(VICTIMS))
            for host in self.chance.sample(hosts, count)
        }
        self.broken = self.chance.sample(
            sorted(SURROUNDINGS), self.chance.randint(1, 3)
        )
        self.poisoned: set[str] = set()
        self.sim: simulation.Simulation

    def play(self) -> None:
        """Let it happen.

        :raises Violation: a law was broken, or a bound was passed.
        """
        self.sim = language.play(self.story)
        self._calm_down()
        self._break()
        for _ in range(BOUND // _EVERY_MINUTE):
            if 'killed-engine' in self.broken:
                verbs.happen(self.sim, ['new-engine'])
            self.sim.run(_EVERY_MINUTE)
        self.sim.note('the bound')
        for law, text in self._wrong():
            raise Violation(f'{law}: {text} after {BOUND} s')
        self._attest()

    def _calm_down(self) -> None:
        """Heal the core, and the rest of it for the moment.

        Repaired by persons as ``random_runs`` does, so that what comes then
        is due to what stays broken alone.
        """
        random_runs.run_to_the_end(self.sim)
        self.sim.run(int(STORM_WINDOW))

    def _break(self) -> None:
        sim = self.sim
        sim.note(f'for ever: {self.victims} {self.broken}')
        for host, kind in self.victims.items():
            if 'poison' in self.broken:
                self.poisoned |= {
                    server.uuid
                    for server in sim.cloud.servers.values()
                    if server.host == host
                }
                self.poisoned = set(sorted(self.poisoned)[:1])
            for line in VICTIMS[kind]:
                verbs.happen(sim, line.format(h=host).split())
        sim.cloud.poison |= self.poisoned
        for name in self.broken:
            for line in SURROUNDINGS[name]:
                host = self.chance.choice(sorted(sim.world.hosts))
                verbs.happen(sim, line.format(h=host).split())

    # --- what must be so --------------------------------------------------

    def _wrong(self) -> Iterator[tuple[str, str]]:
        sim = self.sim
        for subject in sim.store.open_incidents():
            law = 'L4' if subject.host not in self.victims else 'L6'
            text = f'{subject.host} is {subject.phase}:{subject.code}'
            if law == 'L4' and subject.fence is None:
                yield law, f'{text}, and lives'
            if subject.phase == Phase.NEEDS_OPERATOR:
                continue
            if subject.code not in _SOMEBODY:
                yield 'L6', f'{text}: "{subject.reason}"'
        for name in sim.world.hosts:
            service = sim.cloud.services[name]
            if name not in self.victims and (
                service.forced_down or service.disabled
            ):
                yield 'L10', f'{name} is not in service: {service}'
        for host, kind in self.victims.items():
            if not self._asks(host):
                continue
            newest = sim.newest(host)
            if kind in _FENCEABLE:
                yield from self._evacuated(host)
            elif newest is None:
                if kind != _LIVES:
                    yield 'L9', f'nobody noticed {host} ({kind})'
            elif kind in _UNFENCEABLE and not (
                newest.phase == Phase.NEEDS_OPERATOR
                or newest.code == 'not-mapped'
            ):
                yield (
                    'L3',
                    f'{host} ({kind}) asks nobody: '
                    f'{newest.phase}:{newest.code} "{newest.reason}"',
                )

    def _asks(self, host: str) -> list[str]:
        """Servers that lived there and ask for recovery."""
        sim = self.sim
        listed = {
            server.uuid
            for subject in sim.store.incidents(1, host)
            for server in subject.servers
        }
        return [
            server.uuid
            for server in sim.cloud.servers.values()
            if (server.host == host or server.uuid in listed)
            and server.vm_state in ('active', 'stopped')
            and server_law.opted_in(
                server.metadata, sim.settings.default_policy
            )
        ]

    def _evacuated(self, host: str) -> Iterator[tuple[str, str]]:
        sim = self.sim
        running = dict(sim.world.writers())
        for uuid in self._asks(host):
            server = sim.cloud.servers[uuid]
            # Nova may well choose a victim that only nobody hears.
            serves = self.victims.get(server.host, _LIVES) == _LIVES
            there = serves and (
                server.vm_state == 'stopped'
                or running.get(uuid) == server.host
            )
            if uuid in self.poisoned:
                states = {
                    each.state
                    for subject in sim.store.incidents(1, host)
                    for each in subject.servers
                    if each.uuid == uuid
                }
                if states != {incident.ServerState.PARKED}:
                    yield 'L8', f'poisoned {uuid} is {states}'
            elif not there:
                yield 'L1', f'{uuid} of {host} is {server}'

    def _attest(self) -> None:
        """A person switches off whoever could not be, and says so."""
        sim = self.sim
        asked = [
            host
            for host, kind in self.victims.items()
            if kind in _UNFENCEABLE and self._asks(host)
        ]
        if not asked:
            return
        for host in asked:
            sim.world.power_off(host)
            verbs.happen(sim, ['device', host, 'hang'])
        sim.run(30)
        for host in asked:
            sim.operator(facts.FactKind.ATTEST, host)
        sim.run(AFTER_ATTEST)
        for host in asked:
            for _, text in self._evacuated(host):
                raise Violation(f'L3: {text} {AFTER_ATTEST} s after attest')


def why(seed: int) -> str | None:
    """Return what goes wrong in a run, None when nothing does."""
    try:
        Run(seed).play()
    except (Violation, Exception) as error:
        return f'{type(error).__name__}: {error}'
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run seeds; return 1 if one of them went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=100)
    parser.add_argument('--first', type=int, default=0)
    parser.add_argument('--tell', action='store_true')
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    wrong = 0
    for seed in range(options.first, options.first + options.seeds):
        found = why(seed)
        if found is None:
            continue
        wrong += 1
        sys.stdout.write(f'seed {seed}: {found}\n')
        if options.tell:
            sys.stdout.write(language.LAST[-1].told() + '\n')
            break
    sys.stdout.write(f'{options.seeds} seeds, {wrong} wrong\n')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
