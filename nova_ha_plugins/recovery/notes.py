# SPDX-License-Identifier: Apache-2.0

"""Small changes that every part of the state machine makes."""

import dataclasses
import typing

from nova_ha_plugins.recovery import incident

# What a line is about, by its code up to a colon.
_KINDS: typing.Final = {
    incident.Kind.EVIDENCE: ('appeared', 'listed', 'server-slow'),
    incident.Kind.GATE: (
        'cleaning',
        'contained',
        'healthy-delay',
        'parked-servers',
        'quarantined',
        'server-waits',
        'service-gone',
        'servers-wait',
        'silent-again',
        'still-evacuating',
    ),
    incident.Kind.DECISION: (
        'contain-again',
        'migrating',
        'reopened',
        'returning',
        'unparked',
    ),
    incident.Kind.RESULT: (
        'closed',
        'disable-refused',
        'enable-refused',
        'evacuating',
        'force-down-refused',
        'forced-down',
        'recovered',
        'retry',
        'server-left',
        'server-parked',
        'server-recovered',
        'un-force-refused',
        'un-forced',
    ),
}
_KIND_OF: typing.Final = {
    code: kind for kind, codes in _KINDS.items() for code in codes
}


def _of(code: str) -> incident.Kind:
    return _KIND_OF.get(code.partition(':')[0], incident.Kind.NOTE)


def add(
    subject: incident.Incident,
    at: float,
    code: str,
    text: str,
    /,
    kind: incident.Kind | None = None,
    made_from: str = '',
    **changes: typing.Any,
) -> incident.Incident:
    """Return the incident with one more line in its timeline.

    :param kind: None for what the code is known for.
    :param made_from: of a decision: what it was made from, as
        ``decision.record`` writes it.
    """
    entry = incident.Entry(
        len(subject.timeline) + 1, at, code, text, kind or _of(code), made_from
    )
    return dataclasses.replace(
        subject,
        timeline=(*subject.timeline, entry),
        updated_at=at,
        **changes,
    )


def count(number: int, noun: str) -> str:
    """Return '1 server', '2 servers'."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def fence_of(subject: incident.Incident) -> incident.FenceRecord:
    """Return the fence record of an incident that must have one.

    :raises ValueError: the stored incident is in a phase after the decision
        to fence but carries no record: it was damaged.
    """
    if subject.fence is None:
        raise ValueError(
            f"Incident '{subject.uuid}' of host '{subject.host}' is "
            f'{subject.phase} without a fence record.'
        )
    return subject.fence


def server_of(subject: incident.Incident, uuid: str) -> incident.Server:
    """Return one server of the incident.

    :raises KeyError: the incident has no such server.
    """
    for server in subject.servers:
        if server.uuid == uuid:
            return server
    raise KeyError(uuid)


def put_server(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    **changes: typing.Any,
) -> incident.Incident:
    """Return the incident with one server changed, itself if none is."""
    changed = dataclasses.replace(server, **changes)
    if changed == server_of(subject, server.uuid):
        return subject
    return dataclasses.replace(
        subject,
        servers=tuple(
            changed if each.uuid == server.uuid else each
            for each in subject.servers
        ),
        updated_at=at,
    )
