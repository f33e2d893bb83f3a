# SPDX-License-Identifier: Apache-2.0

"""A host that is late: it is probed before its silence counts.

The heartbeat alone needs a while to become a verdict. Probes that begin with
the first suspicion have answered, or been silent often enough, when it does,
so that asking somebody else costs no time. They prove nothing by themselves:
a host whose heartbeats come is alive, however silent its probes are.
"""

from collections.abc import Collection
import dataclasses

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident

# Probes that are older than this are made again before they are relied on.
FRESH = 3.0

Sign = incident.Sign


@dataclasses.dataclass(frozen=True)
class Track:
    """What probes said of a host in the course of one silence.

    :ivar silent: probes in a row in which every channel was silent.
    :ivar answered_at: when one last had an answer.
    :ivar readings: of the last probe.
    :ivar told_at: when the last probe was over.
    """

    host: str
    silent: int = 0
    answered_at: float | None = None
    readings: tuple[incident.Reading, ...] = ()
    told_at: float | None = None


def suspects(look: detector.Look, most: int) -> tuple[str, ...]:
    """Return whom to probe: suspected hosts, the most silent ones first.

    Nobody while monitoring is blind: then it is not the hosts.
    """
    late = sorted(
        (-host.silent_for, host.host) for host in look.hosts if host.suspected
    )
    return tuple(name for _, name in late[:most])


def probed(
    track: Track, readings: tuple[incident.Reading, ...], at: float
) -> Track:
    """Return the track with one more probe; what is unknown proves nothing."""
    silent = bool(readings) and all(
        reading.sign == Sign.SILENT for reading in readings
    )
    return dataclasses.replace(
        track,
        silent=track.silent + 1 if silent else 0,
        answered_at=at if evidence.answering(readings) else track.answered_at,
        readings=readings,
        told_at=at,
    )


def unfinished(track: Track, silent_after: int) -> bool:
    """Return whether the next probe should follow at once."""
    return 0 < track.silent < silent_after


def complete(track: Track | None, silent_after: int, now: float) -> bool:
    """Return whether the probes need not be made again to be believed."""
    return (
        track is not None
        and track.told_at is not None
        and track.silent >= silent_after
        and 0.0 <= now - track.told_at <= FRESH
    )


def kept(
    tracks: Collection[Track], look: detector.Look, rules: detector.Rules
) -> tuple[Track, ...]:
    """Return the tracks of hosts that are still late."""
    late = {host.host for host in look.hosts if host.silent_for >= rules.quiet}
    return tuple(track for track in tracks if track.host in late)


def begun(subject: incident.Incident, track: Track) -> incident.Incident:
    """Return an incident at which nobody looked yet with what probes said.

    Its first look then goes on counting where the suspicion left off.
    """
    if subject.readings or not track.readings:
        return subject
    return dataclasses.replace(
        subject,
        silent_probes=track.silent,
        verdict=incident.Verdict.SUSPECTED,
        answered_at=track.answered_at,
    )
