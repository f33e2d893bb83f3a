# SPDX-License-Identifier: Apache-2.0

"""One server on its way to another host, as nova's records tell it.

Nova's migration record is the truth. The newest evacuation record of the
server away from the failed host says what may be done: none, or one that was
there before our call: call. Open: wait, however long; slow is not dead.
``error``: no destination was chosen, so a retry is harmless. ``failed`` with
a destination: a guest may be left there, because nova does not remove it when
something fails after the spawn; no other host is tried unless that
destination was itself fenced. No answer from nova's API: nothing is learned,
nothing changes.
"""

import dataclasses

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import outcomes
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import restoring
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits

ServerState = incident.ServerState

# Nova's final statuses of an evacuation record; everything else is open.
CLOSED_STATUSES = frozenset(
    {'done', 'completed', 'error', 'failed', 'cancelled'}
)
# How long a record that says 'completed' may contradict the server.
SETTLING = 10.0
# Parked until nobody can be left on the destination of a failed evacuation.
UNPROVEN = 'destination-unproven'
# After this an evacuation that nova neither ends nor moves is reported.
SLOW = 600.0


def seen(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    patience: waits.Patience,
) -> incident.Incident:
    """Learn from nova's records where a server stands."""
    server = notes.server_of(subject, event.server_uuid)
    if server.state == ServerState.PARKED:
        return outcomes.finish(_parked(subject, event, server), event.at)
    if server.state in incident.FINAL_SERVER_STATES:
        return subject
    if event.server is None:
        subject = outcomes.end(
            subject,
            event.at,
            server,
            ServerState.LEFT,
            'deleted',
            'nova has no such server any more: its owner deleted it',
        )
    elif server.state == ServerState.RESTORING:
        subject = restoring.arrived(subject, event.at, server, event.server)
    elif server.state in (ServerState.QUEUED, ServerState.READY):
        subject = _before_call(subject, event, server, patience)
    elif server.state == ServerState.REQUESTED:
        subject = _after_call(subject, event, server, patience)
    else:
        subject = _on_the_way(subject, event, server, patience)
    return outcomes.finish(subject, event.at)


def _before_call(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    server: incident.Server,
    patience: waits.Patience,
) -> incident.Incident:
    view, record = event.server, event.record
    assert view is not None  # noqa: S101 - seen() has dealt with None
    if is_open(record) and not event.destination_off:
        assert record is not None  # noqa: S101 - is_open() says so
        # An operator, or an engine before us, asked already: adopt it. One
        # that we gave up, because its destination was off, may go on by now.
        return _follow(subject, event.at, server, record)
    if view.host and view.host != subject.host:
        # It is elsewhere; while it is busy there it is not ours to touch.
        if view.task_state is not None:
            return notes.put_server(
                subject, event.at, server, state=ServerState.QUEUED
            )
        return restoring.arrived(subject, event.at, server, view)
    # Its owner may have changed the tags while it waited.
    choice = policy.choose(view.metadata, policy.EVACUATE)
    if not choice.protected:
        return outcomes.end(
            subject,
            event.at,
            server,
            ServerState.LEFT,
            choice.code,
            f'{choice.reason} by now',
        )
    if _unproven(record) and not event.destination_off:
        assert record is not None  # noqa: S101 - _unproven() says so
        return _park_unproven(subject, event.at, server, record)
    return _as_judged(subject, event, server, view, patience)


def _as_judged(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    server: incident.Server,
    view: views.ServerView,
    patience: waits.Patience,
) -> incident.Incident:
    """Do what the table of the states says of a server that is not asked."""
    found = states.judge(view, server.vm_state, event.move, event.other_off)
    match found.fate:
        case states.Fate.LEAVE | states.Fate.PARK:
            state = (
                ServerState.LEFT
                if found.fate == states.Fate.LEAVE
                else ServerState.PARKED
            )
            return outcomes.end(
                subject, event.at, server, state, found.code, found.reason
            )
        case states.Fate.WAIT:
            return _wait(subject, event.at, server, found, patience)
    server = _with_newest_wish(server, view)
    if (
        found.fate == states.Fate.EVACUATE
        and server.reset == incident.StepState.INTENDED
    ):
        # It was asked for, and the answer was lost: it is active by now.
        server = dataclasses.replace(server, reset=incident.StepState.DONE)
    if server.code in states.REVIEWED:
        server = dataclasses.replace(server, code='', reason='')
    return notes.put_server(
        subject,
        event.at,
        server,
        state=ServerState.READY,
        baseline=event.record.uuid if event.record else None,
        since=None,
    )


