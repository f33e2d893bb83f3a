# SPDX-License-Identifier: Apache-2.0
"""A whole lab, in the order in which its parts need each other."""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import pathlib
import shutil
import signal
import typing

from lab import bmc
from lab import breakages
from lab import control
from lab import engine as engine_room
from lab import faults
from lab import hosts
from lab import lease
from lab import network
from lab import nova
from lab import plan as planning
from lab import processes
from lab import telemetry

Say = collections.abc.Callable[[str], None]
# What the others speak to until they end.
_LAST = ('rabbitmq', 'redis', 'mariadb')


class Lab:
    """One lab and its rooms.

    :ivar say: is told each stage while the lab comes up.
    """

    def __init__(self, plan: planning.Plan, say: Say = print) -> None:
        self.plan = plan
        self.say = say
        self.processes = processes.Processes(plan)
        self.control = control.Control(plan, self.processes, say)
        self.telemetry = telemetry.Telemetry(plan, self.processes, say)
        self.hosts = hosts.Hosts(plan)
        self.faults = faults.Faults(plan, self.processes, self.hosts)

    def up(self) -> None:
        """Bring everything to answering; the caller is root.

        The thread that calls it is in the control namespace afterwards.
        """
        self.say('Networks')
        network.up(self.plan)
        with (
            concurrent.futures.ThreadPoolExecutor(1) as outside,
            concurrent.futures.ThreadPoolExecutor() as pool,
        ):
            # It fetches a kernel, which nobody can from inside the lab; a
            # thread stays in the namespace in which it began.
            image = outside.submit(self.control.prepare_image)
            network.enter(self.plan.namespace)
            self.processes.start_all([bmc.service(self.plan)])
            self.control.up()
            telemetry_up = pool.submit(self.telemetry.up)
            self.power_on_all()
            image.result()
            self.control.prepare_cloud()
            telemetry_up.result()
        self.control.wait_for_hosts()
        control.write_rc(self.plan)

    def power_on_all(self) -> None:
        """Switch every host on that is off."""
        self.say('Hosts')
        for host in self.plan.hosts:
            self.hosts.power_on(host)

    def change_liveness(self, liveness: str) -> None:
        """Keep heartbeats elsewhere from now on; engines are to be started.

        :param liveness: one of plan.LIVENESS.
        """
        self.plan = dataclasses.replace(self.plan, liveness=liveness)
        planning.save(self.plan)
        self.telemetry = telemetry.Telemetry(
            self.plan, self.processes, self.say
        )
        self.telemetry.start_again()
        # It shows what was heard.
        nova.write_config(self.plan)
        api = nova.api(self.plan)
        self.processes.stop(api.name)
        self.processes.start_all([api])

    def down(self) -> None:
        """End everything; files stay.

        Works on whatever is left of a lab that was not taken down.
        """
        for host in self.plan.hosts:
            self.hosts.power_off(host)
        # In the order of their names nobody would wait for anybody: all are
        # told at once, and the broker and the database last.
        names = [name for name in self.processes.names() if name not in _LAST]
        # Without threads: tests end their lab when there are no new ones.
        for name in names:
            with contextlib.suppress(planning.LabError):
                self.processes.signal(name, signal.SIGTERM)
        for name in names:
            self.processes.stop(name, 3.0)
        for name in _LAST:
            self.processes.stop(name)
        network.down(self.plan)

    def status(self) -> list[dict[str, typing.Any]]:
        """Return a row for each service and host: name, what, state."""
        rows: list[dict[str, typing.Any]] = []
        engines = {
            each.name: each
            for each in engine_room.started(self.plan, self.processes)
        }
        acting = lease.acting(self.plan)
        for name in self.processes.names():
            pid = self.processes.pid(name)
            text = '' if pid is None else f'pid {pid}'
            if name in engines and pid is not None:
                text += f', {engines[name].address()}'
                text += ', acts' if name == acting else ', watches'
            rows.append(
                {
                    'name': name,
                    'what': 'service',
                    'state': _state(pid),
                    'mib': 0 if pid is None else resident_mib(pid),
                    'text': text,
                }
            )
        rows += [self._host_row(host) for host in self.plan.hosts]
        return rows

    def _host_row(self, host: planning.Host) -> dict[str, typing.Any]:
        pid = self.hosts.pid(host)
        power = 'off' if pid is None else 'on'
        cut = [
            name
            for name in planning.NETWORKS
            if not network.link_is_up(self.plan, host, name)
        ]
        text = f'{host.address()}, BMC {host.bmc_address}'
        if pid is not None:
            domains = self.hosts.domains(host)
            running = sum(state == 'running' for state in domains.values())
            text += f', {running} of {len(domains)} guests running'
            text += ', frozen' * breakages.stopped(pid)
        if cut:
            text += f', cut off from {", ".join(cut)}'
        return {
            'name': host.name,
            'what': f'{host.kind} host',
            'state': power,
            'mib': 0 if pid is None else resident_mib(pid),
            'text': text,
        }


