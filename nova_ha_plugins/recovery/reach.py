# SPDX-License-Identifier: Apache-2.0

"""Whether a silence is the host's, or that of the machine which listens.

A broken leg of the engine's own machine makes every host silent on that
network, and nobody notices: only suspected hosts are probed. So a silence
that could lead to a fence is compared with what other hosts, whose heartbeats
come, answer over the same network.
"""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident

Sign = incident.Sign
Verdict = incident.Verdict

# Hosts that are asked in one comparison over one network.
MOST = 3


@dataclasses.dataclass(frozen=True)
class Target:
    """Where another host is asked.

    :ivar address: of its management network, if nova knows one.
    """

    host: str
    address: str
    network: str


@dataclasses.dataclass(frozen=True)
class Witness:
    """What another host, which lives, answered over a network."""

    host: str
    network: str
    sign: Sign


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A network over which none of the hosts answers that should.

    :ivar hosts: those that were asked for comparison.
    """

    network: str
    hosts: tuple[str, ...]


def decisive(
    readings: Iterable[incident.Reading], management_lost: evidence.Response
) -> tuple[str, ...]:
    """Return the networks whose silence would let the host be fenced."""
    readings = tuple(readings)
    if not evidence.may_fence(evidence.verdict(readings), management_lost):
        return ()
    silent = tuple(
        evidence.network_of(reading.channel)
        for reading in evidence.probes(readings)
        if reading.sign == Sign.SILENT
    )
    if evidence.answering(readings):
        # It is fenced for this one alone; the others make no difference.
        return tuple(name for name in silent if name == evidence.MANAGEMENT)
    return silent


def chosen(living: Collection[str], turn: int) -> tuple[str, ...]:
    """Return which of the living hosts are asked, others with each turn.

    They lie far apart in the order of the names: neighbours may share a
    switch, and its failure is not ours.
    """
    names = sorted(living)
    if len(names) <= MOST:
        return tuple(names)
    apart = len(names) // MOST
    return tuple(
        names[(turn + number * apart) % len(names)] for number in range(MOST)
    )


def doubts(
    networks: Iterable[str], witnesses: Iterable[Witness]
) -> tuple[Doubt, ...]:
    """Return the networks over which no witness answers.

    One answer shows that the network can be reached. Where there is nobody
    to compare with, there is no doubt either.
    """
    witnesses = tuple(witnesses)
    found = []
    for network in networks:
        asked = [each for each in witnesses if each.network == network]
        if asked and all(each.sign != Sign.ALIVE for each in asked):
            found.append(Doubt(network, tuple(each.host for each in asked)))
    return tuple(found)


def corrected(
    readings: Iterable[incident.Reading], found: Iterable[Doubt]
) -> tuple[incident.Reading, ...]:
    """Return the readings with each silence that is in doubt made unknown."""
    by_channel = {evidence.channel_of(each.network): each for each in found}
    return tuple(
        dataclasses.replace(
            reading,
            sign=Sign.UNKNOWN,
            text=f'{reading.text}, but {_neither(by_channel[reading.channel])}'
            ': this machine may be cut off from network '
            f"'{by_channel[reading.channel].network}'",
        )
        if reading.channel in by_channel and reading.sign == Sign.SILENT
        else reading
        for reading in readings
    )


def hold(
    subject: incident.Incident, found: Iterable[Doubt], machine: str
) -> gates.Hold:
    """Return the hold of a host whose silence may be our own.

    :param machine: the name of the machine on which the engine runs.
    """
    found = tuple(found)
    networks = evidence.quoted(each.network for each in found)
    neither = ' and '.join(
        f"on network '{each.network}' {_neither(each)}" for each in found
    )
    return gates.Hold(
        'own-reach',
        f"Host '{subject.host}' is silent, but {neither}: the engine's "
        f"machine '{machine}' may be cut off itself. Nothing is fenced; check "
        f"the link of '{machine}' to network {networks}.",
    )


def _neither(doubt: Doubt) -> str:
    names = ', '.join(f"'{host}'" for host in doubt.hosts)
    if len(doubt.hosts) == 1:
        return f'neither did host {names} answer, whose heartbeats come'
    return f'neither did hosts {names} answer, whose heartbeats come'
