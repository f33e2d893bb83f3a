# SPDX-License-Identifier: Apache-2.0

"""Servers leave a host that lives and lost a network, by live migration.

First the compute service is disabled, so that nothing new lands there. Then
nova is asked for one server after another, each call intended before it is
made, and nova's record and the server's host tell what became of it. No answer
is no failure. When the network is back no further server begins, and the
service is enabled again if the disable was ours.

When the host dies meanwhile its incident goes on as that of a dead host. A
live migration that nova has not ended may have its guest at the destination
already: ``states`` keeps such a server from being evacuated.
"""

import dataclasses

from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import moves
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

Kind = incident.Kind
MoveState = incident.MoveState
Phase = incident.Phase
StepState = incident.StepState


def is_healed(subject: incident.Incident) -> bool:
    """Return whether the networks are back and servers only end moving."""
    return not subject.networks_lost


def may_begin(subject: incident.Incident, now: float) -> tuple[str, ...]:
    """Return the servers that nova may be asked to migrate, in order."""
    if (
        subject.phase != Phase.MIGRATING
        or subject.code
        or is_healed(subject)
        or subject.disabled != StepState.DONE
    ):
        return ()
    return tuple(
        move.uuid
        for move in subject.moves
        if move.state == MoveState.QUEUED and waits.is_over(move.retry_at, now)
    )


def step_due(subject: incident.Incident) -> containment.Step | None:
    """Return what is to be said to nova about the service now."""
    if subject.phase != Phase.MIGRATING:
        return None
    if is_healed(subject):
        if (
            subject.disabled != StepState.NONE
            and subject.enabled != StepState.DONE
        ):
            return containment.Step.ENABLE
        return None
    if not subject.code and subject.disabled != StepState.DONE:
        return containment.Step.DISABLE
    return None


# --- the network ----------------------------------------------------------


def networks_seen(
    subject: incident.Incident,
    event: network_events.NetworksSeen,
    _: waits.Patience,
) -> incident.Incident:
    """Stop, or go on, as the networks and the gates say."""
    if is_healed(subject):
        return finish(subject, event.at)
    if event.answer is None:
        return finish(_heal(subject, event.at), event.at)
    code, reason = '', event.answer.text
    if event.hold is not None:
        code, reason = event.hold.code, event.hold.reason
    elif event.answer.response == evidence.Response.ALERT:
        code = event.answer.code
    elif not any(
        move.state not in incident.FINAL_MOVE_STATES for move in subject.moves
    ):
        code = 'migrated'
        reason = _result(subject)
    lost = event.answer.lost
    if (code, lost) == (subject.code, subject.networks_lost):
        return subject
    if code != subject.code and code:
        subject = notes.add(
            subject,
            event.at,
            f'held:{code}' if code != 'migrated' else code,
            reason,
            kind=Kind.GATE if code != 'migrated' else Kind.RESULT,
        )
    return dataclasses.replace(
        subject,
        networks_lost=lost,
        code=code,
        reason=reason,
        updated_at=event.at,
    )


def _heal(subject: incident.Incident, at: float) -> incident.Incident:
    names = evidence.quoted(subject.networks_lost)
    open_ = sum(move.state in moves.OPEN_MOVES for move in subject.moves)
    subject = notes.add(
        subject,
        at,
        'network-back',
        f"Host '{subject.host}' answers on network {names} again; no further "
        f'server begins to leave, {notes.count(open_, "server")} on the way',
        kind=Kind.EVIDENCE,
        networks_lost=(),
        code='',
        reason='',
        moves=tuple(
            dataclasses.replace(
                move,
                state=MoveState.LEFT,
                code='network-back',
                reason='the network came back before it began to leave',
            )
            if move.state == MoveState.QUEUED
            else move
            for move in subject.moves
        ),
    )
    return subject


def host_silent(
    subject: incident.Incident,
    event: network_events.HostSilent,
    _: waits.Patience,
) -> incident.Incident:
    """Go on as with any host that is no longer heard."""
    open_ = sum(move.state in moves.OPEN_MOVES for move in subject.moves)
    return notes.add(
        subject,
        event.at,
        'reassess',
        f"Host '{subject.host}' is no longer heard while its servers leave "
        f'({notes.count(open_, "live migration")} open): all channels are '
        'asked again',
        kind=Kind.EVIDENCE,
        phase=Phase.SUSPECTED,
        code='',
        reason='',
        readings=event.readings,
        silent_probes=0,
        next_look_at=None,
    )


def resumed(
    subject: incident.Incident, at: float, lost: tuple[str, ...]
) -> incident.Incident:
    """Return to the servers that leave: the host is heard again.

    What we disabled has to be enabled before such an incident can end.
    """
    text = 'it still lost a network' if lost else 'its networks answer'
    asked = subject.fence is not None and subject.fence.calls > 0
    subject = notes.add(
        subject,
        at,
        'migrating',
        f"Host '{subject.host}' is heard again and {text}: what was begun is "
        'brought to its end',
        phase=Phase.MIGRATING,
        code='',
        reason='',
        # One whose device was asked counts as a fence, whatever came of it.
        fence=subject.fence if asked else None,
        released=False,
        closed_at=None,
        next_look_at=None,
    )
    if lost:
        return dataclasses.replace(subject, networks_lost=lost)
    return finish(_heal(subject, at), at)


