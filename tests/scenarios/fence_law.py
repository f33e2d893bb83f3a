# SPDX-License-Identifier: Apache-2.0

"""The law of fences: when a host may be switched off, and what proves it.

S3, S4, S5, S6, S11, S21 and S24 as ``invariants`` tells them.
"""

import typing

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.scenarios import network_law
from tests.scenarios import world as world_

if typing.TYPE_CHECKING:
    from tests.scenarios import invariants

# Nobody can know sooner than this that the bus is dead.
GRACE = 5.0


def new(law: 'invariants.Invariants', after: incident.Incident) -> None:
    sim, host = law.sim, after.host
    law.demand(sim.store.arm_state().armed, 'S11', f'fence of {host} disarmed')
    _evidence(law, after)
    limits = sim.settings.limits
    running = sim.running
    began = running.eyes.began if running else sim.engine_began
    watching = sim.world.now - began
    quiet = sim.settings.limits.take_over_quiet
    law.demand(
        running is None
        or sim.store.takeovers == 1
        or sim.world.now - running.acts_since >= quiet,
        'S6',
        f'fence of {host} right after a take-over',
    )
    law.demand(
        sim.world.now - sim.foreign.get(host, sim.world.now)
        <= network_law.FRESHNESS,
        'S11',
        f'fence of {host}, which somebody else forced down',
    )
    law.demand(watching >= limits.warm_up, 'S6', f'fence of {host} in warm-up')
    # Nobody can measure a window with a clock that jumps.
    window = 0.0 if sim.world.clock_jumped else limits.storm_window
    recent = [
        other
        for other, (at, _) in law.intents.items()
        if other != host and sim.world.now - at < window
    ]
    zone = sim.world.hosts[host].zone
    law.intents[host] = (sim.world.now, zone)
    if after.released:
        return
    law.demand(
        sim.world.bus or sim.world.now - sim.world.bus_since < GRACE,
        'S6',
        f'fence of {host} with a dead bus',
    )
    contained = {
        i.host
        for i in sim.store.open_incidents()
        if i.fence and i.fence.state == incident.FenceState.VALID
    }
    silent = [
        name
        for name, beat in sim.seen.items()
        if beat.age - sim.seen_newest >= sim.settings.rules.timeout
        and name not in contained
    ]
    law.demand(
        len(silent) <= max(1, len(sim.seen) * limits.blind_share),
        'S6',
        f'fence of {host} while {silent} are silent',
    )
    members = [h for h in sim.world.hosts.values() if h.zone == zone]
    for count, total in (
        (len(recent), len(sim.world.hosts)),
        (
            sum(law.intents[h][1] == zone for h in recent),
            len(members),
        ),
    ):
        allowed = max(
            limits.storm_max_hosts, int(limits.storm_max_share * total)
        )
        law.demand(count < allowed, 'S5', f'{host} beyond {recent}')
    _paced(law, host, zone, recent)


def _paced(
    law: 'invariants.Invariants', host: str, zone: str, recent: list[str]
) -> None:
    """The other forms of S5: failure domains, and time in between."""
    limits, now = law.sim.settings.limits, law.sim.world.now
    zones = {law.intents[other][1] for other in recent}
    law.demand(
        not limits.storm_max_domains
        or len(zones | {zone}) <= max(limits.storm_max_domains, 1)
        or zone in zones,
        'S5',
        f'{host} in {zone} after {zones}',
    )
    soon = [
        other
        for other in recent
        if law.intents[other][1] == zone
        and now - law.intents[other][0] < limits.storm_interval
    ]
    law.demand(not soon, 'S5', f'{host} right after {soon}')


def _evidence(law: 'invariants.Invariants', after: incident.Incident) -> None:
    """Enough speaks for a fence, or the policy of a lost network does."""
    host, fence = after.host, after.fence
    if fence is not None and fence.networks:
        response = evidence.Response.FENCE
        network_law.lost(law, host, fence.networks, response)
        return
    law.demand(not brakes(law, host, 0.0), 'S11', f'fence of {host} braked')
    _quiet(law, host, _decisive(law))
    _no_unknown(law, host)
    _own_legs(law, host)


def lies(law: 'invariants.Invariants', host: str) -> bool:
    """Whether its own device says Off whatever is so: nobody can know.

    What still holds is that nothing runs twice (S1).
    """
    world = law.sim.world
    device = world.devices[world.map.get(host, host)]
    return device.cabled == host and device.fault == 'says-off'


def became_valid(
    law: 'invariants.Invariants',
    after: incident.Incident,
    fence: incident.FenceRecord,
) -> None:
    sim, host = law.sim, after.host
    there = sim.world.hosts[host]
    if fence.evidence_class == incident.FenceClass.OPERATOR_ATTESTED:
        law.demand(sim.store.arm_state().armed, 'S11', 'attest while disarmed')
        law.demand(
            not brakes(law, host, 0.0), 'S11', f'attest of {host} braked'
        )
        _quiet(law, host, world_.NETWORKS)
        return
    at, reading = sim.outside.readings.get(host, (0.0, None))
    law.demand(
        reading is not None
        and reading.power == incident.Power.OFF
        and sim.world.now - at <= network_law.FRESHNESS,
        'S3',
        f'{host} confirmed off by {reading}',
    )
    law.demand(
        not there.power or there.booted_at >= at or lies(law, host),
        'S3',
        f'{host} confirmed off and is on',
    )
    law.demand(
        fence.system_uuid == there.system_uuid
        and fence.system_uuid == after.expected_system_uuid,
        'S24',
        f'{host} is {there.system_uuid}, proof of {fence.system_uuid}',
    )


