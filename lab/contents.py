# SPDX-License-Identifier: Apache-2.0
"""What is in the cloud before anybody uses it, over its own APIs."""

import time
import typing

from keystoneauth1 import adapter
from keystoneauth1 import exceptions
from keystoneauth1.identity import v3
from keystoneauth1 import session

from lab import identity
from lab import plan as planning

# name: memory in MiB, disk in GiB; one vCPU each. Without a disk a server
# could be created by admins only.
FLAVORS = {'tiny': (128, 1), 'small': (192, 1)}
MICROVERSION = '2.90'


def connect(plan: planning.Plan, user: str = 'admin') -> session.Session:
    """Return a session of keystoneauth's that is logged in as a user."""
    return session.Session(
        v3.Password(**identity.credentials(plan, user)), timeout=60
    )


class Cloud:
    """The APIs of a lab, as its administrator."""

    def __init__(self, plan: planning.Plan) -> None:
        self._plan = plan
        self._session = connect(plan)
        self._nova = self._api('compute', MICROVERSION)
        self._glance = self._api('image')
        self._placement = self._api('placement', '1.39')

    def _api(self, kind: str, version: str | None = None) -> adapter.Adapter:
        return adapter.Adapter(
            self._session,
            service_type=kind,
            region_name=planning.REGION,
            default_microversion=version,
        )

    def reports(self, binary: str) -> bool:
        """Say whether nova has heard of a service of its own lately."""
        try:
            found = self._services(binary)
        except exceptions.ClientException:
            return False
        return any(service['state'] == 'up' for service in found)

    def _services(self, binary: str) -> list[dict[str, typing.Any]]:
        return self._nova.get(f'/os-services?binary={binary}').json()[
            'services'
        ]

    def create_flavors(self) -> None:
        """Create what is missing of FLAVORS."""
        known = {
            flavor['name']
            for flavor in self._nova.get('/flavors').json()['flavors']
        }
        for name, (memory, disk) in FLAVORS.items():
            if name not in known:
                flavor = {
                    'name': name,
                    'vcpus': 1,
                    'ram': memory,
                    'disk': disk,
                }
                self._nova.post('/flavors', json={'flavor': flavor})

    def create_image(self, name: str, kind: str, data: bytes) -> None:
        """Create a public image for one kind of hypervisor."""
        if self._glance.get(f'/v2/images?name={name}').json()['images']:
            return
        image = self._glance.post(
            '/v2/images',
            json={
                'name': name,
                'visibility': 'public',
                'container_format': 'bare',
                'disk_format': 'qcow2' if kind == 'qemu' else 'raw',
                'img_hv_type': kind,
                'hw_vif_model': 'virtio',
            },
        ).json()
        self._glance.put(
            f'/v2/images/{image["id"]}/file',
            data=data,
            headers={'Content-Type': 'application/octet-stream'},
        )

    def wait_for_hosts(self, timeout: float) -> None:
        """Return when every host is up and known to its cell.

        :raises LabError: one is not.
        """
        expected = {host.name for host in self._plan.hosts}
        deadline = time.monotonic() + timeout
        while missing := expected - self._schedulable():
            if time.monotonic() > deadline:
                name = min(missing)
                raise planning.LabError(
                    f"No server can be put on host '{name}' after "
                    f'{timeout:.0f} s: nova-compute of '
                    f'{", ".join(sorted(missing))} does not report, or is '
                    "not mapped to its cell. See 'lab host exec "
                    f"{name}', its log, and {self._plan.log('nova-scheduler')}"
                )
            time.sleep(0.2)

    def _schedulable(self) -> set[str]:
        up = {
            service['host']
            for service in self._services('nova-compute')
            if service['state'] == 'up' and service['status'] == 'enabled'
        }
        # Later versions ask each of them how long it is up. One is listed
        # when its host is mapped to the cell.
        found = self._nova.get(
            '/os-hypervisors/detail', microversion='2.53'
        ).json()['hypervisors']
        return up & {one['service']['host'] for one in found}
