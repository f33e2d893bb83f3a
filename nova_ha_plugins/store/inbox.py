# SPDX-License-Identifier: Apache-2.0

"""The inbox: facts from outside, until the engine has settled them.

Whoever may make an alarm may fill it, so it is bounded in both directions. An
alarm that says the same again, as aodh does every second, has one row. And of
facts whose sender is not known to be entitled the engine gets a few at a time,
behind all others: each costs it questions to keystone.
"""

import dataclasses
import typing

import sqlalchemy as sa

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import database
from nova_ha_plugins.store import models

_TABLE = models.facts

# How many unverified facts the engine is handed at once: half of them the
# oldest, so that each gets its turn, half the newest, so that a heap of old
# ones delays no honest alarm.
UNVERIFIED_AT_ONCE = 8

# What comes from here is said again and again, under the same uuid.
_ALARM_CHANNELS = frozenset({'notifier', 'webhook'})

# What the column 'state' holds while a fact waits. It is for searching only;
# the document says 'pending' for all of them.
_VERIFIED = facts.FactState.PENDING.value
_UNVERIFIED = 'unverified'
# Names no host: only says what the engine does anyway.
_UNVERIFIED_WAKE_UP = 'unverified-wake'
# The first of two steps: nobody is handed it, and a purge takes it away.
_UNCONFIRMED = facts.FactState.UNCONFIRMED.value
_WAITING = (_VERIFIED, _UNVERIFIED, _UNVERIFIED_WAKE_UP)


def add(
    db: database.Database, connection: sa.Connection, fact: facts.Fact
) -> facts.Fact:
    """The fact as stored, stamped with the store's clock.

    A fact whose uuid is known and that waits is left as it was. An alarm's
    that was settled waits again; an operator's word is said once.
    """
    known = connection.execute(
        sa.select(_TABLE.c.document).where(_TABLE.c.uuid == fact.uuid)
    ).scalar_one_or_none()
    if known is not None:
        old = documents.loads(facts.Fact, known)
        if (
            old.state is facts.FactState.PENDING
            or fact.channel not in _ALARM_CHANNELS
        ):
            return old
        # A new row: it has to queue at the end.
        connection.execute(sa.delete(_TABLE).where(_TABLE.c.uuid == fact.uuid))
    stamped = dataclasses.replace(
        fact,
        received_at=db.now(connection),
        state=(
            facts.FactState.UNCONFIRMED
            if fact.state is facts.FactState.UNCONFIRMED
            else facts.FactState.PENDING
        ),
        text='',
    )
    connection.execute(
        sa.insert(_TABLE).values(
            uuid=stamped.uuid,
            state=_queue(stamped),
            received_at=stamped.received_at,
            document=documents.dumps(stamped),
        )
    )
    return stamped


def _queue(fact: facts.Fact) -> str:
    if fact.state is facts.FactState.UNCONFIRMED:
        return _UNCONFIRMED
    if fact.verified:
        return _VERIFIED
    if fact.kind is facts.FactKind.WAKE_UP:
        return _UNVERIFIED_WAKE_UP
    return _UNVERIFIED


def pending(connection: sa.Connection, limit: int) -> list[str]:
    """Documents of facts that nobody settled yet.

    Verified ones oldest first, then a few of the others.
    """
    found = _read(connection, _VERIFIED, _TABLE.c.id, limit)
    room = min(UNVERIFIED_AT_ONCE, limit - len(found))
    for queue in (_UNVERIFIED, _UNVERIFIED_WAKE_UP):
        some = _some(connection, queue, room)
        found += some
        room -= len(some)
    return found


def _some(connection: sa.Connection, queue: str, room: int) -> list[str]:
    """The oldest and the newest of a queue, oldest first."""
    oldest = _read(connection, queue, _TABLE.c.id, room)
    if len(oldest) < room or room < 2:
        return oldest
    newest = _read(connection, queue, _TABLE.c.id.desc(), room // 2)
    first = oldest[: room - len(newest)]
    return first + [one for one in reversed(newest) if one not in first]


def _read(
    connection: sa.Connection,
    queue: str,
    order: sa.ColumnElement[typing.Any],
    limit: int,
) -> list[str]:
    if limit < 1:
        return []
    return list(
        connection.execute(
            sa.select(_TABLE.c.document)
            .where(_TABLE.c.state == queue)
            .order_by(order)
            .limit(limit)
        ).scalars()
    )


def confirm(
    db: database.Database, connection: sa.Connection, uuid: str, by: str
) -> facts.Fact | None:
    """The fact, which the engine is handed from now on.

    None when no such fact waits for its second step, or waited too long:
    nothing is changed then.
    """
    document = connection.execute(
        sa.select(_TABLE.c.document)
        .where(_TABLE.c.uuid == uuid, _TABLE.c.state == _UNCONFIRMED)
        .with_for_update()
    ).scalar_one_or_none()
    if document is None:
        return None
    begun = documents.loads(facts.Fact, document)
    now = db.now(connection)
    if now - begun.received_at > facts.CONFIRM_WITHIN:
        return None
    confirmed = dataclasses.replace(
        begun,
        state=facts.FactState.PENDING,
        detail={
            **begun.detail,
            'confirmed_by': by,
            'confirmed_at': f'{now:.3f}',
        },
    )
    connection.execute(
        sa.update(_TABLE)
        .where(_TABLE.c.uuid == uuid)
        .values(state=_queue(confirmed), document=documents.dumps(confirmed))
    )
    return confirmed


def settle(
    connection: sa.Connection, uuid: str, state: facts.FactState, text: str
) -> None:
    """Say what became of a fact; a fact that is gone stays gone."""
    document = connection.execute(
        sa.select(_TABLE.c.document)
        .where(_TABLE.c.uuid == uuid)
        .with_for_update()
    ).scalar_one_or_none()
    if document is None:
        return
    settled = dataclasses.replace(
        documents.loads(facts.Fact, document), state=state, text=text
    )
    connection.execute(
        sa.update(_TABLE)
        .where(_TABLE.c.uuid == uuid)
        .values(state=state.value, document=documents.dumps(settled))
    )


def purge(connection: sa.Connection, before: float) -> int:
    """How many settled facts were removed that arrived before a time."""
    return connection.execute(
        sa.delete(_TABLE)
        .where(_TABLE.c.state.not_in(_WAITING))
        .where(_TABLE.c.received_at < before)
    ).rowcount
