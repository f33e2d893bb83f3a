# SPDX-License-Identifier: Apache-2.0

"""The evidence gate: every channel must say the same, for long enough."""

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import scene as scenes
from nova_ha_plugins.recovery import waits

Hold = scenes.Hold

# Not a reason to wait but a look that is not finished.
CORROBORATING = 'corroborating'


def evidence_unknown(host: str) -> Hold:
    """Return the hold of a host of which too little is known."""
    return Hold(
        'evidence-unknown',
        f"Host '{host}' is not heard, but a channel could not be read; "
        'unknown is not dead. Check the channels listed as evidence.',
    )


def hold(
    suspect: scenes.Suspect, now: float, limits: scenes.Limits
) -> Hold | None:
    """Return why the channels do not let the host be called dead."""
    if suspect.networks:
        # It is not: it lost a network, and the policy of that network says
        # so. ``networks.answer`` has weighed that evidence.
        return None
    verdict = evidence.verdict(suspect.readings)
    if verdict == incident.Verdict.UNKNOWN:
        return evidence_unknown(suspect.host)
    if verdict == incident.Verdict.DEGRADED:
        return _degraded(suspect)
    if suspect.silent_probes < limits.silent_after:
        return Hold(
            CORROBORATING,
            f"Host '{suspect.host}' was silent to {suspect.silent_probes} of "
            f'{limits.silent_after} probes in a row.',
            after=0.0,
        )
    if not evidence.may_fence(verdict, limits.management_lost):
        return _management_lost(suspect, limits)
    return _answered_lately(suspect, now, limits)


def _degraded(suspect: scenes.Suspect) -> Hold:
    answers = evidence.answers(evidence.answering(suspect.readings))
    return Hold(
        'degraded',
        f"Host '{suspect.host}' sends no heartbeat but {answers}, so its "
        f'servers may run ({evidence.told(suspect.readings)}). Nothing is '
        'fenced; check its telemetry and the message bus.',
    )


def _management_lost(suspect: scenes.Suspect, limits: scenes.Limits) -> Hold:
    networks = evidence.quoted(evidence.answering(suspect.readings))
    return Hold(
        'management-lost',
        f"Host '{suspect.host}' is cut off from the management network but "
        f'answers on network {networks}, so its servers may run '
        f'({evidence.told(suspect.readings)}). Nothing is fenced '
        f'([networks] management = {limits.management_lost}); repair the '
        'network, or switch the host off yourself.',
    )


def _answered_lately(
    suspect: scenes.Suspect, now: float, limits: scenes.Limits
) -> Hold | None:
    heard = suspect.answered_at
    if heard is None or waits.is_over(heard + limits.answer_quiet, now):
        return None
    return Hold(
        'answered-lately',
        f"Host '{suspect.host}' answered a probe {max(now - heard, 0.0):.0f} "
        's ago and is silent since. A channel that comes and goes is no '
        'proof: nothing is fenced before it was silent for '
        f'{limits.answer_quiet:.0f} s.',
        after=1.0,
    )
