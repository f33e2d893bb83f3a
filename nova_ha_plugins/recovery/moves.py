# SPDX-License-Identifier: Apache-2.0

"""One server that leaves a living host, as nova's records tell it.

Nova's live migration record and the host of the server are the truth. No
answer from nova is no failure: without a record a call counts as lost only
after a quiet time, and while nova says that the server is busy it counts as
under way.
"""

from collections.abc import Iterable
import dataclasses

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits

Kind = incident.Kind
MoveState = incident.MoveState
Phase = incident.Phase

OPEN_MOVES = frozenset({MoveState.REQUESTED, MoveState.MOVING})

# Nova's live migration takes servers in these states only.
_MOVABLE = frozenset({'active', 'paused'})

# A failed call, or a failed migration, is tried again so often.
_MOST_ATTEMPTS = 3


def moves_of(
    servers: Iterable[incident.Server],
) -> tuple[incident.Move, ...]:
    """Return the servers that leave, in the order in which they do.

    Those whose owners asked for recovery and that run. One that is stopped
    loses nothing with the network of its host.
    """
    return tuple(
        incident.Move(server.uuid, server.name, server.priority)
        for server in sorted(servers, key=lambda s: (-s.priority, s.uuid))
        if server.protected and server.vm_state in _MOVABLE
    )


def move_of(subject: incident.Incident, uuid: str) -> incident.Move:
    """Return one server that leaves.

    :raises KeyError: there is none of that uuid.
    """
    for move in subject.moves:
        if move.uuid == uuid:
            return move
    raise KeyError(uuid)


def _put(
    subject: incident.Incident, at: float, after: incident.Move
) -> incident.Incident:
    if after == move_of(subject, after.uuid):
        return subject
    return dataclasses.replace(
        subject,
        moves=tuple(
            after if move.uuid == after.uuid else move
            for move in subject.moves
        ),
        updated_at=at,
    )


def move_intended(
    subject: incident.Incident,
    event: network_events.MoveIntended,
    _: waits.Patience,
) -> incident.Incident:
    """Keep, before nova is asked, that it will be."""
    move = move_of(subject, event.server_uuid)
    if move.state != MoveState.QUEUED:
        raise events.ImpossibleEventError(
            f"Server '{move.uuid}' of host '{subject.host}' is {move.state} "
            'and cannot be live-migrated now.'
        )
    again = f' (attempt {move.attempts + 1})' if move.attempts else ''
    subject = notes.add(
        subject,
        event.at,
        'migrate',
        f"Live migration of server '{move.name or move.uuid}' asked for"
        f'{again}',
        kind=Kind.INTENT,
    )
    return _put(
        subject,
        event.at,
        dataclasses.replace(
            move,
            state=MoveState.REQUESTED,
            attempts=move.attempts + 1,
            intended_at=event.at,
            answered=False,
            migration_uuid=None,
            destination=None,
            retry_at=None,
        ),
    )


def move_accepted(
    subject: incident.Incident,
    event: network_events.MoveAccepted,
    _: waits.Patience,
) -> incident.Incident:
    """Nova answered that it took the call."""
    move = move_of(subject, event.server_uuid)
    return _put(subject, event.at, dataclasses.replace(move, answered=True))


def move_refused(
    subject: incident.Incident,
    event: network_events.MoveRefused,
    patience: waits.Patience,
) -> incident.Incident:
    """Nova answered that it did not take it."""
    move = move_of(subject, event.server_uuid)
    if move.state != MoveState.REQUESTED:
        return subject
    if event.busy:
        return _put(
            subject,
            event.at,
            dataclasses.replace(
                move,
                state=MoveState.QUEUED,
                attempts=move.attempts - 1,
                code='nova-busy',
                reason=event.text,
                retry_at=event.at + patience.retry_delay,
            ),
        )
    return _failed(subject, event.at, move, 'refused', event.text, patience)


def _failed(
    subject: incident.Incident,
    at: float,
    move: incident.Move,
    code: str,
    text: str,
    patience: waits.Patience,
) -> incident.Incident:
    """Try again later, a few times, while the network is lost."""
    final = (
        move.attempts >= _MOST_ATTEMPTS
        or not subject.networks_lost
        or subject.phase != Phase.MIGRATING
    )
    subject = notes.add(
        subject,
        at,
        'migrate-failed',
        f"Server '{move.name or move.uuid}' stays on the host: {text}"
        + ('' if final else f'; asked again in {patience.retry_delay:.0f} s'),
        kind=Kind.RESULT,
    )
    return _put(
        subject,
        at,
        dataclasses.replace(
            move,
            state=MoveState.FAILED if final else MoveState.QUEUED,
            code=code,
            reason=text,
            baseline=move.migration_uuid or move.baseline,
            migration_uuid=None,
            destination=None,
            retry_at=None if final else at + patience.retry_delay,
        ),
    )


