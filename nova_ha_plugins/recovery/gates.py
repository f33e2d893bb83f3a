# SPDX-License-Identifier: Apache-2.0

"""The gates: whether a host that looks dead may be fenced now.

Each gate answers with a code, a sentence and the time of the next look. None
of them turns unknown into dead by waiting: a gate that opens lets the
question be asked again, with channels that are read anew.
"""

from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import corroboration
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import observer
from nova_ha_plugins.recovery import scene as scenes
from nova_ha_plugins.recovery import storm
from nova_ha_plugins.recovery import waits

Hold = scenes.Hold
Limits = scenes.Limits
Brake = scenes.Brake
PastFence = scenes.PastFence
Waiter = scenes.Waiter
Domain = scenes.Domain
Own = scenes.Own
Suspect = scenes.Suspect
Scene = scenes.Scene
Case = scenes.Case

CORROBORATING = corroboration.CORROBORATING
evidence_unknown = corroboration.evidence_unknown


def hold(case: Case) -> Hold | None:
    """Return the first reason to wait, None when every gate is open.

    The arm gate is asked last, so that an engine that only observes can say
    truthfully what it would have done.
    """
    suspect, scene, limits = case.suspect, case.scene, case.limits
    return (
        suspect.found
        or observer.healthy(suspect, scene, limits)
        or brakes.maintenance(suspect, scene)
        or _foreign(suspect, scene)
        or corroboration.hold(suspect, scene.now, limits)
        or observer.watched_enough(suspect, scene, limits)
        or _worth_it(suspect, scene)
        or _mapped(suspect, scene)
        or _kdump(suspect, scene.now, limits)
        or brakes.paused(suspect, scene)
        or storm.hold(suspect, scene, limits)
        or _armed(suspect, scene)
    )


def suspect_of(
    subject: incident.Incident,
    readings: tuple[incident.Reading, ...],
    silent_probes: int,
    now: float,
    found: Hold | None = None,
) -> Suspect:
    """Return what the gates need to know of a host and its channels.

    :param found: what the engine found that keeps it, before any gate.
    """
    dead = evidence.verdict(readings) == incident.Verdict.DEAD
    since = now if subject.dead_since is None else subject.dead_since
    return Suspect(
        host=subject.host,
        domain=subject.domain,
        readings=readings,
        silent_probes=silent_probes,
        protected=sum(
            server.state == incident.ServerState.QUEUED
            for server in subject.servers
        ),
        servers=len(subject.servers),
        released=subject.released,
        answered_at=subject.answered_at,
        dead_since=since if dead else None,
        found=found,
    )


def _foreign(suspect: Suspect, scene: Scene) -> Hold | None:
    if not scene.own.foreign:
        return None
    return Hold(
        'not-ours',
        f"Host '{suspect.host}' was forced down in nova by somebody else, who "
        'may be recovering it. The engine acts on no state that it did not '
        'set; clear it to let the engine recover.',
        after=5.0,
    )


def _worth_it(suspect: Suspect, scene: Scene) -> Hold | None:
    # A server that was on its way here may have a guest here, and cannot be
    # sent elsewhere before this host is off.
    if suspect.protected or scene.own.incoming:
        return None
    return Hold(
        'nothing-protected',
        f"Host '{suspect.host}' has no server that asks for recovery and can "
        f'be recovered ({suspect.servers} servers in all); it is reported, '
        'not fenced.',
        after=10.0,
    )


def _mapped(suspect: Suspect, scene: Scene) -> Hold | None:
    if scene.own.known and scene.own.mapped:
        return None
    text = 'the engine does not know the host'
    if scene.own.known:
        text = scene.own.map_text
    return Hold(
        'not-mapped',
        f"Host '{suspect.host}' cannot be fenced: {text}. Correct the "
        'fencing map, or switch the host off by hand and attest it.',
        after=10.0,
    )


def _kdump(suspect: Suspect, now: float, limits: Limits) -> Hold | None:
    if suspect.dead_since is None or not limits.kdump_wait:
        return None
    until = suspect.dead_since + limits.kdump_wait
    if waits.is_over(until, now):
        return None
    return Hold(
        'kdump-wait',
        f"Host '{suspect.host}' is dead for {now - suspect.dead_since:.0f} s "
        'and may be writing a crash dump, which switching it off would cut '
        f'short: nothing is fenced before {limits.kdump_wait:.0f} s '
        '([gates] kdump_wait).',
        after=min(until - now, 5.0),
    )


def _armed(suspect: Suspect, scene: Scene) -> Hold | None:
    if scene.armed:
        return None
    return Hold(
        'disarmed',
        f'The engine observes ({scene.arm_text}). Armed, it would now fence '
        f"'{suspect.host}' and evacuate "
        f'{notes.count(suspect.protected, "server")}: openstack ha arm',
        after=2.0,
    )
