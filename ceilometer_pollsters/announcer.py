# SPDX-License-Identifier: Apache-2.0

"""Sends the events of the watcher, in a thread of their own.

A message bus that is away holds up who sends for as long as it is away; the
watcher has to look on meanwhile. Of each host only the newest is kept, so a
bus that is away for a day fills no memory, and what became untrue is not sent.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import threading
import time
from typing import Any

from oslo_log import log

from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import sighting
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

Kind = sighting.Kind

EVENTS = {
    Kind.SUSPECTED: 'compute.host.suspected',
    Kind.DOWN: 'compute.host.down',
    Kind.UP: 'compute.host.up',
    Kind.DEGRADED: 'compute.host.degraded',
}
# Ceilometer makes events of these two priorities only.
_ERRORS = frozenset({Kind.DOWN, Kind.DEGRADED})
# The last word of these is true of a host, whatever was to be said before.
_FINAL = frozenset({Kind.DOWN, Kind.UP})
# Rows that are written together, so that a long queue is remembered as it
# goes out.
_TOGETHER = 50


@dataclasses.dataclass(frozen=True)
class Telling:
    """One event that is to be sent.

    :ivar channels: of a degraded host, what is wrong.
    """

    kind: Kind
    host: str
    payload: dict[str, Any]
    channels: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Return what it replaces among those that wait."""
        return self.host, 'state' if self.kind in _FINAL else str(self.kind)

    def rows(self) -> tuple[values.Health, ...]:
        """Return what all watchers are to remember of it."""
        if self.kind == Kind.SUSPECTED:
            return ()
        silent = float(self.payload['silent_for'])
        if self.kind == Kind.DEGRADED:
            named = ', '.join(self.channels)
            return (
                values.Health(
                    self.host, health.TOLD_DEGRADED, False, silent, named
                ),
            )
        is_up = self.kind == Kind.UP
        text = '' if is_up else str(self.payload['reason'])
        return (
            values.Health(self.host, health.TOLD_DOWN, is_up, silent, text),
            values.Health(self.host, health.TOLD_DEGRADED, True),
        )


class Announcer:
    """A queue of events and the thread that sends them.

    :ivar clock: seconds that never go back.
    """

    def __init__(self, notifier: Any, store: liveness.Liveness) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._notifier = notifier
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], Telling] = {}
        self._wanted = threading.Event()
        self._since: float | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, items: Iterable[Telling]) -> None:
        """Let events be sent; what they make untrue is not any more."""
        with self._lock:
            for item in items:
                if item.kind in _FINAL:
                    for kind in (Kind.SUSPECTED, Kind.DEGRADED):
                        self._waiting.pop((item.host, str(kind)), None)
                self._waiting.pop(item.key, None)
                self._waiting[item.key] = item
        self._wanted.set()

    def drop(self) -> None:
        """Forget what waits: somebody else tells it."""
        with self._lock:
            self._waiting.clear()

    def stuck_for(self) -> float:
        """Return for how many seconds one event has not been taken."""
        since = self._since
        return 0.0 if since is None else self.clock() - since

    def start(self) -> None:
        """Send from a thread; a second call does nothing."""
        self._closed = False
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run, name='nova-ha-announcer', daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End the thread as soon as the bus lets it go."""
        self._closed = True
        self._wanted.set()

    def _run(self) -> None:
        while not self._closed:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self.drain()
            except Exception:
                # The watcher repeats what is not remembered as told.
                LOG.exception('Events of hosts were not sent')

    def drain(self) -> None:
        """Send all that waits, and remember what was sent."""
        sent: list[values.Health] = []
        try:
            while not self._closed and (item := self._next()):
                self._send(item)
                sent += item.rows()
                if len(sent) >= _TOGETHER:
                    self._remember(sent)
                    sent = []
        finally:
            self._remember(sent)

    def _next(self) -> Telling | None:
        with self._lock:
            for key in self._waiting:
                return self._waiting.pop(key)
        return None

    def _send(self, item: Telling) -> None:
        tell = self._notifier.info
        if item.kind in _ERRORS:
            tell = self._notifier.error
        self._since = self.clock()
        try:
            tell({}, EVENTS[item.kind], item.payload)
        finally:
            self._since = None

    def _remember(self, rows: list[values.Health]) -> None:
        if not rows:
            return
        try:
            self._store.healths(rows)
        except errors.AWAY as error:
            # This watcher knows what it told; the others would repeat it.
            LOG.debug('What was told is not remembered: %s', error)
