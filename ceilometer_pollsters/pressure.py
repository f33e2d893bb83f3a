# SPDX-License-Identifier: Apache-2.0

"""How much of the time tasks wait, as the kernel counts it (PSI).

A host that answers and yet does nothing shows here first.
"""

from collections.abc import Iterable
import pathlib
from typing import Any

from ceilometer_pollsters import probes

PATH = pathlib.Path('/proc/pressure')


def read(path: pathlib.Path) -> dict[str, float]:
    """Return the shares of the last 10 s in per cent, by 'some' and 'full'.

    :raises probes.Absent: the kernel does not count it, or it was told not
        to (``psi=0``).
    """
    try:
        lines = path.read_text(encoding='ascii').splitlines()
    except OSError as error:
        # Of all kinds the same text: it is said once, and not in turn.
        raise probes.Absent(
            f"'{path.parent}' cannot be read ({error.strerror}); the kernel "
            'may need psi=1'
        ) from None
    found = {}
    for line in lines:
        share, *pairs = line.split()
        values = dict(pair.split('=', 1) for pair in pairs)
        found[share] = float(values['avg10'])
    return found


class _PressurePollster(probes.HostPollster):
    sensor = 'pressure'
    kind: str
    share: str

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        found = read(PATH / self.kind)
        # Before 5.13 there is no full pressure of processors.
        if self.share in found:
            yield probes.Reading(found[self.share])


class CpuSomePollster(_PressurePollster):
    """Time in which some task waited for a processor."""

    meter = 'hypervisor.pressure.cpu.some'
    kind, share = 'cpu', 'some'


class CpuFullPollster(_PressurePollster):
    """Time in which every task waited for a processor."""

    meter = 'hypervisor.pressure.cpu.full'
    kind, share = 'cpu', 'full'


class IoSomePollster(_PressurePollster):
    """Time in which some task waited for a disk."""

    meter = 'hypervisor.pressure.io.some'
    kind, share = 'io', 'some'


class IoFullPollster(_PressurePollster):
    """Time in which every task waited for a disk."""

    meter = 'hypervisor.pressure.io.full'
    kind, share = 'io', 'full'


class MemorySomePollster(_PressurePollster):
    """Time in which some task waited for memory."""

    meter = 'hypervisor.pressure.memory.some'
    kind, share = 'memory', 'some'


class MemoryFullPollster(_PressurePollster):
    """Time in which every task waited for memory."""

    meter = 'hypervisor.pressure.memory.full'
    kind, share = 'memory', 'full'