def _end(
    subject: incident.Incident,
    at: float,
    move: incident.Move,
    state: MoveState,
    code: str,
    text: str,
) -> incident.Incident:
    subject = notes.add(
        subject,
        at,
        f'server-{state}',
        f"Server '{move.name or move.uuid}': {text}",
        kind=Kind.RESULT,
    )
    return _put(
        subject,
        at,
        dataclasses.replace(
            move, state=state, code=code, reason=text, retry_at=None
        ),
    )


def moves_seen(
    subject: incident.Incident,
    event: network_events.MovesSeen,
    patience: waits.Patience,
) -> incident.Incident:
    """Learn from nova where each server stands."""
    for seen in event.seen:
        move = move_of(subject, seen.server_uuid)
        if move.state in incident.FINAL_MOVE_STATES:
            continue
        if seen.server is None:
            subject = _end(
                subject,
                event.at,
                move,
                MoveState.LEFT,
                'deleted',
                'nova has no such server any more: its owner deleted it',
            )
        elif move.state == MoveState.QUEUED:
            subject = _waits(subject, event.at, move, seen, seen.server)
        else:
            subject = _goes(
                subject, event.at, move, seen, seen.server, patience
            )
    return subject


def _waits(
    subject: incident.Incident,
    at: float,
    move: incident.Move,
    seen: network_events.MoveSeen,
    view: views.ServerView,
) -> incident.Incident:
    record = seen.record
    if records.is_open(record):
        assert record is not None  # noqa: S101 - is_open() says so
        # Somebody else asked: follow that one.
        return _put(subject, at, _follow(move, record))
    if view.host != subject.host:
        if view.task_state is not None:
            return subject
        return _end(
            subject,
            at,
            move,
            MoveState.MOVED,
            'elsewhere',
            f"it is on host '{view.host}' already",
        )
    choice = policy.choose(view.metadata, policy.EVACUATE)
    if (
        not choice.protected
        or policy.being_deleted(view)
        or view.vm_state not in _MOVABLE
    ):
        return _end(
            subject,
            at,
            move,
            MoveState.LEFT,
            'not-asked',
            f'it stays: it is {view.vm_state}, {choice.reason}',
        )
    # One that nova is busy with waits; nova would refuse it with 409.
    pause = at + 2.0 if view.task_state is not None else None
    return _put(
        subject,
        at,
        dataclasses.replace(
            move,
            baseline=record.uuid if record else None,
            retry_at=pause or move.retry_at,
        ),
    )


def _follow(move: incident.Move, record: views.MigrationView) -> incident.Move:
    return dataclasses.replace(
        move,
        state=MoveState.MOVING,
        code='' if move.code != 'slow' else move.code,
        reason=f'{record.status}'
        + (f" to '{record.dest_compute}'" if record.dest_compute else ''),
        migration_uuid=record.uuid,
        destination=record.dest_compute,
    )


def _goes(
    subject: incident.Incident,
    at: float,
    move: incident.Move,
    seen: network_events.MoveSeen,
    view: views.ServerView,
    patience: waits.Patience,
) -> incident.Incident:
    record = seen.record
    began = move.intended_at or at
    if began > at:
        # The clock of the store went back: the pause begins anew.
        return _put(subject, at, dataclasses.replace(move, intended_at=at))
    if view.host != subject.host and view.task_state is None:
        return _end(
            subject,
            at,
            move,
            MoveState.MOVED,
            '',
            f"it runs on host '{view.host}'",
        )
    if record is None or record.uuid == move.baseline:
        if (
            view.task_state is None
            and not move.migration_uuid
            and at - began >= patience.unanswered_quiet
        ):
            return _failed(
                subject,
                at,
                move,
                'unanswered',
                'nova has no record of the call after '
                f'{patience.unanswered_quiet:.0f} s',
                patience,
            )
        return subject
    after = _follow(move, record)
    if records.is_open(record) or record.status == 'completed':
        if at - began >= records.SLOW and move.code != 'slow':
            subject = notes.add(
                subject,
                at,
                'migrate-slow',
                f"Live migration of server '{move.name or move.uuid}' to "
                f"'{record.dest_compute}' reads {record.status} for "
                f'{at - began:.0f} s; it is left alone, look at it',
                kind=Kind.NOTE,
            )
            after = dataclasses.replace(after, code='slow')
        return _put(subject, at, after)
    if view.task_state is not None and subject.phase == Phase.MIGRATING:
        # Nova still cleans up.
        return _put(subject, at, after)
    return _failed(
        subject,
        at,
        after,
        'failed',
        f"nova's record of the live migration reads {record.status}",
        patience,
    )
