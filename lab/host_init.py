# SPDX-License-Identifier: Apache-2.0
"""PID 1 of a hypervisor: its mounts, its agents and nothing that repairs.

``python host_init.py SPEC`` runs in fresh namespaces, see :mod:`lab.hosts`,
which writes SPEC and speaks to the socket that is named there. It needs the
standard library alone, so that a host is there at once. What ends stays
ended: a watchdog would hide what the lab is to show.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
import typing

# <sys/mount.h>
MS_BIND = 0x1000
MS_REC = 0x4000
MNT_DETACH = 2

TICK = 1.0

Spec = dict[str, typing.Any]
_SERVER = re.compile(rb'\0-uuid\0([0-9a-f-]{36})\0')
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(
    source: str, target: str, kind: str = '', flags: int = 0, data: str = ''
) -> None:
    """Mount something, as mount(2) does."""
    arguments = (os.fsencode(each) for each in (source, target, kind))
    if _LIBC.mount(*arguments, flags, os.fsencode(data) or None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def bind(source: str, target: str) -> None:
    mount(source, target, flags=MS_BIND | MS_REC)


def mount_all(spec: Spec) -> None:
    """Give the host files of its own, wherever it would share some."""
    kept = {path: os.open(path, os.O_PATH) for path in spec['keep']}
    # Namespaces that somebody else removes are not to be held by us.
    while not _LIBC.umount2(b'/run/netns', MNT_DETACH):
        pass
    for target in ('/run', '/tmp', '/dev/shm'):
        mount('tmpfs', target, 'tmpfs', data='mode=1777')
    os.chmod('/run', 0o755)
    # Shows the cards of this network namespace; has no control groups.
    mount('sysfs', '/sys', 'sysfs')
    for target in ('/etc', '/sys/class'):
        _overlay(target)
    for path, text in spec['files'].items():
        file = pathlib.Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for path, descriptor in kept.items():
        if not os.path.exists(path):
            os.makedirs(path)
            bind(f'/proc/self/fd/{descriptor}', path)
        os.close(descriptor)
    for source, target in spec['binds']:
        if not os.path.exists(target):
            os.makedirs(target)
        bind(source, target)


def _overlay(target: str) -> None:
    """Make a directory writable for this host alone, until the power goes."""
    upper = pathlib.Path('/run/lab', target[1:].replace('/', '-'))
    (upper / 'upper').mkdir(parents=True)
    (upper / 'work').mkdir()
    mount(
        'overlay', target, 'overlay',
        data=f'lowerdir={target},upperdir={upper}/upper,workdir={upper}/work',
    )  # fmt: skip


def _stat(pid: int) -> list[str] | None:
    """Return the fields of a process after its name, None: it is gone."""
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    return text.rpartition(')')[2].split()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def servers() -> dict[int, tuple[str, str]]:
    """Return {pid: (server, start time)} of the QEMUs that run here."""
    found: dict[int, tuple[str, str]] = {}
    for pid in _pids():
        with contextlib.suppress(OSError):
            if not _read(pid, 'comm').startswith(b'qemu-system'):
                continue
            server = _SERVER.search(_read(pid, 'cmdline'))
            fields = _stat(pid)
            if server and fields and fields[0] not in 'ZX' and _has_cpu(pid):
                found[pid] = (server.group(1).decode(), fields[19])
    return found


def _has_cpu(pid: int) -> bool:
    """Say whether a QEMU has come as far as to have a processor.

    One that finds its disk in use by another ends before that.
    """
    return any(
        _read(pid, f'task/{task}/comm').startswith(b'CPU ')
        for task in os.listdir(f'/proc/{pid}/task')
    )


def _read(pid: int, name: str) -> bytes:
    return pathlib.Path(f'/proc/{pid}/{name}').read_bytes()


class Agent:
    """One of the host's services; its session is what can be signalled."""

    def __init__(self, name: str, spec: Spec) -> None:
        self.name = name
        self._spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        # Waits for its file before it is started.
        self.due = False
        self._extra: dict[str, str] = {}

    def want(self, extra: dict[str, str] | None = None) -> None:
        """Start it as soon as what it needs is there."""
        if not self.members():
            self.due, self._extra = True, extra or {}
            self.start_if_due()

    def start_if_due(self) -> None:
        needed = self._spec.get('after')
        if not self.due or (needed and not os.path.exists(needed)):
            return
        self.due = False
        try:
            with open(self._spec['log'], 'ab') as log:
                self.process = subprocess.Popen(
                    self._spec['argv'],
                    env={**self._spec['environment'], **self._extra},
                    cwd='/',
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as exc:
            # The end of PID 1 would be the end of the host.
            print(f'{self.name} cannot be started: {exc}')

    def members(self) -> dict[int, str]:
        """Return its processes with their states; guests are not among them.

        QEMU has a session of its own, so a guest outlives its libvirtd.
        """
        if self.process is None:
            return {}
        session = str(self.process.pid)
        found = {}
        for pid in _pids():
            fields = _stat(pid)
            if fields and fields[3] == session and fields[0] not in 'ZX':
                found[pid] = fields[0]
        return found

    def signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGKILL):
            self.due = False
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def state(self) -> str:
        members = self.members()
        if not members:
            return 'starting' if self.due else 'stopped'
        frozen = all(state in 'Tt' for state in members.values())
        return 'frozen' if frozen else 'running'


