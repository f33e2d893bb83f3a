# SPDX-License-Identifier: Apache-2.0

"""What several channels say of a host, made into one verdict.

Two channels must agree before a host counts as dead: the heartbeat over the
message bus, and the probe, which shares neither bus nor telemetry. Nova's
own service state is shown to people but never counts: it rides on the same
bus as the heartbeat, and it lags by ``service_down_time``.
"""

from collections.abc import Iterable

from nova_ha_plugins.recovery import incident

HEARTBEAT = 'heartbeat'
PROBE = 'probe'
NOVA = 'nova'


def of(
    readings: Iterable[incident.Reading], channel: str
) -> incident.Reading | None:
    """Return the reading of a channel, None when it was not asked."""
    for reading in readings:
        if reading.channel == channel:
            return reading
    return None


def verdict(readings: Iterable[incident.Reading]) -> incident.Verdict:
    """Return what heartbeat and probe together say.

    ``alive`` needs a heartbeat, ``dead`` needs both silent, ``degraded`` is
    disagreement, and anything that is missing or unknown makes ``unknown``.
    """
    readings = tuple(readings)
    heartbeat = of(readings, HEARTBEAT)
    probe = of(readings, PROBE)
    if heartbeat is not None and heartbeat.sign == incident.Sign.ALIVE:
        return incident.Verdict.ALIVE
    if heartbeat is None or heartbeat.sign == incident.Sign.UNKNOWN:
        return incident.Verdict.UNKNOWN
    if probe is None or probe.sign == incident.Sign.UNKNOWN:
        return incident.Verdict.UNKNOWN
    if probe.sign == incident.Sign.ALIVE:
        return incident.Verdict.DEGRADED
    return incident.Verdict.DEAD
