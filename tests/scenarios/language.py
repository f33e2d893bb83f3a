# SPDX-License-Identifier: Apache-2.0

"""The language of the stories: a line for each thing that happens.

``events``::

    zone az1 h1 h2 h3              hosts of a failure domain
    server s1 h1 ha 900 stopped    a server: ha, plain, off or masakari
    servers 40 h1 ha               s01 to s40
    set storm_max_hosts 3          a setting
    networks storage tenant        of every host, probed besides management
    before unmap h1                before the first heartbeat
    at 5 power-off h1              at a second of the story
    when h1 evacuating +2 hang h2  once the incident of h1 is in that phase,
    when s1 pre-migrating hang h2  or nova's record or task of s1, or the
                                   engine's state of it; two seconds later
    until 90
    racing                         what comes of it depends on the second

``expect``::

    h1 recovered resolved          phase, or phase:code, and outcome
    h1 timeline suspected fencing  exactly these codes, repeats merged
    h1 incidents 1
    s1 moved active                or: stayed, gone; whether it runs follows
    s1 is parked:failed            the engine's word
    fenced h1                      these hosts were told to switch off
    nothing fenced                 none was
    evacuations 3                  calls by the engine
    first s2 s1                    the first of them, in their order
    service h1 forced disabled     or: clean
    says h1 some words             in its timeline or its reason
    fact rejected                  what became of the last fact
"""

from collections.abc import Callable
import contextlib
import dataclasses
import pathlib
import typing

from nova_ha_plugins.engine import doors as product_doors
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import values
from tests.scenarios import cloud
from tests.scenarios import simulation
from tests.scenarios import world

HERE = pathlib.Path(__file__).parent
# The simulation that was played last: what it tells helps when it failed.
LAST: list[simulation.Simulation] = []
METADATA: dict[str, dict[str, str]] = {
    'ha': {'ha:policy': 'evacuate'},
    'plain': {},
    'off': {'ha:policy': 'none'},
    'masakari': {'HA_Enabled': 'True'},
}


@dataclasses.dataclass
class Event:
    """One thing that happens, at a time or after something is so."""

    words: list[str]
    at: float | None = None
    subject: str = ''
    state: str = ''
    delay: float = 0.0


@dataclasses.dataclass
class Story:
    """A parsed folder."""

    name: str
    zones: dict[str, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    servers: list[list[str]] = dataclasses.field(default_factory=list)
    networks: tuple[str, ...] = ()
    before: list[list[str]] = dataclasses.field(default_factory=list)
    events: list[Event] = dataclasses.field(default_factory=list)
    expect: list[list[str]] = dataclasses.field(default_factory=list)
    until: int = 60
    racing: bool = False


def names() -> list[str]:
    """Every folder with a story."""
    return sorted(path.parent.name for path in HERE.glob('*/events'))


def load(name: str) -> Story:
    """Read the folder of a story."""
    story = Story(name)
    for words in _lines(HERE / name / 'events'):
        match words:
            case ['zone', zone, *hosts]:
                story.zones.update(dict.fromkeys(hosts, zone))
            case ['server', *rest]:
                story.servers.append(rest)
            case ['servers', count, host, *rest]:
                story.servers += [
                    [f's{n:02}', host, *rest] for n in range(1, int(count) + 1)
                ]
            case ['set', setting, value]:
                story.settings[setting] = _value(value)
            case ['networks', *networks]:
                story.networks = tuple(networks)
            case ['before', *rest]:
                story.before.append(rest)
            case ['at', at, *rest]:
                story.events.append(Event(rest, at=float(at)))
            case ['when', subject, state, plus, *rest] if plus[0] == '+':
                story.events.append(
                    Event(rest, None, subject, state, float(plus))
                )
            case ['when', subject, state, *rest]:
                story.events.append(Event(rest, None, subject, state))
            case ['racing']:
                story.racing = True
            case ['until', until]:
                story.until = int(until)
            case _:
                raise ValueError(f'{name}: {" ".join(words)}?')
    story.expect = _lines(HERE / name / 'expect')
    return story


def _lines(path: pathlib.Path) -> list[list[str]]:
    lines = (line.split('#')[0].split() for line in open(path))
    return [words for words in lines if words]


def _value(text: str) -> typing.Any:
    try:
        return float(text) if '.' in text else int(text)
    except ValueError:
        return text


def play(
    story: Story,
    crash_at: int | None = None,
    longer: int = 0,
    enough: Callable[[simulation.Simulation], bool] = lambda sim: False,
    pause_at: int | None = None,
) -> simulation.Simulation:
    """Let the story happen; every invariant is checked on the way.

    :param longer: seconds for which it goes on after its end, at most.
    :param pause_at: the engine stands still there, another one takes over.
    :param enough: whether it need not go on longer.
    """
    sim = simulation.Simulation(story.zones, crash_at, **story.settings)
    sim.pause_at = pause_at
    sim.world.probed = story.networks
    LAST.append(sim)
    del LAST[:-1]
    for uuid, host, kind, *rest in story.servers:
        metadata, state = dict(METADATA[kind]), 'active'
        for word in rest:
            if word.isdigit():
                metadata['ha:priority'] = word
            else:
                state = word
        sim.cloud.boot(uuid, host, metadata, state)
    for words in story.before:
        happen(sim, words)
    sim.prelude()
    waiting = list(story.events)
    while sim.t < story.until + longer:
        for event in list(waiting):
            if event.at is not None:
                sim.world.later(event.at - sim.t, _happening(sim, event))
            elif _is(sim, event.subject, event.state):
                sim.world.later(event.delay, _happening(sim, event))
            else:
                continue
            waiting.remove(event)
        sim.second()
        if sim.t >= story.until and int(sim.t) % 5 == 0 and enough(sim):
            break
    sim.store.reload()
    sim.note('the end')
    if waiting:
        sim.log.append(f'never happened: {[e.words for e in waiting]}')
    return sim


def _happening(sim: 'Sim', event: Event) -> Callable[[], None]:
    """Return what happens, also in the middle of a call of the engine."""

    def what() -> None:
        sim.note(f'story: {" ".join(event.words)}')
        happen(sim, event.words)

    return what


def _is(sim: simulation.Simulation, subject: str, state: str) -> bool:
    if subject in sim.world.hosts:
        newest = sim.newest(subject)
        return newest is not None and state in (
            newest.phase,
            newest.code,
            f'{newest.phase}:{newest.code}',
        )
    words = {
        server.state.value
        for found in sim.store.open_incidents()
        for server in found.servers
        if server.uuid == subject
    }
    words |= {
        m.status for m in sim.cloud.migrations[::-1] if m.server == subject
    }
    server = sim.cloud.servers.get(subject)
    words.add(str(server.task_state) if server else 'gone')
    return state in words


def happen(sim: simulation.Simulation, words: list[str]) -> None:
    """Do what one line of a story says."""
    verb, *rest = words
    HAPPEN[verb](sim, *rest)


Sim = simulation.Simulation


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


def _arm(armed: bool) -> Callable[[Sim], None]:
    def happen(sim: Sim) -> None:
        sim.store.arm = values.ArmState(armed, 'olga', 'story', sim.t)

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
        case 'unforced':
            service.forced_down = False
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


def _new_engine(sim: Sim) -> None:
    """The engine is killed, and another one starts."""
    sim.engine = None


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
}


