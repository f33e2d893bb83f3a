# SPDX-License-Identifier: Apache-2.0

"""The door to nova, with the engine's own service user.

Nothing is retried and nothing is decided here. Three facts of nova's code
shape it:

* ``evacuate`` goes out below microversion 2.95, so that nova puts a server
  back into the state that it had, instead of always stopping it.
* ``GET /os-hypervisors/detail`` from 2.88 on asks every compute that counts
  as up for its uptime, over RPC; for a host that died a second ago that call
  hangs for ``rpc_response_timeout``. So it goes out at 2.87.
* ``disable`` of a service that counts as up calls that compute over RPC
  (``set_host_enabled``) and hangs in the same way. A service that is forced
  down counts as down and is not called: force down first, then disable.

``force_down(False)`` is refused with 400 while an evacuation away from the
host is ``done`` and not yet ``completed``: the host's nova-compute has to
start first and clean up. Saying the same thing twice is accepted by nova.
"""

import collections.abc
import typing
import urllib.parse

from keystoneauth1 import loading as ks_loading
from oslo_config import cfg
from oslo_log import log as logging

from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import client
from nova_ha_plugins import printable
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views

LOG = logging.getLogger(__name__)

# Never 2.95 or higher: see above.
MICROVERSION = '2.94'
# Never 2.88 or higher: see above.
HYPERVISOR_MICROVERSION = '2.87'

# Of every call that changes something; see ``nova_ha_plugins.api.token``.
LEASE_HEADER = 'X-Nova-HA-Token'
UNTIL_HEADER = 'X-Nova-HA-Until'

REASON_PREFIX = 'nova-ha: '
# nova.api.openstack.compute.schemas.services: disabled_reason, maxLength.
REASON_LIMIT = 255

# A list that does not end is an answer that says nothing.
MAX_PAGES = 1000

_Item = dict[str, typing.Any]


