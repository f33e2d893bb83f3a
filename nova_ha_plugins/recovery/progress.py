# SPDX-License-Identifier: Apache-2.0

"""How far an evacuation is, from what nova itself recorded of it.

``migration.status`` alone does not tell: ``completed`` can come before the
end (the source came back), ``pre-migrating`` can stay for ever after the
success (the record was made again by the resource tracker), and a rebuild
that waits for nothing any more looks like one that is slow. So the record is
read together with the server, its instance action and the destination.

The rule that is kept: for the newest record of a server the percentage never
goes back while the evidence goes forward, and 100 is said only when nova's
record says so or the server is on the destination without a task.
"""

import dataclasses
import enum


class State(enum.StrEnum):
    """What became of the evacuation, in one word."""

    QUEUED = 'queued'
    RUNNING = 'running'
    SUCCEEDED = 'succeeded'
    FAILED = 'failed'
    SUPERSEDED = 'superseded'
    UNKNOWN = 'unknown'


class Phase(enum.StrEnum):
    """What is being done; the first eight in the order of the work."""

    ACCEPTED = 'accepted'
    SCHEDULING = 'scheduling'
    CLAIMING = 'claiming'
    PREPARING = 'preparing'
    VOLUMES = 'volumes'
    SPAWNING = 'spawning'
    FINISHING = 'finishing'
    DONE = 'done'
    FAILED = 'failed'
    SUPERSEDED = 'superseded'
    UNKNOWN = 'unknown'


class Reason(enum.StrEnum):
    """Why it is not simply going on, or how it ended."""

    NO_VALID_HOST = 'no_valid_host'
    DESTINATION_FAILED = 'destination_failed'
    SOURCE_RETURNED = 'source_returned'
    DESTINATION_DOWN = 'destination_down'
    TASK_STATE_RESET = 'task_state_reset'
    NO_TASK = 'no_task'
    NO_ACTIVITY = 'no_activity'
    CONCURRENT_EVACUATION = 'concurrent_evacuation'
    RECORD_LEFT_OPEN = 'record_left_open'
    SERVER_DELETED = 'server_deleted'


class Storage(enum.StrEnum):
    """What the destination has to bring to its own disk.

    COPY: an image, whose bytes are measured. IN_PLACE: nothing, because the
    disk is shared or the host has the image already. VOLUMES: nothing, the
    server boots from a volume. UNKNOWN: nobody measured.
    """

    COPY = 'copy'
    IN_PLACE = 'in_place'
    VOLUMES = 'volumes'
    UNKNOWN = 'unknown'


class Boot(enum.StrEnum):
    """What the server boots from."""

    IMAGE = 'image'
    VOLUME = 'volume'


class Rival(enum.StrEnum):
    """Another evacuation record of the same server.

    NEWER_OPEN, NEWER_CLOSED: a newer record exists. OLDER_OPEN: this is the
    newest one, but an older one is open and its destination is not known to
    be down, so the server's task state may belong to either.
    """

    NONE = 'none'
    NEWER_OPEN = 'newer-open'
    NEWER_CLOSED = 'newer-closed'
    OLDER_OPEN = 'older-open'


OPEN_STATUSES = frozenset({'accepted', 'pre-migrating'})

# The first percent of each phase. Within a phase nothing is invented: the
# number moves with bytes or volumes that somebody counted, else it stays until
# there is evidence of the next phase. The spans are the same for all kinds of
# storage: while a server waits nobody knows yet what will have to be copied,
# and the number must not jump back when it turns out.
PERCENT = {
    Phase.ACCEPTED: 0,
    Phase.SCHEDULING: 2,
    Phase.CLAIMING: 10,
    Phase.PREPARING: 14,
    Phase.VOLUMES: 25,
    Phase.SPAWNING: 40,
    Phase.FINISHING: 90,
    Phase.DONE: 100,
}

_NEXT_PERCENT = dict(zip(PERCENT, list(PERCENT.values())[1:], strict=False))

# Until CLAIMING ends no destination has begun to work on it.
_RUNNING_STATES = {
    Phase.ACCEPTED: State.QUEUED,
    Phase.SCHEDULING: State.QUEUED,
    Phase.CLAIMING: State.QUEUED,
    Phase.UNKNOWN: State.UNKNOWN,
}

