# SPDX-License-Identifier: Apache-2.0

"""The story's stage that needs nothing but Python: the embedded cloud."""

import collections.abc
import pathlib
import shlex
import typing

import sushy

from lab.demo import engine as engine_process
from lab.demo import stage
from lab.embedded import cloud as embedded
from lab.embedded import plan as planning


class EmbeddedStage:
    """Keystone, nova with the fake driver, ceilometer, aodh, one BMC."""

    title = (
        'Keystone, nova with 3 hypervisors, placement, ceilometer, aodh and '
        'a Redfish BMC'
    )
    host_count = 3
    image = ''
    warm_up = float(engine_process.QUICK['engine']['warm_up'])

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._cloud = embedded.Cloud(
            directory, hosts=self.host_count, nova={'spawn_seconds': 1.0}
        )
        self._engine: engine_process.Engine | None = None

    @property
    def engine(self) -> engine_process.Engine:
        if self._engine is None:
            self._engine = engine_process.Engine(self._cloud)
        return self._engine

    def start(self, say: collections.abc.Callable[[str], None]) -> None:
        try:
            self._cloud.start()
        except embedded.StartError as error:
            raise stage.StageError(str(error)) from error

    def stop(self) -> None:
        if self._engine is not None:
            self._engine.stop()
        self._cloud.stop()

    def usage(self) -> list[str]:
        directory = shlex.quote(str(self.directory))
        return [
            f'cd {shlex.quote(str(planning.ROOT))}',
            f'. {directory}/openrc',
            'openstack server list --all-projects --long',
            'openstack server evacuation list',
            'openstack ha status',
            'openstack ha incident list',
            f'python -m lab.embedded --directory {directory} power cmp-2 hung',
        ]

    def credentials(self, user: str) -> dict[str, str]:
        return self._cloud.credentials(user)

    def alarm(self) -> str:
        return ''

    def fail(self, host: str) -> str:
        self._cloud.set_power(host, 'hung')
        return (
            f'{host} hangs: no heartbeat, no answer, but its guests may '
            'still write to their disks'
        )

    def power_on(self, host: str) -> None:
        bmc = self._cloud.plan['bmc']
        with open(bmc['password_file']) as stream:
            password = stream.read().strip()
        uuid = next(
            each['system_uuid']
            for each in self._cloud.plan['hosts']
            if each['name'] == host
        )
        root = sushy.Sushy(
            f'{bmc["url"]}/redfish/v1/',
            auth=sushy.auth.BasicAuth(bmc['username'], password),
            verify=bmc['certificate'],
        )
        system = root.get_system(f'/redfish/v1/Systems/{uuid}')
        system.reset_system(sushy.ResetType.ON)

    def settled(self, servers: collections.abc.Collection[str]) -> bool:
        # Its servers have no user space.
        return True

    def domains(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, host in self._cloud.hosts().items():
            if host['power'] == 'off':
                continue
            for uuid in host['domains']:
                found.setdefault(uuid, []).append(name)
        return found

    def proof(
        self, servers: collections.abc.Collection[str], since: float
    ) -> tuple[dict[str, typing.Any], bool]:
        return {}, True
