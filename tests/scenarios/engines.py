# SPDX-License-Identifier: Apache-2.0

"""Several engines: the product's own standing and loop, one process each.

What a process is and what a coordination service does with its locks is
simulated; who acts is decided by ``engine.standing`` itself.
"""

import typing

from nova_ha_plugins.engine import loop
from nova_ha_plugins.engine import standing
from nova_ha_plugins.store import values
from tests.scenarios import memory

if typing.TYPE_CHECKING:
    from tests.scenarios import simulation

# The process above starts an engine that ended again.
_RESTART = 2.0
# A lock of a holder that says nothing more is free after this.
_LOCK_TTL = 10.0


class Ended(BaseException):
    """The process of an engine ends itself here."""


class Coordination:
    """Locks that all engines see.

    :ivar kind: 'connection' frees the lock of a process that died at once and
        never that of one that stands still; 'ttl' frees both after a while.
    :ivar down: nobody reaches it.
    """

    def __init__(self) -> None:
        self.kind = 'connection'
        self.down = False
        self.holders: dict[str, Locks] = {}

    def is_free(self, lock: str) -> bool:
        holder = self.holders.get(lock)
        if holder is None:
            return True
        silent = holder.silent_for()
        if self.kind == 'ttl':
            return silent >= _LOCK_TTL
        return holder.member.state == 'dead' or holder.ended


class Locks:
    """The locks of one process, as ``standing.Locks`` asks for them."""

    def __init__(self, member: 'Member', name: str) -> None:
        self.member = member
        self.name = name
        self.held = ''
        self.caught = ''
        self.ended = False
        self.last_at = member.sim.world.now

    def silent_for(self) -> float:
        return self.member.sim.world.now - self.last_at

    def hold(self) -> None:
        where = self.member.sim.coordination
        self._drop()
        self.held = '' if where.down else f'lock of {self.name}'
        if self.held:
            where.holders[self.held] = self

    def catch(self, lock: str) -> None:
        where = self.member.sim.coordination
        self.held = ''
        if where.down or not lock:
            self._drop()
        elif lock != self.caught:
            self._drop()
            if where.is_free(lock):
                where.holders[lock] = self
                self.caught = lock

    def _drop(self) -> None:
        if self.caught:
            self.member.sim.coordination.holders.pop(self.caught, None)
        self.caught = ''


class Member:
    """One engine process after another on one machine.

    :ivar state: 'up', 'frozen' or 'dead'.
    :ivar own: the name of its process.
    :ivar cut: its machine does not reach the store.
    """

    def __init__(self, sim: 'simulation.Simulation', name: str) -> None:
        self.sim = sim
        self.name = name
        self.cut = False
        self.starts = 0
        self.frozen_at = 0.0
        self.restart_at = 0.0
        self.start()

    def start(self) -> None:
        """A new process, which knows nothing."""
        sim = self.sim
        self.state = 'up'
        self.starts += 1
        own = self.own = f'{self.name}-{self.starts}'
        self.access = memory.Access(sim.store)
        self.access.cut = self.cut
        self.locks = Locks(self, own)
        self.eyes = loop.Eyes(sim.world.now, sim.settings)
        self.engine: loop.Engine | None = None
        self.acts_since = 0.0
        self.standing = standing.Standing(
            self.access,
            self.locks,
            own,
            sim.ttl,
            {'release': '1', 'backend': 'simulated'},
            lambda: self._watches() >= sim.settings.limits.warm_up,
            self._lost,
            lambda: sim.world.now,
        )

    @property
    def acts(self) -> bool:
        """Whether it acts, or believes so."""
        return self.state != 'dead' and self.standing.lease is not None

    def _watches(self) -> float:
        return self.sim.world.now - self.eyes.began

    @staticmethod
    def _lost(why: str) -> None:
        raise Ended(why)

    def second(self) -> None:
        """A turn of the standing, then a round, or a look of a watcher."""
        if self.state == 'dead' and self.sim.world.now >= self.restart_at:
            self.start()
        if self.state != 'up':
            return
        self.locks.last_at = self.sim.world.now
        try:
            self._turn()
            self._look()
        except self.sim.CRASH:
            self.sim.crashes += 1
            self.die()
        except (Ended, values.LeaseLost) as error:
            self.sim.note(f'{self.name} ends: {error}')
            self.die()
        except memory.Away as error:
            self.sim.note(f'{self.name} does nothing: {error}')

    def _turn(self) -> None:
        try:
            self.standing.turn()
        except memory.Away:
            # The thread of the standing tries again; the rounds go on.
            return

    def _look(self) -> None:
        sim, lease = self.sim, self.standing.lease
        if lease is None:
            watched = sim.watched(self.access)
            self.eyes.look(watched.read(), sim.world.now)
            return
        if self.engine is None:
            sim.note(f'{self.name} acts with token {lease.token}')
            sim.store.reload()
            self.acts_since = sim.world.now
            self.engine = loop.Engine(
                sim.context(lease, self.access),
                sim.executor(),
                self.eyes,
            )
        self.engine.round()

    # --- what may happen to it --------------------------------------------

    def die(self, restart: float = _RESTART) -> None:
        """The process is killed; another one is started after a while."""
        self.locks.ended = True
        self.state = 'dead'
        self.restart_at = self.sim.world.now + restart

    def freeze(self) -> None:
        self.state, self.frozen_at = 'frozen', self.sim.world.now

    def go_on(self) -> None:
        """Go on after a stop; what was seen before may be too old."""
        if self.state != 'frozen':
            return
        self.state = 'up'
        still = self.sim.world.now - self.frozen_at
        if still >= self.sim.settings.rules.timeout:
            self.eyes.open(self.sim.world.now)

    def cut_off(self, cut: bool) -> None:
        self.cut = self.access.cut = cut
