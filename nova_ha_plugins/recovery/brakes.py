# SPDX-License-Identifier: Apache-2.0

"""What operators put on for a while: maintenance of a host, named pauses.

A brake that ends lets the question be asked again, and answers nothing.
"""

from collections.abc import Iterable
import datetime

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import scene as scenes

Brake = scenes.Brake
Hold = scenes.Hold

MAINTENANCE = 'maintenance'
PAUSE = 'pause'

# The code of a pause, for a fence and for a batch of evacuations.
PAUSED = 'paused'


def concerning(
    brakes: Iterable[Brake], host: str, domain: str
) -> tuple[Brake, ...]:
    """Return the brakes that hold for a host of that failure domain."""
    return tuple(
        brake
        for brake in brakes
        if (
            brake.name == host
            if brake.kind == MAINTENANCE
            else brake.zone in ('', domain)
        )
    )


def maintenance(suspect: scenes.Suspect, scene: scenes.Scene) -> Hold | None:
    """Return that somebody works on the host."""
    for brake in concerning(scene.brakes, suspect.host, suspect.domain):
        if brake.kind == MAINTENANCE:
            return Hold(
                MAINTENANCE,
                f"Host '{suspect.host}' is in maintenance {_terms(brake)}. "
                'Nothing is fenced or evacuated meanwhile. When it is over: '
                f'openstack ha maintenance unset {suspect.host}',
                after=_after(brake, scene.now),
            )
    return None


def paused(suspect: scenes.Suspect, scene: scenes.Scene) -> Hold | None:
    """Return that nothing new may begin in the host's failure domain."""
    for brake in concerning(scene.brakes, suspect.host, suspect.domain):
        if brake.kind == PAUSE:
            return Hold(
                PAUSED,
                f"Nothing new begins for host '{suspect.host}': "
                f'{_named(brake)}. When it is over: openstack ha pause unset '
                f'{brake.name}',
                after=_after(brake, scene.now),
            )
    return None


def batch(brakes: Iterable[Brake], subject: incident.Incident) -> str:
    """Return why no new evacuation may begin, '' if none keeps it.

    Only a pause does: a host that was fenced before its maintenance began is
    off with its servers nowhere, and goes on.
    """
    for brake in concerning(brakes, subject.host, subject.domain):
        if brake.kind == PAUSE:
            return _named(brake)
    return ''


def attest_refusal(
    brakes: Iterable[Brake],
    host: str,
    domain: str,
    minimum: incident.FenceClass,
) -> str:
    """Return why nobody may attest the host now, '' if nothing keeps it.

    :param minimum: the weakest proof that the policy takes.
    """
    if minimum == incident.FenceClass.CONFIRMED_OFF:
        return (
            f'[fencing] minimum_evidence is {minimum}, so only a power device '
            'that reads Off may prove it'
        )
    for brake in concerning(brakes, host, domain):
        if brake.kind == MAINTENANCE:
            return (
                f'the host is in maintenance {_terms(brake)}; openstack ha '
                f'maintenance unset {host}, then attest again'
            )
        return (
            f'{_named(brake)}; openstack ha pause unset {brake.name}, then '
            'attest again'
        )
    return ''


def _named(brake: Brake) -> str:
    where = f"in failure domain '{brake.zone}'" if brake.zone else 'everywhere'
    return f"pause '{brake.name}' holds {where} {_terms(brake)}"


def _terms(brake: Brake) -> str:
    by = f'set by {brake.by}: {brake.reason}'
    return f'until {clock(brake.until)}, {by}' if brake.until else by


def _after(brake: Brake, now: float) -> float:
    if brake.until is None:
        return 5.0
    return min(max(brake.until - now, 0.0), 5.0)


def clock(at: float) -> str:
    """Return a time of the store's clock as people write it, in UTC."""
    when = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return f'{when:%Y-%m-%dT%H:%M:%SZ}'
