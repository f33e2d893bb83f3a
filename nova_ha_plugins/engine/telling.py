# SPDX-License-Identifier: Apache-2.0

"""Tells the bus what became of evacuations, in a thread of its own.

A bus that is away, or that hangs, holds up this thread and nothing else. Of
each evacuation one job waits at most: what changes meanwhile is in the next
one. What could not be sent is forgotten here; the follower, to which it does
not count as told, offers it again.
"""

from collections.abc import Callable
import dataclasses
import threading
import time
import typing

from oslo_log import log

from nova_ha_plugins.recovery import views

LOG = log.getLogger(__name__)

# Evacuations of which something waits to be sent.
LIMIT = 1000

# Seconds for which nothing is tried after the bus did not take something.
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0


class Bus(typing.Protocol):
    """The part of ``bus.Bus`` that is needed."""

    def tell(self, word: str, subject: views.Evacuation) -> None: ...
    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Job:
    """What to tell of one evacuation.

    :ivar words: 'start', 'progress', 'end', 'error', in their order.
    :ivar mark: whatever the one who offers it wants back once it was told.
    """

    subject: views.Evacuation
    words: tuple[str, ...]
    mark: typing.Any = None


class Teller:
    """Sends jobs, one after the other, in the order of their coming."""

    def __init__(
        self,
        bus: Bus,
        limit: int = LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send nothing yet; ``run`` is the work of a thread."""
        self._bus = bus
        self._limit = limit
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._told: dict[str, Job] = {}
        self._stopping = False
        self._pause = 0.0
        self._quiet_until = 0.0

    def offer(self, job: Job) -> bool:
        """Whether the job was taken.

        Not while another one of the same evacuation waits, or too many do,
        nor for a while after the bus refused something.
        """
        uuid = job.subject.uuid
        with self._changed:
            if (
                self._stopping
                or uuid in self._jobs
                or uuid in self._told
                or len(self._jobs) >= self._limit
                or self._monotonic() < self._quiet_until
            ):
                return False
            self._jobs[uuid] = job
            self._changed.notify()
            return True

    def told(self) -> tuple[Job, ...]:
        """Jobs that were sent since this was last asked."""
        with self._changed:
            found, self._told = tuple(self._told.values()), {}
            return found

    def run(self) -> None:
        """Send until told to stop."""
        while self.send_next():
            pass
        self._bus.close()

    def send_next(self) -> bool:
        """Send one job, when there is one; False once it is to stop."""
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return False
            uuid, job = next(iter(self._jobs.items()))
        refusal = self._try(job)
        if refusal is None:
            self._sent(uuid, job)
        else:
            self._refused(refusal)
        return True

    def stop(self) -> None:
        """Send nothing more after what is being sent now."""
        with self._changed:
            self._stopping = True
            self._jobs.clear()
            self._changed.notify()

    def _try(self, job: Job) -> Exception | None:
        try:
            for word in job.words:
                self._bus.tell(word, job.subject)
        # Each driver of a bus raises what it likes.
        except Exception as error:
            return error
        return None

    def _sent(self, uuid: str, job: Job) -> None:
        with self._changed:
            self._jobs.pop(uuid, None)
            self._told[uuid] = job
            again, self._pause = self._pause > 0.0, 0.0
        if again:
            LOG.info('The bus takes notifications of evacuations again')

    def _refused(self, error: Exception) -> None:
        with self._changed:
            first = self._pause == 0.0
            self._pause = min(
                max(self._pause * 2.0, FIRST_PAUSE), LONGEST_PAUSE
            )
            self._quiet_until = self._monotonic() + self._pause
            # They are offered again, as they are by then.
            self._jobs.clear()
        if first:
            LOG.warning(
                'The bus took no notification of an evacuation (%(kind)s: '
                '%(error)s): it is told again later, recovery goes on',
                {'kind': type(error).__name__, 'error': error},
            )