# --- what is expected at the end ------------------------------------------


def failures(sim: Sim, story: Story, timeline: bool = True) -> list[str]:
    """What is not as the story expects it."""
    wrong = []
    for words in story.expect:
        if 'timeline' in words and not timeline:
            continue
        found = _found(sim, words)
        if found is not None:
            wrong.append(f'expected: {" ".join(words)}\n   found: {found}')
    if sim.log[-1].startswith('never happened'):
        wrong.append(sim.log[-1])
    return wrong


def _found(sim: Sim, words: list[str]) -> str | None:
    """Return what is so instead, None when it is as expected."""
    match words:
        case ['fenced', *hosts]:
            told = {a.target for a in sim.acts if a.call == 'power-off'}
            return None if told == set(hosts) else f'{sorted(told)}'
        case ['nothing', 'fenced']:
            return _found(sim, ['fenced'])
        case ['evacuations', count]:
            made = sum(a.call == 'evacuate' for a in sim.acts)
            return None if made == int(count) else str(made)
        case ['first', *uuids]:
            called = [a.target for a in sim.acts if a.call == 'evacuate']
            called = called[: len(uuids)]
            return None if called == uuids else ' '.join(called)
        case ['service', host, *flags]:
            service = sim.cloud.services[host]
            found = [
                word
                for word, flag in (
                    ('forced', service.forced_down),
                    ('disabled', service.disabled),
                )
                if flag
            ] or ['clean']
            return None if found == flags else ' '.join(found)
        case ['says', host, *text]:
            told_all = [
                e.text
                for i in sim.store.incidents(99, host)
                for e in i.timeline
            ] + [i.reason for i in sim.store.incidents(99, host)]
            wanted = ' '.join(text)
            if any(wanted in line for line in told_all):
                return None
            return '\n'.join(told_all)
        case ['fact', state]:
            last = list(sim.store.facts.values())[-1]
            return None if last.state == state else f'{last.state} {last.text}'
    if words[0] in sim.world.hosts:
        return _found_host(sim, words)
    return _found_server(sim, words)


def _found_host(sim: Sim, words: list[str]) -> str | None:
    host, *rest = words
    newest = sim.newest(host)
    if rest == ['no', 'incident']:
        return None if newest is None else str(newest.phase)
    if rest[0] == 'incidents':
        count = len(sim.store.incidents(99, host))
        return None if count == int(rest[1]) else str(count)
    if newest is None:
        return 'no incident'
    if rest[0] == 'timeline':
        codes: list[str] = []
        for entry in newest.timeline:
            if codes[-1:] != [entry.code]:
                codes.append(entry.code)
        return None if codes == rest[1:] else ' '.join(codes)
    found = newest.phase.value
    if ':' in rest[0]:
        found += f':{newest.code}'
    if len(rest) > 1:
        found += f' {newest.outcome}'
    return None if found == ' '.join(rest) else f'{found}: {newest.reason}'


def _found_server(sim: Sim, words: list[str]) -> str | None:
    uuid, *rest = words
    if rest[0] == 'is':
        states = [
            f'{s.state.value}:{s.code}' if ':' in rest[1] else s.state.value
            for i in sim.store.incidents(99)
            for s in i.servers
            if s.uuid == uuid
        ]
        return None if rest[1] in states else f'{states}'
    server = sim.cloud.servers.get(uuid)
    if server is None:
        return None if rest == ['gone'] else 'gone'
    moved = 'moved' if server.host != server.origin else 'stayed'
    found = [moved, server.vm_state][: len(rest)]
    there = [host for name, host in sim.world.writers() if name == uuid]
    if found != rest:
        return f'{moved} {server.vm_state} on {server.host}'
    if moved == 'moved' and server.vm_state == 'active':
        if there != [server.host]:
            return f'running on {there}'
    return None
