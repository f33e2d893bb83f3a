# SPDX-License-Identifier: Apache-2.0
"""The processes of a lab: started with a record, ended by it.

Each service has a PID namespace of its own, so whatever it forked ends with
it. A record is ``run/NAME.json``: the pid outside and when it began, because
a pid alone may belong to somebody else by now.
"""

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from lab import clock
from lab.embedded import plan as embedded
from lab import plan as planning

# A state in /proc/net/tcp.
_ESTABLISHED = '01'


@dataclasses.dataclass(frozen=True)
class Service:
    """One process to be started.

    :ivar ready: says that it answers; an OSError counts as not yet.
    :ivar timeout: seconds until it must be ready.
    :ivar isolated: in a PID namespace of its own; False for what has to see
        the other processes.
    :ivar namespace: the network namespace; '' is that of the control plane.
    :ivar hostname: what the kernel says to it, of an isolated one; '' is what
        it says to everybody.
    """

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    ready: collections.abc.Callable[[], bool] | None = None
    timeout: float = 300.0
    isolated: bool = True
    namespace: str = ''
    hostname: str = ''


def environment() -> dict[str, str]:
    """Return what every process gets: our interpreter's programs first."""
    return {
        **embedded.child_environment(),
        'PATH': os.pathsep.join(
            (
                str(pathlib.Path(sys.executable).parent),
                '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            )
        ),
        'PYTHONPATH': str(planning.ROOT),
        'PYTHONWARNINGS': 'ignore',
        # All import eventlet and none uses it. Without its resolver each
        # starts a quarter of a second earlier.
        'EVENTLET_NO_GREENDNS': 'yes',
        'LC_ALL': 'C.UTF-8',
    }


def program(name: str) -> str:
    """Return the path of a program that was installed with our packages."""
    return str(pathlib.Path(sys.executable).parent / name)


def began(pid: int) -> int | None:
    """Return when a process began, in ticks since boot; None: it is over.

    A zombie is over: the kernel has already ended what was in its namespace.
    """
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(')')[2].split()
    return None if fields[0] in 'ZX' else int(fields[19])


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f'/proc/{each}/task').iterdir():
                children = (task / 'children').read_text().split()
                found += [int(child) for child in children]
    return found


def connected(pid: int | None, port: int) -> bool:
    """Say whether a service has a connection to a port of the controller.

    A daemon that serves no port shows in no other way that it works.

    :raises OSError: it ended meanwhile.
    """
    if pid is None:
        return False
    sockets = set()
    table = pathlib.Path(f'/proc/{pid}/net/tcp').read_text()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(f':{port:04X}') and fields[3] == _ESTABLISHED:
            sockets.add(f'socket:[{fields[9]}]')
    for each in tree(pid):
        for descriptor in pathlib.Path(f'/proc/{each}/fd').iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in sockets:
                    return True
    return False


def inside(namespace: str, *argv: str) -> list[str]:
    """Return the command that runs another in a network namespace."""
    return ['nsenter', f'--net=/run/netns/{namespace}', '--', *argv]


def _isolated(service: Service) -> tuple[str, ...]:
    """Return the command that runs a service in namespaces of its own."""
    unshare = ('unshare', '--pid', '--fork', '--kill-child', '--mount-proc')
    if not service.hostname:
        return (*unshare, *service.argv)
    return (
        *unshare, '--uts', 'sh', '-ec',
        'echo "$0" > /proc/sys/kernel/hostname; exec "$@"',
        service.hostname, *service.argv,
    )  # fmt: skip


