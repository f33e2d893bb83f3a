# SPDX-License-Identifier: Apache-2.0

"""A host that is late: it is probed before its silence counts.

The heartbeat alone needs a while to become a verdict. Probes that begin with
the first suspicion have answered, or been silent often enough, when it does,
so that asking somebody else costs no time. They prove nothing by themselves:
a host whose heartbeats come is alive, however silent its probes are.
"""

from collections.abc import Iterable
import dataclasses

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident

# Probes that are older than this are made again before they are relied on.
FRESH = 3.0

Verdict = incident.Verdict


@dataclasses.dataclass(frozen=True)
class Track:
    """What probes said of a host in the course of one silence.

    :ivar silent: probes in a row that said the same, as ``evidence`` counts.
    :ivar verdict: what they say of a host whose heartbeats stopped.
    :ivar answered_at: when one last had an answer that forbids to fence.
    :ivar readings: of the last probe.
    :ivar told_at: when the last probe was over.
    :ivar mark: of the heartbeat before the silence, see ``mark_of``.
    """

    host: str
    silent: int = 0
    verdict: Verdict = Verdict.UNKNOWN
    answered_at: float | None = None
    readings: tuple[incident.Reading, ...] = ()
    told_at: float | None = None
    mark: tuple[str, int] | None = None


def mark_of(look: detector.Look, host: str) -> tuple[str, int] | None:
    """Return what tells one silence of a host from the next one."""
    beat = look.state.heard.get(host)
    return (beat.boot_id, beat.sequence) if beat else None


def suspects(look: detector.Look) -> tuple[str, ...]:
    """Return whom to probe: suspected hosts, the most silent ones first.

    Nobody while monitoring is blind: then it is not the hosts.
    """
    late = sorted(
        (-host.silent_for, host.host) for host in look.hosts if host.suspected
    )
    return tuple(name for _, name in late)


def probed(
    track: Track,
    readings: tuple[incident.Reading, ...],
    at: float,
    management_lost: evidence.Response,
) -> Track:
    """Return the track with one more probe; what is unknown proves nothing.

    :param management_lost: what the policy does about a host that lost its
        management network only.
    """
    silence = incident.Reading(evidence.HEARTBEAT, incident.Sign.SILENT, at)
    found = evidence.verdict((silence, *readings))
    forbids = evidence.forbidding(readings, management_lost)
    return dataclasses.replace(
        track,
        silent=evidence.counted(
            track.silent, track.verdict, found, management_lost
        ),
        verdict=found,
        answered_at=at if forbids else track.answered_at,
        readings=readings,
        told_at=at,
    )


def unfinished(track: Track, silent_after: int) -> bool:
    """Return whether the next probe should follow at once."""
    return 0 < track.silent < silent_after


def complete(track: Track | None, silent_after: int, now: float) -> bool:
    """Return whether every channel was silent, often enough, just now."""
    return (
        track is not None
        and track.told_at is not None
        and track.verdict == Verdict.DEAD
        and track.silent >= silent_after
        and 0.0 <= now - track.told_at <= FRESH
    )


def kept(
    tracks: Iterable[Track], look: detector.Look, rules: detector.Rules
) -> tuple[Track, ...]:
    """Return the tracks of hosts that are still late.

    One that was heard between two looks is late anew. While monitoring does
    not see, silent probes are no news of a host: they are counted anew
    afterwards, and what was answered still forbids.
    """
    late = {
        host.host: mark_of(look, host.host)
        for host in look.hosts
        if host.silent_for >= rules.quiet
    }
    same = tuple(
        track
        for track in tracks
        if track.host in late and late[track.host] == track.mark
    )
    if look.sight == detector.Sight.CLEAR:
        return same
    return tuple(_uncounted(track) for track in same)


def _uncounted(track: Track) -> Track:
    return Track(track.host, answered_at=track.answered_at, mark=track.mark)


def taken_up(
    subject: incident.Incident,
    track: Track | None,
    silent_after: int,
    now: float,
) -> tuple[incident.Incident, tuple[incident.Reading, ...]]:
    """Return an incident as its first look finds it, and that look's probes.

    The look goes on counting where the suspicion left off. No probes are
    returned when they have to be made: at any further look, and when those
    of the suspicion are too few or too old. Those that are too old are not
    counted either.
    """
    if subject.readings or track is None:
        return subject, ()
    if track.told_at is None or not 0.0 <= now - track.told_at <= FRESH:
        track = _uncounted(track)
    again = not complete(track, silent_after, now)
    begun = dataclasses.replace(
        subject,
        # The last one of them is counted by the look that takes it over.
        silent_probes=track.silent if again else track.silent - 1,
        verdict=Verdict.SUSPECTED
        if track.verdict == Verdict.DEAD
        else track.verdict,
        answered_at=track.answered_at,
    )
    return begun, () if again else track.readings
