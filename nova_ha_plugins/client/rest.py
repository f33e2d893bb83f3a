# SPDX-License-Identifier: Apache-2.0

"""The calls of our commands, over openstackclient's compute proxy."""

from collections import abc
import typing
from urllib import parse

from keystoneauth1 import exceptions as ks_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
from oslo_utils import uuidutils

from nova_ha_plugins import printable

Item = dict[str, typing.Any]

_ROOT = '/os-instance-ha'

# What the commands of operators ask for.
_VERSION = {'OpenStack-API-Version': 'instance-ha 1.1'}
# The status, which an API of the release before has as well.
_WATCHERS = {'OpenStack-API-Version': 'instance-ha 1.3'}
# What is asked of evacuations first; an older API is asked without a version,
# and its answers have fewer fields.
_EVACUATIONS = {'OpenStack-API-Version': 'instance-ha 1.2'}

# Of a proxy without a nova behind it, of a nova without a database or bus, or
# of one that has too much to do.
_LATER = frozenset({429, 500, 502, 503, 504})
# So many are asked for one by one; for more there are pages.
_FEW = 8
# Nova, or the keystone that is asked for a new token meanwhile.
_UNREACHABLE = (
    ks_exceptions.ConnectionError,
    ks_exceptions.HttpServerError,
    ks_exceptions.DiscoveryFailure,
)


class Unanswered(exceptions.CommandError):
    """Nova could not be asked, or could not answer: asking again may help."""


class Missing(exceptions.CommandError):
    """Nova answered that there is no such thing."""


class Older(exceptions.CommandError):
    """The extension in nova's API is older than what was asked of it."""


def connect(app: typing.Any, timeout: float | None = None) -> 'Client':
    """Give the client of a running ``openstack`` command.

    :param timeout: seconds after which a call counts as unanswered.
    :raises Unanswered: nova does not even say which versions it has.
    """
    try:
        return Client(app.client_manager.compute, timeout)
    except (sdk_exceptions.NotSupported, *_UNREACHABLE) as error:
        raise _unreachable(error) from error


