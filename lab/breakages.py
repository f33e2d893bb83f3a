# SPDX-License-Identifier: Apache-2.0
"""Each way to break a lab: how it is caused, seen and undone.

Undoing works on whatever is there: the fault may be half caused, or a host
may have lost its power since, and its processes with it.
"""

import abc
import collections.abc
import dataclasses
import pathlib
import signal
import socket
import subprocess
import time
import typing

from lab import bmc
from lab import clock
from lab import hosts as hypervisors
from lab import network
from lab import plan as planning
from lab import processes

AGENTS = (
    'nova-compute',
    'ceilometer-polling',
    'ceilometer-ha-host',
    'libvirtd',
    'sshd',
)
_OF_REAL_HOSTS = ('libvirtd', 'ceilometer-ha-host')

# Services that listen, under which of PORTS, where the names differ.
_PORT_NAMES = {
    'nova-api': 'nova',
    'gnocchi-api': 'gnocchi',
    'aodh-api': 'aodh',
}
PATIENCE = 180.0


@dataclasses.dataclass(frozen=True)
class World:
    """What there is to break."""

    plan: planning.Plan
    processes: processes.Processes
    hosts: hypervisors.Hosts


class Fault(abc.ABC):
    """One fault: a way to break something, and what.

    :cvar parameters: what follows the name on the command line.
    :cvar needs_power: a host that is off cannot have it.
    :ivar variant: the part of the name behind the colon.
    """

    parameters: typing.ClassVar[tuple[str, ...]] = ('HOST',)
    needs_power: typing.ClassVar[bool] = False

    def __init__(
        self, world: World, variant: str, arguments: tuple[str, ...]
    ) -> None:
        self.world = world
        self.variant = variant
        self.arguments = arguments
        self.host = self._host()
        self.check()

    def _host(self) -> planning.Host:
        name = self.arguments[self.parameters.index('HOST')]
        return self.world.plan.host(name)

    def check(self) -> None:  # noqa: B027 most have nothing to check
        """Raise LabError when the arguments make no sense."""

    @abc.abstractmethod
    def cause(self) -> None:
        """Break it; it holds when this returns."""

    @abc.abstractmethod
    def heal(self) -> None:
        """Undo it, or do nothing where it does not hold."""

    @abc.abstractmethod
    def holds(self) -> bool:
        """Say whether it is in force, by looking at what was broken."""

    @property
    def is_on(self) -> bool:
        return self.world.hosts.power(self.host) == 'on'

    def number(self, least: float, most: float, what: str) -> float:
        """Return the last argument as a number.

        :raises LabError: it is not, or not one between these two.
        """
        text = self.arguments[-1]
        try:
            value = float(text)
        except ValueError:
            value = float('nan')
        if not least <= value <= most:
            raise planning.LabError(
                f"{what} is a number from {least:g} to {most:g}, not '{text}'"
            )
        return value


class Power(Fault):
    """Cuts the power of a host: everything on it is dead at once."""

    def cause(self) -> None:
        self.world.hosts.power_off(self.host)

    def heal(self) -> None:
        self.world.hosts.power_on(self.host)

    def holds(self) -> bool:
        return not self.is_on


class Frozen(Fault):
    """Freezes every process of a host, its guests too; its kernel answers."""

    needs_power = True

    def cause(self) -> None:
        self.world.hosts.freeze(self.host)

    def heal(self) -> None:
        if self.is_on:
            self.world.hosts.thaw(self.host)

    def holds(self) -> bool:
        pid = self.world.hosts.pid(self.host)
        return pid is not None and stopped(pid)


class Hung(Frozen):
    """Hangs the kernel of a host: silent, its guests too, but it has power."""

    def cause(self) -> None:
        network.set_cards(self.world.plan, self.host, up=False)
        super().cause()

    def heal(self) -> None:
        super().heal()
        if self.is_on:
            network.set_cards(self.world.plan, self.host, up=True)


class Network(Fault):
    """Pulls the cable of a host to one network; its guests go on."""

    def cause(self) -> None:
        network.set_link(self.world.plan, self.host, self.variant, up=False)

    def heal(self) -> None:
        network.set_link(self.world.plan, self.host, self.variant, up=True)

    def holds(self) -> bool:
        return not network.link_is_up(self.world.plan, self.host, self.variant)


