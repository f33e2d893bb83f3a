# SPDX-License-Identifier: Apache-2.0

"""The calls of our commands to aodh: alarms by name, created and updated."""

import typing
from urllib import parse

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as ks_exceptions
from osc_lib import exceptions
import requests

from nova_ha_plugins import printable

Item = dict[str, typing.Any]

_PATH = '/v2/alarms'
_ACTIONS = ('ok_actions', 'alarm_actions', 'insufficient_data_actions')


def connect(app: typing.Any) -> 'Client':
    """Give the client of a running ``openstack`` command."""
    manager = app.client_manager
    manager.setup_auth()
    return Client(
        adapter.Adapter(
            manager.session,
            service_type='alarming',
            interface=manager.interface,
            region_name=manager.region_name,
        )
    )


class Client:
    """Alarms of aodh.

    :param endpoint: an adapter of keystoneauth for aodh.
    """

    def __init__(self, endpoint: typing.Any) -> None:
        self._endpoint = endpoint

    def project_id(self) -> str:
        """Give the project that new alarms will belong to.

        :raises CommandError: the token is of no project.
        """
        try:
            found = self._endpoint.get_project_id()
        except ks_exceptions.ClientException as error:
            raise _unanswered(error) from error
        if not found:
            raise exceptions.CommandError(
                'An alarm belongs to a project, and this token is of none. '
                'Name the one whose id stands in [nova_ha] project_id with '
                '--os-project-id. Nothing was changed'
            )
        return str(found)

    def named(self, name: str) -> list[Item]:
        """Give the alarms of a name, of all projects."""
        fields = {'name': name, 'all_projects': 'true'}
        query = '&'.join(
            f'q.field={field}&q.op=eq&q.value={parse.quote(value, safe="")}'
            for field, value in fields.items()
        )
        return list(self._call('GET', f'{_PATH}?{query}'))

    def create(self, body: Item) -> Item:
        """Make an alarm; give it as aodh has it."""
        return dict(self._call('POST', _PATH, body))

    def update(self, alarm: Item, changes: Item) -> Item:
        """Change an alarm; give it as aodh has it.

        :param alarm: as aodh gave it: what is left out would be lost, the
            state among it.
        """
        rule = f'{changes.get("type", alarm["type"])}_rule'
        body = {
            key: value
            for key, value in {**alarm, **changes}.items()
            if key == rule or not key.endswith('_rule')
        }
        return dict(self._call('PUT', f'{_PATH}/{alarm["alarm_id"]}', body))

    def _call(
        self, method: str, path: str, body: Item | None = None
    ) -> typing.Any:
        try:
            response = self._endpoint.request(
                path, method, json=body, raise_exc=False
            )
        except ks_exceptions.ClientException as error:
            raise _unanswered(error) from error
        if response.status_code >= 400:
            raise _refused(response)
        return response.json()


def differences(alarm: Item, wanted: Item) -> tuple[str, ...]:
    """Give the fields of an alarm that are not as they are wanted."""
    return tuple(
        sorted(
            key
            for key, value in wanted.items()
            if _plain(key, alarm.get(key)) != _plain(key, value)
        )
    )


def _plain(key: str, value: typing.Any) -> typing.Any:
    """Give a field in a form that can be compared.

    Aodh takes the trust out of an action before it shows it, and with it the
    two slashes of one that has nothing else behind them.
    """
    if key in _ACTIONS:
        return sorted(tuple(parse.urlsplit(each)) for each in value or ())
    return value


def _unanswered(error: Exception) -> exceptions.CommandError:
    return exceptions.CommandError(
        f'Aodh does not answer: {printable.line(str(error))}'
    )


def _refused(response: requests.Response) -> exceptions.CommandError:
    try:
        fault = response.json()['error_message']
        told = fault['faultstring'] if isinstance(fault, dict) else fault
    except (ValueError, KeyError, TypeError):
        told = response.reason
    text = printable.line(str(told))
    if 'hypervisor_heartbeat' in text and response.status_code == 400:
        text += (
            '. Install nova-ha-plugins beside aodh-api and restart it, if it '
            'does not know this type'
        )
    if response.status_code in (401, 403):
        text += '. Making these alarms needs the role admin'
    return exceptions.CommandError(f'{text} (HTTP {response.status_code})')
