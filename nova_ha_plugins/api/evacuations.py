# SPDX-License-Identifier: Apache-2.0

"""The resources that show evacuations: of one server, and of the cloud."""

import typing

from oslo_db import exception as db_exception
from webob import exc

from nova_ha_plugins.api import answers
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import evidence
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import response_schemas
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import views
from nova_ha_plugins.recovery import progress

# What a record with this status can turn out to be; spares reading records
# that cannot match. States that are not here can have any status.
_OPEN = ('accepted', 'pre-migrating', 'completed')
_STATUSES_OF_STATE = {
    progress.State.QUEUED: _OPEN,
    progress.State.RUNNING: _OPEN,
    progress.State.SUPERSEDED: _OPEN,
    progress.State.SUCCEEDED: ('done', *_OPEN),
    progress.State.FAILED: ('error', 'failed', *_OPEN),
}

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
            records = compat.evacuations_of(ctxt, server.uuid)
            found = evidence.read_cell(ctxt, [server.uuid])
        except db_exception.DBError as error:
            raise _cell_down(server_id) from error
        return [
            _item(record, found, with_host=bool(with_host))
            for record in records
        ]


class EvacuationsController(compat.Controller):
    """``/os-evacuations``: all servers, all cells."""

    @compat.wsgi.expected_errors((400, 403))
    @compat.validation.query_schema(schemas.EVACUATIONS_QUERY)
    @answers.schema(response_schemas.EVACUATIONS)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Evacuations that match the filters, newest first, in pages."""
        ctxt = req.environ['nova.context']
        ctxt.can(policies.EVACUATIONS_INDEX, target={})
        with_host = ctxt.can(
            policies.EVACUATIONS_SHOW_HOST, target={}, fatal=False
        )
        limit, marker = compat.common.get_limit_and_marker(req)
        wanted = _Filter(req.GET)
        if wanted.by_host and not with_host:
            # The answer would say what the fields do not.
            raise exc.HTTPForbidden(
                explanation=(
                    f"Policy doesn't allow {policies.EVACUATIONS_SHOW_HOST}: "
                    'without it evacuations cannot be filtered by host'
                )
            )
        items: list[dict[str, typing.Any]] = []
        size = wanted.page_size(limit)
        more = limit > 0
        while more and len(items) < limit:
            records = self._page(ctxt, wanted.for_nova(), size, marker)
            more = len(records) == size
            if records:
                marker = records[-1].uuid
            items += self._matching(ctxt, records, wanted, bool(with_host))
        answer: dict[str, typing.Any] = {'evacuations': items[:limit]}
        if items and (more or len(items) > limit):
            last = items[:limit][-1]['uuid']
            answer['evacuations_links'] = [
                compat.next_page_link(req, last, 'os-evacuations')
            ]
        return answer

    def _page(
        self,
        ctxt: typing.Any,
        filters: dict[str, typing.Any],
        limit: int,
        marker: str | None,
    ) -> list[typing.Any]:
        try:
            return compat.evacuations(ctxt, filters, limit, marker)
        except compat.exception.MarkerNotFound as error:
            raise exc.HTTPBadRequest(
                explanation=error.format_message()
            ) from error

    def _matching(
        self,
        ctxt: typing.Any,
        records: list[typing.Any],
        wanted: '_Filter',
        with_host: bool,
    ) -> list[dict[str, typing.Any]]:
        records = [record for record in records if wanted.allows(record)]
        found = evidence.read_all_cells(
            ctxt, [record.instance_uuid for record in records]
        )
        items = [
            _item(record, found, with_host=with_host) for record in records
        ]
        return [item for item in items if wanted.allows_state(item['state'])]


class _Filter:
    """What the query asks for, in nova's words and then exactly.

    Nova's own query knows no ``dest_compute`` and takes only one of ``host``
    and ``source_compute``; so it gets a wider question, and each record is
    looked at again.
    """

    def __init__(self, query: typing.Any) -> None:
        self.states = frozenset(query.getall('state'))
        self.statuses = frozenset(query.getall('status'))
        self.source = query.get('source_compute')
        self.destination = query.get('dest_compute')
        self.host = query.get('host')
        self.server = query.get('instance_uuid')

    @property
    def by_host(self) -> bool:
        """Tell whether what is found depends on hosts."""
        return bool(self.source or self.destination or self.host)

    def for_nova(self) -> dict[str, typing.Any]:
        """Filters that lose nothing that is wanted."""
        filters: dict[str, typing.Any] = {}
        if self.server:
            filters['instance_uuid'] = self.server
        if self.source:
            filters['source_compute'] = self.source
        elif self.host or self.destination:
            filters['host'] = self.host or self.destination
        if self.statuses:
            filters['status'] = sorted(self.statuses)
        elif self.states and self.states <= set(_STATUSES_OF_STATE):
            filters['status'] = sorted(
                {
                    status
                    for state, statuses in _STATUSES_OF_STATE.items()
                    if state in self.states
                    for status in statuses
                }
            )
        return filters

    def page_size(self, limit: int) -> int:
        """Give how many records to read for that many wanted ones."""
        if not (self.states or self.host or self.destination):
            return limit
        return min(max(limit, _SEARCH_PAGE), compat.CONF.api.max_limit)

    def allows(self, record: typing.Any) -> bool:
        """Tell whether the record of nova is wanted."""
        hosts = (record.source_compute, record.dest_compute)
        return (
            (not self.source or record.source_compute == self.source)
            and (
                not self.destination or record.dest_compute == self.destination
            )
            and (not self.host or self.host in hosts)
        )

    def allows_state(self, state: str) -> bool:
        """Tell whether what the record turned out to be is wanted."""
        return not self.states or state in self.states


def _item(
    record: typing.Any,
    found: dict[str, evidence.Evidence],
    *,
    with_host: bool,
) -> dict[str, typing.Any]:
    known = found.get(record.instance_uuid) or evidence.Evidence()
    facts = evidence.facts_of(record, known)
    assessment = progress.assess(facts)
    return views.evacuation(record, facts, assessment, with_host=with_host)


def _cell_down(server_id: str) -> exc.HTTPServiceUnavailable:
    return exc.HTTPServiceUnavailable(
        explanation=(
            f"The database of the cell of server '{server_id}' does not "
            'answer; its evacuations are unknown, try again later'
        )
    )
