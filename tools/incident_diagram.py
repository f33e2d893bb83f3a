# SPDX-License-Identifier: Apache-2.0

"""Prints the state machine of an incident, as found by walking through it.

The table of the machine says which event is possible in which phase; what
comes next is decided by the handlers. So this begins with a new incident and
takes every example of every event in every state that can be reached, until
nothing new turns up. It needs nothing but Python.
"""

import argparse
import collections
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import sys
import typing

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import leaving
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits

Phase = incident.Phase
Power = incident.Power
Sign = incident.Sign

# Found: from which phase, by which event, into which phase.
Edges = dict[tuple[Phase, type[events.Event]], set[Phase]]

HOST, SYSTEM, OWNER = 'host', 'system', 'nova-ha: incident example'
# Short of every time-out, and beyond every one.
PAUSES = (1.0, 10000.0)
# The codes of a server that decide how it goes on.
TELLING = frozenset({'settling', 'destination-unproven'})
# One attempt is enough to see what the last one does.
PATIENCE = waits.Patience(max_attempts=1)


def _server(uuid: str = 'server', **changes: typing.Any) -> incident.Server:
    given = {'vm_state': 'active', 'protected': True, **changes}
    return incident.Server(uuid, **given)


def _readings(
    heartbeat: Sign = Sign.SILENT, probe: Sign = Sign.SILENT
) -> tuple[incident.Reading, ...]:
    return (
        incident.Reading(evidence.HEARTBEAT, heartbeat, 0.0),
        incident.Reading(evidence.PROBE, probe, 0.0),
    )


def _power(state: Power, system: str = SYSTEM) -> events.PowerRead:
    reading = views.PowerReading(state, system, '')
    return events.PowerRead(0.0, 'driver', reading, None)


def _seen(
    status: str = '',
    destination: str | None = None,
    host: str = HOST,
    vm_state: str = 'active',
) -> events.EvacuationSeen:
    record = views.MigrationView(
        status, 'server', HOST, destination, status, ''
    )
    server = views.ServerView('server', '', '', host, vm_state, None, {})
    return events.EvacuationSeen(
        0.0, 'server', record if status else None, server
    )


def _host(beating: bool, up: bool, owner: str, left: int) -> events.HostSeen:
    service = views.ServiceView(HOST, '', up, False, bool(owner), owner)
    return events.HostSeen(0.0, beating, service, left)


def _lost(
    response: evidence.Response, hold: gates.Hold | None = None
) -> network_events.NetworksAssessed:
    code = 'lost' if response == evidence.Response.ALERT else ''
    answer = networks.Answer(('net',), response, code, 'text', ('net',))
    return network_events.NetworksAssessed(
        0.0, _readings(Sign.ALIVE), answer, hold, (_server(),)
    )


def _move(status: str, host: str = HOST) -> network_events.MovesSeen:
    record = views.MigrationView(status, 'server', HOST, 'other', status, '')
    metadata = {'ha:policy': 'evacuate'}
    server = views.ServerView('server', '', '', host, 'active', None, metadata)
    seen = network_events.MoveSeen(
        'server', record if status else None, server
    )
    return network_events.MovesSeen(0.0, (seen,))


def _living() -> list[events.Event]:
    """Examples of what happens to a host that lives and lost a network."""
    response = evidence.Response
    migrate = _lost(response.MIGRATE)
    return [
        _lost(response.ALERT),
        _lost(response.FENCE),
        _lost(response.FENCE, gates.Hold('code', 'reason')),
        migrate,
        network_events.NetworksSeen(0.0, migrate.answer),
        network_events.NetworksSeen(0.0, _lost(response.ALERT).answer),
        network_events.NetworksSeen(0.0, None),
        network_events.HostSilent(0.0, _readings()),
        _move(''),
        _move('running'),
        _move('error'),
        _move('completed', host='other'),
        network_events.MoveIntended(0.0, 'server'),
        network_events.MoveAccepted(0.0, 'server'),
        network_events.MoveRefused(0.0, 'server', 'text'),
    ]


def _steps(make: typing.Any, *text: str) -> Iterator[events.Event]:
    for step in ('force-down', 'disable', 'un-force', 'enable'):
        yield make(0.0, step, *text)