class NovaDoor:
    """Reads and changes nova; satisfies ``doors.Nova``."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        token: int = 0,
        clock: collections.abc.Callable[[], float] | None = None,
    ) -> None:
        """Keep the configuration; keystone is asked at the first call.

        :param token: of the lease under which nova is asked to change
            something; nova's API refuses an older one than the newest. 0
            sends none.
        :param clock: of the store; nova's API refuses, by the same clock,
            what it comes to only when nobody waits for the answer any more.
        """
        self._conf = conf
        self._token = token
        self._clock = clock
        self._cached_client: client.Client | None = None

    @property
    def _client(self) -> client.Client:
        if self._cached_client is None:
            adapter = ks_loading.load_adapter_from_conf_options(
                self._conf,
                'nova',
                session=client.open_session(self._conf),
            )
            self._cached_client = client.Client(
                'Nova', adapter, client.call_timeout(self._conf)
            )
        return self._cached_client

    def services(self) -> tuple[views.ServiceView, ...]:
        """Return every nova-compute service that nova can speak for.

        A service whose cell does not answer is left out and logged: nova
        itself says nothing but its name.
        """
        items = self._list(
            '/os-services',
            'services',
            'list the services',
            {'binary': 'nova-compute'},
        )
        addresses = self._addresses()
        found = []
        for item in items:
            if item.get('status') == 'UNKNOWN':
                LOG.warning(
                    "Host '%s' is in a cell that does not answer nova; "
                    'nothing is known of its service and nothing will be '
                    'done to it.',
                    item.get('host'),
                )
                continue
            found.append(_service(item, addresses))
        return tuple(found)

    def servers_on(self, host: str) -> tuple[views.ServerView, ...]:
        """Return every server of every project on a host.

        :raises doors.Unanswered: also when the cell of the host is away,
            where nova would pass over it and return an empty list.
        """
        what = f"list the servers on host '{host}'"
        items = self._list(
            '/servers/detail',
            'servers',
            what,
            {'all_tenants': '1', 'host': host},
        )
        servers = [_server(item, what) for item in items]
        self._check_cell(host, what)
        # Nova drops the filter of a user who may not filter by host and
        # returns the servers of all hosts.
        # A list that changes while its pages are read shows a server twice.
        there = {one.uuid: one for one in servers if one.host == host}
        return tuple(there.values())

    def server(self, uuid: str) -> views.ServerView | None:
        """Return one server, None only when nova says that there is none."""
        what = f"show server '{uuid}'"
        try:
            document = self._client.read(
                f'/servers/{_quote(uuid)}', what, microversion=MICROVERSION
            )
        except doors.Refused as exc:
            if exc.status == 404:
                return None
            raise
        return _server(_get(document, 'server', dict, what), what)

    def evacuations(self, host: str) -> tuple[views.MigrationView, ...]:
        """Return nova's evacuation records away from a host, newest first."""
        return self._migrations(host, 'evacuation')

    def moves(self, host: str) -> tuple[views.MigrationView, ...]:
        """Return what else moves from or to a host and has not ended.

        Live migrations, cold migrations and resizes, newest first.
        """
        what = f"list what moves from or to host '{host}'"
        items = self._list(
            '/os-migrations', 'migrations', what, {'host': host}
        )
        return tuple(
            one
            for one in (_migration(item, what) for item in items)
            if one.kind != 'evacuation'
            and one.status not in states.MOVE_ENDED
            and host in (one.source_compute, one.dest_compute)
        )

    def live_migrations(self, host: str) -> tuple[views.MigrationView, ...]:
        """Return nova's live migrations away from a host, newest first."""
        return self._migrations(host, 'live-migration')

    def _migrations(
        self, host: str, kind: str
    ) -> tuple[views.MigrationView, ...]:
        what = f"list the {kind}s away from host '{host}'"
        items = self._list(
            '/os-migrations',
            'migrations',
            what,
            {'migration_type': kind, 'source_compute': host},
        )
        records = [_migration(item, what) for item in items]
        return tuple(one for one in records if one.source_compute == host)

    def force_down(self, service_uuid: str, forced: bool) -> None:
        """Set or clear forced_down."""
        self._update(
            service_uuid,
            {'forced_down': forced},
            'force down' if forced else 'lift the force-down of',
        )

    def disable(self, service_uuid: str, reason: str) -> None:
        """Take a service out of scheduling; force it down first."""
        text = (
            reason
            if reason.startswith(REASON_PREFIX)
            else (REASON_PREFIX + reason)
        )
        self._update(
            service_uuid,
            {'status': 'disabled', 'disabled_reason': text[:REASON_LIMIT]},
            'disable',
        )

    def enable(self, service_uuid: str) -> None:
        """Put a service back into scheduling."""
        self._update(service_uuid, {'status': 'enabled'}, 'enable')

    def evacuate(self, server_uuid: str) -> None:
        """Ask nova to rebuild a server on a host of the scheduler's choice.

        An accepted call says nothing of the outcome; the migration record
        does.
        """
        self._act(server_uuid, {'evacuate': {}}, 'evacuate')

    def reset(self, server_uuid: str) -> None:
        """Have nova call a server active, whatever it is; nothing is done."""
        self._act(
            server_uuid,
            {'os-resetState': {'state': 'active'}},
            'reset the state of',
        )

    def stop(self, server_uuid: str) -> None:
        """Ask nova to stop a server."""
        self._act(server_uuid, {'os-stop': None}, 'stop')

    def start(self, server_uuid: str) -> None:
        """Ask nova to start a server."""
        self._act(server_uuid, {'os-start': None}, 'start')

    def pause(self, server_uuid: str) -> None:
        """Ask nova to pause a server."""
        self._act(server_uuid, {'pause': None}, 'pause')

    def live_migrate(self, server_uuid: str) -> None:
        """Ask nova to live-migrate a server to a host of its choice.

        From 2.34 on nova answers before it has checked anything, so an
        accepted call says nothing of the outcome; the migration record does.
        """
        self._act(
            server_uuid,
            {'os-migrateLive': {'host': None, 'block_migration': 'auto'}},
            'live-migrate',
        )

    def _lease(self) -> dict[str, str]:
        """Return who asks for a change, and until when he waits."""
        if not self._token:
            return {}
        headers = {LEASE_HEADER: str(self._token)}
        if self._clock is not None:
            until = self._clock() + client.call_timeout(self._conf)
            headers[UNTIL_HEADER] = f'{until:.3f}'
        return headers

    def _act(self, server_uuid: str, body: _Item, verb: str) -> None:
        self._client.write(
            'POST',
            f'/servers/{_quote(server_uuid)}/action',
            f"{verb} server '{server_uuid}'",
            body,
            microversion=MICROVERSION,
            headers=self._lease(),
        )

    def _update(self, service_uuid: str, body: _Item, verb: str) -> None:
        self._client.write(
            'PUT',
            f'/os-services/{_quote(service_uuid)}',
            f"{verb} compute service '{service_uuid}'",
            body,
            microversion=MICROVERSION,
            headers=self._lease(),
        )

    def _addresses(self) -> dict[str, str]:
        """Return host_ip by service host; the first of several nodes."""
        what = 'list the hypervisors'
        addresses: dict[str, str] = {}
        for item in self._list(
            '/os-hypervisors/detail',
            'hypervisors',
            what,
            {},
            microversion=HYPERVISOR_MICROVERSION,
        ):
            service = _get(item, 'service', dict, what)
            host = _get(service, 'host', str, what)
            addresses.setdefault(host, str(item.get('host_ip') or ''))
        return addresses

    def _check_cell(self, host: str, what: str) -> None:
        for item in self._list(
            '/os-services',
            'services',
            f"show the service of host '{host}'",
            {'binary': 'nova-compute', 'host': host},
        ):
            if item.get('status') == 'UNKNOWN':
                raise doors.Unanswered(
                    f'Nova did not answer the request to {what}: the cell of '
                    f'the host is away, so the list is not complete.'
                )

    def _list(
        self,
        path: str,
        key: str,
        what: str,
        params: dict[str, str],
        microversion: str = MICROVERSION,
    ) -> list[_Item]:
        """Return the items of all pages of a collection."""
        items: list[_Item] = []
        query = dict(params)
        for _ in range(MAX_PAGES):
            document = self._client.read(
                path, what, params=query, microversion=microversion
            )
            page = _get(document, key, list, what)
            if not all(isinstance(item, dict) for item in page):
                raise _strange(what, f"objects in '{key}'", page)
            items.extend(page)
            following = _next_query(document.get(f'{key}_links'))
            if not following or not page:
                return items
            # Only the query of nova's link is used: its host may be one that
            # nova knows itself by, behind a proxy.
            following = {**params, **following}
            if following == query:
                break
            query = following
        raise _strange(what, 'a list that ends', f'{len(items)} items')


