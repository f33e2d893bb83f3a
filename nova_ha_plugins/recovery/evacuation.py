# SPDX-License-Identifier: Apache-2.0

"""What the engine asks of nova for one server, kept before it is asked."""

import dataclasses

from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import outcomes
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import waits

ServerState = incident.ServerState
StepState = incident.StepState


def listed(
    subject: incident.Incident, event: events.Listed, patience: waits.Patience
) -> incident.Incident:
    """Take the final list of servers, read after the host was contained."""
    before = {server.uuid: server for server in subject.servers}
    servers = tuple(
        _as_it_was(server, before.get(server.uuid)) for server in event.servers
    )
    protected = sum(s.protected for s in servers)
    subject = notes.add(
        subject,
        event.at,
        'listed',
        f'{len(servers)} servers on the host, {protected} of them ask '
        'for recovery',
        servers=servers,
        listed=True,
    )
    return outcomes.finish(subject, event.at)


def _as_it_was(
    server: incident.Server, before: incident.Server | None
) -> incident.Server:
    """Return a server that is in error only since its host failed as before.

    Somebody tried to evacuate it by hand, and nova could not.
    """
    if (
        before is None
        or server.vm_state != states.ERROR
        or before.vm_state == states.ERROR
        or before.state != ServerState.QUEUED
        or not server.protected
    ):
        return server
    return dataclasses.replace(
        server,
        vm_state=before.vm_state,
        task_state=before.task_state,
        state=before.state,
        code=before.code,
        reason=before.reason,
    )


def appeared(
    subject: incident.Incident,
    event: events.Appeared,
    patience: waits.Patience,
) -> incident.Incident:
    """Take servers that nova placed on the host after its list was made.

    A live migration or a resize to it was finished by the other host.
    """
    known = {server.uuid for server in subject.servers}
    new = tuple(s for s in event.servers if s.uuid not in known)
    if not new:
        return subject
    subject = notes.add(
        subject,
        event.at,
        'appeared',
        f'{notes.count(len(new), "server")} more on the host since it was '
        'listed: nova has ended a move to it',
        servers=(*subject.servers, *new),
    )
    if subject.phase == incident.Phase.RECOVERED:
        for server in new:
            if server.state == ServerState.QUEUED:
                return outcomes.reopen(subject, event.at, server)
    return outcomes.finish(subject, event.at)


def reviewed(
    subject: incident.Incident,
    event: events.Reviewed,
    patience: waits.Patience,
) -> incident.Incident:
    """Keep when parked servers were last looked at."""
    return dataclasses.replace(subject, reviewed_at=event.at)


def reset_intended(
    subject: incident.Incident,
    event: events.ResetIntended,
    patience: waits.Patience,
) -> incident.Incident:
    """Keep, before nova is asked, that it will call the server active."""
    server = notes.server_of(subject, event.server_uuid)
    if server.state != ServerState.READY:
        raise events.ImpossibleEventError(
            f"Server '{server.uuid}' of host '{subject.host}' is "
            f'{server.state} and cannot be reset.'
        )
    if server.reset == incident.StepState.NONE:
        subject = notes.add(
            subject,
            event.at,
            'reset',
            f"Server '{server.name or server.uuid}' is {server.vm_state}, "
            'which nova does not evacuate; its state is set to active first',
            kind=incident.Kind.INTENT,
        )
    return notes.put_server(
        subject, event.at, server, reset=incident.StepState.INTENDED
    )


def must_reset(server: incident.Server) -> bool:
    """Return whether nova must call a server active before it evacuates it."""
    return (
        states.needs_reset(server.vm_state, server.task_state)
        and server.reset != StepState.DONE
    )


def reset_done(
    subject: incident.Incident,
    event: events.ResetDone,
    patience: waits.Patience,
) -> incident.Incident:
    """Nova answered that it calls the server active now."""
    server = notes.server_of(subject, event.server_uuid)
    return notes.put_server(subject, event.at, server, reset=StepState.DONE)


def intended(
    subject: incident.Incident,
    event: events.EvacuateIntended,
    patience: waits.Patience,
) -> incident.Incident:
    """Keep, before nova is asked, that it will be."""
    server = notes.server_of(subject, event.server_uuid)
    if server.state != ServerState.READY:
        raise events.ImpossibleEventError(
            f"Server '{server.uuid}' of host '{subject.host}' is "
            f'{server.state} and cannot be evacuated.'
        )
    if subject.code != outcomes.SERVERS_WAIT:
        # What held the batch holds it no longer.
        subject = dataclasses.replace(subject, code='', reason='')
    again = f' (attempt {server.attempts + 1})' if server.attempts else ''
    if server.waits < outcomes.TOLD_WAITS:
        subject = notes.add(
            subject,
            event.at,
            'evacuate',
            f"Evacuation of server '{server.name or server.uuid}' asked for"
            f'{again}',
            kind=incident.Kind.INTENT,
        )
    return notes.put_server(
        subject,
        event.at,
        server,
        state=ServerState.REQUESTED,
        attempts=server.attempts + 1,
        intended_at=event.at,
        answered=False,
        migration_uuid=None,
        destination=None,
        retry_at=None,
    )


def accepted(
    subject: incident.Incident,
    event: events.EvacuateAccepted,
    patience: waits.Patience,
) -> incident.Incident:
    """Nova answered that it took the evacuation."""
    server = notes.server_of(subject, event.server_uuid)
    return notes.put_server(subject, event.at, server, answered=True)


def refused(
    subject: incident.Incident,
    event: events.EvacuateRefused,
    patience: waits.Patience,
) -> incident.Incident:
    """Nova answered that it did not take it: try again, then park."""
    server = notes.server_of(subject, event.server_uuid)
    if server.state == ServerState.READY and server.reset != StepState.NONE:
        # It is the reset that was refused: it counts as an attempt, too.
        server = dataclasses.replace(server, attempts=server.attempts + 1)
    elif server.state != ServerState.REQUESTED:
        # The answer is late: nova's record has told more already.
        return subject
    code = 'nova-busy' if event.busy else 'refused'
    if event.guarded:
        # Its record shows in the next look, and is followed like our own.
        code = 'evacuation-open'
    subject = outcomes.again(
        subject, event.at, server, code, event.text, patience
    )
    return outcomes.finish(subject, event.at)


def batch_held(
    subject: incident.Incident, event: events.BatchHeld, patience: object
) -> incident.Incident:
    """Say why no evacuation begins although some could."""
    return containment.hold_batch(subject, event.at, event.code, event.text)