class Init:
    """The host after its mounts: it reaps, it listens, it takes notes."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._agents = {
            name: Agent(name, agent) for name, agent in spec['agents'].items()
        }
        self._ledger = open(spec['ledger'], 'a', buffering=1)
        self._servers: dict[int, tuple[str, str]] = {}
        self._selector = selectors.DefaultSelector()

    def note(self, event: str, **more: typing.Any) -> None:
        """Write a line that survives the host."""
        line = {'event': event, 'time': time.time(), **more}
        self._ledger.write(json.dumps(line) + '\n')

    def run(self) -> typing.NoReturn:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        # Without a handler no wake-up; PID 1 gets no other signal than these.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(reading, selectors.EVENT_READ)
        listener = self._listen()
        self._selector.register(listener, selectors.EVENT_READ)
        self.note('on', boot_id=self._spec['boot_id'])
        for agent in self._agents.values():
            agent.want()
        while True:
            waiting = any(agent.due for agent in self._agents.values())
            ready = self._selector.select(0.2 if waiting else TICK)
            for key, _ in ready:
                if key.fileobj is listener:
                    self._answer(listener)
                else:
                    os.read(reading, 4096)
            self._reap()
            for agent in self._agents.values():
                agent.start_if_due()
            self._take_notes()

    def _listen(self) -> socket.socket:
        path = pathlib.Path(self._spec['socket'])
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        # The whole path may be longer than an address of a socket.
        os.chdir(path.parent)
        listener.bind(path.name)
        os.chdir('/')
        listener.listen(16)
        return listener

    def _reap(self) -> None:
        """Bury every child, the adopted ones too."""
        mine = {
            agent.process.pid: agent
            for agent in self._agents.values()
            if agent.process is not None
        }
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in mine:
                code = os.waitstatus_to_exitcode(status)
                mine[pid].process.returncode = code
                print(f'{mine[pid].name} (pid {pid}) ended: {code}')

    def _take_notes(self) -> None:
        """Note which guests came and went; the file's time says until when."""
        now = servers()
        for pid, guest in now.items():
            if self._servers.get(pid) != guest:
                self.note('began', server=guest[0], pid=pid)
        for pid, guest in self._servers.items():
            if now.get(pid) != guest:
                self.note('ended', server=guest[0], pid=pid)
        self._servers = now
        os.utime(self._spec['ledger'])

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2.0)
            try:
                request = json.loads(connection.makefile('rb').readline())
                answer = self._do(**request)
                connection.sendall(json.dumps(answer).encode() + b'\n')
            except (OSError, ValueError, TypeError, KeyError) as exc:
                print(f'A request failed: {exc!r}')

    def _do(
        self,
        action: str,
        agent: str = '',
        number: int = 0,
        environment: dict[str, str] | None = None,
    ) -> dict[str, str]:
        if action == 'start':
            self._agents[agent].want(environment)
        elif action == 'signal':
            self._agents[agent].signal(number)
        return {name: each.state() for name, each in self._agents.items()}


def main() -> None:
    with open(sys.argv[1]) as stream:
        spec = json.load(stream)
    sys.stdout.reconfigure(line_buffering=True)
    mount_all(spec)
    socket.sethostname(spec['hostname'])
    os.umask(0o022)
    Init(spec).run()


if __name__ == '__main__':
    main()
