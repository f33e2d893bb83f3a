# SPDX-License-Identifier: Apache-2.0

"""The law of servers: who may be evacuated, when, and what recovered means.

S2, S8, S9, S10, S11, S12, S15, S16 and S23 as ``invariants`` tells them.
"""

import collections
import typing

from nova_ha_plugins.recovery import incident
from tests.scenarios import doors
from tests.scenarios import fence_law
from tests.scenarios import network_law

if typing.TYPE_CHECKING:
    from tests.scenarios import invariants

ServerState = incident.ServerState


def saved(
    law: 'invariants.Invariants',
    before: incident.Incident,
    after: incident.Incident,
) -> None:
    old = {s.uuid: s for s in before.servers}
    if after.phase == incident.Phase.RECOVERED:
        law.demand(
            all(
                s.state in incident.FINAL_SERVER_STATES for s in after.servers
            ),
            'S16',
            f'{after.uuid} is recovered with servers in between',
        )
    for server in after.servers:
        if server.state != ServerState.RECOVERED:
            continue
        was = old.get(server.uuid)
        if was is not None and was.state == ServerState.RECOVERED:
            continue
        _is_recovered(law, after, server)


def _is_recovered(
    law: 'invariants.Invariants',
    after: incident.Incident,
    server: incident.Server,
) -> None:
    truth = law.sim.cloud.servers.get(server.uuid)
    if truth is None or truth.touched:
        return
    host = law.sim.world.hosts[truth.host]
    law.demand(
        truth.host != after.host and truth.vm_state == truth.first_state,
        'S16',
        f'{server.uuid} is {truth.vm_state} on {truth.host}',
    )
    law.demand(
        truth.vm_state != 'active'
        or not host.power
        or host.guests.get(server.uuid, False),
        'S16',
        f'{server.uuid} has no live domain on {truth.host}',
    )


def restore(law: 'invariants.Invariants', act: doors.Act) -> None:
    """Only of a server that arrived, to have it as it was (S9)."""
    law.demand(
        any(
            s.uuid == act.target
            and s.state == ServerState.RESTORING
            and s.restored == incident.StepState.INTENDED
            for i in law.sim.store.open_incidents()
            for s in i.servers
        ),
        'S9',
        f'{act} without intent',
    )


def reset(law: 'invariants.Invariants', act: doors.Act) -> None:
    """Only right before an evacuation, and never beside one (S8, S9)."""
    law.demand(
        any(
            s.uuid == act.target
            and s.state == ServerState.READY
            and s.reset == incident.StepState.INTENDED
            for i in law.sim.store.open_incidents()
            for s in i.servers
        ),
        'S9',
        f'{act} without intent',
    )
    _records(law, act.target)


def evacuate(law: 'invariants.Invariants', uuid: str) -> None:
    sim = law.sim
    law.evacuations += 1
    subject = next(
        (
            i
            for i in sim.store.open_incidents()
            for s in i.servers
            if s.uuid == uuid
            and s.state == ServerState.REQUESTED
            and s.intended_at is not None
            and sim.store.now() - s.intended_at < 1.0
        ),
        None,
    )
    law.demand(subject is not None, 'S9', f'evacuate {uuid}: no intent')
    assert subject is not None
    _proof(law, subject)
    paused = [
        brake
        for brake in fence_law.brakes(law, subject.host, network_law.FRESHNESS)
        if brake.kind == 'pause'
    ]
    law.demand(not paused, 'S11', f'evacuate {uuid} under {paused}')
    server = sim.cloud.servers.get(uuid)
    if server is not None:
        law.demand(
            server.host == subject.host
            and law.opted_in(server)
            and server.task_state != 'deleting',
            'S10',
            f'{uuid} on {server.host} {server.metadata}',
        )
    _records(law, uuid)


def _proof(law: 'invariants.Invariants', subject: incident.Incident) -> None:
    sim, fence = law.sim, subject.fence
    there = sim.world.hosts[subject.host]
    law.demand(
        subject.phase == incident.Phase.EVACUATING
        and fence is not None
        and fence.state == incident.FenceState.VALID
        and fence.epoch == subject.epoch,
        'S2',
        f'evacuate from {subject.host} without proof',
    )
    assert fence is not None
    at, reading = sim.outside.readings.get(subject.host, (0.0, None))
    attested = fence.evidence_class == incident.FenceClass.OPERATOR_ATTESTED
    law.demand(
        not there.power
        or (not attested and there.booted_at > at)
        or fence_law.lies(law, subject.host),
        'S2',
        f'evacuate from {subject.host}, which is on',
    )
    law.demand(
        attested
        or (
            reading is not None
            and reading.power == incident.Power.OFF
            and sim.world.now - at <= network_law.FRESHNESS
        ),
        'S12',
        f'power of {subject.host} was not read before the batch',
    )
    beat = sim.seen.get(subject.host)
    law.demand(
        beat is None
        or fence.beat_mark == (beat.boot_id, beat.sequence)
        or (
            fence.beat_mark is not None
            and beat.boot_id == fence.beat_mark[0]
            and beat.sequence < fence.beat_mark[1]
        ),
        'S12',
        f'{subject.host} was heard after its fence',
    )
    law.demand(
        sim.cloud.services[subject.host].forced_down or sim.hands_off,
        'S12',
        f'{subject.host} is not forced down',
    )


def _records(law: 'invariants.Invariants', uuid: str) -> None:
    """What nova does for the server already."""
    sim = law.sim
    mine = [m for m in sim.cloud.migrations if m.server == uuid]
    for migration in mine:
        law.demand(
            not migration.running,
            'S8',
            f'evacuate {uuid} beside {migration}',
        )
    failed = [m for m in mine if m.status == 'failed' and m.dest is not None]
    for migration in failed:
        assert migration.dest is not None
        there = sim.world.hosts[migration.dest]
        law.demand(
            not there.power or uuid not in there.guests,
            'S23',
            f'{uuid} may be left on {migration.dest}',
        )


def caps(law: 'invariants.Invariants') -> None:
    """The part of S15 that this release promises."""
    sim = law.sim
    loads: collections.Counter[str] = collections.Counter()
    slow = {
        e.text.split("'")[1]
        for i in sim.store.open_incidents()
        for e in i.timeline
        if e.code == 'server-slow'
    }
    for migration in sim.cloud.migrations:
        if migration.server in slow:
            continue
        if migration.by == 'engine' and migration.running:
            loads[migration.dest or '?'] += 1
    caps = sim.settings.caps
    law.demand(
        sum(loads.values()) <= caps.max_open
        and all(
            n <= caps.max_per_destination
            for dest, n in loads.items()
            if dest != '?'
        ),
        'S15',
        f'open evacuations {dict(loads)}',
    )


def opted_in(metadata: dict[str, str], default: str) -> bool:
    """Whether the metadata ask for recovery, in the fewest words."""
    if 'ha:policy' in metadata:
        return metadata['ha:policy'] == 'evacuate'
    if 'HA_Enabled' in metadata:
        return metadata['HA_Enabled'] == 'True'
    return default == 'evacuate'
