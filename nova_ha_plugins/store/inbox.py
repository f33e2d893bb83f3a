# SPDX-License-Identifier: Apache-2.0

"""The inbox: facts from outside, until the engine has settled them."""

import dataclasses

import sqlalchemy as sa

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import database
from nova_ha_plugins.store import models

_TABLE = models.facts


def add(
    db: database.Database, connection: sa.Connection, fact: facts.Fact
) -> facts.Fact:
    """The fact as stored, stamped with the store's clock.

    A fact whose uuid is known already is left as it was.
    """
    known = connection.execute(
        sa.select(_TABLE.c.document).where(_TABLE.c.uuid == fact.uuid)
    ).scalar_one_or_none()
    if known is not None:
        return documents.loads(facts.Fact, known)
    stamped = dataclasses.replace(fact, received_at=db.now(connection))
    connection.execute(
        sa.insert(_TABLE).values(
            uuid=stamped.uuid,
            state=stamped.state.value,
            received_at=stamped.received_at,
            document=documents.dumps(stamped),
        )
    )
    return stamped


def pending(limit: int) -> sa.Select[tuple[str]]:
    """The query for facts that nobody settled yet, oldest first."""
    return (
        sa.select(_TABLE.c.document)
        .where(_TABLE.c.state == facts.FactState.PENDING.value)
        .order_by(_TABLE.c.id)
        .limit(limit)
    )


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
        .where(_TABLE.c.state != facts.FactState.PENDING.value)
        .where(_TABLE.c.received_at < before)
    ).rowcount
