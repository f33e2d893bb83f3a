# SPDX-License-Identifier: Apache-2.0

"""Evacuations as they can be told: facts, assessment, estimate, words.

All that is told of an evacuation is made here, once, whoever asks: a list, one
server, or the sum of a host.
"""

from collections import abc
import dataclasses
import typing

from nova_ha_plugins.api import estimates
from nova_ha_plugins.api import evidence
from nova_ha_plugins.api import joining
from nova_ha_plugins.api import reading
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import explain
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import progress

_OPEN = (progress.State.QUEUED, progress.State.RUNNING)


@dataclasses.dataclass(slots=True)
class Told:
    """One evacuation with everything that is known of it.

    :ivar kind: what it is compared with.
    :ivar left: how long it still takes, None if nobody can know yet, or if it
        is over or stands still.
    :ivar phase_since: when its phase began, None if nobody saw it.
    """

    record: reading.Record
    facts: progress.Facts
    found: progress.Assessment
    kind: estimate.Kind
    left: estimate.Estimate | None = None
    phase_since: float | None = None

    def explanation(self, *, with_host: bool) -> str | None:
        """What it does, waits for or died of, in a sentence."""
        return explain.sentence(
            self.facts, self.found, self.left, with_host=with_host
        )

    @property
    def finished_at(self) -> float | None:
        """When the work ended; not ``updated_at``, which a return moves."""
        if self.found.state not in (
            progress.State.SUCCEEDED,
            progress.State.FAILED,
        ):
            return None
        for event in (self.facts.rebuild, self.facts.schedule):
            if event is not None and event.finished_at is not None:
                return event.finished_at
        return None


def of_all_cells(
    ctxt: typing.Any, records: abc.Sequence[reading.Record]
) -> list[Told]:
    """Give these evacuations, in the same order.

    Those of a cell that does not answer any more are left out.
    """
    return _tell(records, evidence.read_all_cells(ctxt, records))


def of_server(ctxt: typing.Any, server_uuid: str) -> list[Told]:
    """Give all evacuations of a server, newest first.

    :param ctxt: a context that is at the server's cell.
    """
    records = reading.of_server(ctxt, server_uuid)
    if not records:
        return []
    return _tell(records, evidence.read_cell(ctxt, records))


def _tell(
    records: abc.Sequence[reading.Record], known: evidence.Found
) -> list[Told]:
    read_at = joining.now()
    told = []
    for record in records:
        about = known.get((record.cell, record.instance_uuid))
        if about is None:
            # Without its server the record alone would tell lies.
            continue
        facts = joining.facts_of(record, about, read_at)
        told.append(
            Told(
                record=record,
                facts=facts,
                found=progress.assess(facts),
                kind=estimate.kind_of(facts),
            )
        )
    _remember([each for each in told if each.found.state in _OPEN])
    for each in told:
        if each.found.state not in _OPEN:
            each.phase_since = each.finished_at
    return told


def _remember(told: abc.Sequence[Told]) -> None:
    """Add what only the memory of our store knows."""
    if not told:
        return
    traces = estimates.traces([each.record.uuid for each in told])
    book = estimates.book()
    for each in told:
        trace = traces.get(each.record.uuid)
        each.found = _never_back(each.found, trace)
        each.phase_since = _phase_since(each, trace)
        # What stands still takes for ever, whatever its like needed.
        if book is None or each.found.stalled or each.found.progress is None:
            continue
        each.left = _left(each, trace, book)


def _never_back(
    found: progress.Assessment, trace: following.Trace | None
) -> progress.Assessment:
    """Keep the percentage that was seen before.

    Volumes are counted by what was written since the server was, and whoever
    renames the server writes it again.
    """
    if (
        trace is None
        or trace.progress is None
        or found.progress is None
        or found.progress >= trace.progress
    ):
        return found
    return dataclasses.replace(found, progress=trace.progress)


def _left(
    told: Told, trace: following.Trace | None, book: estimate.Book
) -> estimate.Estimate | None:
    facts, since = told.facts, told.phase_since
    return book.estimate(
        told.kind,
        told.found.phase,
        elapsed=max(facts.now - facts.created_at, 0.0),
        in_phase=None if since is None else max(facts.now - since, 0.0),
        bytes_left=_bytes_left(facts),
        rate=trace.rate if trace is not None else None,
        ahead=facts.ahead,
    )


def _bytes_left(facts: progress.Facts) -> int | None:
    if facts.disk_total is None:
        return None
    return max(facts.disk_total - (facts.disk_processed or 0), 0)


def _phase_since(told: Told, trace: following.Trace | None) -> float | None:
    """Give when the phase began.

    Both what nova wrote last and what we saw first can only be too late.
    """
    times = [_began(told.facts, told.found.phase)]
    if trace is not None and trace.phase == told.found.phase:
        times.append(trace.phase_since)
    return min((time for time in times if time is not None), default=None)


def _began(facts: progress.Facts, phase: progress.Phase) -> float | None:
    started = _start_of(facts.rebuild)
    if phase is progress.Phase.ACCEPTED:
        return facts.created_at
    if phase is progress.Phase.SCHEDULING:
        return _start_of(facts.schedule)
    if phase is progress.Phase.CLAIMING:
        finished = facts.schedule.finished_at if facts.schedule else None
        return finished if finished is not None else started
    task_since = facts.guest.updated_at if facts.guest is not None else None
    if phase is progress.Phase.PREPARING:
        # The claim is over, and nothing was written since.
        if task_since is None or started is None:
            return started
        return max(task_since, started)
    if facts.disk_processed:
        # With the bytes the percentage is written into the server, too.
        return None
    return task_since


def _start_of(event: progress.Event | None) -> float | None:
    return event.started_at if event is not None else None