class Loss(Fault):
    """Loses so many packets of a hundred, each way, on one network."""

    parameters = ('HOST', 'PERCENT')

    def check(self) -> None:
        self.percent = round(self.number(1, 99, 'PERCENT'))

    @property
    def _table(self) -> str:
        return f'lab_loss_{self.variant}'

    def cause(self) -> None:
        card = network.card(self.variant)
        lose = f'numgen random mod 100 < {self.percent} counter drop'
        self._nft(
            f'table netdev {self._table} {{ }}\n'
            f'delete table netdev {self._table}\n'
            f'table netdev {self._table} {{\n'
            + ''.join(
                f'chain {way} {{ type filter hook {way} device "{card}" '
                f'priority 0; {lose}; }}\n'
                for way in ('ingress', 'egress')
            )
            + '}\n'
        )

    def heal(self) -> None:
        self._nft(
            f'table netdev {self._table} {{ }}\n'
            f'delete table netdev {self._table}\n'
        )

    def holds(self) -> bool:
        return f'table netdev {self._table}' in nft_tables(
            self.world.plan.host_namespace(self.host)
        )

    def _nft(self, text: str) -> None:
        nft(self.world.plan.host_namespace(self.host), text)


class Agent(Fault):
    """An agent of a host, frozen or killed; its guests go on."""

    needs_power = True

    def __init__(
        self,
        agent: str,
        world: World,
        variant: str,
        arguments: tuple[str, ...],
    ) -> None:
        self.agent = agent
        super().__init__(world, variant, arguments)

    def check(self) -> None:
        if self.agent in _OF_REAL_HOSTS and self.host.kind != planning.REAL:
            raise planning.LabError(
                f"'{self.host.name}' is a fake host: it has no {self.agent}"
            )

    def cause(self) -> None:
        action = 'freeze' if self.variant == 'frozen' else 'kill'
        if action == 'freeze':
            # There is nothing to freeze before a host has come so far.
            wait(
                lambda: self._state() != 'starting',
                PATIENCE,
                f'{self.agent} of {self.host.name} to start',
            )
        self.world.hosts.agent(self.host, self.agent, action)

    def _state(self) -> str:
        return self.world.hosts.agents(self.host)[self.agent]

    def heal(self) -> None:
        # Without power there is none to heal, and the next one is sound.
        if self.is_on:
            action = 'thaw' if self.variant == 'frozen' else 'start'
            self.world.hosts.agent(self.host, self.agent, action)

    def holds(self) -> bool:
        if not self.is_on:
            return False
        state = 'frozen' if self.variant == 'frozen' else 'stopped'
        return self._state() == state


class Clock(Fault):
    """Sets the clock of an agent so many seconds off; it is restarted."""

    parameters = ('HOST', 'SECONDS')
    needs_power = True

    def check(self) -> None:
        year = 366 * 86400
        self.seconds = self.number(-year, year, 'SECONDS')

    def cause(self) -> None:
        self.world.hosts.agent(self.host, self.variant, 'stop')
        self.world.hosts.agent(
            self.host, self.variant, 'start', clock_offset=self.seconds
        )

    def heal(self) -> None:
        # The next power on starts it with the right time.
        if self.is_on:
            self.world.hosts.agent(self.host, self.variant, 'stop')
            self.world.hosts.agent(self.host, self.variant, 'start')

    def holds(self) -> bool:
        pid = self.world.hosts.pid(self.host)
        return pid is not None and any(
            self.variant in _read(each, 'cmdline')
            and f'\0{clock.OFFSET}=' in _read(each, 'environ')
            for each in processes.tree(pid)
        )


class Jump(Fault):
    """Has the clock of a service jump so many seconds ahead, as it runs."""

    parameters = ('SECONDS',)

    def _host(self) -> planning.Host | None:
        return None

    def check(self) -> None:
        year = 366 * 86400
        self.seconds = self.number(-year, year, 'SECONDS')

    def cause(self) -> None:
        clock.jump(self.world.plan, self.variant, self.seconds)

    def heal(self) -> None:
        clock.jump(self.world.plan, self.variant, 0.0)

    def holds(self) -> bool:
        return clock.ahead(self.world.plan, self.variant) != 0.0