def unfinished(subject: incident.Incident) -> bool:
    """Return whether servers were leaving, or the service is disabled."""
    if subject.forced_down != StepState.NONE or subject.listed:
        return False
    return (
        subject.disabled != StepState.NONE
        and subject.enabled != StepState.DONE
    ) or any(move.state in moves.OPEN_MOVES for move in subject.moves)


def not_forgotten(
    before: incident.Incident, after: incident.Incident
) -> incident.Incident:
    """Return the incident, never closed with a service that we disabled.

    Whatever cancels an incident, the host serves again first.
    """
    if (
        after.phase == Phase.CANCELLED
        and before.phase != Phase.CANCELLED
        and unfinished(after)
    ):
        return resumed(after, after.updated_at, after.networks_lost)
    return after


# --- nova's service -------------------------------------------------------


def step_intended(
    subject: incident.Incident, event: events.StepIntended, _: waits.Patience
) -> incident.Incident:
    """Keep, before nova is asked, that it will be."""
    step = containment.Step(event.step)
    if step != step_due(subject):
        raise events.ImpossibleEventError(
            f"Incident '{subject.uuid}' of host '{subject.host}' is "
            f"{subject.phase} and cannot take step '{step}' now."
        )
    return _set(subject, event.at, step, StepState.INTENDED)


def step_done(
    subject: incident.Incident, event: events.StepDone, _: waits.Patience
) -> incident.Incident:
    """Say that nova took the service out, or back."""
    step = containment.Step(event.step)
    subject = _set(subject, event.at, step, StepState.DONE)
    if step == containment.Step.DISABLE:
        return notes.add(
            subject,
            event.at,
            'disabled',
            "Nova's service is disabled: nothing new lands on the host while "
            'servers leave',
            kind=Kind.RESULT,
            reason='',
            next_look_at=None,
        )
    subject = notes.add(
        subject,
        event.at,
        'enabled',
        "Nova's service is as it was before",
        kind=Kind.RESULT,
        reason='',
        next_look_at=None,
    )
    return finish(subject, event.at)


def _set(
    subject: incident.Incident,
    at: float,
    step: containment.Step,
    state: StepState,
) -> incident.Incident:
    if step == containment.Step.DISABLE:
        return dataclasses.replace(subject, disabled=state, updated_at=at)
    return dataclasses.replace(subject, enabled=state, updated_at=at)


# --- the servers ----------------------------------------------------------


def move_intended(
    subject: incident.Incident,
    event: network_events.MoveIntended,
    patience: waits.Patience,
) -> incident.Incident:
    """Keep, before nova is asked, that it will be."""
    if event.server_uuid not in may_begin(subject, event.at):
        raise events.ImpossibleEventError(
            f"Server '{event.server_uuid}' of host '{subject.host}' cannot "
            'begin to leave now.'
        )
    return moves.move_intended(subject, event, patience)


def moves_seen(
    subject: incident.Incident,
    event: network_events.MovesSeen,
    patience: waits.Patience,
) -> incident.Incident:
    """Learn from nova where each server stands."""
    return finish(moves.moves_seen(subject, event, patience), event.at)


# --- the end --------------------------------------------------------------


def _result(subject: incident.Incident) -> str:
    count = {
        state: sum(move.state == state for move in subject.moves)
        for state in incident.FINAL_MOVE_STATES
    }
    return (
        f'{notes.count(count[MoveState.MOVED], "server")} moved away, '
        f'{count[MoveState.FAILED]} could not, {count[MoveState.LEFT]} left '
        'alone'
    )


def finish(subject: incident.Incident, at: float) -> incident.Incident:
    """Close it when the networks are back and everything is as it was."""
    if subject.phase != Phase.MIGRATING or not is_healed(subject):
        return subject
    if step_due(subject) is not None:
        return subject
    open_ = [move for move in subject.moves if move.state in moves.OPEN_MOVES]
    if open_:
        text = (
            f'The networks are back; {notes.count(len(open_), "server")} on '
            'the way, nova ends it. One that nova lost: openstack ha release '
            f'{subject.host}'
        )
        return dataclasses.replace(
            subject, code='migrations-open', reason=text
        )
    return _close(subject, at, _result(subject))


def _close(
    subject: incident.Incident, at: float, text: str
) -> incident.Incident:
    failed = any(move.state == MoveState.FAILED for move in subject.moves)
    return dataclasses.replace(
        containment.close(subject, at, f'The networks are back: {text}'),
        outcome='partial' if failed else 'resolved',
    )


def released(
    subject: incident.Incident, at: float, by: str, reason: str
) -> incident.Incident:
    """An operator no longer waits for live migrations that nova lost."""
    if subject.code == 'migrations-open':
        return _close(subject, at, f'{by} closed it: {reason}')
    return notes.add(
        subject,
        at,
        'release-ignored',
        f'{by} released it, but nothing is held that an operator can '
        'release: servers leave the host',
        kind=Kind.OPERATOR,
    )