def _state(pid: int | None) -> str:
    """Return what a service is at, by its first process."""
    if pid is None:
        return 'ended'
    # Whoever freezes a service leaves alone what isolates it.
    frozen = breakages.stopped(processes.tree(pid)[-1])
    return 'frozen' if frozen else 'running'


def resident_mib(pid: int) -> int:
    """Return what a process and its descendants hold in memory, in MiB."""
    total = 0
    for each in processes.tree(pid):
        with contextlib.suppress(OSError, StopIteration):
            status = pathlib.Path(f'/proc/{each}/status').read_text()
            line = next(
                line
                for line in status.splitlines()
                if line.startswith('VmRSS:')
            )
            total += int(line.split()[1])
    return total // 1024


@contextlib.contextmanager
def turn(directory: pathlib.Path) -> collections.abc.Iterator[None]:
    """Let one 'up' or 'down' at a time work on a directory.

    :raises LabError: somebody else is at it.
    """
    # Logs and disks are nobody else's business.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / 'lock').open('a') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise planning.LabError(
                f"Somebody else starts or stops the lab in '{directory}' "
                'right now; wait for them'
            ) from None
        yield


def create(
    directory: pathlib.Path,
    count: int = 3,
    fake: int = 0,
    storage: str = 'shared',
    say: Say = print,
    engines: int = 1,
    liveness: str = 'sql',
) -> Lab:
    """Return a new lab that is up; what a crash left there is removed.

    :raises LabError: a lab is up there, or something else is there.
    """
    planning.check_size(count, fake, engines)
    with turn(directory):
        if is_up(directory):
            raise planning.LabError(
                f"The lab in '{directory}' is up, and a new one would replace "
                f"it. 'tools/lab --directory {directory} status' shows it, "
                "'down' stops it."
            )
        if not remove(directory, wipe=True):
            _refuse_if_used(directory)
        plan = planning.make(
            directory, count, fake, storage, engines, liveness
        )
        lab = Lab(plan, say)
        try:
            lab.up()
        except BaseException:
            # Logs stay; processes of half a lab would only be in the way.
            lab.down()
            raise
    return lab


def _refuse_if_used(directory: pathlib.Path) -> None:
    """Refuse a directory of something else: the next lab would wipe it.

    :raises LabError: there is more in it than a crash of 'up' may leave.
    """
    ours = {'lock', 'lab.json.new'}
    found = sorted({path.name for path in directory.iterdir()} - ours)
    if found:
        raise planning.LabError(
            f"'{directory}' is no lab and not empty, there is '{found[0]}': "
            'name an empty directory, or one that does not exist'
        )


def is_up(directory: pathlib.Path) -> bool:
    """Say whether a lab came up here and was not taken down since."""
    try:
        plan = planning.load(directory)
    except planning.LabError:
        return False
    # What a shell needs is written last.
    return (directory / 'openrc').exists() and network.exists(plan.namespace)


def attach(directory: pathlib.Path, say: Say = print) -> Lab:
    """Return the lab of a directory; this thread enters its namespace.

    :raises LabError: there is none, or it is not up.
    """
    lab = Lab(planning.load(directory), say)
    network.enter(lab.plan.namespace)
    return lab


def remove(directory: pathlib.Path, wipe: bool) -> bool:
    """Take down the lab of a directory, if any; say whether there was one.

    :param wipe: remove its files too, except the lock.
    """
    try:
        plan = planning.load(directory)
    except planning.LabError:
        return False
    Lab(plan, say=lambda text: None).down()
    if wipe:
        # lab.json is the last: whoever is interrupted can begin again.
        for path in sorted(
            plan.directory.iterdir(), key=lambda path: path.name == 'lab.json'
        ):
            if path.name == 'lock':
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return True
