# SPDX-License-Identifier: Apache-2.0

"""What an engine is among several: the one that acts, or one that watches.

One thread keeps it, whatever the rounds do: it renews the lease of an acting
engine, and of a watching one it looks whether the acting one is gone. The
lease in the store decides; the lock of the coordination only says sooner that
a lease will not be renewed any more.
"""

from collections.abc import Callable
import threading
import time
import typing

from oslo_log import log

from nova_ha_plugins.store import errors
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# EX_CONFIG of sysexits.h: to start it again helps nobody.
REFUSED = 78
# systemd, or the process above, starts it again as a watcher.
TAKEN_OVER = 3

# An engine says what it does this often.
_TOLD_EVERY = 2.0
# A round that takes longer than this is not one: the lease may run out.
_ROUND_LIMIT = 180.0
# For so long a cold engine leaves a take-over to a warm one.
_COLD_PATIENCE = 2.0


class Store(typing.Protocol):
    """The part of the store that the standing needs."""

    def lease_state(self) -> values.LeaseState: ...
    def take_lease(
        self,
        owner: str,
        ttl: float,
        locked: bool = False,
        expected: int | None = None,
    ) -> values.Lease: ...
    def renew_lease(self, lease: values.Lease) -> values.Lease: ...
    def note_engine(
        self, name: str, ttl: float, told: dict[str, typing.Any]
    ) -> None: ...
    def engines(self) -> tuple[values.EngineState, ...]: ...
    def forget_engine(self, name: str) -> None: ...


class Locks(typing.Protocol):
    """The part of ``coordination.Locks`` that the standing needs."""

    held: str
    caught: str

    def catch(self, lock: str) -> None: ...


