# SPDX-License-Identifier: Apache-2.0

"""The language of the stories: a line for each thing that happens.

``events``::

    zone az1 h1 h2 h3              hosts of a failure domain
    hosts 200 az1                  h001 to h200
    server s1 h1 ha 900 stopped    a server: ha, plain, off or masakari
    servers 40 h1 ha               s01 to s40
    set storm_max_hosts 3          a setting
    engines 3                      one acts, the others watch
    engines 3 sql                  with the product's lease in a database
    stands-still-before evacuate   the acting engine, right before that call
    networks storage tenant        of every host, probed besides management
    before unmap h1                before the first heartbeat
    at 5 power-off h1              at a second of the story
    when h1 evacuating +2 hang h2  once the incident of h1 is in that phase,
    when s1 pre-migrating hang h2  or nova's record or task of s1, or the
                                   engine's state of it; two seconds later
    until 90
    racing                         what comes of it depends on the second
    rows F01 F16                   of the fault matrix (rows.py) shown here

What can happen (``power-off``, ``hang`` ...) stands in ``verbs.HAPPEN``, what
can be expected in ``expectations``.

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
import dataclasses
import pathlib
import typing

from tests.scenarios import simulation
from tests.scenarios import verbs

HERE = pathlib.Path(__file__).parent
# The simulation that was played last: what it tells helps when it failed.
LAST: list[simulation.Simulation] = []


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
    engines: int = 0
    pause_at: int | None = None
    pause_on: str = ''
    lease_in_sql: bool = False
    racing: bool = False
    rows: tuple[str, ...] = ()


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
            case ['hosts', count, zone]:
                story.zones.update(
                    {f'h{n:03}': zone for n in range(1, int(count) + 1)}
                )
            case ['server', *rest]:
                story.servers.append(rest)
            case ['servers', count, host, *rest]:
                story.servers += [
                    [f's{n:02}', host, *rest] for n in range(1, int(count) + 1)
                ]
            case ['set', setting, value]:
                story.settings[setting] = _value(value)
            case ['engines', count, *flags]:
                story.engines = int(count)
                story.lease_in_sql = flags == ['sql']
            case ['stands-still-before', call]:
                story.pause_on = f"before Act(call='{call}'"
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
            case ['rows', *rows]:
                story.rows += tuple(rows)
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
    engines: int = 0,
) -> simulation.Simulation:
    """Let the story happen; every invariant is checked on the way.

    :param longer: seconds for which it goes on after its end, at most.
    :param pause_at: the engine stands still there, another one takes over.
    :param engines: so many, whatever the story says.
    :param enough: whether it need not go on longer.
    """
    sim = simulation.Simulation(story.zones, crash_at, **story.settings)
    sim.pause_at = pause_at or story.pause_at
    sim.pause_on = story.pause_on
    if story.lease_in_sql:
        sim.store.lease_in_sql()
    sim.world.probed = story.networks
    LAST.append(sim)
    del LAST[:-1]
    for uuid, host, kind, *rest in story.servers:
        metadata, state = dict(verbs.METADATA[kind]), 'active'
        for word in rest:
            if word.isdigit():
                metadata['ha:priority'] = word
            else:
                state = word
        sim.cloud.boot(uuid, host, metadata, state)
    for words in story.before:
        verbs.happen(sim, words)
    if engines or story.engines:
        sim.start_members(engines or story.engines)
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


def _happening(sim: simulation.Simulation, event: Event) -> Callable[[], None]:
    """Return what happens, also in the middle of a call of the engine."""

    def what() -> None:
        sim.note(f'story: {" ".join(event.words)}')
        verbs.happen(sim, event.words)

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
    words |= {
        record.status
        for record in sim.outside.live.records
        if record.server == subject
    }
    server = sim.cloud.servers.get(subject)
    words.add(str(server.task_state) if server else 'gone')
    return state in words
