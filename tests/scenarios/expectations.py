# SPDX-License-Identifier: Apache-2.0

"""What a story expects at its end, and whether it is so."""

import typing

from tests.scenarios import simulation

if typing.TYPE_CHECKING:
    from tests.scenarios import language

Sim = simulation.Simulation


def failures(
    sim: Sim, story: 'language.Story', timeline: bool = True
) -> list[str]:
    """What is not as the story expects it."""
    wrong = list(sim.wrong)
    for words in story.expect:
        if 'timeline' in words and not timeline:
            continue
        wrong += missed(sim, words)
    if sim.log[-1].startswith('never happened'):
        wrong.append(sim.log[-1])
    return wrong


def missed(sim: Sim, words: list[str]) -> list[str]:
    """What is not so right now of one line of expectations."""
    found = _found(sim, words)
    if found is None:
        return []
    return [f'expected: {" ".join(words)}\n   found: {found}']


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
        case ['live-migrations', count]:
            made = sum(a.call == 'live-migrate' for a in sim.acts)
            return None if made == int(count) else str(made)
        case ['first-live', *uuids]:
            called = [a.target for a in sim.acts if a.call == 'live-migrate']
            called = called[: len(uuids)]
            return None if called == uuids else ' '.join(called)
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
        case ['arm', state]:
            found_state = str(sim.store.status.get('arm_state'))
            return None if found_state == state else found_state
        case ['acting', name]:
            acting = [m.name for m in sim.members if m.acts]
            return None if acting == [name] else ' '.join(acting)
        case ['takeovers', count]:
            made = sim.store.takeovers - 1
            return None if made == int(count) else str(made)
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