_TASK_PHASES = {
    'rebuilding': Phase.PREPARING,
    'rebuild_block_device_mapping': Phase.VOLUMES,
    'rebuild_spawning': Phase.SPAWNING,
    # Microversion 2.95 and later: nova stops the guest that it has started.
    'powering-off': Phase.FINISHING,
}

# Nova writes record, server and event one after the other, and we read them
# one after the other: a contradiction younger than this is only a moment.
SETTLE_SECONDS = 10.0

# A cold image can take its time; longer than this without one write of nova
# is worth a look. It is a hint for a human, nobody acts on it.
QUIET_SECONDS = 1800.0


@dataclasses.dataclass(frozen=True)
class Event:
    """One event of the instance action.

    :ivar result: 'Success', 'Error' or None while it runs.
    :ivar host: where it began, None when nobody asked.
    """

    started_at: float | None = None
    finished_at: float | None = None
    result: str | None = None
    host: str | None = None


@dataclasses.dataclass(frozen=True)
class Guest:
    """The server as nova's database has it now.

    :ivar launched_at: when a host last had it built; None if nobody asked.
    """

    host: str | None
    vm_state: str | None
    task_state: str | None
    updated_at: float | None = None
    launched_at: float | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything that is known of one evacuation record.

    :ivar guest: None when the server is deleted.
    :ivar schedule: the conductor's event ``rebuild_server``.
    :ivar rebuild: the destination's event ``compute_rebuild_instance``.
    :ivar destination_up: None when nobody asked or nobody knows.
    :ivar boot: None when nobody knows.
    :ivar disk_total: bytes that the destination has to bring to its disk, as
        its sampler measured them; 0 if there are none, None without a sampler.
    :ivar disk_processed: how many of them it has brought.
    :ivar volumes_total: attached volumes, None when nobody asked.
    :ivar volumes_done: how many of them the destination is through with, in
        the phase that is under way.
    :ivar ahead: open evacuations that wait for the same destination and came
        before this one; None before a destination was chosen.
    :ivar flavor_disk: root disk of the flavor in GiB, None when nobody knows.
    :ivar now: the time to which ages refer, on the clock of the records.
    """

    status: str
    source: str | None
    destination: str | None
    guest: Guest | None
    now: float
    created_at: float
    updated_at: float | None = None
    schedule: Event | None = None
    rebuild: Event | None = None
    destination_up: bool | None = None
    rival: Rival = Rival.NONE
    boot: Boot | None = None
    disk_total: int | None = None
    disk_processed: int | None = None
    volumes_total: int | None = None
    volumes_done: int | None = None
    ahead: int | None = None
    flavor_disk: int | None = None

    @property
    def last_write_at(self) -> float:
        """When nova last wrote anything about it."""
        times = [self.created_at, self.updated_at]
        if self.guest is not None:
            times.append(self.guest.updated_at)
        for event in (self.schedule, self.rebuild):
            if event is not None:
                times += [event.started_at, event.finished_at]
        return max(time for time in times if time is not None)

    @property
    def settled(self) -> bool:
        """Nothing was written for a while: what contradicts, contradicts."""
        return self.now - self.last_write_at > SETTLE_SECONDS


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What an operator or the owner of the server is told.

    :ivar progress: percent, None where a number would be a lie.
    :ivar stalled: it will not go on by itself, as far as one can see.
    :ivar source_cleaned: the source came back and removed its own copy.
    """

    state: State
    phase: Phase
    progress: int | None
    stalled: bool = False
    reason: Reason | None = None
    source_cleaned: bool = False


def assess(facts: Facts) -> Assessment:
    """State, phase and percentage of one evacuation record."""
    if facts.guest is not None and facts.guest.vm_state == 'deleted':
        # Nova writes that first and takes the row away afterwards.
        facts = dataclasses.replace(facts, guest=None)
    if facts.status == 'done':
        return _succeeded()
    if facts.status in ('error', 'failed'):
        return _failed(_failure_reason(facts))
    if facts.status == 'completed':
        found = _assess_completed(facts)
        return dataclasses.replace(found, source_cleaned=True)
    if facts.status in OPEN_STATUSES:
        return _assess_open(facts)
    return _unknown()


