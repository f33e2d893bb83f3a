# SPDX-License-Identifier: Apache-2.0

"""What of the store an evaluator of alarms sees, read by a thread beside it.

Aodh evaluates all alarms of a process in one thread: a store that hangs would
hold up everybody's. So an evaluation never waits for a store. It gets what
was seen last, or nothing if that is too old, and then it changes nothing.

The thread also sees what happens between two evaluations, of which another
evaluator may do every second one: a stall that nobody saw would leave no
patience behind.
"""

from collections.abc import Callable
import dataclasses
import threading
import time
from typing import Any
from typing import Protocol

from oslo_log import log

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import liveness

LOG = log.getLogger(__name__)

# Seconds between two looks. Every evaluator reads all heartbeats that often.
PERIOD = 2.0
# What is older than this many looks is no evidence any more.
STALE_AFTER = 5.0
# Health has many more rows than there are hosts, and only those of watchers
# matter here: reading it takes at most one part in so many of the time.
_HEALTH_SHARE = 4
# A rule that nobody asked about for so long was deleted, or is evaluated by
# somebody else now.
_FORGOTTEN_AFTER = 900.0


class Engines(Protocol):
    """The part of the store that says whether an engine is at work."""

    def engine_status(self) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class Service:
    """What is known of the service itself.

    :ivar engine_age: seconds since the acting engine spoke, None if never.
    :ivar watches: every watcher that ever looked.
    :ivar hosts: how many hosts were ever heard.
    :ivar newest: seconds since anybody was heard.
    :ivar blind_for: seconds for which no watcher has seen clearly.
    :ivar away_for: seconds since a question found that the store could not
        be read, None while it can.
    """

    engine_age: float | None = None
    watches: tuple[health.Watch, ...] = ()
    hosts: int = 0
    newest: float = 0.0
    blind_for: float = 0.0
    away_for: float | None = None


@dataclasses.dataclass
class _Watched:
    """One set of rules, and what it makes of what is seen."""

    rules: detector.Rules
    state: detector.State
    asked_at: float
    look: detector.Look | None = None


class Lookout:
    """Looks at the store every two seconds, from the first question on.

    :ivar clock: seconds that never go back.
    """

    def __init__(
        self,
        rules: detector.Rules,
        beats: liveness.Liveness,
        engines: Engines,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one; nothing is read before somebody asks.

        :param rules: those of the watcher; a question brings its own timeout.
        """
        self.clock = clock
        self._rules = rules
        self._beats = beats
        self._engines = engines
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._watched: dict[float, _Watched] = {}
        self._service = Service()
        self._watches: tuple[health.Watch, ...] = ()
        self._watches_until = float('-inf')
        self._seen_at: float | None = None
        self._began_at = 0.0
        self._clear_at = 0.0
        self._missed_at: float | None = None
        self._away = ''

    def start(self) -> None:
        """Begin to look, unless that was done."""
        with self._lock:
            if self._thread is not None:
                return
            self._began_at = self._clear_at = self.clock()
            self._thread = threading.Thread(
                target=self._run, name='nova-ha-lookout', daemon=True
            )
            self._thread.start()

    def hosts(self, timeout: float) -> detector.Look | None:
        """Return the newest look with a timeout, None when there is none.

        :param timeout: seconds of silence; never less than the watcher's own,
            which knows what the network needs.
        """
        timeout = max(timeout, self._rules.timeout)
        now = self.clock()
        with self._lock:
            known = self._watched.get(timeout)
            if known is None:
                known = self._watched[timeout] = _Watched(
                    rules=dataclasses.replace(
                        self._rules,
                        timeout=timeout,
                        late_after=max(timeout / 2, 3 * PERIOD),
                    ),
                    state=detector.begin(now),
                    asked_at=now,
                )
            known.asked_at = now
            return known.look if self._age(now) < STALE_AFTER else None

    def service(self) -> Service:
        """Return what is known of the service.

        How long the store is away is counted from the question that found it
        so: this process may have stood still itself before it.
        """
        now = self.clock()
        with self._lock:
            if self._seen_at is not None and self._age(now) < STALE_AFTER:
                self._missed_at = None
                blind_for = now - self._clear_at
                return dataclasses.replace(self._service, blind_for=blind_for)
            if self._missed_at is None:
                self._missed_at = now
            return Service(away_for=now - self._missed_at)

    def look(self) -> None:
        """Look once, and keep what was seen.

        What is wrong with the store is said when it begins and when it ends.
        """
        try:
            beats = self._beats.read()
            # Ages are of this moment, however long the store took.
            at = self.clock()
            watches = self._read_watches(at)
            status = self._engines.engine_status()
        except Exception as error:
            # A library of the store may raise anything; the thread lives on.
            self._say_away(error)
            return
        self._say_back()
        with self._lock:
            self._keep(at, beats)
            if any(
                watch.clear and watch.age < STALE_AFTER for watch in watches
            ):
                self._clear_at = at
            self._service = Service(
                engine_age=status.get('age'),
                watches=watches,
                hosts=len(beats),
                newest=min((beat.age for beat in beats), default=0.0),
            )
            self._seen_at = at

    def _read_watches(self, at: float) -> tuple[health.Watch, ...]:
        """Return what watchers said of themselves, a moment ago."""
        if at >= self._watches_until:
            self._watches = health.watches(self._beats.read_healths())
            now = self.clock()
            self._watches_until = now + (now - at) * (_HEALTH_SHARE - 1)
        return self._watches

    def _keep(self, at: float, beats: tuple[views.Beat, ...]) -> None:
        self._watched = {
            timeout: known
            for timeout, known in self._watched.items()
            if at - known.asked_at < _FORGOTTEN_AFTER
        }
        for known in self._watched.values():
            known.look = detector.look(known.state, beats, at, known.rules)
            known.state = known.look.state

    def _age(self, now: float) -> float:
        """Return how old what was seen is, counted from the begin if none."""
        seen = self._began_at if self._seen_at is None else self._seen_at
        return now - seen

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                # A fault of ours in one look must not end all looks.
                LOG.exception('A look at the heartbeats failed')
            time.sleep(PERIOD)

    def _say_away(self, error: Exception) -> None:
        if self._away != type(error).__name__:
            self._away = type(error).__name__
            LOG.error(
                'Alarms about heartbeats keep their state: the heartbeats '
                'cannot be read: %s. Read again in %.0fs',
                self._away,
                PERIOD,
            )

    def _say_back(self) -> None:
        if self._away:
            LOG.warning('Heartbeats can be read again after %s', self._away)
            self._away = ''
