# SPDX-License-Identifier: Apache-2.0
"""What can be broken in a lab, and what is broken: everything heals.

A fault is written to ``run/faults/active.json`` before it is caused and
removed when it is healed. So whoever comes after a crash, in whatever step,
can heal what was left.
"""

import collections.abc
import contextlib
import dataclasses
import fcntl
import functools
import inspect
import json
import pathlib
import time
import typing

from lab import bmc
from lab import breakages
from lab import clock
from lab import engine_faults
from lab import hosts as hypervisors
from lab import plan as planning
from lab import processes as running
from lab import slowness

ALL = 'all'
_PATIENCE = 20.0


@dataclasses.dataclass(frozen=True)
class Family:
    """Faults that differ in one word: ``NAME:VARIANT``, or just ``NAME``.

    :ivar make: (world, variant, arguments) -> the fault.
    """

    name: str
    variants: tuple[str, ...]
    make: collections.abc.Callable[..., breakages.Fault]
    kind: type[breakages.Fault]

    def names(self) -> list[str]:
        return [f'{self.name}:{each}' for each in self.variants] or [self.name]


def _family(
    name: str,
    variants: collections.abc.Iterable[str],
    kind: type[breakages.Fault],
    *extra: str,
) -> Family:
    made = functools.partial(kind, *extra)
    return Family(name, tuple(variants), made, kind)


_STATES = ('down', 'killed', 'frozen')
_FAMILIES = (
    _family('power', (), breakages.Power),
    _family('frozen', (), breakages.Frozen),
    _family('hung', (), breakages.Hung),
    _family('network', planning.NETWORKS, breakages.Network),
    _family('loss', planning.NETWORKS, breakages.Loss),
    _family('delay', planning.PORTS, slowness.Delay),
    _family('rate', planning.PORTS, slowness.Rate),
    *(
        _family(agent, ('frozen', 'killed'), breakages.Agent, agent)
        for agent in breakages.AGENTS
    ),
    _family('clock', ('nova-compute', 'ceilometer-polling'), breakages.Clock),
    _family('disk', ('full',), breakages.DiskFull),
    _family('jump', clock.MAY_JUMP, breakages.Jump),
    _family(
        'bmc', [each for each in bmc.FAULTS if each != bmc.SLOW], breakages.Bmc
    ),
    _family('bmc', (bmc.SLOW,), breakages.SlowBmc),
    _family('database', ('cut',), engine_faults.Cut),
)


def catalogue() -> str:
    """Return what can be broken, with a sentence for each."""
    lines = ['faults:']
    service = _family('SERVICE', _STATES, breakages.Service)
    agents = tuple(family for family in _FAMILIES if _is_agent(family))
    for family in (*_FAMILIES, service):
        if family in agents[1:]:
            continue
        name = '|'.join(breakages.AGENTS) if _is_agent(family) else family.name
        variants = '|'.join(family.variants)
        words = (name + f':{variants}' * bool(variants),)
        lines.append(f'  {" ".join(words + family.kind.parameters)}')
        lines.append(f'      {inspect.getdoc(family.kind)}')
    lines += [
        '',
        "SERVICE is a name from 'lab status', such as rabbitmq (all hosts",
        'fall silent), mariadb, keystone, gnocchi-api. Example:',
        '',
        '  lab fault network:management cmp-1',
        '  lab fault heal network:management cmp-1',
        '',
        'What is healed without a HOST is healed on all of them.',
    ]
    return '\n'.join(lines)


def _is_agent(family: Family) -> bool:
    return family.kind is breakages.Agent


@dataclasses.dataclass(frozen=True)
class Record:
    """A fault that was caused.

    :ivar since: seconds since the epoch, for people.
    """

    name: str
    arguments: tuple[str, ...]
    since: float

    def __str__(self) -> str:
        return ' '.join((self.name, *self.arguments))

    @property
    def place(self) -> tuple[str, ...]:
        """Return what can have this fault once: its strength is left out."""
        return (self.name, *self.arguments[:1])


