# SPDX-License-Identifier: Apache-2.0

"""Asks other hosts whether a silence is that of this machine."""

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach

# Silences within this time are compared with the same other hosts.
_SAME = 3.0

_Readings = tuple[incident.Reading, ...]


def doubts(
    probe: doors.Probe,
    snapshot: context.Snapshot,
    host: str,
    readings: _Readings,
    management_lost: evidence.Response,
) -> tuple[reach.Doubt, ...]:
    """Compare a silence that lets the host be fenced and could be our own."""
    networks = reach.decisive(readings, management_lost)
    if not networks:
        return ()
    return compared(probe, snapshot, host, readings, networks)


def compared(
    probe: doors.Probe,
    snapshot: context.Snapshot,
    host: str,
    readings: _Readings,
    networks: tuple[str, ...],
) -> tuple[reach.Doubt, ...]:
    """Return the networks on which living hosts do not answer either."""
    services = snapshot.services
    addresses = {
        each.host: services[each.host].address if each.host in services else ''
        for each in snapshot.look.hosts
        if each.verdict == detector.Liveness.UP and each.host != host
    }
    reached = {
        name: probe.networks_of(name, address)
        for name, address in addresses.items()
    }
    since = max(each.at for each in evidence.probes(readings))
    turn = int(since // _SAME)
    targets = [
        reach.Target(name, addresses[name], network)
        for network in networks
        for name in reach.chosen(
            [each for each in reached if network in reached[each]], turn
        )
    ]
    return reach.doubts(networks, probe.compare(targets, since))