class Client:
    """Our resources behind the compute endpoint.

    :param compute: the compute proxy of openstacksdk.
    :param timeout: seconds after which a call counts as unanswered.
    """

    def __init__(
        self, compute: typing.Any, timeout: float | None = None
    ) -> None:
        self._compute = compute
        self._timeout = timeout
        self._version: dict[str, str] | None = _EVACUATIONS
        self._ids: dict[str, str] = {}

    def evacuations(
        self, limit: int | None = None, **filters: typing.Any
    ) -> list[Item]:
        """Give evacuations of all servers, newest first, over all pages."""
        return list(self._each(limit, filters))

    def _each(self, limit: int | None, filters: Item) -> abc.Iterator[Item]:
        query = {
            key.replace('_since', '-since').replace(
                '_before', '-before'
            ): value
            for key, value in filters.items()
            if value
        }
        hint = ' Without that right, name your servers: --server <server>'
        while limit is None or limit > 0:
            if limit is not None:
                query['limit'] = limit
            answer = self._get('/os-evacuations', query, hint)
            page = answer['evacuations']
            yield from page[:limit]
            if not page or 'evacuations_links' not in answer:
                return
            query['marker'] = page[-1]['uuid']
            if limit is not None:
                limit -= len(page)

    def again(self, items: list[Item], host: str | None) -> list[Item]:
        """Give what became of evacuations that were open; a few at a time.

        :param host: all of them are from or to this one.
        :returns: those that are still known.
        """
        found: list[Item] = []
        wanted = {item['uuid']: item['server_uuid'] for item in items}
        if len(wanted) > _FEW:
            # Many end at a time when many began at a time: the newest ones.
            for item in self._each(None, {'host': host}):
                if wanted.pop(item['uuid'], None):
                    found.append(item)
                if not wanted:
                    break
        for uuid, server in wanted.items():
            try:
                found.append(self.evacuation(server, uuid))
            except Missing:
                continue
        return found

    def evacuations_of(self, server: str) -> list[Item]:
        """Give the evacuations of one server, newest first."""
        path = f'/servers/{self.server_id(server)}/evacuations'
        return list(self._get(path)['evacuations'])

    def evacuation(self, server: str, uuid: str) -> Item:
        """Give one evacuation of a server."""
        path = f'/servers/{self.server_id(server)}/evacuations/{_quote(uuid)}'
        return dict(self._get(path)['evacuation'])

    def summary(
        self, host: str | None = None, since: str | None = None
    ) -> Item:
        """Give the counts of each host that servers are brought away from.

        :raises Older: the API has no summary.
        """
        path = '/os-evacuations/summary'
        query = _words(**{'source_compute': host, 'changes-since': since})
        response = self._call(path, query, _EVACUATIONS)
        if response.status_code == 406:
            raise Older(
                f"Nova's API has no '{path}': the nova-ha-plugins beside it "
                'are older than this command; upgrade them'
            )
        hint = ' It needs a right that operators have'
        return dict(_read(response, path, hint)['evacuations_summary'])

    def names_on(self, host: str) -> dict[str, str]:
        """Give the names of the servers that nova has on a host, by id."""
        query = {'all_tenants': '1', 'host': host}
        found = _read(self._call('/servers', query, None), '/servers')
        return {server['id']: server['name'] for server in found['servers']}

    def server_id(self, server: str) -> str:
        """Give the id of a server that is named by id or name.

        :raises CommandError: if there is none, or more than one.
        """
        if uuidutils.is_uuid_like(server):
            return server
        if server not in self._ids:
            self._ids[server] = self._find(server)
        return self._ids[server]

    def _find(self, server: str) -> str:
        try:
            found = self._compute.find_server(server, ignore_missing=True)
            if found is None:
                # An administrator may mean a server of another project.
                found = self._compute.find_server(
                    server, ignore_missing=True, all_projects=True
                )
        except sdk_exceptions.ForbiddenException:
            found = None
        except sdk_exceptions.HttpException as error:
            if error.status_code in _LATER:
                raise Unanswered(printable.line(str(error))) from error
            raise exceptions.CommandError(str(error)) from error
        except sdk_exceptions.SDKException as error:
            raise exceptions.CommandError(str(error)) from error
        except _UNREACHABLE as error:
            raise _unreachable(error) from error
        if found is None:
            raise exceptions.CommandError(f"There is no server '{server}'")
        return str(found.id)

    def status(self) -> Item:
        """Give arm state, engines, watchers, brakes, hosts, incidents."""
        response = self._compute.get(_ROOT, params={}, headers=_WATCHERS)
        if response.status_code != 406:
            return dict(_read(response, _ROOT)['instance_ha'])
        # An API of the release before.
        return dict(self._ask('')['instance_ha'])

    def set_armed(
        self, armed: bool, reason: str, until: str | None = None
    ) -> Item:
        """Arm or disarm the engine; give the new state."""
        name = 'arm' if armed else 'disarm'
        words = _words(reason=reason, until=until)
        return dict(self._tell('/action', {name: words})['arm'])

    def maintenance(self) -> list[Item]:
        """Give the hosts in maintenance."""
        return list(self._ask('/maintenance')['maintenance'])

    def set_maintenance(
        self, host: str, reason: str, until: str | None = None
    ) -> Item:
        """Put a host into maintenance."""
        words = _words(host=host, reason=reason, until=until)
        answer = self._tell('/maintenance', {'maintenance': words})
        return dict(answer['maintenance'])

    def unset_maintenance(self, host: str, reason: str | None = None) -> None:
        """End the maintenance of a host."""
        self._end(f'/maintenance/{_quote(host)}', reason)

    def pauses(self) -> list[Item]:
        """Give the pauses that hold."""
        return list(self._ask('/pauses')['pauses'])

    def set_pause(
        self,
        name: str,
        reason: str,
        until: str | None = None,
        zone: str | None = None,
    ) -> Item:
        """Begin a pause, of one zone or of the whole cloud."""
        words = _words(name=name, reason=reason, until=until, zone=zone)
        return dict(self._tell('/pauses', {'pause': words})['pause'])

    def unset_pause(self, name: str, reason: str | None = None) -> None:
        """End a pause."""
        self._end(f'/pauses/{_quote(name)}', reason)

    def history(self, limit: int | None = None) -> list[Item]:
        """Give what operators said, newest first."""
        return list(self._ask('/history', _words(limit=limit))['history'])

    def incidents(
        self, host: str | None = None, limit: int | None = None
    ) -> list[Item]:
        """Give incidents, newest first."""
        query = _words(host=host, limit=limit)
        return list(self._ask('/incidents', query)['incidents'])

    def incident(self, uuid: str) -> Item:
        """Give one incident with its evidence and timeline."""
        return dict(self._ask(f'/incidents/{_quote(uuid)}')['incident'])

    def tell(self, uuid: str, action: str, **words: str) -> Item:
        """Say something of an incident; an attest only begins with it."""
        path = f'/incidents/{_quote(uuid)}/action'
        return dict(self._tell(path, {action: words})['fact'])

    def fact(self, uuid: str) -> Item:
        """Give what became of such a word."""
        return dict(self._ask(f'/facts/{_quote(uuid)}')['fact'])

    def confirm(self, uuid: str, host: str) -> Item:
        """Take the second step of an attest; now the engine gets it."""
        path = f'/facts/{_quote(uuid)}/action'
        return dict(self._tell(path, {'confirm': {'host': host}})['fact'])

    def _ask(
        self, path: str, query: dict[str, typing.Any] | None = None
    ) -> typing.Any:
        path = _ROOT + path
        response = self._compute.get(
            path, params=query or {}, headers=_VERSION
        )
        return _read(response, path)

    def _tell(self, path: str, body: Item) -> typing.Any:
        path = _ROOT + path
        response = self._compute.post(path, json=body, headers=_VERSION)
        return _read(response, path)

    def _end(self, path: str, reason: str | None) -> None:
        path = _ROOT + path
        response = self._compute.delete(
            path, params=_words(reason=reason), headers=_VERSION
        )
        if response.status_code != 204:
            _read(response, path)

    def _get(
        self,
        path: str,
        query: dict[str, typing.Any] | None = None,
        hint: str = '',
    ) -> typing.Any:
        response = self._call(path, query, self._version)
        if response.status_code == 406 and self._version is not None:
            self._version = None
            response = self._call(path, query, None)
        return _read(response, path, hint)

    def _call(
        self,
        path: str,
        query: dict[str, typing.Any] | None,
        version: dict[str, str] | None,
    ) -> typing.Any:
        # Whoever lets the SDK keep answers does not mean these.
        words: dict[str, typing.Any] = {'skip_cache': True}
        if version is not None:
            words['headers'] = dict(version)
        if self._timeout is not None:
            words['timeout'] = self._timeout
        try:
            return self._compute.get(path, params=query or {}, **words)
        except _UNREACHABLE as error:
            raise _unreachable(error) from error


