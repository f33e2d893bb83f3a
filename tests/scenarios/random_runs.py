# SPDX-License-Identifier: Apache-2.0

"""Random faults on random clouds, then everything heals.

``tools/simulate --seeds 1000 [--first 0]``. While the faults last the law must
hold; after they healed every incident must come to its end. A failing seed is
made as short as possible and told.
"""

import dataclasses
import random

from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from tests.scenarios import invariants
from tests.scenarios import language
from tests.scenarios import simulation
from tests.scenarios import verbs

Phase = incident.Phase

_FAULTS_LAST = 160
# Share of the runs in which several engines are.
_SEVERAL = 0.3
_HEALED_LASTS = 900
# After the last fault it goes on like this, until all is well.
_OPERATOR_EVERY = 10

# Kinds of faults; each run has some of them. {h}: a host, {s}: a server,
# {n}: seconds. A kind with two lines does the second one later.
KINDS: dict[str, tuple[str, ...]] = {
    'power': ('power-off {h}',),
    'hang': ('hang {h}',),
    'hang-on': ('hang {h}', 'resume {h}'),
    'back': ('power-on {h}',),
    'agent': ('agent-stop {h}', 'agent-start {h}'),
    'bus-link': ('bus-cut {h}', 'bus-heal {h}'),
    'probe-link': ('probe-cut {h}', 'probe-heal {h}'),
    'isolation': ('isolate {h}', 'join {h}'),
    'probe': ('probe-unknown {h}', 'probe-known {h}'),
    'storage-link': ('probe-cut {h} storage', 'probe-heal {h} storage'),
    'tenant-link': ('probe-cut {h} tenant', 'probe-heal {h} tenant'),
    'storage-way': ('probe-unknown {h} storage', 'probe-known {h} storage'),
    'live-fail': ('live-fault {h} fail',),
    'live-hang': ('live-fault {h} hang', 'live-fault {h} well'),
    'live-slow': ('live-seconds {n}', 'live-seconds 4'),
    'migrate-call': ('migrate-fault lost refuse-409',),
    'migrate-late': ('migrate-fault late',),
    'migrate-reply': ('migrate-fault accept-504 accept-504',),
    'tenant-dies': ('probe-cut {h} tenant', 'power-off {h}'),
    'tenant-hangs': ('probe-cut {h} tenant', 'hang {h}', 'resume {h}'),
    'tenant-compute': (
        'probe-cut {h} tenant',
        'compute-stop {h}',
        'compute-start {h}',
    ),
    'tenant-bus': ('probe-cut {h} tenant', 'bus-cut {h}', 'bus-heal {h}'),
    'tenant-lost': ('probe-cut {h} tenant',),
    'storage-lost': ('probe-cut {h} storage',),
    'own-leg': ('leg-cut', 'leg-heal'),
    'own-storage-leg': ('leg-cut storage', 'leg-heal storage'),
    'deaf': ('leg-cut', 'agent-stop {h}', 'leg-heal', 'agent-start {h}'),
    'bus': ('bus-down', 'bus-up'),
    'late': ('beat-delay {h} {n}', 'beat-delay {h} 0'),
    'lie': ('device {h} lie', 'device {h} well'),
    'mute': ('device {h} mute', 'device {h} well'),
    'device-error': ('device {h} error', 'device {h} well'),
    'device-hang': ('device {h} hang', 'device {h} well'),
    'changing': ('device {h} changing', 'device {h} well'),
    'slow-off': ('device-delay {h} {n}',),
    'map': ('map {h} {g}', 'map {h} {h}'),
    'nova': ('nova-down', 'nova-up'),
    'nova-slow': ('nova-slow 2', 'nova-slow 0'),
    'reply': ('evacuate-fault accept-504',),
    'late-call': ('evacuate-fault late late',),
    'clock': ('clock {n}', 'clock -{n}'),
    'quick-back': ('power-off {h}', 'power-on {h}'),
    'crash-boot': ('stay-down {h}', 'power-on {h}', 'compute-start {h}'),
    'call': ('evacuate-fault lost refuse-409',),
    'stray': ('spawn-fault {h} stray',),
    'spawn': ('spawn-fault {h} fail',),
    'claim': ('spawn-fault {h} claim',),
    'slow-spawn': ('spawn-seconds {n}',),
    'slow-scheduler': ('schedule-seconds {n}',),
    'capacity': ('capacity-none', 'capacity-back'),
    'delete': ('delete {s}',),
    'tag': ('tag {s} off', 'tag {s} ha'),
    'owner-stops': ('owner-stops {s}',),
    'live-migration': ('live-migrate {s}',),
    'compute': ('compute-stop {h}', 'compute-start {h}'),
    'disarm': ('disarm', 'arm'),
    'maintenance': ('maintenance {h} {n}',),
    'pause': ('pause upgrade', 'pause-over upgrade'),
    'pause-zone': ('pause rack az1 {n}',),
    'release': ('release {h}',),
    'attest': ('attest-if-off {h}',),
    'by-hand': ('by-hand-if-off {s}',),
    'engine': ('new-engine',),
    'stall': ('stall {n}',),
    'alarm': ('alarm {h} watcher 3',),
    'keystone': ('identity-down', 'identity-up'),
    'disabled': ('service {h} disabled',),
    'unforced': ('service {h} unforced',),
    'twice': ('beat-twice {h}', 'beat-twice {h} off'),
    'jitter': ('beat-jitter {h} {n}', 'beat-jitter {h} 0'),
    'lossy': ('beat-lost {h} 2', 'beat-lost {h} 0'),
    'redeliver': ('bus-redeliver',),
    'store': ('store-down', 'store-up'),
    'store-read-only': ('store-read-only', 'store-up'),
    'store-slow': ('slow-saves 3', 'slow-saves 0'),
    'failover': ('store-failover',),
    'stale': ('stale-reads {n}', 'stale-reads 0'),
    'reboots': ('device {h} reboot', 'device {h} well'),
    'poison': ('poison {s}', 'cure {s}'),
}
# Of several engines, beside the other kinds.
ENGINE_KINDS: dict[str, tuple[str, ...]] = {
    'kill-acting': ('kill acting {n}',),
    'kill-watching': ('kill watching {n}',),
    'freeze-acting': ('freeze acting {n}',),
    'cut-acting': ('cut-from-store acting {n}',),
    'locks': ('locks-down', 'locks-up'),
    'locks-with-ttl': ('locks-with-ttl',),
}
# Rows of the fault matrix that these faults show, whatever the seed.
ROWS = ('F12', 'F13', 'F14', 'F20', 'F32', 'F33', 'F38')
# What every run needs to be worth anything.
_CORE = ('power', 'hang', 'hang', 'back', 'deaf')
# And one in which several networks are probed.
_NETWORKS = (
    'isolation',
    'agent',
    'storage-link',
    'storage-way',
    'own-storage-leg',
    'storage-lost',
    'tenant-lost',
    'tenant-dies',
    'live-slow',
    'live-fail',
)


