# SPDX-License-Identifier: Apache-2.0

"""What can happen in a story: a word, and what it does to the world."""

from collections.abc import Callable
import contextlib

from nova_ha_plugins.engine import doors as product_doors
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import values
from tests.scenarios import cloud
from tests.scenarios import engines
from tests.scenarios import expectations
from tests.scenarios import simulation
from tests.scenarios import world

Sim = simulation.Simulation

METADATA: dict[str, dict[str, str]] = {
    'ha': {'ha:policy': 'evacuate'},
    'plain': {},
    'off': {'ha:policy': 'none'},
    'masakari': {'HA_Enabled': 'True'},
}


def happen(sim: simulation.Simulation, words: list[str]) -> None:
    """Do what one line of a story says."""
    verb, *rest = words
    HAPPEN[verb](sim, *rest)


def _device(sim: Sim, host: str, fault: str = '') -> None:
    sim.world.devices[host].fault = '' if fault == 'well' else fault


def _host_flag(name: str, value: bool) -> Callable[[Sim, str], None]:
    return lambda sim, host: setattr(sim.world.hosts[host], name, value)


def _net(what: str, value: bool) -> Callable[..., None]:
    """Of the management network, unless another one is named."""

    def happen(sim: Sim, host: str, network: str = world.MANAGEMENT) -> None:
        getattr(sim.world, what)(host, network, value)

    return happen


def _leg(works: bool) -> Callable[..., None]:
    """Of the engine's own machine."""
    return lambda sim, network=world.MANAGEMENT: sim.world.leg(network, works)


def _arm(armed: bool) -> Callable[..., None]:
    """For good, or for so many seconds."""

    def happen(sim: Sim, seconds: str = '') -> None:
        now = sim.store.now()
        until = now + float(seconds) if seconds else None
        sim.store.arm = values.ArmState(armed, 'olga', 'story', now, until)

    return happen


def _alarm(sim: Sim, host: str, trust: str, times: str = '1') -> None:
    for _ in range(int(times)):
        sim.alarm(host, trust)


def _trust(sim: Sim, name: str, role: str) -> None:
    sim.outside.trusts[name] = product_doors.TrustView('u', 'p', (role,))


def _service(sim: Sim, host: str, what: str) -> None:
    sim.hands_off = True
    service = sim.cloud.services[host]
    match what:
        case 'forced':
            service.forced_down = True
            sim.foreign[host] = sim.world.now
        case 'unforced':
            service.forced_down = False
            sim.foreign.pop(host, None)
        case 'libvirt-lost':
            # Nova does so itself when its connection is lost.
            service.disabled, service.reason = True, 'AUTO: Connection lost'
        case 'disabled':
            service.disabled, service.reason = True, 'maintenance by otto'


def _tag(sim: Sim, uuid: str, kind: str) -> None:
    if uuid in sim.cloud.servers:
        server = sim.cloud.servers[uuid]
        server.metadata = dict(METADATA[kind])
        server.changed_at = sim.world.now


def _move(sim: Sim, uuid: str, host: str) -> None:
    """A live migration, done at once."""
    server = sim.cloud.servers[uuid]
    guests = sim.world.hosts[server.host].guests
    if uuid not in guests:
        # What was to be before this did not come about.
        return
    runs = guests.pop(uuid)
    sim.world.hosts[host].guests[uuid] = runs
    server.host = host


def _isolate(works: bool) -> Callable[[Sim, str], None]:
    def happen(sim: Sim, host: str) -> None:
        sim.world.hosts[host].bus = works
        sim.world.net(host, world.MANAGEMENT, works)

    return happen


def _if_off(what: Callable[[Sim, str], None]) -> Callable[[Sim, str], None]:
    """An operator who looks before he acts."""

    def happen(sim: Sim, name: str) -> None:
        server = sim.cloud.servers.get(name)
        host = server.host if server else name
        if host in sim.world.hosts and not sim.world.hosts[host].power:
            if not sim.cloud.open_of(name) and not sim.outside.faults.slow:
                what(sim, name)

    return happen


def _by_hand(sim: Sim, uuid: str) -> None:
    with contextlib.suppress(cloud.NovaError):
        sim.cloud.evacuate(uuid, 'operator')


def _asks(sim: Sim, uuid: str, task: str, becomes: str = '') -> None:
    """Its owner asks for something; how it shall be in the end."""
    sim.cloud.asked(uuid, task, becomes)


def _reset_state(sim: Sim, uuid: str) -> None:
    """An operator gives up the state that a server had."""
    sim.cloud.reset(uuid)
    sim.cloud.servers[uuid].first_state = 'active'


def _live_migrate(sim: Sim, uuid: str) -> None:
    with contextlib.suppress(cloud.NovaError):
        sim.outside.live.migrate(uuid, 'operator')


def _owner_stops(sim: Sim, uuid: str) -> None:
    with contextlib.suppress(cloud.NovaError):
        sim.cloud.stop(uuid)
        server = sim.cloud.servers[uuid]
        server.touched, server.first_state = True, 'stopped'


