# SPDX-License-Identifier: Apache-2.0

"""The part of the store that knows nova's evacuations.

What was seen of each, which is the history that estimates are made from; who
may ask nova for one right now; and whether a host was fenced meanwhile.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import json
import typing

import sqlalchemy as sa

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.store import database
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import ledger
from nova_ha_plugins.store import models
from nova_ha_plugins.store import turns
from nova_ha_plugins.store import values

_TABLE = models.evacuations

# Rows of one transaction, and uuids of one query.
BATCH = 200

# A fence and an evacuation are stamped by two machines. The clocks of both are
# set by NTP, and nova's times may be rounded to the second.
CLOCK_MARGIN = 5.0

# The host is off, and nobody has let it back in yet.
_OFF_PHASES = frozenset(
    {core.Phase.CONTAINING, core.Phase.EVACUATING, core.Phase.RECOVERED}
)
_PROOFS = frozenset(
    {core.FenceClass.CONFIRMED_OFF, core.FenceClass.OPERATOR_ATTESTED}
)

_DAY = 86400.0
_TOLD_TO_THE_END = frozenset({following.END, following.ERROR})
_FIELDS = frozenset(
    field.name for field in dataclasses.fields(values.EvacuationTrace)
)


class Evacuations:
    """What ``api.Store`` can do about evacuations."""

    _db: database.Database

    def evacuation_traces(
        self, uuids: Collection[str]
    ) -> dict[str, values.EvacuationTrace]:
        """Those of these evacuations that were seen, by uuid."""
        found: dict[str, values.EvacuationTrace] = {}
        for part in _parts(sorted(set(uuids))):
            query = sa.select(_TABLE.c.document).where(_TABLE.c.uuid.in_(part))
            for trace in self._traces(query):
                found[trace.uuid] = trace
        return found

    def open_evacuation_traces(self) -> tuple[values.EvacuationTrace, ...]:
        """Those that go on, or whose end nobody was told; oldest first."""
        return self._traces(
            sa.select(_TABLE.c.document)
            .where(_TABLE.c.followed.is_(True))
            .order_by(_TABLE.c.created_at, _TABLE.c.uuid)
        )

    def save_evacuation_traces(
        self, traces: Sequence[values.EvacuationTrace], lease: values.Lease
    ) -> None:
        """Replace what was seen of these evacuations.

        Many are many short transactions: each is stored as a whole, but not
        all at the same moment.

        :raises LeaseLost: another engine took over; it follows them now.
        """
        for part in _parts(traces):
            self._db.write(
                functools.partial(_save, self._db, part=part, lease=lease)
            )

    def evacuation_history(
        self, limit: int = 200
    ) -> tuple[estimate.Past, ...]:
        """Evacuations that ended well: the newest of each kind, up to limit.

        Without those that nobody watched.
        """
        rank = (
            sa.func.row_number()
            .over(
                partition_by=(_TABLE.c.boot, _TABLE.c.storage, _TABLE.c.size),
                order_by=(_TABLE.c.finished_at.desc(), _TABLE.c.uuid),
            )
            .label('rank_of_kind')
        )
        ranked = (
            sa.select(_TABLE.c.document, rank)
            .where(_TABLE.c.state == progress.State.SUCCEEDED.value)
            .where(_TABLE.c.finished_at.is_not(None))
            .subquery()
        )
        found = self._traces(
            sa.select(ranked.c.document)
            .where(ranked.c.rank_of_kind <= limit)
            .order_by(ranked.c.rank_of_kind)
        )
        pasts = (following.past_of(one) for one in found if one.seconds)
        return tuple(past for past in pasts if past is not None)

    def purge_evacuations(self, days: float) -> int:
        """How many were forgotten that ended and were not seen for long."""

        def work(connection: sa.Connection) -> int:
            return purge(connection, self._db.now(connection) - days * _DAY)

        return self._db.write(work)

    def fenced_since(self, host: str, at: float) -> bool:
        """Whether a host was switched off at that time or later, with proof.

        For a time that nova stamped: its clock and the store's may differ by
        ``CLOCK_MARGIN``. So the proof has to be that much younger, unless the
        host is still kept out, and was off at that time or a margin before.
        False also when only a newer release can read the proof.

        :param at: seconds since 1970 on nova's clock.
        """
        table = models.incidents
        query = (
            sa.select(table.c.document)
            .where(table.c.host == host)
            .where(
                sa.or_(table.c.open_key.is_not(None), table.c.closed_at >= at)
            )
            .where(
                table.c.document.contains('"HaFenceRecord"', autoescape=True)
            )
        )
        documents = self._db.read(
            lambda connection: connection.execute(query).scalars().all()
        )
        return any(
            _is_off_since(incident, at)
            for incident in ledger.known(core.Incident, documents)
        )

    def take_turn(self, key: str, ttl: float) -> str | None:
        """The token of a turn, None while somebody else has that turn.

        :param ttl: after so many seconds it is over, if nobody ends it.
        """
        return turns.take(self._db, key, ttl)

    def end_turn(self, key: str, token: str) -> None:
        """Let the next one have the turn at once."""
        turns.end(self._db, key, token)

    def _traces(
        self, query: sa.Select[typing.Any]
    ) -> tuple[values.EvacuationTrace, ...]:
        texts = self._db.read(
            lambda connection: connection.execute(query).scalars().all()
        )
        return tuple(_loads(text) for text in texts)


def purge(connection: sa.Connection, before: float) -> int:
    """How many evacuations were removed that nobody follows any more."""
    done = connection.execute(
        sa.delete(_TABLE)
        .where(_TABLE.c.followed.is_(False))
        .where(_TABLE.c.seen_at < before)
    )
    return int(done.rowcount)


def is_followed(trace: values.EvacuationTrace) -> bool:
    """Whether it goes on, or nobody was told yet that it ended."""
    return trace.finished_at is None or trace.told not in _TOLD_TO_THE_END


def _parts(
    whole: Sequence[typing.Any],
) -> Iterator[tuple[typing.Any, ...]]:
    for first in range(0, len(whole), BATCH):
        yield tuple(whole[first : first + BATCH])


def _save(
    db: database.Database,
    connection: sa.Connection,
    part: Sequence[values.EvacuationTrace],
    lease: values.Lease,
) -> None:
    # The row of the lease is read, not locked: a recovery must never wait
    # here. What slips in at a take-over is an old look at an evacuation, and
    # the next look of the new engine replaces it.
    leases.ask(connection, lease)
    at = db.now(connection)
    rows = [_columns(trace, at) for trace in part]
    there = set(
        connection.execute(
            sa.select(_TABLE.c.uuid).where(
                _TABLE.c.uuid.in_([row['uuid'] for row in rows])
            )
        ).scalars()
    )
    old = [
        {('key' if name == 'uuid' else name): row[name] for name in row}
        for row in rows
        if row['uuid'] in there
    ]
    new = [row for row in rows if row['uuid'] not in there]
    if old:
        connection.execute(
            sa.update(_TABLE).where(_TABLE.c.uuid == sa.bindparam('key')), old
        )
    if new:
        connection.execute(sa.insert(_TABLE), new)


def _columns(
    trace: values.EvacuationTrace, at: float
) -> dict[str, typing.Any]:
    return {
        'uuid': trace.uuid,
        'server_uuid': trace.server_uuid,
        'source': trace.source,
        'state': str(trace.state),
        'followed': is_followed(trace),
        'boot': str(trace.boot),
        'storage': str(trace.storage),
        'size': trace.size,
        'created_at': trace.created_at,
        'finished_at': trace.finished_at,
        'seen_at': at,
        'document': json.dumps(dataclasses.asdict(trace)),
    }


def _loads(text: str) -> values.EvacuationTrace:
    """The trace, without what only a newer release knows of it."""
    document = json.loads(text)
    return values.EvacuationTrace(
        **{name: document[name] for name in document if name in _FIELDS}
    )


def _is_off_since(incident: core.Incident, at: float) -> bool:
    fence = incident.fence
    if (
        fence is None
        or fence.state != core.FenceState.VALID
        or fence.evidence_class not in _PROOFS
        or fence.confirmed_at is None
    ):
        return False
    if fence.confirmed_at >= at + CLOCK_MARGIN:
        return True
    return (
        incident.phase in _OFF_PHASES
        and fence.confirmed_at >= at - CLOCK_MARGIN
    )
