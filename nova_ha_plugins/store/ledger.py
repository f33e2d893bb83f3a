# SPDX-License-Identifier: Apache-2.0

"""The rows behind incidents and their epochs, inside a transaction."""

import collections.abc
import contextlib
import typing

from oslo_db import exception as db_exception
from oslo_utils import uuidutils
import sqlalchemy as sa

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values


Value = typing.TypeVar('Value')


def known(
    kind: type[Value], texts: collections.abc.Iterable[str]
) -> tuple[Value, ...]:
    """What this release can read of what is stored.

    What a newer release wrote is left to it.
    """
    found = []
    for text in texts:
        with contextlib.suppress(documents.NewerReleaseError):
            found.append(documents.loads(kind, text))
    return tuple(found)


def newer(connection: sa.Connection) -> tuple[str, ...]:
    """Hosts with an open incident that only a newer release can read."""
    table = models.incidents
    rows = connection.execute(
        sa.select(table.c.host, table.c.document)
        .where(table.c.open_key.is_not(None))
        .order_by(table.c.host)
    )
    return tuple(
        row.host for row in rows if not known(core.Incident, (row.document,))
    )


def read(text: str) -> core.Incident:
    """The incident in a document.

    :raises NewerRelease: a newer release has written it.
    """
    try:
        return documents.loads(core.Incident, text)
    except documents.NewerReleaseError as error:
        raise values.NewerRelease(str(error)) from error


def columns(incident: core.Incident) -> dict[str, typing.Any]:
    """The row of an incident, but for its uuid."""
    closed = incident.phase in core.CLOSED_PHASES
    return {
        'host': incident.host,
        'epoch': incident.epoch,
        'phase': incident.phase.value,
        'open_key': None if closed else incident.host,
        'opened_at': incident.opened_at,
        'closed_at': (
            (incident.closed_at or incident.updated_at) if closed else None
        ),
        'generation': incident.generation,
        'document': documents.dumps(incident),
    }


def open_for(
    db: database.Database, connection: sa.Connection, fact: facts.Fact
) -> str:
    """Uuid of a new incident, suspected because of a fact."""
    at = db.now(connection)
    opened = core.Incident(
        uuid=uuidutils.generate_uuid(),
        host=fact.host,
        service_uuid=fact.service_uuid,
        epoch=next_epoch(connection, fact.host),
        phase=core.Phase.SUSPECTED,
        opened_at=at,
        updated_at=at,
        generation=1,
    )
    opened = machine.step(
        opened,
        events.Suspected(
            at=at,
            channel=fact.channel,
            text=(
                f'reported down over the {fact.channel} by {fact.by!r}: '
                f'{fact.reason}'
            ),
        ),
    )
    connection.execute(
        sa.insert(models.incidents).values(uuid=opened.uuid, **columns(opened))
    )
    return opened.uuid


def fences(
    connection: sa.Connection, since: float
) -> tuple[gates.PastFence, ...]:
    """Fences of incidents that were not over before a time.

    Only documents that hold a fence record are loaded: after a false alarm of
    a thousand hosts that is none of them. One that cannot be read counts as
    begun when it was closed, which is later.
    """
    table = models.incidents
    rows = connection.execute(
        sa.select(table.c.host, table.c.closed_at, table.c.document)
        .where(table.c.closed_at >= since)
        .where(table.c.document.contains('"HaFenceRecord"', autoescape=True))
    )
    return tuple(_fence(*row) for row in rows)


def _fence(host: str, closed_at: float, document: str) -> gates.PastFence:
    try:
        found = documents.loads(core.Incident, document)
    except documents.NewerReleaseError:
        return gates.PastFence(host, '', closed_at)
    at = found.fence.intended_at if found.fence else closed_at
    return gates.PastFence(host, found.domain, at)


def next_epoch(connection: sa.Connection, host: str) -> int:
    """The next epoch of a host; it is never given again."""
    table = models.epochs
    raised = connection.execute(
        sa.update(table)
        .where(table.c.host == host)
        .values(epoch=table.c.epoch + 1)
    )
    if raised.rowcount:
        query = sa.select(table.c.epoch).where(table.c.host == host)
        return int(connection.execute(query).scalar_one())
    try:
        connection.execute(sa.insert(table).values(host=host, epoch=1))
    except db_exception.DBDuplicateEntry as error:
        raise db_exception.RetryRequest(error) from error
    return 1


def conflict(
    connection: sa.Connection, incident: core.Incident
) -> values.Conflict:
    """Why a save found nothing to replace."""
    table = models.incidents
    found = connection.execute(
        sa.select(table.c.generation).where(table.c.uuid == incident.uuid)
    ).scalar_one_or_none()
    return values.Conflict(
        f'Incident {incident.uuid!r} of host {incident.host!r} was not '
        f'saved: expected generation {incident.generation}, found {found}'
    )