class Standing:
    """Acting or watching, and how one becomes the other.

    :ivar lease: of an acting engine, None of one that watches.
    :ivar changed: set when it begins to act.
    :ivar refusal: why this engine must not run at all, '' if it may.
    :ivar stood_still: set when the whole process stood still for so long that
        what it saw before is old.
    """

    def __init__(
        self,
        store: Store,
        locks: Locks,
        name: str,
        ttl: float,
        told: dict[str, typing.Any],
        is_warm: Callable[[], bool],
        lost: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch; nothing happens before the first turn.

        :param ttl: of the lease, and of this engine's row.
        :param told: what never changes of that row: release and backend.
        :param is_warm: whether this engine has watched for long enough.
        :param lost: ends the process; it does not return.
        """
        self.lease: values.Lease | None = None
        self.changed = threading.Event()
        self.stood_still = threading.Event()
        self.refusal = ''
        self.round_began: float | None = None
        self.period = min(0.5, ttl / 10)
        self._store = store
        self._locks = locks
        self._name = name
        self._ttl = ttl
        self._told = told
        self._is_warm = is_warm
        self._lost = lost
        self._monotonic = monotonic
        self._told_at = float('-inf')
        self._told_last: dict[str, typing.Any] = {}
        self._free_since: float | None = None
        self._strange_since: float | None = None
        self._caught: tuple[str, float] | None = None
        self._not_gone = ''
        self._away = False
        self._hangs = False

    def keep(self, stop: threading.Event, still: float) -> None:
        """Do turns until told to stop: the work of a thread.

        :param still: seconds without a turn that make the view an old one.
        """
        self._forget_dead()
        while not stop.is_set() and not self.refusal:
            try:
                self.turn()
            except errors.AWAY as error:
                self._store_away(error)
            except Exception:
                # Without this thread a watching engine would never take over,
                # and nobody would notice.
                LOG.exception('A look at the lease failed; it is made again')
            before = self._monotonic()
            stop.wait(self.period)
            if self._monotonic() - before - self.period >= still:
                self.stood_still.set()

    def turn(self) -> None:
        """Renew the lease, or look whether to take it.

        :raises errors.AWAY: the store does not say.
        """
        if self.lease is None:
            self._watch()
        else:
            self._act(self.lease)
        if self.refusal:
            self._leave()
            return
        self._tell()
        if self._away:
            LOG.info('The store answers again')
            self._away = False

    def _act(self, lease: values.Lease) -> None:
        began = self.round_began
        if began is not None and self._monotonic() - began > _ROUND_LIMIT:
            self._hang(lease)
            return
        self._hangs = False
        try:
            self._store.renew_lease(lease)
        except values.LeaseLost as error:
            self._lost(str(error))

    def _hang(self, lease: values.Lease) -> None:
        """Let the lease run out, and end when somebody else has it."""
        if not self._hangs:
            LOG.error('A round does not end: another engine may take over')
        self._hangs = True
        seen = self._store.lease_state()
        if seen.token != lease.token:
            self._lost(f"it belongs to '{seen.owner}'")

    def _watch(self) -> None:
        seen = self._store.lease_state()
        engines = {each.name: each for each in self._store.engines()}
        acting = engines.get(seen.owner)
        lock = str(acting.told.get('lock', '')) if acting else ''
        # The lock has one catcher: better one that need not warm up. But a
        # row of a warm one may be that of an engine that is gone as well.
        defers = not self._is_warm() and self._warm_others(seen, engines)
        waits = defers and seen.age < 4 * self.period
        self._locks.catch('' if waits or lock == self._not_gone else lock)
        locked = self._is_gone(lock)
        free = seen.is_over or locked or leases.process_is_gone(seen.owner)
        now = self._monotonic()
        if not free:
            self._free_since = None
            self._compare(seen, acting, lock, now)
            return
        self._strange_since = None
        if self._free_since is None:
            self._free_since = now
        waited = now - self._free_since
        if defers and not locked and waited < _COLD_PATIENCE:
            return
        if seen.owner and seen.age < 0.0 and waited < 4 * self.period:
            # The store's clock went back: who lives renews it any moment.
            return
        self._take(seen, locked)

    def _is_gone(self, lock: str) -> bool:
        """Return whether the lock that we caught means that its owner died.

        An engine that goes on renewing its lease has lost only its lock.
        """
        caught = self._locks.caught
        if not lock or caught != lock:
            self._caught = None
            return False
        now = self._monotonic()
        if self._caught is None or self._caught[0] != lock:
            self._caught = lock, now
            return False
        waited = now - self._caught[1]
        if waited < 1.5 * self.period:
            return False
        age = self._store.lease_state().age
        if age < 0.0:
            return False
        if age < waited:
            LOG.warning(
                'The lock of the acting engine is free, yet it renews its '
                'lease: it lost its coordination service, and goes on'
            )
            self._not_gone, self._caught = lock, None
            return False
        return True

    def _warm_others(
        self,
        seen: values.LeaseState,
        engines: dict[str, values.EngineState],
    ) -> bool:
        return any(
            each.told.get('warm') and each.age < each.ttl
            for each in engines.values()
            if each.name not in (self._name, seen.owner)
        )

    def _take(self, seen: values.LeaseState, locked: bool) -> None:
        try:
            lease = self._store.take_lease(
                self._name, self._ttl, locked, seen.token
            )
        except values.LeaseHeld as error:
            LOG.info('Another engine was quicker: %s', error)
            return
        self._free_since = None
        self._locks.catch('')
        how = f"from '{lease.taken_from}', " if lease.taken_from else ''
        why = 'its lock was free' if locked else 'its lease was over'
        LOG.info(
            "Engine '%(name)s' took the lease (%(how)stoken %(token)d)",
            {
                'name': self._name,
                'how': f'{how}{why}, ' if how else '',
                'token': lease.token,
            },
        )
        self.lease = lease
        self.changed.set()

    def _compare(
        self,
        seen: values.LeaseState,
        acting: values.EngineState | None,
        lock: str,
        now: float,
    ) -> None:
        """Refuse to run beside an engine that coordinates otherwise.

        Two addresses may lead to the same backend: then the lock of the other
        engine is held there.
        """
        theirs = acting.told.get('backend', '') if acting else ''
        ours = self._told['backend']
        if ours and (
            ours == theirs
            or (
                ours.partition(':')[0] == theirs.partition(':')[0]
                and lock != self._not_gone
            )
        ):
            self._strange_since = None
            return
        if self._strange_since is None:
            self._strange_since = now
        # One that died renews nothing: then the lease runs out, before this.
        if now - self._strange_since <= seen.ttl + 2 * self.period:
            return
        found = (
            f"expected '{theirs or '(none)'}' as there, found "
            f"'{ours or '(none)'}'"
            if ours or theirs
            else 'and neither has one'
        )
        self.refusal = (
            f"Engine '{seen.owner}' is at work already: two engines need the "
            f'same [coordination] backend_url, {found}; set it for both, or '
            'stop one of them'
        )

    def _leave(self) -> None:
        """Let nobody miss an engine that never ran."""
        try:
            self._store.forget_engine(self._name)
        finally:
            self.changed.set()

    def _tell(self) -> None:
        told = {
            **self._told,
            'acting': self.lease is not None,
            'token': self.lease.token if self.lease else 0,
            'warm': self._is_warm(),
            'lock': self._locks.held,
        }
        now = self._monotonic()
        if told == self._told_last and now - self._told_at < _TOLD_EVERY:
            return
        self._store.note_engine(self._name, self._ttl, told)
        self._told_last, self._told_at = told, now

    def _store_away(self, error: Exception) -> None:
        if not self._away:
            LOG.warning(
                'The store does not answer: %s. Nothing is done meanwhile, '
                'and another engine may take over.',
                error,
            )
        self._away = True

    def _forget_dead(self) -> None:
        """Remove rows of dead processes of this machine."""
        try:
            for each in self._store.engines():
                if leases.process_is_gone(each.name):
                    self._store.forget_engine(each.name)
        except errors.AWAY as error:
            self._store_away(error)
