# SPDX-License-Identifier: Apache-2.0

"""Sends events from a thread of its own, so that nobody waits for the bus.

Whoever has an event puts it here and goes on. The first of its kind is sent
at once; what follows too soon is one event that carries the newest and how
many it stands for. A bus that is away loses the oldest, and that is said.
"""

from collections.abc import Callable
import dataclasses
import threading
import time
from typing import Any

from oslo_log import log

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Event:
    """One event.

    :ivar key: events of one key are of one kind and of one thing: the newest
        stands for those before it.
    :ivar urgent: sent as an error, not as information.
    """

    key: tuple[str, ...]
    event_type: str
    payload: dict[str, Any]
    urgent: bool = False


@dataclasses.dataclass
class _Waiting:
    event: Event
    due: float
    count: int = 1


class Teller:
    """The queue and the thread behind it.

    :ivar dropped: events lost since the bus last took one.
    """

    def __init__(
        self,
        notifier: Any,
        interval: float,
        longest: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the thread begins with the first event.

        :param interval: seconds between two events of one key.
        :param longest: events that wait at most.
        """
        self.dropped = 0
        self._notifier = notifier
        self._interval = interval
        self._longest = longest
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, ...], _Waiting] = {}
        self._sent: dict[tuple[str, ...], float] = {}
        self._thread: threading.Thread | None = None
        self._ends = False

    def put(self, event: Event) -> None:
        """Have an event sent; returns at once."""
        with self._changed:
            waiting = self._waiting.get(event.key)
            if waiting:
                waiting.event = event
                waiting.count += 1
                return
            if len(self._waiting) >= self._longest:
                # A dictionary keeps the order in which they came.
                oldest = self._waiting.pop(next(iter(self._waiting)))
                self.dropped += oldest.count
            now = self._clock()
            last = self._sent.get(event.key)
            due = now if last is None else max(now, last + self._interval)
            self._waiting[event.key] = _Waiting(event, due)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='teller', daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End the thread; what waits is lost."""
        with self._changed:
            self._ends = True
            self._changed.notify()

    def _run(self) -> None:
        while waiting := self._next():
            self._send(waiting)

    def _next(self) -> _Waiting | None:
        """Return the next event when it is due, None at the end."""
        with self._changed:
            while not self._ends:
                now = self._clock()
                first = min(
                    self._waiting.values(),
                    key=lambda waiting: waiting.due,
                    default=None,
                )
                if first and first.due <= now:
                    key = first.event.key
                    del self._waiting[key]
                    self._forget(now)
                    self._sent[key] = now
                    return first
                self._changed.wait(first.due - now if first else None)
            return None

    def _forget(self, now: float) -> None:
        """Drop what was sent too long ago to hold anything back."""
        old = [k for k, at in self._sent.items() if at + self._interval <= now]
        for key in old:
            del self._sent[key]

    def _send(self, waiting: _Waiting) -> None:
        event = waiting.event
        payload = {**event.payload, 'count': waiting.count}
        send = self._notifier.error if event.urgent else self._notifier.info
        try:
            # Blocks while the bus is away.
            send({}, event.event_type, payload)
        except Exception as error:
            with self._changed:
                self.dropped += waiting.count
            LOG.error(
                "Event '%s' could not be sent: %s",
                event.event_type,
                type(error).__name__,
            )
            return
        with self._changed:
            dropped, self.dropped = self.dropped, 0
        if dropped:
            LOG.warning(
                'Events can be sent again, %d of %s and the like were lost',
                dropped,
                event.event_type,
            )
