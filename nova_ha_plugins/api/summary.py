# SPDX-License-Identifier: Apache-2.0

"""``/os-evacuations/summary``: how far the servers of each host are."""

import datetime
import typing

from oslo_utils import timeutils
from webob import exc

from nova_ha_plugins.api import answers
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import estimates
from nova_ha_plugins.api import evacuations
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import reading
from nova_ha_plugins.api import response_schemas
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import tally
from nova_ha_plugins.api import told
from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import progress

# What belongs to the failure that an operator looks at now.
_WAVE = datetime.timedelta(hours=24)

# Records that are told at a time.
_PAGE = 1000


class SummaryController(compat.Controller):
    """``/os-evacuations/summary``."""

    @compat.wsgi.expected_errors((400, 403, 404, 503))
    @compat.validation.query_schema(schemas.SUMMARY_QUERY)
    @answers.schema(response_schemas.SUMMARY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Counts by state, percent and time left of each source host."""
        versions.require(req, versions.PROGRESS)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.EVACUATIONS_SUMMARY, target={})
        # The answer is about hosts.
        ctxt.can(policies.EVACUATIONS_SHOW_HOST, target={})
        source = req.GET.get('source_compute')
        since = evacuations.time_of(req.GET, 'changes-since')
        page, found = _find(ctxt, source, since)
        rows = tally.hosts(found, _planned(source), _typical())
        return {
            'evacuations_summary': {
                'hosts': rows,
                'cells_down': page.cells_down,
            }
        }


def _planned(source: str | None) -> dict[str, frozenset[str]] | None:
    """Give the servers to be evacuated of each host, None if unknown."""
    subjects = estimates.open_incidents()
    if subjects is None:
        return None
    return tally.planned_of(
        subject for subject in subjects if source in (None, subject.host)
    )


def _find(
    ctxt: typing.Any, source: str | None, since: datetime.datetime | None
) -> tuple[reading.Page, list[told.Told]]:
    """Give the newest evacuation of each server from each host.

    Only those that somebody asks for now, unless the query names a time:
    begun within a day, or not ended since.
    """
    fresh = None if since is not None else timeutils.utcnow() - _WAVE
    page = reading.page(
        ctxt,
        reading.Filters(source=source, changes_since=since, fresh_since=fresh),
    )
    if page.cells_down and not page.cells_up:
        raise exc.HTTPServiceUnavailable(
            explanation=(
                f'None of the {page.cells_down} cells answered: which '
                'evacuations there are is unknown, try again later'
            )
        )
    newest: dict[tuple[str | None, str], reading.Record] = {}
    for record in page:
        key = record.source_compute, record.instance_uuid
        newest.setdefault(key, record)
    records = list(newest.values())
    found: list[told.Told] = []
    for start in range(0, len(records), _PAGE):
        found += told.of_all_cells(ctxt, records[start : start + _PAGE])
    # A cell can go down between its records and what it knows of them.
    page.cells_down += len(
        {record.cell for record in records}
        - {each.record.cell for each in found}
    )
    if fresh is not None:
        # A database cannot tell for certain what has ended.
        found = [
            each
            for each in found
            if each.record.created_at >= fresh
            or each.found.state in tally.OPEN
        ]
    return page, found


def _typical() -> estimate.Estimate | None:
    """How long an evacuation takes of which nothing is known yet."""
    book = estimates.book()
    if book is None:
        return None
    return book.estimate(
        estimate.Kind(), progress.Phase.ACCEPTED, elapsed=0.0, in_phase=0.0
    )
