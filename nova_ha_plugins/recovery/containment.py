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
from nova_ha_plugins.recovery import fence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

Phase = incident.Phase
StepState = incident.StepState

# So often forced_down is set again in one incident when somebody clears it.
CONTAIN_AGAIN = 3


# Codes of parked servers whose guest may be on another host: on one that is
# back in service nova, or their owner, would start them once more.
_MAY_RUN_ELSEWHERE: typing.Final = frozenset(
    {'destination-unproven', 'live-migrating'}
)


class Step(enum.StrEnum):
    """The calls to nova about the service of the host."""

    FORCE_DOWN = 'force-down'
    DISABLE = 'disable'
    UNFORCE = 'un-force'
    ENABLE = 'enable'


# What nova is asked to do with the service.
_ASKED: typing.Final = {
    Step.FORCE_DOWN: 'force down',
    Step.DISABLE: 'disable',
    Step.UNFORCE: 'no longer force down',
    Step.ENABLE: 'enable',
}

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
    field = STEP_FIELDS[which]
    # Asked again and again while nova is away, it is told once.
    if getattr(subject, field) != StepState.INTENDED:
        subject = notes.add(
            subject,
            event.at,
            f'{which}-intended',
            f'Nova is asked to {_ASKED[which]} the service of host '
            f"'{subject.host}'",
            kind=incident.Kind.INTENT,
        )
    return _set_step(subject, event.at, field, StepState.INTENDED)


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


def uncontained(
    subject: incident.Incident, event: events.Uncontained, _: waits.Patience
) -> incident.Incident:
    """Force the service down again: nova evacuates from no other host.

    Not for ever, though: somebody who clears it again and again means it.
    """
    times = sum(e.code == 'contain-again' for e in subject.timeline)
    if times >= CONTAIN_AGAIN:
        return hold_batch(
            subject,
            event.at,
            'not-contained',
            f"No evacuation from host '{subject.host}' begins: somebody has "
            f'cleared forced_down of its service {times + 1} times. Find out '
            'who; then openstack compute service set --down '
            f'{subject.host} nova-compute',
        )
    return notes.add(
        subject,
        event.at,
        'contain-again',
        'Somebody cleared forced_down of the service while its servers are '
        'being evacuated; it is forced down again',
        phase=Phase.CONTAINING,
        forced_down=StepState.NONE,
        disabled=StepState.NONE,
        code='',
        reason='',
        next_look_at=None,
    )


def hold_batch(
    subject: incident.Incident, at: float, code: str, text: str
) -> incident.Incident:
    """Say why no evacuation begins although some could."""
    if (subject.code, subject.reason) == (code, text):
        return subject
    if subject.code != code:
        subject = notes.add(subject, at, code, text, kind=incident.Kind.GATE)
    return dataclasses.replace(subject, code=code, reason=text, updated_at=at)


def host_seen(
    subject: incident.Incident,
    event: events.HostSeen,
    patience: waits.Patience,
) -> incident.Incident:
    """Let a contained host return, one step after another."""
    if event.lied:
        return fence.device_lied(
            subject, event.at, f"Host '{subject.host}' sends heartbeats"
        )
    began = subject.beating_since
    if not event.beating:
        began = None
    elif began is None or began > event.at:
        began = event.at
    if began != subject.beating_since:
        subject = dataclasses.replace(
            subject, beating_since=began, updated_at=event.at
        )
    if subject.phase == Phase.RECOVERED:
        if event.silent:
            return close(
                subject,
                event.at,
                f"Somebody let host '{subject.host}' back by hand, and it "
                'failed again: it is judged anew',
            )
        blocked = _why_contained(subject, event, patience)
        if blocked:
            return _told(subject, event.at, *blocked)
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
    return _coming_up(subject, event)


def _told(
    subject: incident.Incident, at: float, code: str, text: str
) -> incident.Incident:
    if (subject.code, subject.reason) == (code, text):
        return subject
    if subject.code != code:
        subject = notes.add(subject, at, code, text)
    return dataclasses.replace(subject, code=code, reason=text, updated_at=at)


