# SPDX-License-Identifier: Apache-2.0

"""What is remembered of an evacuation from one look at it to the next.

Nova's records say how far an evacuation is, not how it came there. Whoever
looks at them again and again can tell: how long each phase took, how fast the
bytes come, and what somebody who listens has to be told.
"""

import dataclasses
import math

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery import views

# What is told about an evacuation, in the words of the notifications.
START = 'start'
PROGRESS = 'progress'
END = 'end'
ERROR = 'error'

# Between two tellings of its progress, and what is worth one.
TELL_SECONDS = 5.0
TELL_PERCENT = 10

# An evacuation that was over for longer when it was first seen is history:
# nobody waits for the news that it began.
NEWS_SECONDS = 3600.0

# A record that tells nothing any more is given up when nova has not written it
# for so long. A guest waits up to five minutes for its network.
LOST_SECONDS = 900.0

# The rate is that of the last seconds: a disk that others begin to use, too,
# slows down for good.
_RATE_SECONDS = 10.0

_ENDED = (progress.State.SUCCEEDED, progress.State.FAILED)
_VAGUE = (progress.State.SUPERSEDED, progress.State.UNKNOWN)


@dataclasses.dataclass(frozen=True)
class Trace:
    """What was seen of one evacuation of nova, whoever asked for it.

    Times are seconds since 1970 on nova's clock.

    :ivar uuid: of nova's migration record.
    :ivar boot: a ``progress.Boot``, '' if it is not known.
    :ivar storage: a ``progress.Storage``.
    :ivar size: its size class, as ``estimate.Kind`` has it.
    :ivar phase_since: when its phase began.
    :ivar seconds: how long each phase took that is over; what was over before
        the first look counts as the first phase.
    :ivar copied: seconds of the spawning phase after which all bytes were
        there, None until then.
    :ivar rate: bytes per second lately, None while nothing was measured.
    :ivar told: the last notification about it: 'start', 'progress', 'end',
        'error', or ''.
    """

    uuid: str
    server_uuid: str
    source: str
    created_at: float
    destination: str = ''
    state: str = 'queued'
    phase: str = 'accepted'
    progress: int | None = None
    boot: str = ''
    storage: str = 'unknown'
    size: str = ''
    phase_since: float = 0.0
    finished_at: float | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    copied: float | None = None
    disk_processed: int | None = None
    processed_at: float | None = None
    rate: float | None = None
    told: str = ''
    told_at: float | None = None
    told_phase: str = ''
    told_progress: int | None = None


@dataclasses.dataclass(frozen=True)
class Followed:
    """What to remember now, and what to tell.

    :ivar tellings: 'start', 'progress', 'end', 'error', in their order.
    """

    trace: Trace
    tellings: tuple[str, ...] = ()


def follow(
    trace: Trace | None, seen: views.Evacuation, now: float
) -> Followed:
    """Give what is remembered after one more look.

    The same look taken twice changes nothing and tells nothing.

    :param trace: what was remembered before, None at the first look.
    :param now: the time of the look, on the clock of the records.
    """
    if trace is None:
        trace = _begin(seen)
    elif trace.finished_at is not None:
        # What could not be delivered is told again.
        untold = trace.told not in (END, ERROR)
        return _tell(trace, now) if untold else Followed(trace)
    trace = _with_kind(trace, seen)
    trace = _with_phase(trace, seen, now)
    trace = _with_bytes(trace, seen, now)
    return _tell(trace, now)


def past_of(trace: Trace) -> estimate.Past | None:
    """Give what others can be compared with; None unless it ended well.

    One of two at the same time is no measure of anything.
    """
    if trace.state != progress.State.SUCCEEDED or trace.finished_at is None:
        return None
    if progress.Phase.SUPERSEDED in trace.seconds:
        return None
    order = list(progress.PERCENT)
    return estimate.Past(
        kind=estimate.Kind(
            boot=progress.Boot(trace.boot) if trace.boot else None,
            storage=progress.Storage(trace.storage),
            size=trace.size,
        ),
        seconds=tuple(
            (phase, trace.seconds[phase])
            for phase in order
            if phase in trace.seconds
        ),
        copied=trace.copied,
    )


def _begin(seen: views.Evacuation) -> Trace:
    return Trace(
        uuid=seen.uuid,
        server_uuid=seen.server_uuid,
        source=seen.source_compute or '',
        created_at=seen.created_at,
        phase_since=seen.created_at,
    )