def _moved_to(sim: Sim, uuid: str, host: str) -> None:
    """Nova writes only now that a live migration to a host has ended."""
    server = sim.cloud.servers[uuid]
    sim.world.hosts[server.host].guests.pop(uuid, None)
    sim.world.hosts[host].guests[uuid] = sim.world.hosts[host].power
    server.host, server.origin, server.task_state = host, host, None


def _confirm_resize(sim: Sim, uuid: str) -> None:
    """Its owner confirms; the source of the resize does that."""
    sim.cloud.servers[uuid].vm_state = 'active'
    sim.cloud.servers[uuid].first_state = 'active'


def _new_engine(sim: Sim) -> None:
    """The engine is killed, and another one starts."""
    if sim.members:
        _kill(sim, 'acting')
    sim.engine = None


def _engine_on(sim: Sim) -> None:
    sim.engine, sim.engine_stopped = None, False


def _expect(sim: Sim, *words: str) -> None:
    """Of the moment; a run whose engine is killed on the way has others."""
    if sim.crash_at is None and sim.pause_at is None:
        sim.wrong += [
            f'at {sim.t:.0f} {line}'
            for line in expectations.missed(sim, list(words))
        ]


def _brake(kind: str) -> Callable[..., None]:
    """Put a brake on, until so many seconds later if a number is told."""

    def happen(sim: Sim, name: str, *rest: str) -> None:
        seconds = [word for word in rest if word.isdigit()]
        zones = [word for word in rest if not word.isdigit()]
        sim.store.set_brake(
            values.Brake(
                kind,
                name,
                zone=zones[0] if zones else '',
                until=sim.store.now() + int(seconds[0]) if seconds else None,
                reason='story',
                by='olga',
            )
        )

    return happen


def _unbrake(kind: str) -> Callable[[Sim, str], None]:
    def happen(sim: Sim, name: str) -> None:
        sim.store.unset_brake(kind, name, 'olga', 'story')

    return happen


def _member(sim: Sim, name: str) -> engines.Member:
    """One engine by its name, or by what it does: acting or watching."""
    acting = [m for m in sim.members if m.acts]
    if name == 'acting':
        newest = [
            m
            for m in acting
            if m.standing.lease and m.standing.lease.token == sim.store.token
        ]
        return (newest or acting or sim.members)[0]
    if name == 'watching':
        return next((m for m in sim.members if not m.acts), sim.members[0])
    return next(m for m in sim.members if m.name == name)


def _kill(sim: Sim, name: str, seconds: str = '2') -> None:
    _member(sim, name).die(float(seconds))


def _freeze(sim: Sim, name: str, seconds: str) -> None:
    member = _member(sim, name)
    if member.state == 'dead':
        return
    member.freeze()
    sim.world.later(float(seconds), member.go_on)


def _cut(sim: Sim, name: str, seconds: str) -> None:
    member = _member(sim, name)
    member.cut_off(True)
    sim.world.later(float(seconds), lambda: member.cut_off(False))


def _store(down: str, read_only: bool = False) -> Callable[[Sim], None]:
    def happen(sim: Sim) -> None:
        sim.store.down, sim.store.read_only = down, read_only

    return happen


def _failover(sim: Sim) -> None:
    """The database goes on elsewhere, without the newest save."""
    lost = sim.store.lose_last()
    sim.invariants.forget(lost)