class Processes:
    """Everything that runs for a lab besides its hosts."""

    def __init__(self, plan: planning.Plan) -> None:
        self._plan = plan

    def _record(self, name: str) -> pathlib.Path:
        return self._plan.path('run', f'{name}.json')

    def start(self, service: Service) -> None:
        """Start a service; nothing happens when it runs already."""
        if self.pid(service.name) is not None:
            return
        command = _isolated(service) if service.isolated else service.argv
        with self._plan.log(service.name).open('ab') as log:
            process = subprocess.Popen(
                inside(service.namespace or self._plan.namespace, *command),
                cwd=self._plan.directory,
                env={
                    **environment(),
                    **clock.may_jump(self._plan, service.name),
                    **service.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = {
            'pid': process.pid,
            'began': began(process.pid),
            'argv': service.argv,
            'environment': service.environment,
            'isolated': service.isolated,
            'namespace': service.namespace,
            'hostname': service.hostname,
        }
        self._plan.write(
            'run', f'{service.name}.json', text=json.dumps(record)
        )

    def start_again(self, name: str) -> None:
        """Start a service that was halted or killed, or died, as it was.

        :raises LabError: it was never started, or it was stopped.
        """
        try:
            record = json.loads(self._record(name).read_text())
        except FileNotFoundError:
            known = ', '.join(self.names())
            raise planning.LabError(
                f"There is no service '{name}' to start again, only {known}"
            ) from None
        self.start(
            Service(
                name,
                tuple(record['argv']),
                record['environment'],
                isolated=record['isolated'],
                namespace=record['namespace'],
                hostname=record['hostname'],
            )
        )

    def wait(self, service: Service) -> None:
        """Return when a started service is ready.

        :raises LabError: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + service.timeout
        while True:
            if self.pid(service.name) is None:
                raise planning.LabError(
                    f'{service.name} ended while it started. '
                    f'{self._last_words(service.name)}'
                )
            with contextlib.suppress(OSError):
                if service.ready is None or service.ready():
                    return
            if time.monotonic() > deadline:
                raise planning.LabError(
                    f'{service.name} is not ready after '
                    f'{service.timeout:.0f} s. '
                    f'{self._last_words(service.name)}'
                )
            time.sleep(0.1)

    def _last_words(self, name: str) -> str:
        path = self._plan.log(name)
        lines = path.read_text(errors='replace').splitlines()[-15:]
        return f'The end of {path}:\n' + '\n'.join(lines)

    def start_all(self, services: collections.abc.Iterable[Service]) -> None:
        """Start several at the same time and wait for all of them."""
        services = tuple(services)
        for service in services:
            self.start(service)
        for service in services:
            self.wait(service)

    def pid(self, name: str) -> int | None:
        """Return the recorded process of a service, None when it is over."""
        try:
            record = json.loads(self._record(name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        pid = int(record['pid'])
        return pid if began(pid) == record['began'] else None

    def names(self) -> list[str]:
        """Return every service that was ever started and not stopped."""
        directory = self._plan.directory / 'run'
        return sorted(path.stem for path in directory.glob('*.json'))

    def signal(self, name: str, number: int) -> None:
        """Send a signal to every process of a service.

        :raises LabError: it does not run.
        """
        pid = self.pid(name)
        if pid is None:
            raise planning.LabError(
                f"'{name}' does not run in this lab; see 'lab status'"
            )
        record = json.loads(self._record(name).read_text())
        # Of an isolated one the first only waits for the others.
        for each in tree(pid)[1 if record['isolated'] else 0 :] or [pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)

    def stop(self, name: str, patience: float = 10.0) -> None:
        """End a service: politely, then for good."""
        self.halt(name, patience)
        self._record(name).unlink(missing_ok=True)

    def halt(self, name: str, patience: float = 10.0) -> None:
        """End a service, but keep its record, so it can be started again."""
        if self.pid(name) is None:
            return
        # It may end by itself meanwhile.
        with contextlib.suppress(planning.LabError):
            self.signal(name, signal.SIGTERM)
            # A frozen process would not hear it.
            self.signal(name, signal.SIGCONT)
        deadline = time.monotonic() + patience
        while self.pid(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill(name)

    def kill(self, name: str) -> None:
        """End a service at once; its record stays, so it can be seen."""
        pid = self.pid(name)
        if pid is None:
            return
        for each in reversed(tree(pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        deadline = time.monotonic() + 10.0
        while self.pid(name):
            if time.monotonic() > deadline:
                raise planning.LabError(
                    f'{name} (pid {pid}) does not end after SIGKILL'
                )
            time.sleep(0.02)
