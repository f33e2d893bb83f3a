# SPDX-License-Identifier: Apache-2.0

"""What the engine remembers of evacuations, for nova-api to estimate from.

An answer never waits for it: what our store has not said within ``PATIENCE``
is left out, and after a failure nobody asks for ``QUIET`` seconds. Without it
evacuations are shown all the same, without times until their end.
"""

from collections import abc
from concurrent import futures
import logging
import threading
import time
import typing

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import values

LOG = logging.getLogger(__name__)

# Seconds that one answer waits, that history is good for, and that are quiet.
PATIENCE = 0.5
FRESH = 10.0
QUIET = 30.0

Value = typing.TypeVar('Value')


class Estimates:
    """Asks the store in threads of its own, and remembers the history."""

    def __init__(
        self,
        store: abc.Callable[[], store_api.Store],
        monotonic: abc.Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        """Ask nothing yet.

        :param store: opens our store; called in one of the threads.
        """
        self._store = store
        self._monotonic = monotonic
        self._patience = patience
        self._lock = threading.Lock()
        self._pool: futures.ThreadPoolExecutor | None = None
        self._reading: futures.Future[estimate.Book] | None = None
        self._book: estimate.Book | None = None
        self._read_at = float('-inf')
        self._quiet_until = float('-inf')

    def book(self) -> estimate.Book | None:
        """History that is ten seconds old, or a little more while it is read.

        None where there is no store, or it does not answer.
        """
        now = self._monotonic()
        with self._lock:
            known = self._book
            if now - self._read_at < FRESH or now < self._quiet_until:
                return known
            reading = self._reading
            if reading is None:
                reading = self._reading = self._ask(self._read)
        # Who has an older one need not wait for the new one.
        found = self._wait(reading, 0.0 if known is not None else None)
        return known if found is None else found

    def traces(
        self, uuids: abc.Collection[str]
    ) -> dict[str, values.EvacuationTrace]:
        """What was seen of these evacuations, by uuid; {} without the store.

        Those alone that somebody followed are in it.
        """
        if not uuids or self._monotonic() < self._quiet_until:
            return {}
        asked = tuple(uuids)
        with self._lock:
            reading = self._ask(lambda: self._store().evacuation_traces(asked))
        found = self._wait(reading, None)
        # It may not even have begun: the threads may all hang.
        reading.cancel()
        return found or {}

    def open_incidents(self) -> tuple[incident.Incident, ...] | None:
        """Failures of hosts that are not closed, None without the store."""
        if self._monotonic() < self._quiet_until:
            return None
        with self._lock:
            reading = self._ask(lambda: self._store().open_incidents())
        found = self._wait(reading, None)
        reading.cancel()
        return found

    def _ask(self, work: abc.Callable[[], Value]) -> 'futures.Future[Value]':
        # Not when nova-api starts: it may fork after that.
        if self._pool is None:
            self._pool = futures.ThreadPoolExecutor(
                4, thread_name_prefix='nova-ha-estimates'
            )
        return self._pool.submit(work)

    def _read(self) -> estimate.Book:
        try:
            book = estimate.Book(self._store().evacuation_history())
            with self._lock:
                self._book, self._read_at = book, self._monotonic()
            return book
        except Exception as error:
            # Perhaps nobody waits for it: who has an older one does not.
            self._be_quiet(_text(error))
            raise
        finally:
            with self._lock:
                self._reading = None

    def _wait(
        self, reading: 'futures.Future[Value]', patience: float | None
    ) -> Value | None:
        """The answer, None when there is none in time."""
        waits = self._patience if patience is None else patience
        try:
            return reading.result(waits)
        except futures.TimeoutError:
            if patience is None:
                self._be_quiet(f'no answer within {waits} s')
        # Whatever it is, evacuations are shown without it.
        except Exception as error:
            self._be_quiet(_text(error))
        return None

    def _be_quiet(self, why: str) -> None:
        now = self._monotonic()
        with self._lock:
            if now < self._quiet_until:
                return
            self._quiet_until = now + QUIET
        LOG.warning(
            'The store of nova-ha-plugins says nothing about evacuations '
            '(%s): they are shown without times until their end, and it is '
            'asked again in %.0f s',
            why,
            QUIET,
        )


def _text(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'


_lock = threading.Lock()
_known: dict[str, Estimates] = {}


def book() -> estimate.Book | None:
    """History to estimate from; None where nothing is known of it now."""
    found = _of_this_store()
    return None if found is None else found.book()


def traces(uuids: abc.Collection[str]) -> dict[str, values.EvacuationTrace]:
    """What was seen of these evacuations, as far as it is known now."""
    found = _of_this_store()
    return {} if found is None else found.traces(uuids)


def open_incidents() -> tuple[incident.Incident, ...] | None:
    """Failures of hosts that are not closed, None where nobody knows now."""
    found = _of_this_store()
    return None if found is None else found.open_incidents()


def _of_this_store() -> Estimates | None:
    """None where nova's configuration names no store."""
    if not backend.is_configured():
        return None
    key = str(compat.CONF.nova_ha_database.connection)
    with _lock:
        if key not in _known:
            _known[key] = Estimates(backend.open_store)
        return _known[key]
