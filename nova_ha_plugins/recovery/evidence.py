# SPDX-License-Identifier: Apache-2.0

"""What several channels say of a host, made into one verdict.

Every channel must agree before a host counts as dead: the heartbeat over the
message bus, and the probes, which share neither bus nor telemetry. The plain
probe goes over the management network; the fencing map may name further
networks, each a channel of its own ('probe:storage'), and each of them can
only keep a host from being called dead. Nova's own service state is shown to
people but never counts: it rides on the same bus as the heartbeat, and it
lags by ``service_down_time``.
"""

from collections.abc import Iterable
import enum

from nova_ha_plugins.recovery import incident

HEARTBEAT = 'heartbeat'
PROBE = 'probe'
NOVA = 'nova'

# The network of the plain probe.
MANAGEMENT = 'management'

Sign = incident.Sign
Verdict = incident.Verdict


class Response(enum.StrEnum):
    """What is done about a host that lost one network and runs on."""

    ALERT = 'alert'
    MIGRATE = 'migrate'
    FENCE = 'fence'


def channel_of(network: str) -> str:
    """Return the name of the channel that is a probe over that network."""
    return PROBE if network == MANAGEMENT else f'{PROBE}:{network}'


def network_of(channel: str) -> str:
    """Return the network of a probe's channel."""
    return channel.partition(':')[2] or MANAGEMENT


def of(
    readings: Iterable[incident.Reading], channel: str
) -> incident.Reading | None:
    """Return the reading of a channel, None when it was not asked."""
    for reading in readings:
        if reading.channel == channel:
            return reading
    return None


def probes(
    readings: Iterable[incident.Reading],
) -> tuple[incident.Reading, ...]:
    """Return the readings of all probes, of whatever network."""
    return tuple(
        reading
        for reading in readings
        if reading.channel.partition(':')[0] == PROBE
    )


def answering(readings: Iterable[incident.Reading]) -> tuple[str, ...]:
    """Return the networks over which a probe was answered."""
    return tuple(
        network_of(reading.channel)
        for reading in probes(readings)
        if reading.sign == Sign.ALIVE
    )


def forbidding(
    readings: Iterable[incident.Reading], management_lost: Response
) -> tuple[str, ...]:
    """Return the networks on which an answer forbids to fence the host.

    Under the policy 'fence' that a host lost its management network, answers
    on others do not.
    """
    networks = answering(readings)
    if management_lost == Response.FENCE and MANAGEMENT not in networks:
        return ()
    return networks


def answers(networks: Iterable[str]) -> str:
    """Return what such an answer is called in a sentence about the host."""
    names = tuple(networks)
    if MANAGEMENT in names:
        return 'answers the probe'
    return f'answers the probe on network {quoted(names)}'


def quoted(networks: Iterable[str]) -> str:
    """Return the names for a sentence: 'storage' and 'tenant'."""
    return ' and '.join(f"'{name}'" for name in networks)


def verdict(readings: Iterable[incident.Reading]) -> Verdict:
    """Return what heartbeat and probes together say.

    ``alive`` needs a heartbeat, ``dead`` needs it and every probe silent.
    When the heartbeat is silent and a probe is answered, the host is
    ``isolated`` if the probe of the management network is silent as well, and
    ``degraded`` otherwise. Anything else is ``unknown``. That a silence must
    be seen more than once is added by whoever counts: until then a dead host
    is ``suspected``.
    """
    readings = tuple(readings)
    heartbeat = of(readings, HEARTBEAT)
    management = of(readings, PROBE)
    if heartbeat is not None and heartbeat.sign == Sign.ALIVE:
        return Verdict.ALIVE
    if heartbeat is None or heartbeat.sign == Sign.UNKNOWN:
        return Verdict.UNKNOWN
    if answering(readings):
        if management is not None and management.sign == Sign.SILENT:
            return Verdict.ISOLATED
        return Verdict.DEGRADED
    if management is None or any(
        reading.sign == Sign.UNKNOWN for reading in probes(readings)
    ):
        return Verdict.UNKNOWN
    return Verdict.DEAD


def may_fence(found: Verdict, management_lost: Response) -> bool:
    """Return whether the channels and the policy allow a fence at all."""
    return found == Verdict.DEAD or (
        found == Verdict.ISOLATED and management_lost == Response.FENCE
    )


def in_a_row(
    before: incident.Incident, found: Verdict, management_lost: Response
) -> int:
    """Return how many looks in a row said the same, this one included.

    Only looks that could lead to a fence or to the alert of a lost network
    count. A channel that answers in between begins the count anew, unless it
    makes no difference to what the policy does.
    """
    last = before.verdict
    if last == Verdict.SUSPECTED:
        # It was as silent as a dead host, but not often enough.
        last = Verdict.DEAD
    return counted(before.silent_probes, last, found, management_lost)


def counted(
    before: int, last: Verdict, found: Verdict, management_lost: Response
) -> int:
    """Return the count after one more look; see ``in_a_row``."""
    if found not in (Verdict.DEAD, Verdict.ISOLATED):
        return 0
    same = last == found or (
        may_fence(last, management_lost) and may_fence(found, management_lost)
    )
    return before + 1 if same else 1


def told(readings: Iterable[incident.Reading]) -> str:
    """Return every channel with its state, for the timeline."""
    parts = []
    for reading in readings:
        if reading.channel == NOVA and reading.text:
            parts.append(reading.text)
            continue
        age = ''
        if reading.sign == Sign.SILENT and reading.age is not None:
            age = f' {reading.age:.1f} s'
        parts.append(f'{reading.channel} {reading.sign}{age}')
    return ', '.join(parts)
