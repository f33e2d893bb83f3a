# SPDX-License-Identifier: Apache-2.0

"""The door to our own resource in nova's API: evacuations, as it shows them.

It has a session of its own, so that whoever follows evacuations never stands
in the way of a recovery.
"""

import collections.abc
import datetime
import typing
import urllib.parse

from keystoneauth1 import loading as ks_loading
from oslo_config import cfg

from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import client
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery import views

# The version of our own resource that has what an estimate is made of.
VERSION = '1.2'
_HEADERS = {'OpenStack-API-Version': f'instance-ha {VERSION}'}

# A list that does not end is an answer that says nothing.
MAX_PAGES = 200

_Item = dict[str, typing.Any]
_Params = collections.abc.Mapping[str, typing.Any]

_TIMES = frozenset(
    {
        'created_at',
        'updated_at',
        'started_at',
        'finished_at',
        'phase_started_at',
    }
)
_REQUIRED = ('uuid', 'server_uuid', 'status', 'state', 'phase', 'created_at')
_FIELDS = tuple(views.Evacuation.__dataclass_fields__)


class EvacuationsDoor:
    """Reads evacuations of all cells, whoever asked for them.

    Every method raises ``doors.Refused`` with status 404 where nova-api has
    no such resource, and 406 where it has only an older version of it.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Keep the configuration; keystone is asked at the first call."""
        self._conf = conf
        self._cached_client: client.Client | None = None

    @property
    def _client(self) -> client.Client:
        if self._cached_client is None:
            adapter = ks_loading.load_adapter_from_conf_options(
                self._conf, 'nova', session=client.open_session(self._conf)
            )
            self._cached_client = client.Client(
                'Nova', adapter, client.call_timeout(self._conf)
            )
        return self._cached_client

    def check(self) -> None:
        """Make sure that nova-api has the resource, in our version."""
        self._client.read(
            '/os-evacuations',
            'list evacuations',
            params={'limit': '1'},
            headers=_HEADERS,
        )

    def open(self) -> tuple[views.Evacuation, ...]:
        """Evacuations whose record nova has not closed."""
        return self._list(
            'list open evacuations',
            {'status': sorted(progress.OPEN_STATUSES)},
        )

    def changed_since(self, at: float) -> tuple[views.Evacuation, ...]:
        """Evacuations whose record nova wrote at that time or later.

        :param at: seconds since 1970, on nova's clock.
        """
        since = datetime.datetime.fromtimestamp(at, datetime.UTC)
        return self._list(
            'list evacuations that changed',
            {'changes-since': since.strftime('%Y-%m-%dT%H:%M:%SZ')},
        )

    def of_server(self, uuid: str) -> tuple[views.Evacuation, ...]:
        """Evacuations of one server, newest first.

        :raises doors.Refused: with status 404 when there is no such server.
        """
        what = f"list the evacuations of server '{uuid}'"
        path = f'/servers/{urllib.parse.quote(uuid, safe="")}/evacuations'
        document = self._client.read(path, what, headers=_HEADERS)
        return tuple(_evacuation(one, what) for one in _items(document, what))

    def _list(
        self, what: str, params: _Params
    ) -> tuple[views.Evacuation, ...]:
        found: dict[str, views.Evacuation] = {}
        query: _Params = params
        for _ in range(MAX_PAGES):
            document = self._client.read(
                '/os-evacuations', what, params=query, headers=_HEADERS
            )
            items = _items(document, what)
            for item in items:
                one = _evacuation(item, what)
                # A list that changes while it is read can show one twice.
                found.setdefault(one.uuid, one)
            if not items or not document.get('evacuations_links'):
                return tuple(found.values())
            query = {**params, 'marker': items[-1]['uuid']}
        raise _strange(what, 'a list that ends', f'{len(found)} items')


def _items(document: _Item, what: str) -> list[_Item]:
    items = document.get('evacuations')
    if not isinstance(items, list) or not all(
        isinstance(item, dict) for item in items
    ):
        raise _strange(what, "'evacuations' as a list of objects", items)
    return items


def _evacuation(item: _Item, what: str) -> views.Evacuation:
    for name in _REQUIRED:
        if not isinstance(item.get(name), str):
            raise _strange(what, f"'{name}' as str", item.get(name))
    values: _Item = {}
    for name in _FIELDS:
        value = item.get(name)
        if value is not None:
            values[name] = _time(value, what) if name in _TIMES else value
    return views.Evacuation(**values)


def _time(text: object, what: str) -> float:
    try:
        time = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        raise _strange(what, 'a time as in ISO 8601', text) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return time.timestamp()


def _strange(what: str, expected: str, found: object) -> doors.Unanswered:
    return doors.Unanswered(
        f'Nova gave no readable answer to the request to {what}: expected '
        f'{expected}, found {str(found)[:200]!r}.'
    )