# In which states the servers are when it begins.
_USUAL = ('active', 'active', 'stopped')
_STATES = ('paused', 'paused', 'suspended', 'rescued', 'error')
# Share of the servers that are in one of the rarer states.
_ODD = 0.3
# Kinds that each run draws from besides, of what owners and operators ask.
_OWNERS = ('owner-stops', 'live-migration', 'live-migration')


def plan(seed: int) -> language.Story:
    """Return the story of a seed."""
    return plan_of(random.Random(seed), f'seed-{seed}')


def plan_of(chance: random.Random, name: str) -> language.Story:
    """Return a story that is made by chance, whoever decides it."""
    hosts = [f'h{n}' for n in range(1, chance.randint(3, 6) + 1)]
    story = language.Story(name, until=_FAULTS_LAST)
    for host in hosts:
        story.zones[host] = chance.choice(('az1', 'az1', 'az2'))
    story.settings = {
        'storm_max_hosts': chance.randint(1, 3),
        'storm_window': chance.choice((60.0, 600.0)),
        'max_per_destination': chance.choice((1, 2, 8)),
        'management_lost': chance.choice(('alert', 'fence')),
        'storage': chance.choice(('alert', 'migrate', 'fence')),
        'tenant': chance.choice(('alert', 'migrate', 'migrate', 'fence')),
        'together': chance.choice((5.0, 300.0)),
    }
    story.networks = chance.choice(((), ('storage',), ('tenant', 'storage')))
    for host in hosts:
        for _ in range(chance.randint(0, 3)):
            uuid = f's{len(story.servers) + 1}'
            story.servers.append(_server(chance, uuid, host))
    servers = [words[0] for words in story.servers]
    kinds = [*_CORE, *chance.sample(sorted(KINDS), chance.randint(2, 9))]
    if story.networks:
        kinds += _NETWORKS
    if chance.random() < _SEVERAL:
        story.engines = chance.randint(2, 3)
        story.pause_at = chance.choice((None, chance.randint(1, 60)))
        kinds += [*ENGINE_KINDS, 'kill-acting', 'freeze-acting']
    for _ in range(chance.randint(3, 14)):
        story.events += _fault(chance, chance.choice(kinds), hosts, servers)
    for _ in range(chance.randint(0, 3)):
        kind = chance.choice(_OWNERS)
        story.events += _fault(chance, kind, hosts, servers)
    return story


