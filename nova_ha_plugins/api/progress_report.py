# SPDX-License-Identifier: Apache-2.0

"""``PUT .../evacuations/{id}/progress``: bytes that somebody else measured.

For destinations whose nova-compute does not measure them itself. What was said
once is not taken back: whoever watches sees a number that only grows.
"""

import typing

from oslo_db import exception as db_exception
import sqlalchemy as sa
from webob import exc

from nova_ha_plugins.api import compat
from nova_ha_plugins.api import joining
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import reading
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import progress

# Nova closed the record, or the server goes on in another one.
_ENDED = frozenset(
    {
        progress.State.SUCCEEDED,
        progress.State.FAILED,
        progress.State.SUPERSEDED,
    }
)


class ProgressReportController(compat.Controller):
    """``/servers/{server_id}/evacuations/{id}/progress``."""

    @compat.wsgi.response(204)
    @compat.wsgi.expected_errors((400, 403, 404, 409, 503))
    @compat.validation.schema(schemas.PROGRESS)
    def update(
        self,
        req: typing.Any,
        server_id: str,
        id: str,
        body: dict[str, typing.Any],
    ) -> None:
        """Keep how many bytes there are to copy and how many are copied."""
        versions.require(req, versions.PROGRESS)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.EVACUATIONS_REPORT, target={})
        total = body['progress']['disk_total_bytes']
        processed = body['progress']['disk_processed_bytes']
        if processed > total:
            raise exc.HTTPBadRequest(
                explanation=(
                    f"'disk_processed_bytes' is {processed}, expected no more "
                    f"than 'disk_total_bytes', which is {total}. Nothing was "
                    'changed'
                )
            )
        # Who has the role 'service' owns no server, and nova's database shows
        # to nobody else than administrators what they do not own.
        ctxt = ctxt.elevated()
        try:
            server = compat.server(ctxt, server_id)
            _check_open(*_find(ctxt, server.uuid, id))
            if not _save(ctxt, id, total, processed):
                record, _facts = _find(ctxt, server.uuid, id)
                _refuse(record, total, processed)
        except db_exception.DBError as error:
            raise exc.HTTPServiceUnavailable(
                explanation=(
                    f"The database of the cell of server '{server_id}' does "
                    'not answer: nothing was changed, say it again later'
                )
            ) from error


def _find(
    ctxt: typing.Any, server_uuid: str, uuid: str
) -> tuple[reading.Record, progress.Facts]:
    # Not as it is told: whoever reports every second shall not ask our store.
    for record, facts in joining.of_server(ctxt, server_uuid):
        if record.uuid == uuid:
            return record, facts
    raise exc.HTTPNotFound(
        explanation=(
            f"Server '{server_uuid}' has no evacuation {uuid!r}: nothing was "
            'changed. A report names the evacuation by its uuid'
        )
    )


def _check_open(record: reading.Record, facts: progress.Facts) -> None:
    state = progress.assess(facts).state
    if state in _ENDED:
        raise exc.HTTPConflict(
            explanation=(
                f"Evacuation '{record.uuid}' is {state} (nova says "
                f"'{record.status}'): nothing was changed, and no report of "
                'it is needed any more'
            )
        )


def _save(ctxt: typing.Any, uuid: str, total: int, processed: int) -> bool:
    """Save the numbers, unless somebody was faster and has said others.

    One statement, because two reports can arrive at the same moment.
    """
    model = compat.models.Migration
    statement = (
        sa.update(model)
        .where(
            model.uuid == uuid,
            model.status.not_in(reading.ENDED_STATUSES),
            sa.or_(model.disk_total.is_(None), model.disk_total == total),
            sa.or_(
                model.disk_processed.is_(None),
                model.disk_processed <= processed,
            ),
        )
        .values(
            disk_total=total,
            disk_processed=processed,
            disk_remaining=total - processed,
        )
        .execution_options(synchronize_session=False)
    )
    with compat.writer(ctxt) as session:
        return bool(session.execute(statement).rowcount)


def _refuse(
    record: reading.Record, total: int, processed: int
) -> typing.NoReturn:
    """Say why the database did not take the numbers."""
    if record.disk_total is not None and record.disk_total != total:
        found = (
            f"'disk_total_bytes' is {total}, but {record.disk_total} was said "
            'before, and it is said once'
        )
    elif (record.disk_processed or 0) > processed:
        found = (
            f"'disk_processed_bytes' is {processed}, but "
            f'{record.disk_processed} was said before, and it only grows'
        )
    else:
        found = f"nova says '{record.status}' by now"
    raise exc.HTTPConflict(
        explanation=(
            f"Evacuation '{record.uuid}': {found}. Nothing was changed"
        )
    )
