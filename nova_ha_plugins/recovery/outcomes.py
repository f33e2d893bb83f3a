# SPDX-License-Identifier: Apache-2.0

"""What becomes of one server, and of the incident when all have an end."""

import dataclasses

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import waits

ServerState = incident.ServerState

# A retry for want of a host waits twice as long each time, up to this.
MAX_RETRY_DELAY = 300.0
# A server that waits for room is tried for ever; this many tries are told.
TOLD_WAITS = 3
SERVERS_WAIT = 'servers-wait'


def again(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    code: str,
    text: str,
    patience: waits.Patience,
    baseline: str | None = None,
) -> incident.Incident:
    # Want of a host ends by itself when capacity returns, and an evacuation
    # that somebody else began ends too: never park it.
    waits_for_room = code in ('no-valid-host', 'nova-busy', 'evacuation-open')
    if not waits_for_room and (
        server.attempts - server.waits >= patience.max_attempts
    ):
        return end(
            subject,
            at,
            server,
            ServerState.PARKED,
            code,
            f'{text}; given up after {server.attempts} attempts, evacuate it '
            'by hand',
        )
    delay = min(
        patience.retry_delay * 2 ** min(max(server.attempts - 1, 0), 10),
        MAX_RETRY_DELAY,
    )
    if server.waits < TOLD_WAITS:
        subject = notes.add(
            subject,
            at,
            f'retry:{code}',
            f"Server '{server.name or server.uuid}': {text}; next attempt in "
            f'{delay:.0f} s',
        )
    return notes.put_server(
        subject,
        at,
        server,
        state=ServerState.READY,
        waits=server.waits + waits_for_room,
        code=code,
        reason=f'{text}; tried again',
        baseline=baseline if baseline is not None else server.baseline,
        migration_uuid=None,
        destination=None,
        retry_at=at + delay,
    )


def end(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    state: ServerState,
    code: str,
    reason: str,
) -> incident.Incident:
    subject = notes.add(
        subject,
        at,
        f'server-{state}',
        f"Server '{server.name or server.uuid}': {reason}",
    )
    return notes.put_server(
        subject,
        at,
        server,
        state=state,
        code=code,
        reason=reason,
        finished_at=at,
        retry_at=None,
    )


def reopen(
    subject: incident.Incident, at: float, server: incident.Server
) -> incident.Incident:
    """Go on with a server that was parked, also after the end.

    Only for a host that is still off: the engine looks before it asks.
    """
    text = (
        f"Server '{server.name or server.uuid}' is parked no more "
        f'({server.code})'
    )
    if subject.phase != incident.Phase.RECOVERED:
        return notes.add(subject, at, 'unparked', text)
    return notes.add(
        subject,
        at,
        'reopened',
        f'{text}: evacuation goes on',
        phase=incident.Phase.EVACUATING,
        outcome='',
        code='',
        reason='',
        next_look_at=None,
    )


def finish(subject: incident.Incident, at: float) -> incident.Incident:
    """Return the incident as recovered, or with what it still waits for."""
    if subject.phase == incident.Phase.RECOVERED:
        # A parked server ended otherwise; the count of the rest stands.
        return _recounted(subject)
    if any(
        s.state not in incident.FINAL_SERVER_STATES for s in subject.servers
    ):
        return _waiting(subject, at)
    count = {
        state: sum(s.state == state for s in subject.servers)
        for state in incident.FINAL_SERVER_STATES
    }
    parked = count[ServerState.PARKED]
    subject = dataclasses.replace(subject, reviewed_at=at)
    return notes.add(
        subject,
        at,
        'recovered',
        f'{notes.count(count[ServerState.RECOVERED], "server")} recovered, '
        f'{count[ServerState.LEFT]} left alone, {parked} parked for an '
        'operator',
        phase=incident.Phase.RECOVERED,
        outcome='partial' if parked else 'resolved',
        code='',
        reason='',
        next_look_at=None,
    )


def _recounted(subject: incident.Incident) -> incident.Incident:
    parked = any(s.state == ServerState.PARKED for s in subject.servers)
    outcome = 'partial' if parked else 'resolved'
    if subject.outcome == outcome:
        return subject
    return dataclasses.replace(subject, outcome=outcome)


def _waiting(subject: incident.Incident, at: float) -> incident.Incident:
    """Say that servers wait for room, the first time in the timeline too."""
    number = sum(
        s.state == ServerState.READY and s.code == 'no-valid-host'
        for s in subject.servers
    )
    if subject.code not in ('', SERVERS_WAIT):
        return subject
    if not number:
        if subject.code == SERVERS_WAIT:
            return dataclasses.replace(subject, code='', reason='')
        return subject
    text = (
        f"{notes.count(number, 'server')} of host '{subject.host}' cannot "
        'begin: nova found no host with room. Add or free capacity; each is '
        f'tried again at least every {MAX_RETRY_DELAY:.0f} s'
    )
    if not any(entry.code == SERVERS_WAIT for entry in subject.timeline):
        subject = notes.add(subject, at, SERVERS_WAIT, text)
    return dataclasses.replace(subject, code=SERVERS_WAIT, reason=text)