def examples() -> list[events.Event]:
    """Return examples of every event that change the outcome."""
    found = [
        events.Suspected(0.0, 'channel', 'text'),
        events.TakenOver(0.0, 'engine', 2),
        events.Identified(0.0, 'service', 'domain', SYSTEM),
        events.Dismissed(0.0, 'text'),
        events.Listed(0.0, (_server(),)),
        events.Listed(0.0, (_server(vm_state='stopped'),)),
        events.Listed(0.0, ()),
        events.Assessed(0.0, _readings(), 2, None),
        events.Assessed(0.0, _readings(), 2, gates.Hold('code', 'reason')),
        events.Assessed(0.0, _readings(heartbeat=Sign.ALIVE), 0, None),
        events.Assessed(0.0, _readings(probe=Sign.ALIVE), 0, None),
        events.IntentExpired(0.0),
        events.Heard(0.0, _readings()),
        events.PowerCalled(0.0, 'driver'),
        events.PowerNotCalled(0.0),
        _power(Power.ON),
        _power(Power.OFF),
        _power(Power.CHANGING),
        _power(Power.OFF, 'other'),
        events.PowerUnread(0.0, 'text'),
        events.SignOfLife(0.0, 'text'),
        events.SignOfLife(0.0, 'text', lied=True),
        events.Attested(0.0, 'by', 'reason', None),
        events.Released(0.0, 'by', 'reason'),
        *_steps(events.StepIntended),
        *_steps(events.StepDone),
        *_steps(events.StepRefused, 'text'),
        events.BatchHeld(0.0, 'code', 'text'),
        events.EvacuateIntended(0.0, 'server'),
        events.EvacuateAccepted(0.0, 'server'),
        events.EvacuateRefused(0.0, 'server', 'text'),
        events.EvacuateRefused(0.0, 'server', 'text', busy=True),
        events.Appeared(0.0, (_server('late'),)),
        events.Reviewed(0.0),
        events.Uncontained(0.0),
        events.ResetIntended(0.0, 'server'),
        events.ResetDone(0.0, 'server'),
        events.RestoreIntended(0.0, 'server'),
        events.EvacuationSeen(0.0, 'server', None, None),
        _seen(),
        _seen(vm_state='stopped'),
        _seen(vm_state='suspended'),
        _seen('accepted'),
        _seen('error'),
        _seen('failed', 'other'),
        _seen('done', 'other', host='other'),
        _seen('done', 'other', host='other', vm_state='stopped'),
        _host(False, False, '', 0),
        _host(True, False, '', 2),
        _host(True, True, '', 0),
        _host(True, True, OWNER, 0),
        events.HostSeen(0.0, True, None, 0),
        events.HostSeen(0.0, True, None, 0, lied=True),
        events.HostSeen(0.0, False, None, 0, silent=True),
        *_living(),
    ]
    check_complete(found)
    return found


def check_complete(found: Iterable[events.Event]) -> None:
    """Stop with a sentence when a kind of event has no example."""
    missing = _event_classes(events.Event) - {type(each) for each in found}
    if missing:
        names = ', '.join(sorted(each.__name__ for each in missing))
        raise SystemExit(f'No example of {names}: add it to {__file__}')


def _event_classes(base: type) -> set[type]:
    """Return the kinds of events; those that have kinds are none."""
    direct: set[type] = set(base.__subclasses__())
    if not direct:
        return {base}
    return set().union(*(_event_classes(each) for each in direct))


def _key(subject: incident.Incident) -> tuple[object, ...]:
    """Return what decides how an incident goes on, without its times."""
    fence = subject.fence
    return (
        subject.phase,
        subject.code,
        fence
        and (
            fence.state,
            min(fence.attempt, 2),
            min(fence.calls, 1),
            fence.power == Power.ON,
        ),
        bool(subject.expected_system_uuid),
        {r.sign for r in subject.readings} == {Sign.SILENT},
        subject.forced_down == incident.StepState.DONE,
        subject.unforced == incident.StepState.DONE,
        _leaving(subject),
        subject.listed,
        subject.return_released,
        tuple(
            (
                s.state,
                s.code if s.code in TELLING else '',
                s.vm_state == 'stopped'
                and s.state not in incident.FINAL_SERVER_STATES,
            )
            for s in subject.servers
        ),
    )


def _leaving(subject: incident.Incident) -> object:
    if subject.phase != Phase.MIGRATING:
        return leaving.unfinished(subject)
    return (
        subject.disabled,
        subject.enabled,
        bool(subject.networks_lost),
        tuple(move.state for move in subject.moves),
    )


