# SPDX-License-Identifier: Apache-2.0
"""The power of an embedded host: on, hung or off, and never a claim.

A host is a nova-compute service (threads of the nova process), a virt driver
with its domains, and a probe responder. Threads cannot be killed, so power
off is made true in steps: cut what comes in, abort what runs, wait until it
has ended, take the domains down; only then the host *is* off.
"""

import collections.abc
import dataclasses
import pathlib
import socket
import threading
import typing
import uuid

from lab.embedded import process

ON, HUNG, OFF = 'on', 'hung', 'off'

BANNER = b'SSH-2.0-embedded\r\n'


class PowerLost(BaseException):
    """Ends a thread of a host without power.

    Not an Exception: nova answers every Exception with a clean-up, and a
    machine without power cleans nothing up.
    """


class Service(typing.Protocol):
    """What runs on a host; nova_services.Computes is one."""

    def cut(self, host: str) -> None:
        """Stop taking work in, at once."""

    def wait_until_idle(self, host: str, timeout: float) -> None:
        """Return when nothing of the host runs any more, or raise."""

    def start(self, host: str) -> None:
        """Start the service anew on what the disks hold."""

    def domains(self, host: str) -> dict[str, str]:
        """Return {uuid: 'running' | 'shutdown'}."""

    def shut_domains(self, host: str) -> None:
        """Take the domains down; their disks stay."""


class Probe:
    """A port that greets while its host is on, and else stays silent.

    It keeps listening while the host is off: nothing answers a probe, but
    the port cannot be taken by somebody else.
    """

    def __init__(self, port: int, lock: threading.Lock) -> None:
        self._lock = lock
        self._alive = False
        self._unanswered: list[socket.socket] = []
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(('127.0.0.1', port))
        self._socket.listen(128)
        threading.Thread(
            target=self._run, name=f'probe-{port}', daemon=True
        ).start()

    def set_alive(self, alive: bool) -> None:
        """Greet or fall silent; the caller holds the lock."""
        self._alive = alive
        while alive and self._unanswered:
            self._unanswered.pop().close()

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with self._lock:
                if not self._alive:
                    # Closing it would be an answer.
                    self._unanswered.append(connection)
                    continue
                try:
                    connection.sendall(BANNER)
                except OSError:
                    # The prober has gone; nobody is left to be told.
                    pass
                connection.close()


@dataclasses.dataclass
class Host:
    """One host.

    :ivar state: what is true now
    :ivar lock: held while the state changes and while a domain is made, so
                that no domain appears on a host that has lost its power
    :ivar turn: one power request at a time
    """

    name: str
    system_uuid: str
    boot_id_file: pathlib.Path
    probe_port: int
    state: str = OFF
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    turn: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    probe: Probe = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.probe = Probe(self.probe_port, self.lock)

    def check(self) -> None:
        """Raise PowerLost unless the host is on."""
        if self.state != ON:
            raise PowerLost(f'Host {self.name} is {self.state}')

    def change(self, state: str) -> None:
        """Make a new state visible to probe and driver at once."""
        with self.lock:
            self.state = state
            self.probe.set_alive(state == ON)


class Hosts:
    """All hosts, and the only place where their power changes."""

    def __init__(
        self, described: collections.abc.Iterable[dict[str, typing.Any]]
    ) -> None:
        self.hosts = {
            one['name']: Host(
                name=one['name'],
                system_uuid=one['system_uuid'],
                boot_id_file=pathlib.Path(one['boot_id_file']),
                probe_port=one['probe_port'],
            )
            for one in described
        }
        self.service: Service | None = None

    def describe(self) -> dict[str, typing.Any]:
        """Return the answer of GET /hosts."""
        return {
            host.name: {
                'power': host.state,
                'domains': self._service.domains(host.name),
                'rpc': host.state == ON,
                'probe_port': host.probe_port,
                'system_uuid': host.system_uuid,
            }
            for host in self.hosts.values()
        }

    @property
    def _service(self) -> Service:
        if self.service is None:
            raise RuntimeError('The hosts are still starting')
        return self.service

    def set_power(self, name: str, state: str) -> None:
        """Return when the host truly is in the state, or raise."""
        host = self.hosts.get(name)
        if host is None:
            raise process.Refused(
                f'There is no host {name!r}, only {sorted(self.hosts)}'
            )
        if state not in (ON, HUNG, OFF):
            raise process.Refused(
                f'A host can be made on, hung or off, not {state!r}'
            )
        with host.turn:
            if host.state == state:
                return
            if state == ON:
                self._power_on(host)
            elif state == HUNG:
                self._hang(host)
            else:
                self._power_off(host)

    def _power_on(self, host: Host) -> None:
        if host.state == HUNG:
            raise process.Refused(
                f'Host {host.name!r} is hung: it must be off before it can '
                'start again'
            )
        host.boot_id_file.write_text(f'{uuid.uuid4()}\n')
        host.change(ON)
        try:
            self._service.start(host.name)
        except BaseException:
            host.change(HUNG)
            raise

    def _hang(self, host: Host) -> None:
        """Fall silent; the domains go on, as under a hung host kernel.

        Work that runs is aborted, not frozen: nova's lock names are shared
        by all hosts of this process, a frozen thread would block the others.
        """
        if host.state == OFF:
            raise process.Refused(
                f'Host {host.name!r} is off: only a host that is on can hang'
            )
        host.change(HUNG)
        self._service.cut(host.name)

    def _power_off(self, host: Host) -> None:
        # Until all of it is true the host reads as hung, never as off.
        host.change(HUNG)
        self._service.cut(host.name)
        self._service.wait_until_idle(host.name, timeout=30)
        self._service.shut_domains(host.name)
        host.change(OFF)
