# SPDX-License-Identifier: Apache-2.0

"""What the engine asks of nova for one server, kept before it is asked."""

import dataclasses

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import outcomes
from nova_ha_plugins.recovery import waits

ServerState = incident.ServerState

# How often a server that must be stopped is asked to stop.
STOP_REPEAT = 10.0


def listed(
    subject: incident.Incident, event: events.Listed, patience: waits.Patience
) -> incident.Incident:
    """Take the final list of servers, read after the host was contained."""
    protected = sum(s.protected for s in event.servers)
    subject = notes.add(
        subject,
        event.at,
        'listed',
        f'{len(event.servers)} servers on the host, {protected} of them ask '
        'for recovery',
        servers=event.servers,
        listed=True,
    )
    return outcomes.finish(subject, event.at)


def stop_due(server: incident.Server, now: float) -> bool:
    """Return whether a server that was stopped must be asked to stop now."""
    return server.state == ServerState.RESTORING and waits.is_over(
        server.retry_at, now
    )


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
    if server.state != ServerState.REQUESTED:
        # The answer is late: nova's record has told more already.
        return subject
    code = 'nova-busy' if event.busy else 'refused'
    subject = outcomes.again(
        subject, event.at, server, code, event.text, patience
    )
    return outcomes.finish(subject, event.at)


def batch_held(
    subject: incident.Incident, event: events.BatchHeld, patience: object
) -> incident.Incident:
    """Say why no evacuation begins although some could."""
    if (subject.code, subject.reason) == (event.code, event.text):
        return subject
    if subject.code != event.code:
        subject = notes.add(subject, event.at, event.code, event.text)
    return dataclasses.replace(
        subject, code=event.code, reason=event.text, updated_at=event.at
    )


def stop_intended(
    subject: incident.Incident,
    event: events.StopIntended,
    patience: waits.Patience,
) -> incident.Incident:
    """Keep, before nova is asked, that a server will be stopped again."""
    server = notes.server_of(subject, event.server_uuid)
    return notes.put_server(
        subject, event.at, server, retry_at=event.at + STOP_REPEAT
    )