HAPPEN: dict[str, Callable[..., None]] = {
    'power-off': lambda sim, host: sim.world.power_off(host),
    'power-on': lambda sim, host: sim.world.power_on(host),
    'hang': lambda sim, host: sim.world.hang(host),
    'resume': lambda sim, host: sim.world.resume(host),
    'stay-down': _host_flag('autostart', False),
    'compute-start': lambda sim, host: sim.world.compute_start(host),
    'compute-stop': lambda sim, host: sim.world.compute_stop(host),
    'agent-stop': _host_flag('agent', False),
    'agent-start': _host_flag('agent', True),
    'bus-cut': _host_flag('bus', False),
    'bus-heal': _host_flag('bus', True),
    'probe-cut': _net('net', False),
    'probe-heal': _net('net', True),
    'probe-unknown': _net('net_known', False),
    'probe-known': _net('net_known', True),
    'leg-cut': _leg(False),
    'leg-heal': _leg(True),
    'beat-delay': lambda sim, host, seconds: setattr(
        sim.world.hosts[host], 'beat_delay', float(seconds)
    ),
    'bus-down': lambda sim: sim.world.bus_works(False),
    'bus-up': lambda sim: sim.world.bus_works(True),
    'alarms-off': lambda sim: setattr(sim, 'alarms', False),
    'alarms-on': lambda sim: setattr(sim, 'alarms', True),
    'alarm': _alarm,
    'trust': _trust,
    'device': _device,
    'device-delay': lambda sim, host, seconds: setattr(
        sim.world.devices[host], 'delay', float(seconds)
    ),
    'device-identity': lambda sim, host, uuid: setattr(
        sim.world.devices[host], 'system_uuid', uuid
    ),
    'map': lambda sim, host, to: sim.world.map.update({host: to}),
    'unmap': lambda sim, host: sim.world.map.pop(host),
    'nova-down': lambda sim: setattr(sim.outside.faults, 'nova', 'down'),
    'nova-up': lambda sim: setattr(sim.outside.faults, 'nova', ''),
    'nova-slow': lambda sim, seconds: setattr(
        sim.outside.faults, 'slow', float(seconds)
    ),
    'identity-down': lambda sim: setattr(
        sim.outside.faults, 'identity', 'down'
    ),
    'identity-up': lambda sim: setattr(sim.outside.faults, 'identity', ''),
    'evacuate-fault': lambda sim, *words: sim.outside.faults.evacuate.extend(
        words
    ),
    'migrate-fault': lambda sim, *words: sim.outside.faults.migrate.extend(
        words
    ),
    'live-fault': lambda sim, host, fault: sim.outside.live.fault.update(
        {host: fault}
    ),
    'live-seconds': lambda sim, seconds: setattr(
        sim.outside.live, 'seconds', float(seconds)
    ),
    'spawn-fault': lambda sim, host, fault: sim.cloud.spawn_fault.update(
        {host: fault}
    ),
    'spawn-seconds': lambda sim, seconds: setattr(
        sim.cloud, 'spawn_seconds', float(seconds)
    ),
    'schedule-seconds': lambda sim, seconds: setattr(
        sim.cloud, 'schedule_seconds', float(seconds)
    ),
    'move': _move,
    'clock': lambda sim, seconds: sim.world.clock_jumps(float(seconds)),
    'stall': lambda sim, seconds: sim.world.advance(float(seconds)),
    'capacity-none': lambda sim: setattr(sim.cloud, 'no_capacity', True),
    'capacity-back': lambda sim: setattr(sim.cloud, 'no_capacity', False),
    'delete': lambda sim, uuid: sim.cloud.delete(uuid),
    'tag': _tag,
    'by-hand': _by_hand,
    'by-hand-if-off': _if_off(_by_hand),
    'attest-if-off': _if_off(
        lambda sim, host: sim.operator(facts.FactKind.ATTEST, host)
    ),
    'isolate': _isolate(False),
    'join': _isolate(True),
    'service': _service,
    'arm': _arm(True),
    'disarm': _arm(False),
    'release': lambda sim, host: sim.operator(facts.FactKind.RELEASE, host),
    'attest': lambda sim, host: sim.operator(facts.FactKind.ATTEST, host),
    'fact': lambda sim, kind, host, **more: sim.fact(
        facts.FactKind(kind), host, channel='notifier', trust_id='watcher'
    ),
    'new-engine': _new_engine,
    'expect': _expect,
    'asks': _asks,
    'reset-state': _reset_state,
    'live-migrate': _live_migrate,
    'owner-stops': _owner_stops,
    'moved-to': _moved_to,
    'confirm-resize': _confirm_resize,
    'kill': _kill,
    'freeze': _freeze,
    'cut-from-store': _cut,
    'locks-down': lambda sim: setattr(sim.coordination, 'down', True),
    'locks-up': lambda sim: setattr(sim.coordination, 'down', False),
    'locks-with-ttl': lambda sim: setattr(sim.coordination, 'kind', 'ttl'),
    'maintenance': _brake('maintenance'),
    'maintenance-over': _unbrake('maintenance'),
    'pause': _brake('pause'),
    'pause-over': _unbrake('pause'),
    'store-down': _store('away'),
    'store-read-only': _store('', read_only=True),
    'store-up': _store(''),
    'store-failover': _failover,
    'stale-reads': lambda sim, seconds: setattr(
        sim.liveness, 'lag', float(seconds)
    ),
    'slow-saves': lambda sim, seconds: setattr(
        sim, 'save_seconds', float(seconds)
    ),
    'beat-as': lambda sim, host, name: setattr(
        sim.world.hosts[host], 'beat_as', name
    ),
    'engine-off': lambda sim: setattr(sim, 'engine_stopped', True),
    'engine-on': _engine_on,
    'beat-twice': lambda sim, host, on='on': setattr(
        sim.world.hosts[host], 'beat_twice', on == 'on'
    ),
    'beat-jitter': lambda sim, host, seconds: setattr(
        sim.world.hosts[host], 'beat_jitter', float(seconds)
    ),
    'beat-lost': lambda sim, host, one_in: setattr(
        sim.world.hosts[host], 'beat_lost', int(one_in)
    ),
    'bus-redeliver': lambda sim: sim.world.redeliver(),
    'poison': lambda sim, uuid: sim.cloud.poison.add(uuid),
    'cure': lambda sim, uuid: sim.cloud.poison.discard(uuid),
    'capacity': lambda sim, host, guests: setattr(
        sim.world.hosts[host], 'capacity', int(guests)
    ),
}
