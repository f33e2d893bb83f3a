# SPDX-License-Identifier: Apache-2.0
"""The hypervisors of a lab: their power, their agents, their guests.

A host is what runs in one PID namespace inside the host's own network
namespace. Power off is SIGKILL of its PID 1: the kernel ends everything in
the namespace, QEMU too, before that process is gone. What is on is therefore
asked of the kernel; a record is only where to look first, so that a crash of
whoever changed the power leaves nothing wrong behind.
"""

import collections.abc
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time
import typing

from lab import clock
from lab import evidence
from lab import host_files
from lab import network
from lab import plan as planning
from lab import processes

_SIGNALS = {
    'kill': signal.SIGKILL,
    'freeze': signal.SIGSTOP,
    'thaw': signal.SIGCONT,
}
# Seconds that a change of power may take on a busy machine.
PATIENCE = 60.0

truth = evidence.truth


class _Silent(planning.LabError):
    """PID 1 of a host does not answer on its socket (yet)."""


def _wait(
    condition: collections.abc.Callable[[], bool], complaint: str
) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise planning.LabError(f'{complaint} after {PATIENCE:.0f} s')
        time.sleep(0.02)


class Hosts:
    """All hosts of a lab; any process of the machine may have one of these.

    :param plan: where the hosts are; how they store their disks is read from
        lab.json whenever one is switched on.
    """

    def __init__(self, plan: planning.Plan) -> None:
        self._plan = plan

    def _file(self, host: planning.Host, ending: str) -> pathlib.Path:
        return self._plan.path('run', 'hosts', f'{host.name}.{ending}')

    @contextlib.contextmanager
    def _locked(self, host: planning.Host) -> collections.abc.Iterator[None]:
        with self._file(host, 'lock').open('a') as lock:
            _wait(
                lambda: _try_lock(lock),
                f"Somebody else changes the power of '{host.name}' and is "
                'not done',
            )
            yield

    # Power

    def pid(self, host: planning.Host) -> int | None:
        """Return its PID 1 as seen from here; None: there is no power."""
        try:
            record = json.loads(self._file(host, 'json').read_text())
            if processes.began(record['pid']) == record['began']:
                return int(record['pid'])
        except (FileNotFoundError, ValueError, KeyError):
            # Whoever switched it on did not come to writing it down.
            pass
        return self._find(host)

    def _find(self, host: planning.Host) -> int | None:
        """Look at every process of the machine for this host's PID 1."""
        try:
            wanted = os.stat(
                f'/run/netns/{self._plan.host_namespace(host)}'
            ).st_ino
        except FileNotFoundError:
            return None
        for pid in _in_namespace('net', wanted):
            with contextlib.suppress(OSError):
                status = pathlib.Path(f'/proc/{pid}/status').read_text()
                seen_as = status.partition('NSpid:')[2].split('\n')[0].split()
                if len(seen_as) > 1 and seen_as[-1] == '1':
                    if processes.began(pid) is not None:
                        return pid
        return None

    def power(self, host: planning.Host) -> str:
        """Return 'on' or 'off', which is never a claim."""
        return 'off' if self.pid(host) is None else 'on'

    def power_on(self, host: planning.Host) -> None:
        """Return when the host has begun to boot; harmless when it is on.

        Its agents are not there yet.
        """
        with self._locked(host):
            if self.pid(host) is not None:
                # Whoever switched it off may have come no further than this.
                network.set_cards(self._plan, host, up=True)
                return
            plan = planning.load(self._plan.directory)
            if not network.exists(plan.host_namespace(host)):
                raise planning.LabError(
                    f"'{host.name}' cannot be switched on: its network "
                    f"namespace '{plan.host_namespace(host)}' is missing. "
                    "'lab up' makes it."
                )
            # Nova may delete evacuated disks as soon as it is back.
            evidence.keep(plan, host)
            self._file(host, 'socket').unlink(missing_ok=True)
            command = host_files.boot_command(plan, host)
            network.set_cards(plan, host, up=True)
            with self._console(host).open('ab') as log:
                subprocess.run(
                    command,
                    cwd='/',
                    env=host_files.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=True,
                )
            self._await_init(host)

    def _console(self, host: planning.Host) -> pathlib.Path:
        return self._plan.log(f'{host.name}-console')

    def _await_init(self, host: planning.Host) -> None:
        """Record PID 1 once it answers, or leave the host off."""
        try:
            _wait(
                lambda: self._answers(host),
                f"PID 1 of '{host.name}' does not answer",
            )
        except planning.LabError as exc:
            self._cut(host)
            raise planning.LabError(
                f'{exc}; the host was switched off again. Look at '
                f'{self._console(host)}'
            ) from None

    def _answers(self, host: planning.Host) -> bool:
        try:
            pid, _ = self._ask(host, action='status')
        except _Silent:
            return False
        record = {'pid': pid, 'began': processes.began(pid)}
        self._file(host, 'json').write_text(json.dumps(record))
        return True

    def power_off(self, host: planning.Host) -> None:
        """Return when nothing of the host is alive; harmless when it is off.

        :raises LabError: something of it is.
        """
        with self._locked(host):
            self._cut(host)

    def _cut(self, host: planning.Host) -> None:
        if network.exists(self._plan.host_namespace(host)):
            # First: nothing of it may say goodbye to anybody.
            network.set_cards(self._plan, host, up=False)
        pid = self.pid(host)
        if pid is None:
            return
        try:
            space = os.stat(f'/proc/{pid}/ns/pid').st_ino
            os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            # It ended this moment, and with it all of the namespace.
            return
        _wait(
            lambda: all(
                processes.began(each) is None
                for each in _in_namespace('pid', space)
            ),
            f"'{host.name}' was switched off but something of it is alive",
        )
        self._file(host, 'json').unlink(missing_ok=True)
        evidence.note_off(self._plan, host)

    def freeze(self, host: planning.Host) -> None:
        """Stop everything of a host where it is, its guests too."""
        self._signal_all(host, signal.SIGSTOP)

    def thaw(self, host: planning.Host) -> None:
        self._signal_all(host, signal.SIGCONT)

    def _signal_all(self, host: planning.Host, number: int) -> None:
        pid = self._need(host)
        space = os.stat(f'/proc/{pid}/ns/pid').st_ino
        for each in _in_namespace('pid', space):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)

    def _need(self, host: planning.Host) -> int:
        pid = self.pid(host)
        if pid is None:
            raise planning.LabError(
                f"'{host.name}' has no power; 'lab host on {host.name}' "
                'switches it on'
            )
        return pid

    # What runs on it

    def command(
        self, host: planning.Host, argv: collections.abc.Sequence[str]
    ) -> list[str]:
        """Return the command that runs another one on a host."""
        return [
            'nsenter', '--target', str(self._need(host)), '--mount', '--uts',
            '--ipc', '--net', '--pid', '--', *argv,
        ]  # fmt: skip

    def run(
        self, host: planning.Host, argv: collections.abc.Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host; how it ended is in the result."""
        return subprocess.run(
            self.command(host, argv),
            env=host_files.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _ask(
        self, host: planning.Host, **request: typing.Any
    ) -> tuple[int, dict[str, str]]:
        """Return PID 1 as seen from here and the states of the agents."""
        directory = os.open(
            self._file(host, 'socket').parent, os.O_PATH | os.O_DIRECTORY
        )
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5.0)
                # The whole path may be longer than an address of a socket.
                connection.connect(
                    f'/proc/self/fd/{directory}/{host.name}.socket'
                )
                size = struct.calcsize('3i')
                peer = connection.getsockopt(
                    socket.SOL_SOCKET, socket.SO_PEERCRED, size
                )
                connection.sendall(json.dumps(request).encode() + b'\n')
                answer = json.loads(connection.makefile('rb').readline())
        except (OSError, ValueError) as exc:
            raise _Silent(str(exc)) from exc
        finally:
            os.close(directory)
        return struct.unpack('3i', peer)[0], answer

    def agents(self, host: planning.Host) -> dict[str, str]:
        """Return each agent: running, frozen, starting or stopped."""
        self._need(host)
        try:
            return self._ask(host, action='status')[1]
        except _Silent as exc:
            raise planning.LabError(
                f"PID 1 of '{host.name}' does not answer: {exc}. Is the "
                'whole host frozen?'
            ) from exc

    def agent(
        self,
        host: planning.Host,
        name: str,
        action: str,
        clock_offset: float = 0.0,
    ) -> None:
        """Stop, start, kill, freeze or thaw one agent; guests run on.

        :param clock_offset: seconds that a started agent believes to be
            ahead of everybody else.
        """
        known = self.agents(host)
        if name not in known:
            raise planning.LabError(
                f"'{host.name}' has no agent '{name}', only {', '.join(known)}"
            )
        if action == 'start':
            self._ask(
                host,
                action='start',
                agent=name,
                environment=clock.environment(self._plan, clock_offset),
            )
        elif action == 'stop':
            self._stop(host, name)
        elif action in _SIGNALS:
            self._signal(host, name, _SIGNALS[action])
        else:
            raise planning.LabError(
                f'An agent can be told to start, stop, '
                f"{', '.join(_SIGNALS)}, not '{action}'"
            )

    def _signal(self, host: planning.Host, name: str, number: int) -> None:
        self._ask(host, action='signal', agent=name, number=int(number))

    def _stop(self, host: planning.Host, name: str) -> None:
        """End an agent: politely, then for good."""
        # A frozen process would not hear it.
        self._signal(host, name, signal.SIGCONT)
        self._signal(host, name, signal.SIGTERM)
        deadline = time.monotonic() + 15.0
        while self.agents(host)[name] != 'stopped':
            if time.monotonic() > deadline:
                self._signal(host, name, signal.SIGKILL)
            time.sleep(0.05)

    def domains(self, host: planning.Host) -> dict[str, str]:
        """Return {server: 'running', 'frozen' or 'shut off'}.

        From the processes and libvirt's files: libvirtd may be the fault.
        """
        pid = self.pid(host)
        if pid is None:
            return {}
        found = dict.fromkeys(host_files.defined(self._plan, host), 'shut off')
        space = os.stat(f'/proc/{pid}/ns/pid').st_ino
        for each in _in_namespace('pid', space):
            server = _server(each)
            if server:
                found[server] = 'frozen' if _state(each) in 'Tt' else 'running'
        return found


def _try_lock(file: typing.IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_namespace(kind: str, number: int) -> collections.abc.Iterator[int]:
    """Yield the living processes in a namespace, whoever started them."""
    for name in os.listdir('/proc'):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f'/proc/{name}/ns/{kind}').st_ino == number:
                    yield int(name)


def _state(pid: int) -> str:
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return 'X'
    return stat.rpartition(')')[2].split()[0]


def _server(pid: int) -> str:
    """Return the server a process is the QEMU of, '' if it is none."""
    try:
        argv = pathlib.Path(f'/proc/{pid}/cmdline').read_text().split('\0')
    except OSError:
        return ''
    if 'qemu-system' not in argv[0] or '-uuid' not in argv:
        return ''
    return argv[argv.index('-uuid') + 1]
