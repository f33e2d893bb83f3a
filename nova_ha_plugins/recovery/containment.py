# SPDX-License-Identifier: Apache-2.0

"""The compute service of a fenced host: kept out, then let back in.

Nova demands an order for the return: start nova-compute, wait until it has
removed its old guests (their records become ``completed``), clear
forced_down, wait until the service is up, enable it, and that only if the
disable was ours.
"""

import dataclasses
import enum
import typing

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

Phase = incident.Phase
StepState = incident.StepState


class Step(enum.StrEnum):
    """The calls to nova about the service of the host."""

    FORCE_DOWN = 'force-down'
    DISABLE = 'disable'
    UNFORCE = 'un-force'
    ENABLE = 'enable'


# Where an incident keeps what became of each step.
STEP_FIELDS: typing.Final = {
    Step.FORCE_DOWN: 'forced_down',
    Step.DISABLE: 'disabled',
    Step.UNFORCE: 'unforced',
    Step.ENABLE: 'enabled',
}


# Which step may come when: its phase, and the step that must be done before.
_ORDER: typing.Final[dict[Step, tuple[Phase, Step | None]]] = {
    Step.FORCE_DOWN: (Phase.CONTAINING, None),
    Step.DISABLE: (Phase.CONTAINING, Step.FORCE_DOWN),
    Step.UNFORCE: (Phase.RETURNING, None),
    Step.ENABLE: (Phase.RETURNING, Step.UNFORCE),
}


def _check_order(subject: incident.Incident, step: Step) -> None:
    phase, before = _ORDER[step]
    if subject.phase == phase and (
        before is None
        or getattr(subject, STEP_FIELDS[before]) == StepState.DONE
    ):
        return
    raise events.ImpossibleEventError(
        f"Incident '{subject.uuid}' of host '{subject.host}' is "
        f"{subject.phase} and cannot take step '{step}' now."
    )


def step_intended(
    subject: incident.Incident, event: events.StepIntended, _: waits.Patience
) -> incident.Incident:
    """Keep, before nova is asked, that it will be."""
    which = Step(event.step)
    _check_order(subject, which)
    return _set_step(subject, event.at, STEP_FIELDS[which], StepState.INTENDED)


def _set_step(
    subject: incident.Incident, at: float, field: str, state: StepState
) -> incident.Incident:
    changes: dict[str, typing.Any] = {field: state, 'updated_at': at}
    return dataclasses.replace(subject, **changes)


def step_done(
    subject: incident.Incident, event: events.StepDone, _: waits.Patience
) -> incident.Incident:
    which = Step(event.step)
    _check_order(subject, which)
    subject = _set_step(subject, event.at, STEP_FIELDS[which], StepState.DONE)
    match which:
        case Step.FORCE_DOWN:
            return notes.add(
                subject,
                event.at,
                'forced-down',
                "Nova's service was forced down",
                reason='',
                next_look_at=None,
            )
        case Step.DISABLE:
            return notes.add(
                subject,
                event.at,
                'evacuating',
                "Nova's service was disabled; evacuation begins",
                phase=Phase.EVACUATING,
                code='',
                reason='',
                next_look_at=None,
            )
        case Step.UNFORCE:
            return notes.add(
                subject,
                event.at,
                'un-forced',
                "Nova's service is no longer forced down",
                code='wait-up',
                reason='waiting for nova to see the service up',
                next_look_at=None,
            )
        case Step.ENABLE:
            return _returned(subject, event.at, 'and enabled again')


def step_refused(
    subject: incident.Incident, event: events.StepRefused, _: waits.Patience
) -> incident.Incident:
    if subject.reason != event.text:
        subject = notes.add(
            subject, event.at, f'{event.step}-refused', event.text
        )
    return dataclasses.replace(
        subject,
        reason=event.text,
        next_look_at=event.at + 5.0,
        updated_at=event.at,
    )


def host_seen(
    subject: incident.Incident, event: events.HostSeen, _: waits.Patience
) -> incident.Incident:
    blocked = _why_contained(subject, event)
    if subject.phase == Phase.RECOVERED:
        if blocked:
            code, text = blocked
            if (subject.code, subject.reason) == (code, text):
                return subject
            if subject.code != code:
                subject = notes.add(subject, event.at, code, text)
            return dataclasses.replace(
                subject, code=code, reason=text, updated_at=event.at
            )
        return notes.add(
            subject,
            event.at,
            'returning',
            'The host is back and nova-compute has removed its old guests',
            phase=Phase.RETURNING,
            code='un-force',
            reason='clearing forced_down',
            next_look_at=None,
        )
    service = event.service
    if service is None or not service.up:
        return subject
    if service.disabled and service.disabled_reason == owner(subject):
        return dataclasses.replace(
            subject,
            code='enable',
            reason='enabling the service that we disabled',
            next_look_at=None,
            updated_at=event.at,
        )
    kept = (
        f"; it stays disabled: '{service.disabled_reason}'"
        if service.disabled
        else ''
    )
    return _returned(subject, event.at, f'and up{kept}')


def _why_contained(
    subject: incident.Incident, event: events.HostSeen
) -> tuple[str, str] | None:
    if not event.beating:
        return (
            'contained',
            'The host stays off and forced down until somebody switches it on',
        )
    if not subject.return_released and any(
        server.code == 'destination-unproven' for server in subject.servers
    ):
        return (
            'parked-servers',
            'Parked servers may have a guest left on another host: look at '
            'them first, leave nova-compute of this host stopped, then '
            f'openstack ha release {subject.host}',
        )
    if event.service is None:
        return (
            'service-gone',
            f"Nova has no compute service '{subject.service_uuid}' any more; "
            f'nothing is left to bring back: openstack ha release '
            f'{subject.host}',
        )
    if event.uncleaned:
        return (
            'cleaning',
            f'{event.uncleaned} evacuated servers are not yet cleaned up on '
            'the host: start nova-compute there, or restart it if it runs, '
            'and leave it forced down',
        )
    return None


def _returned(
    subject: incident.Incident, at: float, how: str
) -> incident.Incident:
    return close(
        subject, at, f"Host '{subject.host}' is back in service {how}"
    )


def close(
    subject: incident.Incident, at: float, text: str
) -> incident.Incident:
    """End an incident whose servers are all in a final state."""
    return notes.add(
        subject,
        at,
        'closed',
        text,
        phase=Phase.CLOSED,
        code='',
        reason=text,
        closed_at=at,
        next_look_at=None,
    )


def owner(subject: incident.Incident) -> str:
    """Return the disabled_reason by which we know our own disable."""
    return f'nova-ha: incident {subject.uuid}'