def _next_query(links: object) -> dict[str, str]:
    if isinstance(links, list):
        for link in links:
            if isinstance(link, dict) and link.get('rel') == 'next':
                query = urllib.parse.urlsplit(str(link.get('href'))).query
                return dict(urllib.parse.parse_qsl(query))
    return {}


def _service(
    item: _Item, addresses: collections.abc.Mapping[str, str]
) -> views.ServiceView:
    what = 'list the services'
    host = _get(item, 'host', str, what)
    return views.ServiceView(
        host=host,
        uuid=_get(item, 'id', str, what),
        up=_get(item, 'state', str, what) == 'up',
        forced_down=_get(item, 'forced_down', bool, what),
        disabled=_get(item, 'status', str, what) == 'disabled',
        disabled_reason=printable.line(str(item.get('disabled_reason') or '')),
        zone=str(item.get('zone') or ''),
        address=addresses.get(host, ''),
    )


def _server(item: _Item, what: str) -> views.ServerView:
    task_state = item.get('OS-EXT-STS:task_state')
    metadata = _get(item, 'metadata', dict, what)
    # Absent where policy hides hosts from the service user; null for a server
    # that is on no host.
    if 'OS-EXT-SRV-ATTR:host' not in item:
        raise _strange(
            what,
            "'OS-EXT-SRV-ATTR:host' (the service user has to be an "
            'administrator of nova)',
            sorted(item),
        )
    return views.ServerView(
        uuid=_get(item, 'id', str, what),
        name=printable.line(str(item.get('name') or '')),
        project_id=_get(item, 'tenant_id', str, what),
        host=str(item['OS-EXT-SRV-ATTR:host'] or ''),
        vm_state=_get(item, 'OS-EXT-STS:vm_state', str, what),
        task_state=None if task_state is None else str(task_state),
        # Any text, and what is wrong with it is told to the operator.
        metadata={
            str(key): printable.line(str(value))
            for key, value in metadata.items()
        },
        locked=bool(item.get('locked')),
    )


def _migration(item: _Item, what: str) -> views.MigrationView:
    destination = item.get('dest_compute')
    return views.MigrationView(
        uuid=_get(item, 'uuid', str, what),
        server_uuid=_get(item, 'instance_uuid', str, what),
        source_compute=_get(item, 'source_compute', str, what),
        dest_compute=str(destination) if destination else None,
        status=_get(item, 'status', str, what),
        created_at=_get(item, 'created_at', str, what),
        kind=_get(item, 'migration_type', str, what),
    )


def _get(item: _Item, key: str, kind: type, what: str) -> typing.Any:
    value = item.get(key)
    if not isinstance(value, kind):
        raise _strange(what, f"'{key}' as {kind.__name__}", value)
    return value


def _strange(what: str, expected: str, found: object) -> doors.Unanswered:
    return doors.Unanswered(
        f'Nova gave no readable answer to the request to {what}: expected '
        f'{expected}, found {str(found)[:200]!r}.'
    )


def _quote(part: str) -> str:
    return urllib.parse.quote(part, safe='')
