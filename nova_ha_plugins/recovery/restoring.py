# SPDX-License-Identifier: Apache-2.0

"""A server that has arrived: put back into the state that it had."""

import dataclasses

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import outcomes
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits

ServerState = incident.ServerState

# How often nova is asked to put a server back.
REPEAT = 10.0
# After this it is parked: it runs, only not as it did.
LONGEST = 300.0


def arrived(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    view: views.ServerView,
) -> incident.Incident:
    """A server is on another host: in its state, to be put back, in error."""
    if view.vm_state == states.ERROR:
        return outcomes.end(
            subject,
            at,
            server,
            ServerState.PARKED,
            'error-after-evacuation',
            f"it is on host '{view.host}' but in error; look at its fault",
        )
    wanted = states.wanted(server.vm_state, server.task_state)
    if view.vm_state not in (states.ACTIVE, states.STOPPED, wanted):
        # An evacuation does not lead there: its owner did, and it lives.
        wanted = view.vm_state
    if view.vm_state == wanted:
        return outcomes.end(
            subject,
            at,
            dataclasses.replace(server, destination=view.host),
            ServerState.RECOVERED,
            '',
            f"on host '{view.host}', {view.vm_state}",
        )
    if _can_restore(server, view, wanted):
        return _restore(subject, at, server, view, wanted)
    return outcomes.end(
        subject,
        at,
        dataclasses.replace(server, destination=view.host),
        ServerState.PARKED,
        'came-back-stopped',
        f"it ran before and is stopped on host '{view.host}'; start it "
        'unless its owner stopped it meanwhile',
    )


def _can_restore(
    server: incident.Server, view: views.ServerView, wanted: str
) -> bool:
    """Return whether a call of nova leads from what is to what was."""
    if view.vm_state == states.ACTIVE:
        return wanted in (states.STOPPED, states.PAUSED)
    # One that ran and is stopped now may have been stopped by its owner.
    return (
        view.vm_state == states.STOPPED
        and wanted == states.ACTIVE
        and server.vm_state == states.STOPPED
    )


def _restore(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    view: views.ServerView,
    wanted: str,
) -> incident.Incident:
    if server.state == ServerState.RESTORING:
        if server.since is not None and at - server.since >= LONGEST:
            return outcomes.end(
                subject,
                at,
                server,
                ServerState.PARKED,
                'not-restored',
                f"it is on host '{view.host}', {view.vm_state}, and nova did "
                f'not make it {wanted} within {LONGEST / 60:.0f} minutes',
            )
        return subject
    code, text = _words(wanted)
    return notes.put_server(
        subject,
        at,
        server,
        state=ServerState.RESTORING,
        code=code,
        reason=f'before its host failed it {text}',
        destination=view.host,
        retry_at=None,
        since=at,
    )


def _words(wanted: str) -> tuple[str, str]:
    if wanted == states.STOPPED:
        return 'stopping', 'was stopped; stopping it again'
    if wanted == states.PAUSED:
        return 'pausing', 'was paused; pausing it again'
    return 'starting', 'was being started; starting it'


def due(server: incident.Server, now: float) -> bool:
    """Return whether nova must be asked now to put a server back."""
    return server.state == ServerState.RESTORING and waits.is_over(
        server.retry_at, now
    )


def intended(
    subject: incident.Incident,
    event: events.RestoreIntended,
    patience: waits.Patience,
) -> incident.Incident:
    """Keep, before nova is asked, that a server will be put back."""
    server = notes.server_of(subject, event.server_uuid)
    if server.state != ServerState.RESTORING:
        raise events.ImpossibleEventError(
            f"Server '{server.uuid}' of host '{subject.host}' is "
            f'{server.state} and cannot be put back.'
        )
    if server.restored == incident.StepState.NONE:
        subject = notes.add(
            subject,
            event.at,
            'restore',
            f"Server '{server.name or server.uuid}': {server.reason}",
            kind=incident.Kind.INTENT,
        )
    return notes.put_server(
        subject,
        event.at,
        server,
        restored=incident.StepState.INTENDED,
        retry_at=event.at + REPEAT,
    )
