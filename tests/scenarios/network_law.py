# SPDX-License-Identifier: Apache-2.0

"""The law of acting for a host that lives and lost a network.

S4 lets a host be switched off that is heard only under the explicit policy of
a network, and only while that network really is lost, for long enough, by
this host alone. The same holds for servers that leave it by live migration;
for them also:

S8   no second live migration of a server beside an open one.
S9   the intent of each is in the store before it.
S10  only servers whose metadata say so.
S11  none while disarmed.
S15  never more of them at once than the cap.
"""

import typing

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.scenarios import invariants
    from tests.scenarios import simulation

# The engine may take this long from a sign of life, or from its end, to know.
FRESHNESS = 11.0


def lost(
    law: 'invariants.Invariants',
    host: str,
    networks: 'Iterable[str]',
    response: evidence.Response,
) -> None:
    """Demand that the host lost one of the networks, and its policy is so."""
    networks = tuple(networks)
    wrong = [_why_not(law.sim, host, name, response) for name in networks]
    law.demand(
        any(not each for each in wrong),
        'S4',
        f'{response} of {host} for {networks}: {wrong}',
    )


def _why_not(
    sim: 'simulation.Simulation',
    host: str,
    network: str,
    response: evidence.Response,
) -> str:
    world, rules = sim.world, sim.settings.network_rules
    link = world.hosts[host].networks[network]

    def lately(at: float) -> bool:
        return world.now - at <= FRESHNESS

    if network == evidence.MANAGEMENT:
        return f'{network} is never lost by a host that is heard'
    if rules.response(network) != response:
        return f'{network} is {rules.response(network)}'
    since = world.hosts[host].answering_since(network)
    if world.hosts[host].answers(network) and not lately(since):
        return f'answers on {network}'
    if not link.known and not lately(link.unknown_since):
        return f'{network} cannot be probed'
    if not world.legs[network].works and not lately(
        world.legs[network].changed_at
    ):
        return f'the own leg to {network} is cut'
    hung = world.now - world.hosts[host].running_since <= 2 * rules.gap
    cut_for = world.now - link.changed_at
    if not link.works and cut_for < rules.lost_after and not hung:
        return f'{network} was cut {world.now - link.changed_at:.1f} s ago'
    others = [other for name, other in world.hosts.items() if name != host]
    if not any(
        other.answers(network)
        or lately(other.networks[network].changed_at)
        or lately(other.running_since)
        for other in others
    ):
        return f'nobody answers on {network}'
    return ''


def live_migrate(law: 'invariants.Invariants', uuid: str) -> None:
    """Demand that nova may be asked to live-migrate a server now."""
    sim = law.sim
    subject = next(
        (
            subject
            for subject in sim.store.open_incidents()
            for move in subject.moves
            if move.uuid == uuid
            and move.state == incident.MoveState.REQUESTED
            and move.intended_at is not None
            and sim.store.now() - move.intended_at < 1.0
        ),
        None,
    )
    law.demand(subject is not None, 'S9', f'live-migrate {uuid}: no intent')
    assert subject is not None
    law.demand(
        subject.phase == incident.Phase.MIGRATING,
        'S9',
        f'live-migrate {uuid} in {subject.phase}',
    )
    law.demand(sim.store.arm.armed, 'S11', f'live-migrate {uuid} disarmed')
    lost(law, subject.host, subject.networks_lost, evidence.Response.MIGRATE)
    law.demand(
        sim.cloud.services[subject.host].disabled or sim.hands_off,
        'S12',
        f'live-migrate {uuid} while {subject.host} takes new servers',
    )
    server = sim.cloud.servers.get(uuid)
    if server is not None:
        law.demand(
            law.opted_in(server),
            'S10',
            f'live-migrate {uuid} {server.metadata}',
        )
    live = sim.outside.live
    law.demand(
        not any(record.running for record in live.open_of(uuid)),
        'S8',
        f'live-migrate {uuid} beside {live.open_of(uuid)}',
    )
    mine = [
        record
        for record in live.records
        if record.by == 'engine'
        and record.running
        and any(
            each.uuid == record.server
            for other in sim.store.open_incidents()
            if other.phase == incident.Phase.MIGRATING
            for each in other.moves
        )
    ]
    law.demand(
        len(mine) < sim.settings.network_rules.max_migrations,
        'S15',
        f'live-migrate {uuid} beside {mine}',
    )
