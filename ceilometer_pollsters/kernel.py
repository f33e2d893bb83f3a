# SPDX-License-Identifier: Apache-2.0

"""What the kernel counted: tasks that hang, memory that fails."""

from collections.abc import Iterable
import errno
import os
import pathlib
import re
from typing import Any

from ceilometer_pollsters import probes

HUNG_TASKS = pathlib.Path('/proc/sys/kernel/hung_task_detect_count')
LOG_DEVICE = '/dev/kmsg'
EDAC = pathlib.Path('/sys/devices/system/edac/mc')

# Longer than any record of the kernel's log.
_LONGEST_RECORD = 16384
_HUNG = re.compile(rb'task .*:\d+ blocked (?:.* )?for more than \d+ seconds')


class KernelLog:
    """Counts the hung tasks that the kernel wrote of.

    Older kernels do not count them themselves. What fell out of the
    kernel's log before the agent was started is not counted.
    """

    def __init__(self, path: str) -> None:
        try:
            self._log = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise probes.Absent(
                f"'{HUNG_TASKS}' is not there, and '{path}' cannot be read "
                f'({error.strerror})'
            ) from None
        self._count = 0

    def count(self) -> int:
        """Return how many there were, up to now."""
        while True:
            try:
                record = os.read(self._log, _LONGEST_RECORD)
            except BlockingIOError:
                return self._count
            except OSError as error:
                if error.errno == errno.EPIPE:
                    # Overwritten meanwhile; the next read goes on after it.
                    continue
                raise probes.Absent(
                    f"'{LOG_DEVICE}' cannot be read ({error.strerror})"
                ) from None
            if not record:
                return self._count
            if is_hung_task(record):
                self._count += 1


def is_hung_task(record: bytes) -> bool:
    """Whether a record of /dev/kmsg says that the kernel found a task hung.

    The number before the first comma has the facility in its upper bits; only
    the kernel itself writes with 0.
    """
    head, _, text = record.partition(b';')
    priority = head.split(b',')[0]
    if not priority.isdigit() or int(priority) >> 3:
        return False
    return bool(_HUNG.search(text.split(b'\n')[0]))


class HungTasksPollster(probes.HostPollster):
    """Tasks that the kernel found hung."""

    meter = 'hypervisor.kernel.hung_tasks'
    sensor = 'hung tasks'

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        try:
            count = int(HUNG_TASKS.read_text(encoding='ascii'))
        except OSError:
            records = shared.keep('kmsg', lambda: KernelLog(LOG_DEVICE))
            count = records.count()
        return [probes.Reading(count)]


def errors_of_memory(root: pathlib.Path, name: str) -> int:
    """Return the sum of a counter over all controllers of memory.

    :param name: ``ce_count`` or ``ue_count``.
    :raises probes.Absent: no controller reports errors; so it is in a
        virtual machine, and where the driver is not loaded.
    """
    found = []
    for path in sorted(root.glob(f'mc[0-9]*/{name}')):
        try:
            found.append(int(path.read_text(encoding='ascii')))
        except (OSError, ValueError):
            continue
    if not found:
        raise probes.Absent(f"'{root}' has no controller of memory")
    return sum(found)


class _MemoryPollster(probes.HostPollster):
    sensor = 'errors of memory'
    counter: str

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        return [probes.Reading(errors_of_memory(EDAC, self.counter))]


class CorrectedPollster(_MemoryPollster):
    """Errors of memory that were corrected."""

    meter = 'hypervisor.memory.ce'
    counter = 'ce_count'


class UncorrectedPollster(_MemoryPollster):
    """Errors of memory that were not."""

    meter = 'hypervisor.memory.ue'
    counter = 'ue_count'
