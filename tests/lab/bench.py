# SPDX-License-Identifier: Apache-2.0

"""One lab for all stories, put back in order before each of them.

``NOVA_HA_LAB`` names the directory of a lab that is up and stays up (quicker
while a story is written); otherwise one is made and taken down at the end.
"""

import atexit
import collections.abc
import dataclasses
import functools
import os
import pathlib
import shutil
import sys
import tempfile
import time
import typing
import unittest

import sqlalchemy

from lab.demo import operator
from lab.demo import real
from lab import engine as engine_room
from lab import evidence
from lab import lab as labs
from lab import plan as planning

REAL, FAKE = 3, 2
# A busy machine is several times slower; what fails, fails for a reason.
PATIENCE = float(os.environ.get('NOVA_HA_LAB_PATIENCE', '300'))
NEEDS_ROOT = 'The lab makes namespaces and hypervisors: run it as root'
# Tables that say which release made the schema.
_KEPT = ('alembic_version',)


@functools.cache
def shared() -> labs.Lab:
    """Return the lab; the first caller waits for it.

    :raises SkipTest: this user cannot make one.
    """
    if os.geteuid():
        raise unittest.SkipTest(NEEDS_ROOT)
    known = os.environ.get('NOVA_HA_LAB')
    if known:
        return labs.attach(pathlib.Path(known))
    # Not below a path that is too long for the sockets of libvirt and QEMU.
    directory = pathlib.Path(tempfile.mkdtemp(prefix='lab-', dir='/var/tmp'))
    if not os.environ.get('NOVA_HA_LAB_KEEP'):
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        atexit.register(labs.remove, directory, wipe=False)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f'{time.monotonic() - began:6.1f} s  {text}', file=sys.stderr)

    return labs.create(directory, REAL, FAKE, say=say)


def wait(
    condition: collections.abc.Callable[[], typing.Any],
    what: str,
    patience: float = PATIENCE,
) -> typing.Any:
    """Return the first true value of a condition.

    :raises AssertionError: there was none in time.
    """
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'Waited {patience:.0f} s for {what}')
        time.sleep(0.2)


