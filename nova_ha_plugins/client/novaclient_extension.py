# SPDX-License-Identifier: Apache-2.0

"""Evacuations for python-novaclient: ``nova.evacuations`` and a subcommand.

.. code-block:: python

    extensions = client.discover_extensions('2.1')
    nova = client.Client('2.1', session=session, extensions=extensions)
    nova.evacuations.list(server)
"""

import typing
from urllib import parse

from novaclient import base
from novaclient import utils


class Evacuation(base.Resource):
    """One evacuation of a server."""

    def __repr__(self) -> str:
        return f'<Evacuation: {self.uuid}>'


class EvacuationManager(base.Manager):
    """Evacuations of one server, or of the cloud."""

    resource_class = Evacuation

    def list(
        self, server: typing.Any = None, **filters: typing.Any
    ) -> typing.Any:
        """Give evacuations, newest first.

        :param server: a server or its id; None for all servers (admin).
        :param filters: for all servers: state, status, source_compute,
            dest_compute, host, instance_uuid, limit, marker.
        """
        if server is not None:
            path = f'/servers/{base.getid(server)}/evacuations'
            return self._list(path, 'evacuations')
        query = parse.urlencode(sorted(filters.items()), doseq=True)
        path = '/os-evacuations' + (f'?{query}' if query else '')
        return self._list(path, 'evacuations')

    def get(self, server: typing.Any, evacuation: typing.Any) -> typing.Any:
        """Give one evacuation of a server, by uuid or number."""
        # base.getid looks for 'id', which is only unique within a cell.
        uuid = getattr(evacuation, 'uuid', evacuation)
        return self._get(
            f'/servers/{base.getid(server)}/evacuations/{uuid}', 'evacuation'
        )


@utils.arg(
    '--server',
    metavar='<server>',
    default=None,
    help='Only of this server (ID).',
)
@utils.arg(
    '--host',
    metavar='<host>',
    default=None,
    help='Only from or to this compute host (admin only).',
)
def do_evacuation_list(cs: typing.Any, args: typing.Any) -> None:
    """List evacuations with their progress."""
    filters = {'host': args.host} if args.host and not args.server else {}
    utils.print_list(
        cs.evacuations.list(args.server, **filters),
        [
            'uuid',
            'server_uuid',
            'state',
            'phase',
            'progress',
            'reason',
            'source_compute',
            'dest_compute',
        ],
        sortby_index=None,
    )