class DiskFull(Fault):
    """Has the disks of all guests of a host be full: who writes is paused."""

    needs_power = True
    _file = '/run/lab-disk-full'

    def check(self) -> None:
        if self.host.kind != planning.REAL:
            raise planning.LabError(
                f"'{self.host.name}' is a fake host: its guests have no disks"
            )

    def cause(self) -> None:
        self.world.hosts.run(self.host, ['touch', self._file])

    def heal(self) -> None:
        """Let the guests go on that were paused for it."""
        if not self.is_on:
            return
        self.world.hosts.run(self.host, ['rm', '-f', self._file])
        names = self._virsh('list', '--name', '--state-paused').split()
        for name in names:
            if 'I/O error' in self._virsh('domstate', '--reason', name):
                self._virsh('resume', name)

    def _virsh(self, *words: str) -> str:
        return self.world.hosts.run(self.host, ['virsh', *words]).stdout

    def holds(self) -> bool:
        if not self.is_on:
            return False
        found = self.world.hosts.run(self.host, ['test', '-e', self._file])
        return found.returncode == 0


class Bmc(Fault):
    """Has a BMC lie, ignore commands, fail or hang, over both protocols."""

    @property
    def _text(self) -> str:
        return self.variant

    def cause(self) -> None:
        bmc.set_fault(self.world.plan, self.host, self._text)

    def heal(self) -> None:
        # Another fault may have taken its place since.
        if self.holds():
            bmc.set_fault(self.world.plan, self.host, bmc.NONE)

    def holds(self) -> bool:
        return bmc.fault(self.world.plan, self.host).kind == self.variant


class SlowBmc(Bmc):
    """Has a BMC answer, and act, so many seconds late."""

    parameters = ('HOST', 'SECONDS')

    def check(self) -> None:
        self.number(0, 600, 'SECONDS')

    @property
    def _text(self) -> str:
        return f'{self.variant}:{self.arguments[-1]}'


class Service(Fault):
    """Ends a service of the control plane, kills it, or freezes it."""

    parameters = ()

    def __init__(
        self,
        service: str,
        world: World,
        variant: str,
        arguments: tuple[str, ...],
    ) -> None:
        self.service = service
        super().__init__(world, variant, arguments)

    def _host(self) -> planning.Host | None:
        return None

    def check(self) -> None:
        known = self.world.processes.names()
        if self.service not in known:
            raise planning.LabError(
                f"There is no service '{self.service}' in this lab, only "
                f'{", ".join(known)}'
            )

    def cause(self) -> None:
        if self.variant == 'frozen':
            self.world.processes.signal(self.service, signal.SIGSTOP)
        elif self.variant == 'killed':
            self.world.processes.kill(self.service)
        else:
            self.world.processes.halt(self.service)

    def heal(self) -> None:
        """Return when it listens again, where it listens at all."""
        if self.world.processes.pid(self.service) is not None:
            self.world.processes.signal(self.service, signal.SIGCONT)
        else:
            self.world.processes.start_again(self.service)
        port = planning.PORTS.get(_PORT_NAMES.get(self.service, self.service))
        if port is not None:
            wait(lambda: answers(port), PATIENCE, f'{self.service} to listen')

    def holds(self) -> bool:
        pid = self.world.processes.pid(self.service)
        if self.variant == 'frozen':
            return pid is not None and stopped(processes.tree(pid)[-1])
        return pid is None


def stopped(pid: int) -> bool:
    """Say whether a process is frozen."""
    return _read(pid, 'stat').rpartition(')')[2].split()[:1] in (['T'], ['t'])


def _read(pid: int, name: str) -> str:
    """Return a file of a process, nothing when it has ended."""
    try:
        return pathlib.Path(f'/proc/{pid}/{name}').read_text(errors='replace')
    except OSError:
        return ''


def answers(port: int) -> bool:
    """Say whether somebody listens on a port of the control namespace."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex((planning.CONTROLLER, port)) == 0


def wait(
    true: collections.abc.Callable[[], bool], timeout: float, what: str
) -> None:
    """Return when something has become true.

    :param what: completes 'waited for'.
    :raises LabError: it has not, in time.
    """
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise planning.LabError(
                f"Waited {timeout:.0f} s for {what} in vain; see 'lab status'"
            )
        time.sleep(0.1)


def nft(namespace: str, text: str) -> str:
    """Run commands of nft in a network namespace.

    :raises LabError: it refuses them.
    """
    done = subprocess.run(
        processes.inside(namespace, 'nft', '-f', '-'),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise planning.LabError(
            f"nft refuses what was to be done in '{namespace}': "
            f'{done.stderr.strip()}'
        )
    return done.stdout


def nft_tables(namespace: str) -> list[str]:
    """Return the tables of a network namespace, as nft lists them."""
    return nft(namespace, 'list tables\n').splitlines()