def _assess_completed(facts: Facts) -> Assessment:
    """The source came back: before the end of the work, or after it."""
    if _result(facts.rebuild) == 'Success':
        # The record that never had a destination was replaced by the resource
        # tracker; the success belongs to the newer one.
        if facts.destination is None and _is_replaced(facts):
            return _superseded(Reason.SOURCE_RETURNED)
        return _succeeded()
    if 'Error' in (_result(facts.rebuild), _result(facts.schedule)):
        return _failed(_failure_reason(facts))
    if _is_replaced(facts):
        if facts.destination is None:
            return _superseded(Reason.SOURCE_RETURNED)
        return _unknown()
    if facts.guest is None:
        return _failed(Reason.SERVER_DELETED)
    if facts.guest.task_state not in _TASK_PHASES:
        if facts.guest.host not in (None, facts.source):
            return _succeeded()
        if facts.guest.vm_state == 'error':
            return _failed(_failure_reason(facts))
    return _assess_running(facts, Reason.SOURCE_RETURNED)


def _assess_open(facts: Facts) -> Assessment:
    if _has_ended_well(facts):
        left_open = facts.settled or _is_replaced(facts)
        return _succeeded(Reason.RECORD_LEFT_OPEN if left_open else None)
    if _is_replaced(facts):
        if (
            facts.rival is Rival.NEWER_OPEN
            and facts.destination_up is not False
        ):
            return _superseded(Reason.CONCURRENT_EVACUATION)
        return _superseded(Reason.RECORD_LEFT_OPEN)
    if facts.guest is None:
        return _failed(Reason.SERVER_DELETED)
    if _is_at_destination(facts):
        return _succeeded()
    if _result(facts.schedule) == 'Error' and not _has_begun(facts):
        return _failed(Reason.NO_VALID_HOST)
    if _result(facts.rebuild) == 'Error':
        return _failed(Reason.DESTINATION_FAILED)
    return _assess_running(facts, None)


def _assess_running(facts: Facts, reason: Reason | None) -> Assessment:
    """Not ended as far as nova tells: which phase, and does it go on?"""
    phase = _phase(facts)
    stall = _stall_reason(facts)
    percent = _percent(phase, facts)
    if facts.rival is Rival.OLDER_OPEN:
        # Two rebuilds write the same task state, so it jumps back and forth.
        percent = None
        reason = Reason.CONCURRENT_EVACUATION
    state = _RUNNING_STATES.get(phase, State.RUNNING)
    if phase is Phase.UNKNOWN and _was_reset(facts):
        state = State.RUNNING
    return Assessment(
        state=state,
        phase=phase,
        progress=percent,
        stalled=stall is not None,
        reason=stall or reason,
    )


def storage_of(facts: Facts) -> Storage:
    """Tell what the destination has to bring to its own disk."""
    if facts.boot is Boot.VOLUME:
        return Storage.VOLUMES
    if facts.disk_total is None:
        return Storage.UNKNOWN
    return Storage.COPY if facts.disk_total > 0 else Storage.IN_PLACE


