# SPDX-License-Identifier: Apache-2.0

"""The brakes: whether a host that looks dead may be fenced now.

Each gate answers with a code, a sentence and the time of the next look.
"""

import dataclasses

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits


# Not a reason to wait but a look that is not finished.
CORROBORATING = 'corroborating'


@dataclasses.dataclass(frozen=True)
class Hold:
    """Why not now.

    :ivar after: seconds until it is worth looking again.
    """

    code: str
    reason: str
    after: float = 2.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the operator configured; see the options of the same names.

    :ivar silent_after: looks in a row with silent probes that count.
    :ivar answer_quiet: seconds of silence asked of a host that a probe heard
        in the course of the incident: its channels come and go.
    :ivar management_lost: what is done when the management network of a host
        is lost, and another one is not.
    """

    storm_max_hosts: int = 1
    storm_max_share: float = 0.10
    storm_window: float = 600.0
    loop_late_max: float = 10.0
    blind_share: float = 0.5
    warm_up: float = 60.0
    silent_after: int = 2
    answer_quiet: float = 30.0
    management_lost: evidence.Response = evidence.Response.ALERT


@dataclasses.dataclass(frozen=True)
class HostState:
    """One host of the cloud as the engine sees it in this round.

    :ivar silent: its heartbeat is overdue and no fence accounts for that.
    :ivar foreign: nova's service was forced down by somebody else.
    :ivar mapped: its fencing device proved to be its own, while it lived.
    :ivar incoming: servers of other failed hosts on their way to it.
    """

    host: str
    domain: str
    silent: bool
    mapped: bool
    map_text: str = ''
    foreign: bool = False
    incoming: int = 0


@dataclasses.dataclass(frozen=True)
class PastFence:
    """A fence that was begun, whatever came of it."""

    host: str
    domain: str
    at: float


@dataclasses.dataclass(frozen=True)
class Fleet:
    """The cloud in one round: a snapshot made once.

    :ivar watching: seconds since this engine began, or took over.
    :ivar loop_late: seconds by which the engine's own round is late.
    :ivar blind: the detector does not see clearly enough to convict.
    """

    now: float
    armed: bool
    arm_text: str
    watching: float
    loop_late: float
    blind: bool
    hosts: tuple[HostState, ...]
    fences: tuple[PastFence, ...]


def hold(
    subject: incident.Incident,
    readings: tuple[incident.Reading, ...],
    silent_probes: int,
    fleet: Fleet,
    limits: Limits,
) -> Hold | None:
    """Return the first reason to wait, None when every gate is open.

    The arm gate is asked last, so that an engine that only observes can say
    truthfully what it would have done.
    """
    return (
        _observer(subject, fleet, limits)
        or _foreign(subject, fleet)
        or _evidence(subject, readings, silent_probes, fleet.now, limits)
        or _warm_up(subject, fleet, limits)
        or _worth_it(subject, fleet)
        or _mapped(subject, fleet)
        or _storm(subject, fleet, limits)
        or _armed(subject, fleet)
    )


def evidence_unknown(subject: incident.Incident) -> Hold:
    """Return the hold of a host of which too little is known."""
    return Hold(
        'evidence-unknown',
        f"Host '{subject.host}' is not heard, but a channel could not be "
        'read; unknown is not dead. Check the channels listed as evidence.',
    )


def _evidence(
    subject: incident.Incident,
    readings: tuple[incident.Reading, ...],
    silent_probes: int,
    now: float,
    limits: Limits,
) -> Hold | None:
    verdict = evidence.verdict(readings)
    if verdict == incident.Verdict.UNKNOWN:
        return evidence_unknown(subject)
    if verdict == incident.Verdict.DEGRADED:
        return _degraded(subject, readings)
    if silent_probes < limits.silent_after:
        return Hold(
            CORROBORATING,
            f"Host '{subject.host}' was silent to {silent_probes} of "
            f'{limits.silent_after} probes in a row.',
            after=0.0,
        )
    if not evidence.may_fence(verdict, limits.management_lost):
        return _management_lost(subject, readings, limits)
    heard = subject.answered_at
    if heard is not None and not waits.is_over(
        heard + limits.answer_quiet, now
    ):
        return Hold(
            'answered-lately',
            f"Host '{subject.host}' answered a probe "
            f'{max(now - heard, 0.0):.0f} s ago and is silent since. A '
            'channel that comes and goes is no proof: nothing is fenced '
            f'before it was silent for {limits.answer_quiet:.0f} s.',
            after=1.0,
        )
    return None


def _degraded(
    subject: incident.Incident, readings: tuple[incident.Reading, ...]
) -> Hold:
    return Hold(
        'degraded',
        f"Host '{subject.host}' sends no heartbeat but "
        f'{evidence.answers(evidence.answering(readings))}, so its servers '
        f'may run ({evidence.told(readings)}). Nothing is fenced; check its '
        'telemetry and the message bus.',
    )


def _management_lost(
    subject: incident.Incident,
    readings: tuple[incident.Reading, ...],
    limits: Limits,
) -> Hold:
    networks = evidence.quoted(evidence.answering(readings))
    return Hold(
        'management-lost',
        f"Host '{subject.host}' is cut off from the management network but "
        f'answers on network {networks}, so its servers may run '
        f'({evidence.told(readings)}). Nothing is fenced ([gates] '
        f'management_lost = {limits.management_lost}); repair the network, '
        'or switch the host off yourself.',
    )


def _observer(
    subject: incident.Incident, fleet: Fleet, limits: Limits
) -> Hold | None:
    # An operator who released the incident vouches that several hosts really
    # died; whether this one is silent is still for the evidence to say.
    silent = sum(1 for host in fleet.hosts if host.silent)
    if fleet.blind and not subject.released:
        return Hold(
            'monitoring-blind',
            'No heartbeat of any host arrived for a while, or they only now '
            'come back: the monitoring itself was blind. Check message bus '
            f"and telemetry; '{subject.host}' is not fenced meanwhile.",
        )
    if not subject.released and silent > max(
        1, int(limits.blind_share * len(fleet.hosts))
    ):
        return Hold(
            'monitoring-blind',
            f'{silent} of {len(fleet.hosts)} hosts are silent at once, more '
            f'than {limits.blind_share:.0%}: the monitoring itself may be '
            'blind. Check message bus and telemetry; nothing is fenced '
            'meanwhile. If the hosts are really dead: openstack ha release '
            f'{subject.host}',
        )
    if fleet.loop_late > limits.loop_late_max:
        return Hold(
            'engine-late',
            f'The engine is {fleet.loop_late:.0f} s late with its own round, '
            f'more than {limits.loop_late_max:.0f} s; what it saw of '
            f"'{subject.host}' may be old. Check load and database of its "
            'machine.',
        )
    return None


def _foreign(subject: incident.Incident, fleet: Fleet) -> Hold | None:
    for host in fleet.hosts:
        if host.host == subject.host and host.foreign:
            return Hold(
                'not-ours',
                f"Host '{subject.host}' was forced down in nova by somebody "
                'else, who may be recovering it. The engine acts on no state '
                'that it did not set; clear it to let the engine recover.',
                after=5.0,
            )
    return None


def _warm_up(
    subject: incident.Incident, fleet: Fleet, limits: Limits
) -> Hold | None:
    if fleet.watching < limits.warm_up:
        rest = limits.warm_up - fleet.watching
        return Hold(
            'warm-up',
            f'The engine began {fleet.watching:.0f} s ago and fences nothing '
            f"for the first {limits.warm_up:.0f} s; '{subject.host}' waits.",
            after=min(rest, 5.0),
        )
    return None


def _worth_it(subject: incident.Incident, fleet: Fleet) -> Hold | None:
    # A server that was on its way here may have a guest here, and cannot be
    # sent elsewhere before this host is off.
    if any(h.incoming for h in fleet.hosts if h.host == subject.host):
        return None
    if any(
        server.state == incident.ServerState.QUEUED
        for server in subject.servers
    ):
        return None
    return Hold(
        'nothing-protected',
        f"Host '{subject.host}' has no server that asks for recovery and can "
        f'be recovered ({len(subject.servers)} servers in all); it is '
        'reported, not fenced.',
        after=10.0,
    )


def _mapped(subject: incident.Incident, fleet: Fleet) -> Hold | None:
    for host in fleet.hosts:
        if host.host == subject.host:
            if host.mapped:
                return None
            text = host.map_text
            break
    else:
        text = 'the engine does not know the host'
    return Hold(
        'not-mapped',
        f"Host '{subject.host}' cannot be fenced: {text}. Correct the "
        'fencing map, or switch the host off by hand and attest it.',
        after=10.0,
    )


def _storm(
    subject: incident.Incident, fleet: Fleet, limits: Limits
) -> Hold | None:
    if subject.released:
        return None
    recent = {
        fence.host: fence
        for fence in fleet.fences
        if fleet.now - fence.at < limits.storm_window
        and fence.host != subject.host
    }
    members = [h for h in fleet.hosts if h.domain == subject.domain]
    for name, fenced, total in (
        ('the cloud', len(recent), len(fleet.hosts)),
        (
            f"failure domain '{subject.domain}'",
            sum(1 for f in recent.values() if f.domain == subject.domain),
            len(members),
        ),
    ):
        allowed = max(
            limits.storm_max_hosts, int(limits.storm_max_share * total)
        )
        if fenced >= allowed:
            oldest = min((f.at for f in recent.values()), default=fleet.now)
            ends = oldest + limits.storm_window
            return Hold(
                'storm',
                f'{fenced} of {total} hosts of {name} fenced within '
                f'{limits.storm_window:.0f} s, and {allowed} may be. '
                f"If '{subject.host}' is really dead: openstack ha release "
                f'{subject.host}. Otherwise the gate is asked again, and '
                f'opens at the earliest in {max(ends - fleet.now, 0.0):.0f} s',
                after=5.0,
            )
    return None


def _armed(subject: incident.Incident, fleet: Fleet) -> Hold | None:
    if fleet.armed:
        return None
    count = sum(
        1
        for server in subject.servers
        if server.state == incident.ServerState.QUEUED
    )
    return Hold(
        'disarmed',
        f'The engine observes ({fleet.arm_text}). Armed, it would now fence '
        f"'{subject.host}' and evacuate {notes.count(count, 'server')}: "
        'openstack ha arm',
        after=2.0,
    )
