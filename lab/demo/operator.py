# SPDX-License-Identifier: Apache-2.0

"""What the operator of the demo does and asks, with ordinary credentials."""

import concurrent.futures
import contextlib
import dataclasses
import time
import typing

from aodhclient.v2 import client as aodh_client
import openstack
import openstack.connection

from lab.demo import stage as stages
from lab import plan as planning

ALARM_ACTION = 'trust+nova-ha://'
# Shows locked, tags, flavor, pinned zone; below 2.95 like all of ours.
MICROVERSION = '2.74'


class OperatorError(Exception):
    """The cloud did not do what the operator asked."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A server that the demo boots."""

    name: str
    metadata: dict[str, str]
    stopped: bool = False

    @property
    def protected(self) -> bool:
        """Whether its metadata ask for recovery."""
        return self.metadata.get('ha:policy') == 'evacuate'

    @property
    def awaited(self) -> bool:
        """Whether it must run again after its host has failed."""
        return self.protected and not self.stopped


class Operator:
    """An administrator with python clients."""

    def __init__(self, stage: stages.Stage) -> None:
        self.stage = stage
        self.connection: openstack.connection.Connection = openstack.connect(
            auth=stage.credentials('admin'),
            region_name=planning.REGION,
            auth_type='password',
        )
        self._compute = self.connection.compute
        self._aodh = aodh_client.Client(
            session=self.connection.session,
            region_name=planning.REGION,
        )

    # --- asking -----------------------------------------------------------

    def get(self, path: str, **params: str) -> typing.Any:
        """Return the JSON of a GET on nova's endpoint."""
        answer = self._compute.get(
            path, params=params, microversion=MICROVERSION
        )
        return self._json(answer, path)

    def post(self, path: str, body: dict[str, typing.Any]) -> typing.Any:
        """Return the JSON of a POST on nova's endpoint, None if empty."""
        answer = self._compute.post(path, json=body, microversion=MICROVERSION)
        return self._json(answer, path)

    @staticmethod
    def _json(answer: typing.Any, path: str) -> typing.Any:
        if answer.status_code >= 400:
            raise OperatorError(
                f'{path}: HTTP {answer.status_code}: {answer.text[:300]}'
            )
        return answer.json() if answer.content else None

    def servers(self) -> dict[str, dict[str, typing.Any]]:
        """Return every server by uuid."""
        answer = self.get('/servers/detail', all_tenants='1')
        return {server['id']: server for server in answer['servers']}

    def services(self) -> list[dict[str, typing.Any]]:
        """Return nova-compute's service of every host."""
        return self.get('/os-services', binary='nova-compute')['services']

    def service(self, host: str) -> dict[str, typing.Any]:
        """Return nova-compute's service of a host."""
        answer = self.get('/os-services', binary='nova-compute', host=host)
        return answer['services'][0]

    def alarm_state(self, alarm_id: str) -> str:
        """Return ok, alarm or insufficient data."""
        return self._aodh.alarm.get_state(alarm_id)

    # --- doing ------------------------------------------------------------

    def calm(self, alarm_id: str) -> None:
        """Put an alarm back: one of events stays raised by itself."""
        self._aodh.alarm.set_state(alarm_id, 'ok')

    def alarm(self, name: str = '') -> str:
        """Return the id of an alarm.

        :param name: by default that for all hosts, made if missing.
        """
        name = name or self.stage.alarm()
        if name:
            for alarm in self._aodh.alarm.list({'all_projects': True}):
                if alarm['name'] == name:
                    return alarm['alarm_id']
            raise OperatorError(f"There is no alarm '{name}' in aodh")
        alarm = self._aodh.alarm.create(
            {
                'name': 'ha-host-down',
                'type': 'event',
                'event_rule': {'event_type': 'compute.host.down'},
                'severity': 'critical',
                'repeat_actions': True,
                'alarm_actions': [ALARM_ACTION],
            }
        )
        return alarm['alarm_id']

    def unforce(self, service_id: str) -> bool:
        """Let a host count as it reports; False while nova refuses."""
        answer = self._compute.put(
            f'/os-services/{service_id}',
            json={'forced_down': False},
            microversion=MICROVERSION,
        )
        return answer.status_code == 200

    def enable(self, service_id: str) -> None:
        """Let a host get servers again."""
        self._set_status(service_id, 'enabled')

    def disable(self, service_id: str) -> None:
        """Let a host get no new servers."""
        self._set_status(service_id, 'disabled')

    def _set_status(self, service_id: str, status: str) -> None:
        answer = self._compute.put(
            f'/os-services/{service_id}',
            json={'status': status},
            microversion=MICROVERSION,
        )
        self._json(answer, f'/os-services/{service_id}')

    def delete_all(self, timeout: float = 300.0) -> None:
        """Delete every server, whatever it is doing, and wait for it."""
        deadline = time.monotonic() + timeout
        while servers := self.servers():
            for uuid in servers:
                # One in the middle of something is refused until it is
                # called failed.
                for action in (
                    lambda path: self.post(
                        f'{path}/action', {'os-resetState': {'state': 'error'}}
                    ),
                    self._delete,
                ):
                    with contextlib.suppress(OperatorError):
                        action(f'/servers/{uuid}')
            if time.monotonic() > deadline:
                raise OperatorError(f'Not deleted: {sorted(servers)}')
            time.sleep(1.0)

    def _delete(self, path: str) -> None:
        answer = self._compute.delete(path, microversion=MICROVERSION)
        self._json(answer, path)

    def arm(self, reason: str) -> None:
        """Let the engine act."""
        self.post('/os-instance-ha/action', {'arm': {'reason': reason}})

    def boot(self, wanted: list[Wanted], host: str) -> dict[str, Wanted]:
        """Boot servers on a host; return them by uuid when all are there."""
        image = next(
            image.id
            for image in self.connection.image.images()
            if self.stage.image in ('', image.name)
        )
        flavor = next(
            flavor.id
            for flavor in self._compute.flavors()
            if flavor.ram <= 512
        )

        def one(each: Wanted) -> str:
            answer = self.post(
                '/servers',
                {
                    'server': {
                        'name': each.name,
                        'imageRef': image,
                        'flavorRef': flavor,
                        'networks': 'none',
                        'availability_zone': f'nova:{host}',
                        'metadata': each.metadata,
                    }
                },
            )
            return answer['server']['id']

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            uuids = dict(zip(pool.map(one, wanted), wanted, strict=True))
        self._wait_for(uuids, lambda _: 'active')
        for uuid, each in uuids.items():
            if each.stopped:
                self.post(f'/servers/{uuid}/action', {'os-stop': None})
        self._wait_for(
            uuids, lambda each: 'stopped' if each.stopped else 'active'
        )
        return uuids

    def _wait_for(
        self,
        uuids: dict[str, Wanted],
        state: typing.Callable[[Wanted], str],
        timeout: float = 300.0,
    ) -> None:
        deadline = time.monotonic() + timeout
        while True:
            servers = self.servers()
            late = [
                f'{each.name} is {servers[uuid]["OS-EXT-STS:vm_state"]}'
                for uuid, each in uuids.items()
                if servers[uuid]['OS-EXT-STS:vm_state'] != state(each)
                or servers[uuid]['OS-EXT-STS:task_state'] is not None
            ]
            if not late:
                return
            if time.monotonic() > deadline:
                raise OperatorError(
                    f'Servers were not ready in {timeout} s: {late}'
                )
            time.sleep(0.3)
