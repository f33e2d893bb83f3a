# SPDX-License-Identifier: Apache-2.0

"""A lock of a coordination service, by which the death of an engine shows.

Each engine holds a lock of a name that it tells in the store; whoever gets the
lock of the acting one knows that it does not hold it any more. That is a hint
and makes a take-over quick, no more: the lease alone decides who may act.

The backend is talked to in one thread of its own, because a call to it may
hang for as long as the network lets it.
"""

import contextlib
import logging
import threading
import time
import typing
import urllib.parse
import uuid

from oslo_log import log
from oslo_utils import netutils
from tooz import coordination as tooz_coordination

LOG = log.getLogger(__name__)

# The lock is made anew from time to time: a backend that was started again
# has forgotten it, and some drivers would never say so.
_RENEWED_AFTER = 60.0
# Seconds before a backend that failed is asked again.
_PAUSE = 2.0


def label(backend_url: str) -> str:
    """Return what tells one backend from another, without a password."""
    if not backend_url:
        return ''
    parts = netutils.urlsplit(backend_url)
    port = f':{parts.port}' if parts.port else ''
    name = urllib.parse.parse_qs(parts.query).get('dbname', [''])[0]
    path = parts.path.strip('/') or name
    return f'{parts.scheme}://{parts.hostname or ""}{port}/{path}'


def open_coordinator(
    backend_url: str, name: str
) -> tooz_coordination.CoordinationDriver:
    """Return the driver of a backend; nothing is connected yet.

    :raises Exception: there is no such driver, or it cannot be loaded.
    """
    return tooz_coordination.get_coordinator(
        backend_url,
        name.encode(),
        (tooz_coordination.Characteristics.DISTRIBUTED_ACROSS_PROCESSES,),
    )


class Locks:
    """Holds the own lock, and tries for another engine's.

    :ivar held: name of the own lock while it is held, '' otherwise.
    :ivar caught: name of another engine's lock that was free, '' otherwise.
    """

    def __init__(self, backend_url: str, name: str, period: float) -> None:
        """Do nothing before ``start``."""
        self._url = backend_url
        self._name = name
        self._period = period
        self._wish = ''
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._coordinator: typing.Any = None
        self._own: typing.Any = None
        self._own_since = 0.0
        self._other: typing.Any = None
        self._failed = False
        self.held = ''
        self.caught = ''
        self._thread = threading.Thread(
            target=self._run, name='coordination', daemon=True
        )

    def start(self) -> None:
        """Hold the own lock from now on; does nothing without a backend."""
        if self._url:
            # A library must not tell the address of the backend twice a
            # second while it is away.
            logging.getLogger('tooz').setLevel(logging.ERROR)
            self._thread.start()

    def stop(self) -> None:
        """Give every lock back, if the backend answers soon."""
        self._stop.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(_PAUSE)

    def catch(self, lock: str) -> None:
        """Try for the lock of another engine; '' for none."""
        if lock != self._wish:
            self._wish = lock
            self._changed.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            pause = self._period
            try:
                self._turn(self._wish)
                if self._failed:
                    LOG.info('The coordination service answers again')
                    self._failed = False
            # Each driver lets fly what its own library does.
            except Exception as error:
                self._forget()
                if not self._failed:
                    LOG.warning(
                        'The coordination service %(where)s does not serve: '
                        '%(error)s. A take-over waits for the lease to run '
                        'out; tried again.',
                        {'where': label(self._url), 'error': error},
                    )
                self._failed = True
                pause = _PAUSE
            self._changed.wait(pause)
            self._changed.clear()
        self._give_back()

    def _turn(self, wish: str) -> None:
        if self._coordinator is None:
            coordinator = open_coordinator(self._url, self._name)
            coordinator.start(start_heart=True)
            self._coordinator = coordinator
        self._hold()
        if self.caught == wish:
            return
        self._release_other()
        if wish:
            lock = self._coordinator.get_lock(wish.encode())
            if lock.acquire(blocking=False):
                self._other, self.caught = lock, wish

    def _hold(self) -> None:
        if self._own and time.monotonic() - self._own_since < _RENEWED_AFTER:
            return
        name = f'nova-ha-{uuid.uuid4().hex}'
        lock = self._coordinator.get_lock(name.encode())
        if not lock.acquire(blocking=False):
            return
        before, self._own, self.held = self._own, lock, name
        self._own_since = time.monotonic()
        if before is not None:
            # Not at once: who watches has to read the new name first.
            threading.Timer(_PAUSE, _release, (before,)).start()

    def _release_own(self) -> None:
        lock, self._own, self.held = self._own, None, ''
        if lock is not None:
            _release(lock)

    def _release_other(self) -> None:
        lock, self._other, self.caught = self._other, None, ''
        if lock is not None:
            _release(lock)

    def _forget(self) -> None:
        for lock in (self._own, self._other):
            if lock is not None:
                _disown(lock)
        self._disconnect()
        self._own = self._other = self._coordinator = None
        self.held = self.caught = ''

    def _give_back(self) -> None:
        self._release_own()
        self._release_other()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._coordinator is None:
            return
        try:
            # With it the thread ends that some drivers keep a lock by.
            self._coordinator.stop()
        except Exception as error:
            LOG.debug('The coordination did not end well: %s', error)


def _release(lock: typing.Any) -> None:
    try:
        lock.release()
    # It is given back by its connection or its own time at the latest.
    except Exception as error:
        _disown(lock)
        LOG.debug('A lock was not given back: %s', error)


def _disown(lock: typing.Any) -> None:
    """Have a lock forget that it is held: its server is gone."""
    # Some drivers ask the server for it.
    with contextlib.suppress(AttributeError):
        lock.acquired = False