def _with_kind(trace: Trace, seen: views.Evacuation) -> Trace:
    """Learn what it is; what was known once is not forgotten."""
    storage, size = seen.storage, seen.size_class
    if storage == progress.Storage.UNKNOWN:
        storage = trace.storage
    if seen.storage != storage or not size:
        size = trace.size
    return dataclasses.replace(
        trace,
        destination=seen.dest_compute or trace.destination,
        boot=seen.boot_source or trace.boot,
        storage=storage,
        size=size,
    )


def _with_phase(trace: Trace, seen: views.Evacuation, now: float) -> Trace:
    over = seen.state in _ENDED or _is_lost(seen, now)
    if over:
        began = _ended_at(trace, seen, now)
    else:
        began = seen.phase_started_at or now
    began = max(began, trace.phase_since)
    seconds, since, phase = trace.seconds, trace.phase_since, seen.phase
    if phase == progress.Phase.UNKNOWN:
        # Somebody else's task: the phase goes on behind it.
        phase = trace.phase
    elif phase != trace.phase:
        took = seconds.get(trace.phase, 0.0) + began - since
        seconds, since = {**seconds, trace.phase: took}, began
    return dataclasses.replace(
        trace,
        state=seen.state,
        phase=phase,
        progress=seen.progress,
        seconds=seconds,
        phase_since=since,
        finished_at=began if over else None,
    )


def _with_bytes(trace: Trace, seen: views.Evacuation, now: float) -> Trace:
    done = seen.disk_processed_bytes
    if seen.phase != progress.Phase.SPAWNING or done is None:
        return trace
    if trace.processed_at is not None and now <= trace.processed_at:
        return trace
    copied = trace.copied
    if copied is None and done and done == seen.disk_total_bytes:
        copied = max(0.0, now - trace.phase_since)
    return dataclasses.replace(
        trace,
        disk_processed=done,
        processed_at=now,
        copied=copied,
        rate=_rate(trace, done, now),
    )


def _rate(trace: Trace, done: int, now: float) -> float | None:
    """Give bytes per second, as an average that forgets."""
    if trace.processed_at is None:
        return None
    elapsed = now - trace.processed_at
    fresh = max(0, done - (trace.disk_processed or 0)) / elapsed
    if trace.rate is None:
        return fresh
    weight = 1.0 - math.exp(-elapsed / _RATE_SECONDS)
    return trace.rate + weight * (fresh - trace.rate)


def _tell(trace: Trace, now: float) -> Followed:
    words = []
    if not trace.told:
        words.append(START)
    if trace.finished_at is not None:
        if not trace.told and now - trace.finished_at > NEWS_SECONDS:
            return Followed(dataclasses.replace(trace, told=_last(trace)))
        words.append(_last(trace))
    elif trace.told and _is_worth_telling(trace, now):
        words.append(PROGRESS)
    if not words:
        return Followed(trace)
    told = dataclasses.replace(
        trace,
        told=words[-1],
        told_at=now,
        told_phase=trace.phase,
        told_progress=trace.progress,
    )
    return Followed(told, tuple(words))


def _last(trace: Trace) -> str:
    return END if trace.state == progress.State.SUCCEEDED else ERROR


def _is_worth_telling(trace: Trace, now: float) -> bool:
    if now - (trace.told_at or 0.0) < TELL_SECONDS:
        return False
    further = (trace.progress or 0) - (trace.told_progress or 0)
    return trace.phase != trace.told_phase or further >= TELL_PERCENT


def _is_lost(seen: views.Evacuation, now: float) -> bool:
    """Tell whether nobody will learn any more how it ended.

    A superseded one may still arrive: of two at the same time the older one
    can win. Nova's word that it is closed comes with its end, but for an open
    one and for one that nothing tells of, silence has to do.
    """
    if seen.state not in _VAGUE:
        return False
    is_open = seen.status in progress.OPEN_STATUSES
    if seen.state == progress.State.SUPERSEDED and not is_open:
        return True
    if seen.state == progress.State.UNKNOWN and is_open:
        return False
    return now - (seen.updated_at or seen.created_at) > LOST_SECONDS


def _ended_at(trace: Trace, seen: views.Evacuation, now: float) -> float:
    if seen.finished_at is not None:
        return seen.finished_at
    if trace.told:
        return now
    # Seen for the first time, and over: it ended no later than that.
    return seen.updated_at or seen.created_at