def _words(**words: typing.Any) -> Item:
    """Give the words that were said."""
    return {key: value for key, value in words.items() if value is not None}


def _unreachable(error: Exception) -> exceptions.CommandError:
    told = f'Nova does not answer: {printable.line(str(error))}'
    if isinstance(error, ks_exceptions.SSLError):
        # No patience makes a certificate right.
        return exceptions.CommandError(told)
    return Unanswered(told)


def _quote(name: str) -> str:
    return parse.quote(name, safe='')


def _read(response: typing.Any, path: str, hint: str = '') -> typing.Any:
    """Give the body of an answer.

    :param hint: said to somebody who was refused for want of a right.
    """
    try:
        body = response.json()
    except ValueError:
        body = None
    if body is None and response.status_code == 404:
        raise exceptions.CommandError(
            f"Nova's API has no resource '{path}': is the filter "
            "'instance_ha' in its api-paste.ini?"
        )
    if response.status_code >= 400 or body is None:
        told = f'{_sentence(body)} (HTTP {response.status_code})'
        if response.status_code == 406:
            raise Older(
                f'{told}. The nova-ha-plugins beside nova-api are older than '
                'this command: upgrade them, or use the command of their '
                'release'
            )
        if response.status_code == 404:
            raise Missing(told)
        if response.status_code in _LATER:
            raise Unanswered(told)
        if response.status_code == 403 and hint:
            told = f'{told}.{hint}'
        raise exceptions.CommandError(told)
    return body


def _sentence(body: typing.Any) -> str:
    """Give the message inside nova's fault format."""
    if isinstance(body, dict):
        for fault in body.values():
            if isinstance(fault, dict) and 'message' in fault:
                return printable.line(str(fault['message']))
    return 'Nova did not answer with a message'