def _percent(phase: Phase, facts: Facts) -> int | None:
    """Give the first percent of the phase and what was counted within it."""
    if phase not in PERCENT:
        return None
    first = PERCENT[phase]
    done, total = _counted(phase, facts)
    if total <= 0:
        return first
    # Never the first percent of the next phase: that is said by its evidence.
    span = _NEXT_PERCENT[phase] - first
    return first + min(span * min(max(done, 0), total) // total, span - 1)


def _counted(phase: Phase, facts: Facts) -> tuple[int, int]:
    """Give how much of the phase's work is done, and how much there is."""
    if phase in (Phase.PREPARING, Phase.VOLUMES):
        return facts.volumes_done or 0, facts.volumes_total or 0
    if phase is Phase.SPAWNING and storage_of(facts) is Storage.COPY:
        return facts.disk_processed or 0, facts.disk_total or 0
    return 0, 0


def _phase(facts: Facts) -> Phase:
    guest = facts.guest
    task = guest.task_state if guest is not None else None
    if task is not None and task not in _TASK_PHASES:
        return Phase.UNKNOWN
    # In 'accepted' the task is 'rebuilding' already; only later tasks prove
    # that the destination is at work.
    if facts.status == 'pre-migrating' or (
        facts.status == 'completed' and facts.destination is not None
    ):
        if _was_reset(facts):
            return Phase.UNKNOWN
        return Phase.FINISHING if task is None else _TASK_PHASES[task]
    if task is not None and _TASK_PHASES[task] is not Phase.PREPARING:
        return _TASK_PHASES[task]
    if _result(facts.schedule) == 'Success' or facts.rebuild is not None:
        return Phase.CLAIMING
    if facts.schedule is not None:
        return Phase.SCHEDULING
    return Phase.ACCEPTED


def _stall_reason(facts: Facts) -> Reason | None:
    if facts.destination is not None and facts.destination_up is False:
        return Reason.DESTINATION_DOWN
    if facts.guest is not None and facts.guest.task_state is None:
        if not facts.settled:
            return None
        if facts.destination is None:
            return Reason.NO_TASK
        return Reason.TASK_STATE_RESET
    if facts.now - facts.last_write_at > QUIET_SECONDS:
        return Reason.NO_ACTIVITY
    return None


def _has_begun(facts: Facts) -> bool:
    """Tell whether a destination has been at work, whoever named it."""
    return facts.status == 'pre-migrating' or facts.rebuild is not None


def _was_reset(facts: Facts) -> bool:
    """Tell whether the task was taken away before the guest was built.

    Nova takes the task away in the same write that says when the guest was
    built; somebody who resets the state takes it away alone. The two times
    are of two machines.
    """
    return (
        facts.guest is not None
        and facts.guest.task_state is None
        and facts.destination is not None
        and facts.guest.launched_at is not None
        and facts.guest.launched_at < facts.created_at - SETTLE_SECONDS
    )


def _failure_reason(facts: Facts) -> Reason:
    """Who closed the record: the conductor, or the destination, and why.

    Only the conductor writes ``error``, also of a destination that somebody
    named. The destination's event is no error where the server was deleted.
    """
    if facts.status == 'error' or _result(facts.schedule) == 'Error':
        return Reason.NO_VALID_HOST
    if facts.status == 'failed' and facts.rebuild is not None:
        result = facts.rebuild.result
        if result == 'Success' or (result is None and facts.guest is None):
            return Reason.SERVER_DELETED
    return Reason.DESTINATION_FAILED


def _is_at_destination(facts: Facts) -> bool:
    return (
        facts.guest is not None
        and facts.destination is not None
        and facts.guest.host == facts.destination
        and facts.guest.task_state is None
    )


def _has_ended_well(facts: Facts) -> bool:
    """Tell whether the destination was through, whatever came afterwards.

    A record that nova made again stays open for ever. Meanwhile its server
    may be at work, moved or deleted: it was a success all the same.
    """
    event = facts.rebuild
    if event is None or event.result != 'Success':
        return False
    if facts.guest is not None and facts.guest.host == facts.destination:
        return facts.destination is not None
    # A server that was deleted on the way ends like this as well; then nova
    # has closed the record meanwhile, and we have read it a moment too early.
    finished_at = event.finished_at or facts.created_at
    return (
        facts.destination is not None
        and facts.now - finished_at > SETTLE_SECONDS
    )


def _is_replaced(facts: Facts) -> bool:
    return facts.rival in (Rival.NEWER_OPEN, Rival.NEWER_CLOSED)


def _result(event: Event | None) -> str | None:
    return event.result if event is not None else None


def _succeeded(reason: Reason | None = None) -> Assessment:
    return Assessment(State.SUCCEEDED, Phase.DONE, 100, reason=reason)


def _failed(reason: Reason) -> Assessment:
    return Assessment(State.FAILED, Phase.FAILED, None, reason=reason)


def _superseded(reason: Reason) -> Assessment:
    return Assessment(State.SUPERSEDED, Phase.SUPERSEDED, None, reason=reason)


def _unknown() -> Assessment:
    return Assessment(State.UNKNOWN, Phase.UNKNOWN, None)