def _wait(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    found: states.Judgement,
    patience: waits.Patience,
) -> incident.Incident:
    """Let nova, or its owner, end what was under way; park it after a while.

    A parked server is looked at again, so that nothing is lost by it.
    """
    since = server.since
    if since is None or since > at or server.code != found.code:
        since = at
    if at - since >= patience.state_wait:
        return outcomes.end(
            subject, at, server, ServerState.PARKED, found.code, found.reason
        )
    if server.since is None:
        subject = notes.add(
            subject,
            at,
            f'server-waits:{found.code}',
            f"Server '{server.name or server.uuid}': {found.reason}",
        )
    return notes.put_server(
        subject,
        at,
        notes.server_of(subject, server.uuid),
        state=ServerState.QUEUED,
        code=found.code,
        reason=found.reason,
        since=since,
    )


def _with_newest_wish(
    server: incident.Server, view: views.ServerView
) -> incident.Server:
    """Return the server with what its owner wanted of it last.

    Until nova is asked the first time; then its states are our own doing.
    """
    if (
        server.attempts
        or server.reset != incident.StepState.NONE
        or view.vm_state == states.ERROR
    ):
        return server
    return dataclasses.replace(
        server,
        vm_state=view.vm_state,
        task_state=view.task_state or '',
        locked=view.locked,
    )


def _parked(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    server: incident.Server,
) -> incident.Incident:
    """Look again at a parked server: its reason may have ended."""
    view, record = event.server, event.record
    if view is None:
        return outcomes.end(
            subject,
            event.at,
            server,
            ServerState.LEFT,
            'deleted',
            'nova has no such server any more: its owner deleted it',
        )
    if view.host and view.host != subject.host:
        wanted = states.wanted(server.vm_state, server.task_state)
        if view.task_state is not None or view.vm_state != wanted:
            return subject
        return outcomes.end(
            subject,
            event.at,
            dataclasses.replace(server, destination=view.host),
            ServerState.RECOVERED,
            '',
            f"somebody brought it to host '{view.host}', {view.vm_state}",
        )
    if is_open(record) and not event.destination_off:
        assert record is not None  # noqa: S101 - is_open() says so
        if record.uuid in (server.baseline, server.migration_uuid):
            return subject
        # An operator asked, or a call of ours arrived very late.
        return _follow(
            outcomes.reopen(subject, event.at, server),
            event.at,
            server,
            record,
        )
    if not _may_go_on(event, server, view):
        return subject
    subject = outcomes.reopen(subject, event.at, server)
    return notes.put_server(
        subject,
        event.at,
        server,
        state=ServerState.QUEUED,
        code='',
        reason='',
        since=None,
        retry_at=None,
        finished_at=None,
    )


def _may_go_on(
    event: events.EvacuationSeen,
    server: incident.Server,
    view: views.ServerView,
) -> bool:
    if not policy.choose(view.metadata, policy.EVACUATE).protected:
        return False
    if server.code == UNPROVEN:
        return event.destination_off and event.record is not None
    if server.code not in states.REVIEWED:
        return False
    found = states.judge(view, server.vm_state, event.move, event.other_off)
    return found.fate in (states.Fate.EVACUATE, states.Fate.RESET)


def _after_call(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    server: incident.Server,
    patience: waits.Patience,
) -> incident.Incident:
    record = event.record
    if record is not None and record.uuid != server.baseline:
        subject = _follow(subject, event.at, server, record)
        server = notes.server_of(subject, server.uuid)
        return _on_the_way(subject, event, server, patience)
    began = server.intended_at or event.at
    if began > event.at:
        # The clock of the store went back: the pause begins anew.
        return notes.put_server(
            subject, event.at, server, intended_at=event.at
        )
    if event.at - began < patience.unanswered_quiet:
        return subject
    if server.answered:
        return _unlisted(subject, event, server)
    return outcomes.again(
        subject,
        event.at,
        server,
        'unanswered',
        f'nova has no record of the call after '
        f'{patience.unanswered_quiet:.0f} s',
        patience,
    )


def _unlisted(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    server: incident.Server,
) -> incident.Incident:
    """Nova took the call, so there is a record: its list is older than that.

    Asked again it would take a second evacuation beside the first.
    """
    view = event.server
    assert view is not None  # noqa: S101 - seen() has dealt with None
    if view.host != subject.host and view.task_state is None:
        return restoring.arrived(subject, event.at, server, view)
    if view.host != subject.host or server.code == 'record-missing':
        return subject
    text = (
        'nova took its evacuation and lists no record of it; the list is read '
        'again and nothing is asked twice: look at the database of nova-api'
    )
    told = f"Server '{server.name or server.uuid}': {text}"
    kind = incident.Kind.EVIDENCE
    subject = notes.add(subject, event.at, 'record-missing', told, kind=kind)
    return notes.put_server(
        subject, event.at, server, code='record-missing', reason=text
    )


