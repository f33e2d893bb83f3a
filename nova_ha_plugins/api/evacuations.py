# SPDX-License-Identifier: Apache-2.0

"""The resources that show evacuations: of one server, and of the cloud."""

import datetime
import typing

from oslo_db import exception as db_exception
from oslo_utils import timeutils
from webob import exc

from nova_ha_plugins.api import answers
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import reading
from nova_ha_plugins.api import response_schemas
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import told
from nova_ha_plugins.api import versions
from nova_ha_plugins.api import views
from nova_ha_plugins.recovery import progress

# Records that are read at a time when most of them may not be wanted.
_SEARCH_PAGE = 200


class ServerEvacuationsController(compat.Controller):
    """``/servers/{server_id}/evacuations``."""

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    @answers.schema(response_schemas.SERVER_EVACUATIONS)
    def index(self, req: typing.Any, server_id: str) -> dict[str, typing.Any]:
        """All evacuations of a server, newest first."""
        return {'evacuations': self._items(req, server_id)}

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    @answers.schema(response_schemas.EVACUATION)
    def show(
        self, req: typing.Any, server_id: str, id: str
    ) -> dict[str, typing.Any]:
        """One evacuation of a server, by uuid or by nova's number."""
        for item in self._items(req, server_id):
            # Who does not get the number cannot ask by it either.
            if id in (item['uuid'], str(item['id'] or '')):
                return {'evacuation': item}
        raise exc.HTTPNotFound(
            explanation=f"Server '{server_id}' has no evacuation {id!r}"
        )

    def _items(
        self, req: typing.Any, server_id: str
    ) -> list[dict[str, typing.Any]]:
        ctxt = req.environ['nova.context']
        try:
            server = compat.server(ctxt, server_id)
            target = {'project_id': server.project_id}
            ctxt.can(policies.EVACUATIONS_SHOW, target=target)
            with_host = ctxt.can(
                policies.EVACUATIONS_SHOW_HOST, target=target, fatal=False
            )
            found = told.of_server(ctxt, server.uuid)
        except db_exception.DBError as error:
            raise _cell_down(server_id) from error
        return _shown(req, found, with_host=bool(with_host))


class EvacuationsController(compat.Controller):
    """``/os-evacuations``: all servers, all cells."""

    @compat.wsgi.expected_errors((400, 403, 503))
    @compat.validation.query_schema(schemas.EVACUATIONS_QUERY)
    @answers.schema(response_schemas.EVACUATIONS)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Evacuations that match the filters, newest first, in pages."""
        ctxt = req.environ['nova.context']
        ctxt.can(policies.EVACUATIONS_INDEX, target={})
        with_host = bool(
            ctxt.can(policies.EVACUATIONS_SHOW_HOST, target={}, fatal=False)
        )
        limit, marker = compat.common.get_limit_and_marker(req)
        filters = _filters_of(req.GET)
        if not with_host and (
            filters.source or filters.destination or filters.host
        ):
            # The answer would say what the fields do not.
            raise exc.HTTPForbidden(
                explanation=(
                    f"Policy doesn't allow {policies.EVACUATIONS_SHOW_HOST}: "
                    'without it evacuations cannot be filtered by host'
                )
            )
        found, more = _search(ctxt, filters, limit, marker)
        answer: dict[str, typing.Any] = {
            'evacuations': _shown(req, found, with_host=with_host)
        }
        if found and more:
            answer['evacuations_links'] = [
                compat.next_page_link(
                    req, found[-1].record.uuid, 'os-evacuations'
                )
            ]
        return answer


def _filters_of(query: typing.Any) -> reading.Filters:
    since = time_of(query, 'changes-since')
    before = time_of(query, 'changes-before')
    if since is not None and before is not None and before < since:
        raise exc.HTTPBadRequest(
            explanation=(
                f"'changes-since' is {query['changes-since']!r}, expected no "
                "later time than 'changes-before', which is "
                f'{query["changes-before"]!r}'
            )
        )
    return reading.Filters(
        states=frozenset(map(progress.State, query.getall('state'))),
        statuses=frozenset(query.getall('status')),
        source=query.get('source_compute'),
        destination=query.get('dest_compute'),
        host=query.get('host'),
        server=query.get('instance_uuid'),
        changes_since=since,
        changes_before=before,
    )


def time_of(query: typing.Any, name: str) -> datetime.datetime | None:
    """Give the time that a query names, in UTC and without a zone.

    :raises webob.exc.HTTPBadRequest: it is before or after all times.
    """
    if name not in query:
        return None
    try:
        at: datetime.datetime = timeutils.normalize_time(
            timeutils.parse_isotime(query[name])
        )
    except OverflowError as error:
        raise exc.HTTPBadRequest(
            explanation=(
                f'{name!r} is {query[name]!r}, expected a time between the '
                'years 1 and 9999 in UTC'
            )
        ) from error
    return at


def _search(
    ctxt: typing.Any,
    filters: reading.Filters,
    limit: int,
    marker: str | None,
) -> tuple[list[told.Told], bool]:
    """Give evacuations until there are enough, and whether there are more.

    A database cannot tell the state of an evacuation for certain, so more
    records than wanted may have to be looked at.
    """
    found: list[told.Told] = []
    size = limit
    if filters.states:
        size = min(max(limit, _SEARCH_PAGE), compat.CONF.api.max_limit)
    more = limit > 0
    while more and len(found) < limit:
        records = _page(ctxt, filters, size, marker)
        more = len(records) == size
        if records:
            marker = records[-1].uuid
        known = told.of_all_cells(ctxt, records)
        if records and not known:
            raise _no_cell(len({record.cell for record in records}))
        found += [
            each
            for each in known
            if not filters.states or each.found.state in filters.states
        ]
        # Hardly any was wanted: do not ask for thousands in small steps.
        size = min(size * 2, compat.CONF.api.max_limit)
    return found[:limit], more or len(found) > limit


def _page(
    ctxt: typing.Any,
    filters: reading.Filters,
    size: int,
    marker: str | None,
) -> reading.Page:
    try:
        page = reading.page(ctxt, filters, size, marker)
    except compat.exception.MarkerNotFound as error:
        raise exc.HTTPBadRequest(explanation=error.format_message()) from error
    except reading.MarkerUnreadable as error:
        raise exc.HTTPServiceUnavailable(
            explanation=f'{error}; try again later'
        ) from error
    if page.cells_down and not page.cells_up:
        raise _no_cell(page.cells_down)
    return page


def _shown(
    req: typing.Any, found: list[told.Told], *, with_host: bool
) -> list[dict[str, typing.Any]]:
    later = versions.at_least(req, versions.PROGRESS)
    return [
        views.evacuation(each, with_host=with_host, later=later)
        for each in found
    ]


def _no_cell(count: int) -> exc.HTTPServiceUnavailable:
    return exc.HTTPServiceUnavailable(
        explanation=(
            f'None of the {count} cells answered: which evacuations there are '
            'is unknown, try again later'
        )
    )


def _cell_down(server_id: str) -> exc.HTTPServiceUnavailable:
    return exc.HTTPServiceUnavailable(
        explanation=(
            f"The database of the cell of server '{server_id}' does not "
            'answer; its evacuations are unknown, try again later'
        )
    )