def walk() -> Edges:
    """Return every change of phase that some sequence of events can make."""
    begin = incident.Incident(
        uuid='example',
        host=HOST,
        service_uuid='service',
        epoch=1,
        phase=Phase.SUSPECTED,
        opened_at=0.0,
        updated_at=0.0,
    )
    happening = examples()
    edges: Edges = collections.defaultdict(set)
    known, waiting = {_key(begin)}, [begin]
    impossible: set[tuple[Phase, type[events.Event]]] = set()
    while waiting:
        # The timeline changes nothing but the time that copying it takes.
        subject = dataclasses.replace(waiting.pop(), timeline=())
        for event in happening:
            if (subject.phase, type(event)) in impossible:
                continue
            for pause in PAUSES:
                now = dataclasses.replace(event, at=subject.updated_at + pause)
                try:
                    after = machine.step(subject, now, PATIENCE)
                except events.ImpossibleEventError:
                    # Most by far, and most of the time that a walk takes.
                    if not _listed_in(subject.phase, event):
                        impossible.add((subject.phase, type(event)))
                    continue
                except KeyError:
                    continue
                edges[subject.phase, type(event)].add(after.phase)
                key = _key(after)
                if key not in known:
                    known.add(key)
                    waiting.append(after)
    return edges


def _listed_in(phase: Phase, event: events.Event) -> bool:
    return type(event) in machine.TABLE.get(phase, {})


def arrows(edges: Edges) -> list[tuple[Phase, Phase, str]]:
    """Return (from, to, names of the events), one for each pair of phases."""
    joined = collections.defaultdict(list)
    for (phase, event), targets in edges.items():
        for target in targets - {phase}:
            joined[phase, target].append(event.__name__)
    order = list(Phase)
    return [
        (phase, target, ', '.join(sorted(names)))
        for (phase, target), names in sorted(
            joined.items(),
            key=lambda item: [order.index(each) for each in item[0]],
        )
    ]


def graphviz(edges: Edges) -> Iterator[str]:
    """Print it for ``dot -Tsvg``."""
    yield 'digraph incident {'
    yield '  rankdir=LR; node [shape=box, style=rounded];'
    for phase in Phase:
        shape = ', peripheries=2' if phase in incident.CLOSED_PHASES else ''
        yield f'  "{phase}" [label="{phase}"{shape}];'
    for phase, target, names in arrows(edges):
        label = names.replace(', ', '\\n')
        yield f'  "{phase}" -> "{target}" [label="{label}"];'
    yield '}'


def mermaid(edges: Edges) -> Iterator[str]:
    """Print it as a mermaid state diagram."""
    yield 'stateDiagram-v2'
    yield f'    [*] --> {Phase.SUSPECTED}'
    for phase in Phase:
        if '-' in phase:
            yield f'    state "{phase}" as {phase.replace("-", "_")}'
    for phase, target, names in arrows(edges):
        yield (
            f'    {phase.replace("-", "_")} --> {target.replace("-", "_")}: '
            f'{names}'
        )
    for phase in sorted(incident.CLOSED_PHASES):
        yield f'    {phase} --> [*]'


def rst(edges: Edges) -> Iterator[str]:
    """Print it as two tables for the documentation."""
    yield '.. Made by tools/incident-diagram; do not change it by hand.'
    yield ''
    yield from _table(
        'What moves an incident on',
        ('Phase', 'becomes', 'when'),
        (
            (f'``{phase}``', f'``{target}``', names)
            for phase, target, names in arrows(edges)
        ),
    )
    yield ''
    order = list(Phase)
    rows = []
    for event in sorted(
        {event for _, event in edges}, key=lambda each: each.__name__
    ):
        phases = sorted(
            {phase for phase, each in edges if each is event}, key=order.index
        )
        meaning = ' '.join((event.__doc__ or '').split('\n\n')[0].split())
        rows.append(
            (
                event.__name__,
                meaning,
                'any'
                if len(phases) == len(order)
                else ', '.join(f'``{phase}``' for phase in phases),
            )
        )
    yield from _table(
        'What can happen, and in which phases',
        ('Event', 'Meaning', 'Possible in'),
        rows,
    )


def _table(
    title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> Iterator[str]:
    yield f'.. list-table:: {title}'
    yield '   :header-rows: 1'
    yield ''
    for row in (head, *rows):
        for index, cell in enumerate(row):
            yield f'   {"*" if index == 0 else " "} - {cell}'


FORMATS = {'rst': rst, 'graphviz': graphviz, 'mermaid': mermaid}


def main(arguments: list[str]) -> int:
    """Print the state machine in the format that was asked for."""
    parser = argparse.ArgumentParser(
        prog='tools/incident-diagram', description=__doc__
    )
    parser.add_argument('format', nargs='?', choices=FORMATS, default='rst')
    chosen = parser.parse_args(arguments).format
    print('\n'.join(FORMATS[chosen](walk())))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