def _server(chance: random.Random, uuid: str, host: str) -> list[str]:
    return [
        uuid,
        host,
        chance.choice(('ha', 'ha', 'ha', 'plain', 'masakari')),
        str(chance.randint(1, 1000)),
        chance.choice(_STATES if chance.random() < _ODD else _USUAL),
    ]


def _fault(
    chance: random.Random, kind: str, hosts: list[str], servers: list[str]
) -> list[language.Event]:
    words = {
        'h': chance.choice(hosts),
        'g': chance.choice(hosts),
        's': chance.choice(servers or ['none']),
        'n': str(chance.randint(1, 30)),
    }
    at = chance.choice((0, 1, 2, 5, chance.randint(3, 150)))
    events = []
    for line in {**KINDS, **ENGINE_KINDS}[kind]:
        events.append(
            language.Event(line.format(**words).split(), at=float(at))
        )
        at += chance.choice((1, 3, 8, 20, 60))
    return [e for e in events if e.at is not None and e.at < _FAULTS_LAST]


def run(story: language.Story, crash_at: int | None = None) -> None:
    """Play a random story, heal, and see it end.

    :raises Violation: the law was broken, or something never ends.
    """
    run_to_the_end(language.play(story, crash_at))


def run_to_the_end(sim: simulation.Simulation) -> None:
    """Heal everything and do what persons are asked for.

    :raises Violation: the law was broken, or something never ends.
    """
    heal(sim)
    for _ in range(_HEALED_LASTS // _OPERATOR_EVERY):
        sim.run(_OPERATOR_EVERY)
        operate(sim)
        if not sim.store.open_incidents():
            break
    left = [
        f'{i.host} is {i.phase}:{i.code} "{i.reason}" servers '
        + ' '.join(f'{s.uuid}={s.state}:{s.code}' for s in i.servers)
        for i in sim.store.open_incidents()
    ]
    if left:
        raise invariants.Violation(f'L6: never ends: {left}')
    for name, service in sim.cloud.services.items():
        if service.forced_down or service.disabled:
            raise invariants.Violation(
                f'L6: {name} was not let back: {service}'
            )


def heal(sim: simulation.Simulation) -> None:
    """Everything works again; whoever is off stays off for now."""
    sim.note('everything heals')
    for name, host in sim.world.hosts.items():
        host.agent = host.bus = True
        for network in host.networks:
            sim.world.net(name, network, True)
            sim.world.net_known(name, network, True)
            sim.world.leg(network, True)
        host.beat_delay, host.autostart = 0.0, True
        host.beat_twice, host.beat_jitter, host.beat_lost = False, 0.0, 0
        sim.world.resume(name)
        if host.power:
            sim.world.compute_start(name)
        sim.world.map[name] = name
        sim.world.devices[name].fault = ''
        sim.world.devices[name].delay = 0.0
    for words in (
        'bus-up',
        'nova-up',
        'nova-slow 0',
        'identity-up',
        'capacity-back',
        'schedule-seconds 1',
        'spawn-seconds 3',
        'arm',
        'alarms-on',
        'store-up',
        'slow-saves 0',
        'stale-reads 0',
        'locks-up',
    ):
        verbs.happen(sim, words.split())
    for service in sim.cloud.services.values():
        if 'otto' in service.reason:
            service.disabled, service.reason = False, ''
    sim.store.on_brakes.clear()
    sim.outside.faults.evacuate.clear()
    sim.outside.faults.migrate.clear()
    sim.outside.live.fault.clear()
    sim.cloud.spawn_fault.clear()
    sim.cloud.poison.clear()
    sim.store.on_brakes.clear()


def operate(sim: simulation.Simulation) -> None:
    """Do what each incident asks a person to do."""
    for subject in sim.store.open_incidents():
        host = sim.world.hosts[subject.host]
        if subject.code in (
            'storm',
            'monitoring-blind',
            'parked-servers',
            'migrations-open',
            'quarantined',
        ):
            sim.operator(facts.FactKind.RELEASE, subject.host)
        elif subject.phase == Phase.RECOVERED and not host.power:
            sim.world.power_on(subject.host)
        elif subject.code in ('cleaning', 'wait-up'):
            sim.world.power_on(subject.host)
            sim.world.compute_stop(subject.host)
            sim.world.compute_start(subject.host)
        elif subject.phase == Phase.HELD and subject.code in (
            'nothing-protected',
            'not-mapped',
            'evidence-unknown',
        ):
            # Somebody repairs it and switches it on.
            sim.world.power_off(subject.host)
            sim.world.power_on(subject.host)
        elif subject.phase == Phase.NEEDS_OPERATOR and not subject.listed:
            sim.world.power_off(subject.host)
    sim.outside.live.end_lost()
    for subject in sim.store.open_incidents():
        for server in subject.servers:
            if server.code == 'slow':
                _evacuate_by_hand(sim, server.uuid)
    for name, host in sim.world.hosts.items():
        if not host.power and not any(
            i.host == name for i in sim.store.open_incidents()
        ):
            sim.world.power_on(name)


def _evacuate_by_hand(sim: simulation.Simulation, uuid: str) -> None:
    """Nova lost it: a person looks for guests of it, then asks again."""
    if any(m.running for m in sim.cloud.migrations if m.server == uuid):
        return
    for host in sim.world.hosts.values():
        if host.power:
            host.guests.pop(uuid, None)
    verbs.happen(sim, ['by-hand', uuid])


def why(story: language.Story, crash_at: int | None = None) -> str | None:
    """Return what goes wrong in a run, None when nothing does."""
    try:
        run(story, crash_at)
    except (invariants.Violation, Exception) as error:
        return f'{type(error).__name__}: {error}'
    return None


def shrink(story: language.Story, crash_at: int | None) -> language.Story:
    """Return the story without all that it does not need to go wrong."""
    law = (why(story, crash_at) or '').split(':')[:2]
    for field in ('events', 'servers'):
        for item in list(getattr(story, field)):
            rest = [each for each in getattr(story, field) if each != item]
            shorter = dataclasses.replace(story, **{field: rest})
            if (why(shorter, crash_at) or '').split(':')[:2] == law:
                story = shorter
    return story


def told(story: language.Story, crash_at: int | None) -> str:
    """Return the shortest form of a failing run, with all that happened."""
    story = shrink(story, crash_at)
    wrong = why(story, crash_at)
    lines = [f'{story.name} crash_at={crash_at} {story.settings}']
    lines += [f'networks {" ".join(story.networks)}']
    lines += [f'zone {zone} {host}' for host, zone in story.zones.items()]
    lines += [f'server {" ".join(words)}' for words in story.servers]
    lines += [f'at {e.at:g} {" ".join(e.words)}' for e in story.events]
    return '\n'.join([*lines, language.LAST[-1].told(), str(wrong)])


def crash_of(seed: int) -> int | None:
    """Return at which point the engine of a seed is killed, if at all."""
    chance = random.Random(f'crash {seed}')
    return chance.choice((None, chance.randint(1, 60)))


def told_of(seed: int) -> str:
    """Return the shortest form of a seed that fails."""
    return told(plan(seed), crash_of(seed))