class LabTest(unittest.TestCase):
    """A story: something breaks, and what we owe the operator.

    :cvar storage: where the disks of the servers are.
    :cvar liveness: where the heartbeats are kept.
    :cvar settings: options of nova-ha.conf, over those of the lab.
    :cvar armed: whether the engine may act.
    :cvar engines: how many engines run.
    """

    storage = 'shared'
    liveness = 'sql'
    armed = True
    engines = 1
    settings: typing.ClassVar[dict[str, dict[str, object]]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.lab = shared()
        self.plan, self.hosts = self.lab.plan, self.lab.hosts
        self.faults = self.lab.faults
        self.stage = real.LabStage(self.plan.directory, self.lab)
        self.operator = operator.Operator(self.stage)
        self._restore()
        if planning.load(self.plan.directory).storage != self.storage:
            self._change_storage()
        if self.lab.plan.liveness != self.liveness:
            self.lab.change_liveness(self.liveness)
            self.plan = self.lab.plan
        self._forget()
        self.servers: dict[str, operator.Wanted] = {}
        self.began = time.time()
        if self.armed:
            self.operator.arm(f'the story {self.id()} begins')
        wait(self._ready, 'the engine to know every host and its BMC')

    def _change_storage(self) -> None:
        """Put every host on other disks, which takes a power cycle."""
        planning.save(dataclasses.replace(self.plan, storage=self.storage))
        hosts = [each for each in self.plan.hosts if each.kind == 'real']
        for host in hosts:
            self.hosts.power_off(host)
        for host in hosts:
            self.hosts.power_on(host)
        wait(self._all_serve, 'every nova-compute to be back')

    def _restore(self) -> None:
        """Heal everything, delete every server, let every host serve."""
        engine_room.stop(self.plan, self.lab.processes)
        self.faults.heal()
        for host in self.plan.hosts:
            self.hosts.power_on(host)
        for service in self.operator.services():
            if service['forced_down']:
                self._unforce(service)
        self.operator.delete_all()
        wait(self._all_serve, 'every nova-compute to be up and enabled')

    def _unforce(self, service: dict[str, typing.Any]) -> None:
        # Nova refuses until nova-compute has closed its evacuations.
        wait(
            lambda: self.operator.unforce(service['id']),
            f'nova to let {service["host"]} back in',
        )

    def _all_serve(self) -> bool:
        services = self.operator.services()
        for service in services:
            if service['state'] == 'up' and service['status'] != 'enabled':
                self.operator.enable(service['id'])
        return all(
            service['state'] == 'up' and service['status'] == 'enabled'
            for service in services
        )

    def _forget(self) -> None:
        """Start the engine on an empty store, with this story's settings."""
        database = sqlalchemy.create_engine(
            self.plan.database_url(engine_room.DATABASE)
        )
        tables = sqlalchemy.MetaData()
        tables.reflect(database)
        for table in reversed(tables.sorted_tables):
            if table.name not in _KEPT:
                # One at a time: the watcher goes on writing meanwhile, and
                # locks of two tables would be a deadlock now and then.
                with database.begin() as connection:
                    connection.execute(table.delete())
        database.dispose()
        engine_room.write_conf(self.plan, self.settings)
        engine_room.start(
            self.plan,
            self.lab.processes,
            *(planning.Engine(n + 1) for n in range(self.engines)),
        )

    def _ready(self) -> bool:
        status = self.status()
        watching = (status['engine'] or {}).get('watching', 0.0)
        return (
            len(status['hosts']) == len(self.plan.hosts)
            and all(
                host['fencing_state'] == 'verified'
                and host['heartbeat_age'] is not None
                for host in status['hosts']
            )
            and watching > self.stage.warm_up
            and self.sight() == 'clear'
        )

    # --- doing ------------------------------------------------------------

    def boot(
        self, host: str = 'cmp-1', ha: int = 2, plain: int = 1
    ) -> list[str]:
        """Boot servers on a host; return the protected ones.

        Returns when the user space of all of them is up.
        """
        wanted = [
            operator.Wanted(f'ha-{n}', {'ha:policy': 'evacuate'})
            for n in range(ha)
        ]
        wanted += [operator.Wanted(f'plain-{n}', {}) for n in range(plain)]
        booted = self.operator.boot(wanted, host)
        self.servers |= booted
        self.wait_guests(booted)
        return [uuid for uuid, each in booted.items() if each.protected]

    def wait_guests(self, uuids: collections.abc.Collection[str]) -> None:
        """Return when each server has a guest that beats."""
        wait(lambda: self.stage.settled(uuids), f'{len(uuids)} guests to beat')

    def wait_beats(self, since: float) -> None:
        """Return when every guest has beaten some seconds after a moment.

        A beat of just before it would say nothing of what happened then.
        """
        wait(
            lambda: all(
                self.witness(uuid).runs[-1].last > since + 3.0
                for uuid in self.servers
            ),
            'the guests to go on',
        )

    def cut_power(self, *names: str) -> None:
        for name in names:
            self.faults.cause('power', name)

    def release(self, host: str) -> None:
        """Do what an operator does who saw that a host truly is dead."""
        found = self.incident(host)
        self.operator.post(
            f'/os-instance-ha/incidents/{found["uuid"]}/action',
            {'release': {'reason': 'I stand before it'}},
        )

    # --- asking -----------------------------------------------------------

    def status(self) -> dict[str, typing.Any]:
        return self.operator.get('/os-instance-ha')['instance_ha']

    def sight(self) -> str:
        """Return how well the engine sees, '' while it does not report."""
        return (self.status()['engine'] or {}).get('sight', '')

    def incident(self, host: str) -> dict[str, typing.Any] | None:
        """Return the newest incident of a host with its timeline."""
        found = self.operator.get(
            '/os-instance-ha/incidents', host=host, limit='1'
        )['incidents']
        if not found:
            return None
        path = f'/os-instance-ha/incidents/{found[0]["uuid"]}'
        return self.operator.get(path)['incident']

    def wait_phase(self, host: str, *phases: str) -> dict[str, typing.Any]:
        """Return the incident of a host once it is in one of the phases."""

        def reached() -> dict[str, typing.Any] | None:
            found = self.incident(host)
            return found if found and found['phase'] in phases else None

        return wait(
            reached,
            f'the incident of {host} to be {" or ".join(phases)}; it is '
            f'{self.told(host)}',
        )

    def wait_code(self, host: str, code: str) -> dict[str, typing.Any]:
        """Return the incident of a host once it is held for a reason."""

        def held() -> dict[str, typing.Any] | None:
            found = self.incident(host)
            return found if found and found['code'] == code else None

        return wait(held, f'the incident of {host} to be held as {code}')

    def told(self, host: str) -> str:
        """Return the story of a host's incident so far, for messages."""
        found = self.incident(host)
        if found is None:
            return 'not there'
        lines = [f'{e["code"]}: {e["text"]}' for e in found['timeline']]
        return '\n'.join(
            [f'{found["phase"]} {found["code"]}: {found["reason"]}', *lines]
        )

    def codes(self, host: str) -> list[str]:
        found = self.incident(host)
        return [entry['code'] for entry in found['timeline']] if found else []

    def witness(self, uuid: str) -> evidence.Witness:
        """Return what the disks and the hosts know of a server."""
        return evidence.truth(self.plan)[uuid]

    # --- what must be true ------------------------------------------------

    def assert_nobody_ran_twice(self) -> None:
        """No disk had two writers, no server two guests at one time."""
        found = evidence.truth(self.plan)
        for uuid in self.servers:
            witness = found[uuid]
            self.assertEqual((), witness.double_writers)
            self.assertEqual((), witness.double_runs)

    def assert_nothing_fenced(self) -> None:
        """No host was switched off, none is forced down or disabled."""
        for host in self.plan.hosts:
            self.assertNotIn('fencing', self.codes(host.name))
        for service in self.operator.services():
            self.assertFalse(service['forced_down'], service)
            self.assertEqual('enabled', service['status'], service)
        self.assertEqual([], self.evacuations())

    def evacuations(self) -> list[dict[str, typing.Any]]:
        """Give those of this story's servers, the newest first.

        Those of the stories before are listed, too, until nova archives them.
        """
        return [
            item
            for item in self.operator.get('/os-evacuations')['evacuations']
            if item['server_uuid'] in self.servers
        ]

    def assert_recovered(
        self, uuids: collections.abc.Collection[str], source: str
    ) -> None:
        """Each server is elsewhere, active, and was booted once more."""
        # The last beat of the guest before may be as young as that.
        wait(
            lambda: all(self.witness(uuid).boots > 1 for uuid in uuids),
            'each server to boot once more',
        )
        self.wait_guests(uuids)
        servers = self.operator.servers()
        domains = self.stage.domains()
        for uuid in uuids:
            host = servers[uuid]['OS-EXT-SRV-ATTR:host']
            self.assertNotEqual(source, host)
            self.assertEqual('active', servers[uuid]['OS-EXT-STS:vm_state'])
            self.assertIsNone(servers[uuid]['OS-EXT-STS:task_state'])
            self.assertEqual([host], domains[uuid])
            self.assertEqual(2, self.witness(uuid).boots)

    def assert_left_alone(self, source: str) -> None:
        """No server without a tag was touched, while its host is away."""
        servers = self.operator.servers()
        for uuid, wanted in self.servers.items():
            if not wanted.protected:
                self.assertEqual(source, servers[uuid]['OS-EXT-SRV-ATTR:host'])
                self.assertEqual(1, self.witness(uuid).boots)
