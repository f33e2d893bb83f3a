# SPDX-License-Identifier: Apache-2.0

"""The story's stage with real hypervisors: a lab, and its guests' proof."""

import collections.abc
import pathlib
import shlex
import time
import typing

import sushy

from lab.demo import stage
from lab import engine as engine_room
from lab import evidence
from lab import identity
from lab import lab as labs
from lab import plan as planning
from lab import telemetry


# A guest beats once a second; an emulated one on a busy machine less often.
_BEAT_AGE = 5.0


class LabEngine:
    """nova-ha-engine of a lab; it runs since the lab is up."""

    def __init__(self, lab: labs.Lab) -> None:
        self._lab = lab
        self.conf_file = engine_room.conf_file(lab.plan)
        self.log_file = lab.plan.log(engine_room.FIRST.name)
        self.kills = 0

    def start(self) -> None:
        engine_room.start(self._lab.plan, self._lab.processes)

    def kill(self) -> None:
        self.kills += 1
        engine_room.kill(self._lab.plan, self._lab.processes)

    def stop(self) -> None:
        engine_room.stop(self._lab.plan, self._lab.processes)

    @property
    def alive(self) -> bool:
        return self._lab.processes.pid(engine_room.FIRST.name) is not None


class LabStage:
    """MariaDB, RabbitMQ, the services, three hosts with libvirt and QEMU."""

    title = (
        'MariaDB, RabbitMQ, keystone, placement, glance, nova, gnocchi, '
        'ceilometer, aodh and three hosts with libvirt, QEMU and a BMC'
    )
    host_count = 3
    image = 'guest'
    warm_up = float(engine_room.SETTINGS['engine']['warm_up'])

    def __init__(
        self, directory: pathlib.Path, lab: labs.Lab | None = None
    ) -> None:
        """Prepare a stage.

        :param lab: one that is up and stays up; without it :meth:`start`
            makes one in the directory.
        """
        self.directory = directory
        self._lab = lab
        self._owned = lab is None

    @property
    def lab(self) -> labs.Lab:
        if self._lab is None:
            raise stage.StageError('The lab has not been started')
        return self._lab

    @property
    def engine(self) -> LabEngine:
        return LabEngine(self.lab)

    def start(self, say: collections.abc.Callable[[str], None]) -> None:
        if self._lab is not None:
            return
        try:
            self._lab = labs.create(self.directory, self.host_count, say=say)
        except planning.LabError as error:
            raise stage.StageError(str(error)) from error

    def stop(self) -> None:
        # A lab that was refused or failed has taken itself down.
        if self._owned and self._lab is not None:
            labs.remove(self.directory, wipe=False)

    def usage(self) -> list[str]:
        directory = shlex.quote(str(self.directory))
        return [
            f'. {directory}/openrc',
            'openstack server list --all-projects --long',
            'openstack server evacuation list',
            'openstack ha status',
            f'cd {shlex.quote(str(planning.ROOT))}',
            f'tools/lab --directory {directory} truth',
            f'tools/lab --directory {directory} host off cmp-2',
        ]

    def credentials(self, user: str) -> dict[str, str]:
        return identity.credentials(self.lab.plan, user)

    def alarm(self) -> str:
        return telemetry.ALARM

    def fail(self, host: str) -> str:
        self.lab.hosts.power_off(self.lab.plan.host(host))
        return (
            f'The power of {host} is cut: nova-compute, libvirtd and every '
            'guest on it are dead'
        )

    def power_on(self, host: str) -> None:
        plan = self.lab.plan
        chosen = plan.host(host)
        root = sushy.Sushy(
            f'https://{chosen.bmc_address}/redfish/v1/',
            auth=sushy.auth.BasicAuth(
                engine_room.BMC_USER, plan.passwords['bmc']
            ),
            verify=str(plan.path('bmc', 'ca.pem')),
        )
        system = root.get_system(f'/redfish/v1/Systems/{chosen.system_uuid}')
        system.reset_system(sushy.ResetType.ON)

    def settled(self, servers: collections.abc.Collection[str]) -> bool:
        """Return whether each server has a guest that beats right now."""
        # To read all disks takes seconds on a busy machine.
        asked = time.time()
        found = evidence.truth(self.lab.plan)
        return all(
            server in found
            and found[server].runs
            and asked - found[server].runs[-1].last < _BEAT_AGE
            for server in servers
        )

    def domains(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for host in self.lab.plan.hosts:
            for uuid in self.lab.hosts.domains(host):
                found.setdefault(uuid, []).append(host.name)
        return found

    def proof(
        self, servers: collections.abc.Collection[str], since: float
    ) -> tuple[dict[str, typing.Any], bool]:
        """Return what the guests wrote to their own disks.

        ``double_writers``: runs of one disk, or of one server, that overlap;
        ``guest_up_s``: until the user space of the last server was up again.
        """
        found = evidence.truth(self.lab.plan)
        double = sum(
            len(witness.double_writers) + len(witness.double_runs)
            for witness in found.values()
        )
        runs = [found[server].runs for server in servers]
        up = max((each[-1].first for each in runs if each), default=since)
        summary = {
            'double_writers': double,
            'guest_up_s': round(up - since, 2),
        }
        # Once before the failure, once after it.
        return summary, not double and all(len(each) == 2 for each in runs)