def _on_the_way(
    subject: incident.Incident,
    event: events.EvacuationSeen,
    server: incident.Server,
    patience: waits.Patience,
) -> incident.Incident:
    view, record = event.server, event.record
    assert view is not None  # noqa: S101 - seen() has dealt with None
    if record is None:
        return subject
    if (record.uuid, record.dest_compute) != (
        server.migration_uuid,
        server.destination,
    ):
        subject = _follow(subject, event.at, server, record)
        server = notes.server_of(subject, server.uuid)
    if view.host != subject.host:
        # It has arrived. If that host failed in turn, the server is a matter
        # of that host's incident: a second call from here would be one more.
        if view.task_state is not None:
            return subject
        return restoring.arrived(subject, event.at, server, view)
    if event.destination_off:
        return outcomes.again(
            subject,
            event.at,
            server,
            'destination-fenced',
            f"its destination '{record.dest_compute}' failed as well (a "
            'stopped copy may stay defined there, which nova does not remove)',
            patience,
            baseline=record.uuid,
        )
    if is_open(record) or record.status == 'done':
        return _waiting(subject, event.at, server, record)
    if record.status == 'completed':
        return _contradiction(subject, event.at, server, view, record)
    if _unproven(record):
        return _park_unproven(subject, event.at, server, record)
    code = 'no-valid-host' if record.status == 'error' else 'failed'
    return outcomes.again(
        subject,
        event.at,
        server,
        code,
        'nova found no host for it'
        if code == 'no-valid-host'
        else 'nova gave it up before it chose a host for good',
        patience,
        baseline=record.uuid,
    )


def _waiting(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    record: views.MigrationView,
) -> incident.Incident:
    """Wait, however long; after a while say that and for whom."""
    if server.code or at - (server.intended_at or at) < SLOW:
        return subject
    where = (
        f"look at nova-compute of '{record.dest_compute}'"
        if record.dest_compute
        else 'no destination has taken it yet: a host that nova believed to '
        'be up may be dead'
    )
    text = (
        f'its evacuation (record {record.uuid}, {record.status}) has made no '
        f'progress for {SLOW / 60:.0f} minutes; {where}'
    )
    subject = notes.add(
        subject,
        at,
        'server-slow',
        f"Server '{server.name or server.uuid}': {text}",
    )
    return notes.put_server(subject, at, server, code=pacing.SLOW, reason=text)


def is_open(record: views.MigrationView | None) -> bool:
    """Return whether nova may still act on the record."""
    return record is not None and record.status not in CLOSED_STATUSES


def _unproven(record: views.MigrationView | None) -> bool:
    return (
        record is not None
        and record.status in ('failed', 'cancelled', 'error')
        and bool(record.dest_compute)
    )


def _follow(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    record: views.MigrationView,
) -> incident.Incident:
    return notes.put_server(
        subject,
        at,
        server,
        state=ServerState.EVACUATING,
        migration_uuid=record.uuid,
        destination=record.dest_compute,
        intended_at=server.intended_at or at,
        code='',
        reason='',
        retry_at=None,
    )


def _contradiction(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    view: views.ServerView,
    record: views.MigrationView,
) -> incident.Incident:
    """Nova says completed, yet the server is still on the failed host.

    That is so for a moment at the end of an evacuation whose source came
    back early, and for good when the source came back before a destination
    was chosen.
    """
    if view.task_state is not None:
        return _waiting(subject, at, server, record)
    if server.code != 'settling':
        return notes.put_server(
            subject, at, server, code='settling', retry_at=at + SETTLING
        )
    if not waits.is_over(server.retry_at, at):
        return subject
    return outcomes.end(
        subject,
        at,
        server,
        ServerState.PARKED,
        'source-returned',
        'its host came back during the evacuation and nova closed the record '
        'without moving it; look at the server before you start it',
    )


def _park_unproven(
    subject: incident.Incident,
    at: float,
    server: incident.Server,
    record: views.MigrationView,
) -> incident.Incident:
    return outcomes.end(
        subject,
        at,
        server,
        ServerState.PARKED,
        UNPROVEN,
        f"its evacuation to '{record.dest_compute}' failed and a guest may "
        'be left there, which would write to the same disk; look for it on '
        'that host, remove it, then evacuate by hand',
    )
