# SPDX-License-Identifier: Apache-2.0

"""Whether the directories of instances can be written and read in time.

The agent itself never touches them: a storage that is away keeps whoever does
in the kernel, where nobody can be killed. A process per directory does it.
"""

from collections.abc import Callable, Iterable
import dataclasses
import threading
import time
from typing import Any

from oslo_log import log

from ceilometer_pollsters import children
from ceilometer_pollsters import probes
from nova_ha_plugins import printable

LOG = log.getLogger(__name__)

_MODULE = 'ceilometer_pollsters.storage_child'
_CACHE_KEY = 'nova_ha.storage'


@dataclasses.dataclass(frozen=True)
class Look:
    """What was found in one directory.

    :ivar up: whether it answered in time, and rightly.
    :ivar seconds: how long that took, or how long it is waited for.
    :ivar reason: why it is not up, for people.
    """

    up: bool
    seconds: float
    reason: str = ''


class Path:
    """One directory and the process that touches it."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, path: str, host: str, deadline: float) -> None:
        self.path = path
        self._host = host
        self._deadline = deadline
        self._child = children.Child(
            f'storage {path}',
            [*children.program(_MODULE), path, host],
            deadline,
        )
        # A directory that was never usable is a mistake of somebody; one
        # that was, and is not, is a failure.
        self._was_up = False
        self._waits_since: float | None = None
        self._said = ''

    def look(self) -> Look | None:
        """Return what is found now, None where there is nothing to say."""
        began = self.clock()
        answer = self._ask()
        if isinstance(answer, children.Broken):
            # It says nothing of the storage.
            self._say(
                f'its probe is broken, nothing is published of it: {answer}'
            )
            return None
        if isinstance(answer, Exception):
            if self._waits_since is None:
                self._waits_since = began
            return self._failed(
                self.clock() - self._waits_since,
                'no answer within the deadline of '
                f'{self._deadline:g}s{_stuck(answer)}',
            )
        self._waits_since = None
        return self._judge(answer, self.clock() - began)

    def _ask(self) -> dict[str, Any] | Exception:
        """Return the answer of the child, or why there is none.

        What is logged while an exception is handled would be logged with it.
        """
        try:
            return self._child.ask(
                {'probe': self.path}, self._deadline + self._child.starting
            )
        except (children.Late, children.Stuck, children.Broken) as error:
            return error

    def _judge(self, answer: dict[str, Any], took: float) -> Look | None:
        seconds = answer.get('seconds')
        if isinstance(seconds, int | float):
            if self._said:
                LOG.warning("Host '%s': '%s' is up", self._host, self.path)
                self._said = ''
            self._was_up = True
            return Look(True, float(seconds))
        reason = printable.line(
            f"'{answer.get('file')}': {answer.get('failed')}"
        )
        if answer.get('set_up') or self._was_up:
            return self._failed(took, reason)
        self._say(
            'it is not probed, and nothing is published of it. Expected a '
            "directory '.nova-ha' in it that the user of this agent may "
            f'write into, found {reason}',
        )
        return None

    def _failed(self, seconds: float, reason: str) -> Look:
        # The deadline is part of the reason, how long is not: one line.
        self._say(f'the storage is down: {reason}')
        return Look(False, seconds, reason)

    def _say(self, text: str) -> None:
        if self._said != text:
            self._said = text
            LOG.error("Host '%s', '%s': %s", self._host, self.path, text)


def _stuck(error: Exception) -> str:
    if isinstance(error, children.Stuck):
        return '; the process that waits for it cannot be killed'
    return ''


class Storage:
    """All directories of a host; those that hang do not hold up the others."""

    def __init__(
        self, paths: Iterable[str], host: str, deadline: float
    ) -> None:
        self._paths = [Path(path, host, deadline) for path in paths]
        self._lock = threading.Lock()

    def look(self, cache: dict[str, Any]) -> dict[str, Look]:
        """Return what is found in each directory, once per cycle.

        :param cache: ceilometer's dictionary of one cycle.
        :raises probes.Absent: no directory is named.
        """
        if not self._paths:
            raise probes.Absent('[nova_ha_host] instances_paths is empty')
        with self._lock:
            if _CACHE_KEY not in cache:
                cache[_CACHE_KEY] = self._look()
            found: dict[str, Look] = cache[_CACHE_KEY]
            return found

    def _look(self) -> dict[str, Look]:
        found: dict[str, Look] = {}

        def ask(path: Path) -> None:
            look = path.look()
            if look is not None:
                found[path.path] = look

        threads = [
            threading.Thread(target=ask, args=(path,), daemon=True)
            for path in self._paths
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            # Each ends within its deadline and the second after it.
            thread.join()
        return dict(sorted(found.items()))


class _StoragePollster(probes.HostPollster):
    sensor = 'storage'

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        own = self.conf.nova_ha_host
        storage = shared.keep(
            'storage',
            lambda: Storage(
                own.instances_paths, self.host, own.storage_deadline
            ),
        )
        for path, look in storage.look(cache).items():
            reason = {'reason': look.reason} if look.reason else {}
            yield probes.Reading(self.value(look), device=path, told=reason)

    def value(self, look: Look) -> float:
        """Return what this meter says of a directory."""
        raise NotImplementedError


class StorageUpPollster(_StoragePollster):
    """1 for a directory of instances that answers in time."""

    meter = 'hypervisor.storage.up'

    def value(self, look: Look) -> float:
        return int(look.up)


class StorageLatencyPollster(_StoragePollster):
    """How long a directory of instances takes to answer."""

    meter = 'hypervisor.storage.latency'

    def value(self, look: Look) -> float:
        return round(look.seconds, 6)