def _decisive(law: 'invariants.Invariants') -> tuple[str, ...]:
    """Networks on which an answer forbids a fence."""
    if law.sim.settings.limits.management_lost == 'fence':
        return (world_.MANAGEMENT,)
    return world_.NETWORKS


def _no_unknown(law: 'invariants.Invariants', host: str) -> None:
    """Unknown is not silence, on whatever network."""
    sim, there = law.sim, law.sim.world.hosts[host]

    def lately(at: float) -> bool:
        return sim.world.now - at <= network_law.FRESHNESS

    unknown = [
        name
        for name in (world_.MANAGEMENT, *sim.world.probed)
        for link in (there.networks[name],)
        if not link.known and not lately(link.unknown_since)
    ]
    lost = world_.MANAGEMENT not in unknown and any(
        there.networks[name].known
        and (there.answers(name) or lately(there.answering_since(name)))
        for name in sim.world.probed
    )
    law.demand(
        not unknown or (_decisive(law) != world_.NETWORKS and lost),
        'S4',
        f'fence of {host} while {unknown} cannot be probed',
    )


def _own_legs(law: 'invariants.Invariants', host: str) -> None:
    """A host is not silent because this machine is deaf."""
    sim, there = law.sim, law.sim.world.hosts[host]
    heard = [
        name
        for name, beat in sim.seen.items()
        if name != host and beat.age < sim.settings.rules.timeout
    ]
    deaf = [
        name
        for name in (world_.MANAGEMENT, *sim.world.probed)
        if name in _decisive(law)
        and there.answers(name)
        and not sim.world.legs[name].works
    ]
    law.demand(
        not deaf or not heard,
        'S4',
        f'fence of {host}, which answers on {deaf}: the own leg is cut',
    )


def _quiet(
    law: 'invariants.Invariants', host: str, networks: tuple[str, ...]
) -> None:
    """No healthy channel shows the host alive within its freshness."""
    sim = law.sim
    there = sim.world.hosts[host]
    beat = sim.seen.get(host)
    law.demand(
        beat is None or beat.age >= sim.settings.rules.timeout,
        'S4',
        f'{host} was heard {beat.age if beat else 0:.1f} s ago',
    )
    for network in (world_.MANAGEMENT, *sim.world.probed):
        if network not in networks or not there.answers(network):
            continue
        since = max(
            there.answering_since(network),
            sim.world.legs[network].changed_at,
        )
        law.demand(
            not there.networks[network].known
            or not sim.world.legs[network].works
            or sim.world.now - since <= network_law.FRESHNESS,
            'S4',
            f'{host} answers the probe on {network}',
        )


def brakes(
    law: 'invariants.Invariants', host: str, known_for: float
) -> list[values.Brake]:
    """Maintenance of the host and pauses that hold for it for so long."""
    sim = law.sim
    zone = sim.world.hosts[host].zone
    return [
        brake
        for brake in sim.store.brakes()
        if sim.store.now() - brake.at >= known_for
        and (
            brake.name == host
            if brake.kind == 'maintenance'
            else brake.zone in ('', zone)
        )
    ]


def power_off(law: 'invariants.Invariants', host: str) -> None:
    sim, subject = law.sim, law.open_incident(host)
    fence = subject.fence
    law.demand(
        fence is not None
        and fence.calls > 0
        and fence.called_at is not None
        and sim.store.now() - fence.called_at < 1.0,
        'S9',
        f'power off of {host} without intent',
    )
    assert fence is not None
    law.demand(
        subject.phase == incident.Phase.FENCING
        and fence.state == incident.FenceState.INTENDED,
        'S21',
        f'power off of {host}: {subject.phase}, {fence.state}',
    )
    if fence.attempt == 1 and not fence.networks:
        _quiet(law, host, _decisive(law))
    elif fence.attempt == 1:
        response = evidence.Response.FENCE
        network_law.lost(law, host, fence.networks, response)
    voids = sum(e.code == 'fence-void' for e in subject.timeline)
    law.demand(fence.attempt == voids + 1, 'S21', f'{host} fenced once more')
    past = law.commands[subject.uuid]
    pause = sim.settings.patience.fence_repeat
    law.demand(
        all(
            sim.world.now - at >= pause
            for attempt, at in past
            if attempt == fence.attempt
        ),
        'S21',
        f'{host} was asked {past}',
    )
    past.append((fence.attempt, sim.world.now))
    cabled = sim.world.devices[sim.world.map[host]].cabled
    law.demand(cabled == host, 'S24', f'{cabled} instead of {host}')