def _coming_up(
    subject: incident.Incident, event: events.HostSeen
) -> incident.Incident:
    service = event.service
    if event.silent:
        return close(
            subject,
            event.at,
            f"Host '{subject.host}' failed again while it returned; its "
            'service stays disabled, and it is judged anew',
        )
    if service is None:
        return subject
    if not event.beating:
        return _told(
            subject,
            event.at,
            'silent-again',
            'The host fell silent again while it returned: look at its '
            'polling agent. It goes on when heartbeats come',
        )
    if not service.up:
        return _told(
            subject,
            event.at,
            'wait-up',
            'waiting for nova to see the service up',
        )
    mine = service.disabled and is_ours(service.disabled_reason)
    if mine and subject.quarantined:
        return _told(
            subject,
            event.at,
            'quarantined',
            f"Host '{subject.host}' is up but failed too often lately: its "
            'service stays disabled. Find out why, then openstack ha release '
            f'{subject.host}',
        )
    if mine:
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
    subject: incident.Incident,
    event: events.HostSeen,
    patience: waits.Patience,
) -> tuple[str, str] | None:
    if not event.beating:
        return (
            'contained',
            'The host stays off and forced down until somebody switches it on',
        )
    if not subject.return_released and any(
        server.state == incident.ServerState.PARKED
        and server.code in _MAY_RUN_ELSEWHERE
        for server in subject.servers
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
    if event.evacuating and not subject.return_released:
        return (
            'still-evacuating',
            f'{notes.count(event.evacuating, "server")} of the host are '
            'being evacuated, not by this engine: it returns when nova has '
            f'ended that, or after openstack ha release {subject.host}',
        )
    began = subject.beating_since
    assert began is not None  # noqa: S101 - it beats
    if event.at - began < patience.healthy_delay:
        return (
            'healthy-delay',
            'The host is heard again; nova may use it after '
            f'{patience.healthy_delay:.0f} s of heartbeats ([gates] '
            'healthy_delay)',
        )
    return None


def released(
    subject: incident.Incident, event: events.Released
) -> incident.Incident | None:
    """Return what an operator's word lets go on, None if nothing waits."""
    who = f'{event.by} lets the host return: {event.reason}'
    match subject.phase, subject.code:
        case Phase.RECOVERED, 'parked-servers' | 'still-evacuating':
            return notes.add(
                subject,
                event.at,
                'return-released',
                who,
                kind=incident.Kind.OPERATOR,
                return_released=True,
                next_look_at=None,
            )
        case Phase.RECOVERED, 'service-gone':
            return close(
                subject, event.at, f'{event.by} closed it: {event.reason}'
            )
        case Phase.NEEDS_OPERATOR, fence.DEVICE_LIED:
            return _lives_after_all(subject, event)
        case Phase.RETURNING, 'quarantined':
            return notes.add(
                subject,
                event.at,
                'return-released',
                who,
                kind=incident.Kind.OPERATOR,
                quarantined=False,
                next_look_at=None,
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


def _lives_after_all(
    subject: incident.Incident, event: events.Released
) -> incident.Incident | None:
    """Give up a fence that never was, while no server was evacuated."""
    if any(server.attempts for server in subject.servers):
        return None
    who = f'{event.by} says that the host lives: {event.reason}'
    if subject.forced_down == StepState.NONE:
        return fence.cancel(subject, event.at, who)
    return notes.add(
        subject,
        event.at,
        'returning',
        who,
        kind=incident.Kind.OPERATOR,
        phase=Phase.RETURNING,
        code='un-force',
        reason='clearing forced_down',
        next_look_at=None,
    )


OWNER = 'nova-ha: incident '


def owner(subject: incident.Incident) -> str:
    """Return the disabled_reason by which we know our own disable."""
    return f'{OWNER}{subject.uuid}'


def is_ours(disabled_reason: str) -> bool:
    """Return whether an incident of ours disabled a service.

    Maybe an earlier one of the same host: one that failed while it returned.
    """
    return disabled_reason.startswith(OWNER)
