# SPDX-License-Identifier: Apache-2.0

"""Evacuations for python-novaclient: ``nova.evacuations`` and subcommands.

.. code-block:: python

    extensions = client.discover_extensions('2.1')
    nova = client.Client('2.1', session=session, extensions=extensions)
    nova.evacuations.list(server)
"""

import typing
from urllib import parse

from keystoneauth1 import adapter
from novaclient import base
from novaclient import exceptions
from novaclient import utils

_VERSION = 'instance-ha 1.2'
# Answers do not depend on the microversion of nova.
_HEADER = 'OpenStack-API-Version'


class Evacuation(base.Resource):
    """One evacuation of a server."""

    def __repr__(self) -> str:
        return f'<Evacuation: {self.uuid}>'


class HostSummary(base.Resource):
    """How far the servers of one host are.

    :ivar states: how many are in each state.
    """

    def __repr__(self) -> str:
        return f'<HostSummary: {self.source_compute}>'


class EvacuationManager(base.Manager):
    """Evacuations of one server, or of the cloud."""

    resource_class = Evacuation

    def list(
        self, server: typing.Any = None, **filters: typing.Any
    ) -> typing.Any:
        """Give evacuations, newest first.

        :param server: a server or its id; None for all servers (admin).
        :param filters: for all servers: state, status, source_compute,
            dest_compute, host, instance_uuid, changes_since, limit, marker.
        """
        if server is not None:
            path = f'/servers/{base.getid(server)}/evacuations'
        else:
            path = _with_query('/os-evacuations', filters)
        answer, body = self._ask(path)
        found = [
            Evacuation(self, item, loaded=True) for item in body['evacuations']
        ]
        return base.ListWithMeta(found, answer)

    def get(self, server: typing.Any, evacuation: typing.Any) -> typing.Any:
        """Give one evacuation of a server, by uuid or number."""
        # base.getid looks for 'id', which is only unique within a cell.
        uuid = parse.quote(str(getattr(evacuation, 'uuid', evacuation)), '')
        path = f'/servers/{base.getid(server)}/evacuations/{uuid}'
        answer, body = self._ask(path)
        return Evacuation(self, body['evacuation'], loaded=True, resp=answer)

    def summary(self, **filters: typing.Any) -> typing.Any:
        """Give a summary of each host that servers are brought away from.

        :param filters: source_compute, changes_since.
        :raises novaclient.exceptions.NotAcceptable: the API is older.
        """
        path = _with_query('/os-evacuations/summary', filters)
        answer, body = self._ask(path, older=False)
        found = [
            HostSummary(self, item, loaded=True)
            for item in body['evacuations_summary']['hosts']
        ]
        return base.ListWithMeta(found, answer)

    def _ask(self, path: str, older: bool = True) -> typing.Any:
        """Give response and body of a GET in our own version.

        :param older: ask an API that does not know it without a version.
        """
        client = self.api.client
        versions = [_VERSION, None] if older else [_VERSION]
        for version in versions:
            headers: dict[str, str] = {}
            if version:
                headers[_HEADER] = version
            # The client's own method would put nova's microversion in its
            # place: the two share a header.
            answer, body = adapter.LegacyJsonAdapter.request(
                client, path, 'GET', headers=headers, raise_exc=False
            )
            if answer.status_code != 406:
                break
        if answer.status_code >= 400:
            raise exceptions.from_response(answer, body, path, 'GET')
        return answer, body


def _with_query(path: str, filters: dict[str, typing.Any]) -> str:
    words = {
        name.replace('changes_', 'changes-'): value
        for name, value in filters.items()
        if value is not None
    }
    query = parse.urlencode(sorted(words.items()), doseq=True)
    return f'{path}?{query}' if query else path


def _find_server(cs: typing.Any, name: str) -> typing.Any:
    return utils.find_resource(cs.servers, name)


@utils.arg(
    '--server',
    metavar='<server>',
    default=None,
    help='Only of this server (name or ID).',
)
@utils.arg(
    '--host',
    metavar='<host>',
    default=None,
    help='Only from or to this compute host (admin only).',
)
@utils.arg(
    '--state',
    metavar='<state>',
    default=None,
    help='Only in this state, such as running (admin only).',
)
def do_evacuation_list(cs: typing.Any, args: typing.Any) -> None:
    """List evacuations with their progress."""
    if args.server:
        found = cs.evacuations.list(_find_server(cs, args.server))
        if args.host:
            found = [
                item
                for item in found
                if args.host in (item.source_compute, item.dest_compute)
            ]
        if args.state:
            found = [item for item in found if item.state == args.state]
    else:
        found = cs.evacuations.list(host=args.host, state=args.state)
    utils.print_list(
        found,
        [
            'uuid',
            'server_uuid',
            'state',
            'phase',
            'progress',
            'eta_seconds',
            'reason',
            'source_compute',
            'dest_compute',
        ],
        sortby_index=None,
    )


@utils.arg('server', metavar='<server>', help='Server (name or ID).')
@utils.arg(
    'evacuation',
    metavar='<evacuation>',
    nargs='?',
    default=None,
    help='UUID of the evacuation (the newest one by default).',
)
def do_evacuation_show(cs: typing.Any, args: typing.Any) -> None:
    """Show one evacuation of a server."""
    server = _find_server(cs, args.server)
    if args.evacuation:
        item = cs.evacuations.get(server, args.evacuation)
    else:
        found = cs.evacuations.list(server)
        if not found:
            raise exceptions.CommandError(
                f"Server '{args.server}' was never evacuated"
            )
        item = found[0]
    utils.print_dict(item.to_dict())


@utils.arg(
    '--host',
    metavar='<host>',
    default=None,
    help='Only those from this compute host.',
)
def do_evacuation_summary(cs: typing.Any, args: typing.Any) -> None:
    """Count the evacuations from each host by their state (admin only)."""
    found = cs.evacuations.summary(source_compute=args.host)
    states = (
        'queued',
        'running',
        'succeeded',
        'failed',
        'superseded',
        'unknown',
    )
    utils.print_list(
        found,
        [
            'source_compute',
            'total',
            'planned',
            *states,
            'stalled',
            'progress',
            'eta_seconds',
            'eta_p90_seconds',
        ],
        formatters={
            state: lambda row, state=state: row.states[state]
            for state in states
        },
        sortby_index=None,
    )