class Faults:
    """Breaks a lab and heals it."""

    def __init__(
        self,
        plan: planning.Plan,
        processes: running.Processes,
        hosts: hypervisors.Hosts,
    ) -> None:
        self._world = breakages.World(plan, processes, hosts)

    def names(self) -> list[str]:
        """Return every name that can be caused in this lab as it is."""
        services = self._world.processes.names()
        return [name for family in _FAMILIES for name in family.names()] + [
            f'{service}:{state}' for service in services for state in _STATES
        ]

    def cause(self, name: str, *arguments: str) -> None:
        """Break something; it holds when this returns.

        :raises LabError: there is no such fault, or it could not be caused;
            then what there is of it can be healed.
        """
        fault = self._make(name, *arguments)
        if fault.needs_power and not fault.is_on:
            raise planning.LabError(
                f"'{fault.host.name}' has no power and cannot have this "
                f"fault; 'lab host on {fault.host.name}' switches it on"
            )
        record = Record(name, tuple(map(str, arguments)), time.time())
        with self._records() as records:
            records[:] = [
                each for each in records if each.place != record.place
            ]
            records.append(record)
        fault.cause()
        breakages.wait(fault.holds, _PATIENCE, f'{record} to hold')

    def heal(self, name: str = ALL, *arguments: str) -> None:
        """Undo one fault, all of one name, or all.

        A fault that is not recorded is undone as well when it is named with
        its arguments.

        :raises LabError: some could not be healed; the others are.
        """
        found = [
            record
            for record in self.records()
            if name in (ALL, record.name)
            and record.arguments[: len(arguments)] == arguments
        ]
        if not found and name != ALL:
            if not self._complete(name, arguments):
                raise planning.LabError(
                    f"No fault '{' '.join((name, *arguments))}' is there to "
                    f'heal; there is: {", ".join(self.active()) or "none"}'
                )
            found = [Record(name, arguments, 0.0)]
        failures = []
        # What was caused last may stand on what was caused before.
        for record in reversed(found):
            try:
                self._heal(record)
            except planning.LabError as exc:
                failures.append(f'{record}: {exc}')
        if failures:
            raise planning.LabError(
                'Not everything could be healed. ' + ' '.join(failures)
            )

    def _complete(self, name: str, arguments: tuple[str, ...]) -> bool:
        parameters = self._family(name).kind.parameters
        return len(parameters) == len(arguments)

    def _heal(self, record: Record) -> None:
        fault = self._make(record.name, *record.arguments)
        fault.heal()
        breakages.wait(
            lambda: not fault.holds(), _PATIENCE, f'{record} to be healed'
        )
        with self._records() as records:
            records[:] = [
                each for each in records if each.place != record.place
            ]

    def active(self) -> list[str]:
        """Return what was caused and not healed, the oldest first."""
        return [str(record) for record in self.records()]

    def holds(self, name: str, *arguments: str) -> bool:
        """Say whether a fault is in force, whoever caused it."""
        return self._make(name, *arguments).holds()

    def _family(self, name: str) -> Family:
        first, _, variant = name.partition(':')
        for family in _FAMILIES:
            if name in family.names():
                return family
        if variant in _STATES:
            return _family(first, _STATES, breakages.Service, first)
        raise planning.LabError(
            f"There is no fault '{name}'; 'lab fault --help' lists them"
        )

    def _make(self, name: str, *arguments: str) -> breakages.Fault:
        family = self._family(name)
        if len(arguments) != len(family.kind.parameters):
            needed = ' '.join(family.kind.parameters) or 'nothing'
            raise planning.LabError(
                f"'{name}' is followed by {needed}, not by "
                f"'{' '.join(map(str, arguments))}'"
            )
        return family.make(
            self._world, name.partition(':')[2], tuple(map(str, arguments))
        )

    @property
    def _path(self) -> pathlib.Path:
        # Not in run/ itself, which has a file for each service.
        return self._world.plan.path('run', 'faults', 'active.json')

    def records(self) -> list[Record]:
        """Return what was caused and not healed, the oldest first."""
        try:
            known: list[dict[str, typing.Any]] = json.loads(
                self._path.read_text()
            )
        except FileNotFoundError:
            return []
        return [
            Record(each['name'], tuple(each['arguments']), each['since'])
            for each in known
        ]

    @contextlib.contextmanager
    def _records(self) -> collections.abc.Iterator[list[Record]]:
        """Give the records, and write them back afterwards."""
        with self._path.with_suffix('.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            records = self.records()
            yield records
            new = self._path.with_suffix('.new')
            new.write_text(
                json.dumps([dataclasses.asdict(each) for each in records])
            )
            new.replace(self._path)
