# SPDX-License-Identifier: Apache-2.0

"""The calls of our commands, over openstackclient's compute proxy."""

import typing
from urllib import parse

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
from oslo_utils import uuidutils

from nova_ha_plugins import printable

Item = dict[str, typing.Any]

_ROOT = '/os-instance-ha'

# What the commands of operators ask for. Those of tenants ask for no version
# and so get on with every release of the API.
_VERSION = {'OpenStack-API-Version': 'instance-ha 1.1'}


def connect(app: typing.Any) -> 'Client':
    """Give the client of a running ``openstack`` command."""
    return Client(app.client_manager.compute)


class Client:
    """Our resources behind the compute endpoint.

    :param compute: the compute proxy of openstacksdk.
    """

    def __init__(self, compute: typing.Any) -> None:
        self._compute = compute

    def evacuations(
        self, limit: int | None = None, **filters: typing.Any
    ) -> list[Item]:
        """Give evacuations of all servers, newest first, over all pages."""
        found: list[Item] = []
        marker = None
        hint = ' Without that right, name your servers: --server <server>'
        while True:
            query = {key: value for key, value in filters.items() if value}
            if limit is not None:
                query['limit'] = limit - len(found)
            if marker:
                query['marker'] = marker
            answer = self._get('/os-evacuations', query, hint)
            page = answer['evacuations']
            found += page
            enough = limit is not None and len(found) >= limit
            if enough or not page or 'evacuations_links' not in answer:
                return found
            marker = page[-1]['uuid']

    def evacuations_of(self, server: str) -> list[Item]:
        """Give the evacuations of one server, newest first."""
        path = f'/servers/{self.server_id(server)}/evacuations'
        return list(self._get(path)['evacuations'])

    def evacuation(self, server: str, uuid: str) -> Item:
        """Give one evacuation of a server."""
        path = f'/servers/{self.server_id(server)}/evacuations/{_quote(uuid)}'
        return dict(self._get(path)['evacuation'])

    def server_id(self, server: str) -> str:
        """Give the id of a server that is named by id or name.

        :raises CommandError: if there is none, or more than one.
        """
        if uuidutils.is_uuid_like(server):
            return server
        try:
            found = self._compute.find_server(server, ignore_missing=True)
            if found is None:
                # An administrator may mean a server of another project.
                found = self._compute.find_server(
                    server, ignore_missing=True, all_projects=True
                )
        except sdk_exceptions.ForbiddenException:
            found = None
        except sdk_exceptions.SDKException as error:
            raise exceptions.CommandError(str(error)) from error
        if found is None:
            raise exceptions.CommandError(f"There is no server '{server}'")
        return str(found.id)

    def status(self) -> Item:
        """Give arm state, engines, brakes, hosts and open incidents."""
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
        response = self._compute.get(path, params=query or {})
        return _read(response, path, hint)


def _words(**words: typing.Any) -> Item:
    """Give the words that were said."""
    return {key: value for key, value in words.items() if value is not None}


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
            told = (
                f'{told}. The nova-ha-plugins beside nova-api are older than '
                'this command: upgrade them, or use the command of their '
                'release'
            )
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
