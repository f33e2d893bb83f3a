# SPDX-License-Identifier: Apache-2.0

"""What is true of the cloud right now, read from the store in one look."""

import collections
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import threading
import time
import typing

from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import levels
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness as store_liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# What is older than this many looks is not told any more.
_STALE_LOOKS = 4
_Row = typing.TypeVar('_Row')

# Power devices and health have many rows and change seldom: reading each of
# them takes at most one part in so many of the time.
_SHARE = 20


class Store(typing.Protocol):
    """The part of the store that a look needs."""

    def now(self) -> float: ...
    def open_incidents(self) -> tuple[incident.Incident, ...]: ...
    def host_records(self) -> tuple[values.HostRecord, ...]: ...
    def arm_state(self) -> values.ArmState: ...
    def engine_status(self) -> dict[str, typing.Any]: ...
    def census(self) -> values.Census | None: ...


class Liveness(typing.Protocol):
    """The part of the liveness store that a look needs."""

    def read(self) -> tuple[views.Beat, ...]: ...
    def read_healths(self) -> tuple[views.HostHealth, ...]: ...


@dataclasses.dataclass(frozen=True)
class Situation:
    """One look at the store. None is what nobody ever said.

    :ivar engine_age: seconds since the acting engine reported.
    :ivar sight: how well it saw then.
    :ivar lag: seconds since the newest heartbeat of anybody.
    :ivar heard: hosts whose heartbeat is in time; ``silent`` those whose is
        not.
    :ivar fencing: hosts by what is known of their power device.
    :ivar fence_check_age: since the one that was read longest ago.
    :ivar degraded: hosts by the kind of channel that says that something is
        wrong.
    :ivar watchers: each that ever looked, as it last said of itself.
    """

    standing: levels.Standing
    armed: bool
    engine_age: float | None
    sight: str
    loop_late: float | None
    lag: float | None
    heard: int
    silent: int
    fencing: Mapping[str, int]
    fence_check_age: float | None
    degraded: Mapping[str, int]
    watchers: tuple[health.Watch, ...]
    census: values.Census | None
    evacuations_limit: int


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the operator configured.

    :ivar timeout: silence from which a heartbeat is missing.
    :ivar patience: the same for what is said of the health of a host.
    :ivar evacuations: how many may be open at once.
    """

    timeout: float
    patience: float
    evacuations: int


@dataclasses.dataclass(frozen=True)
class _Kept:
    """What was read at a time and is good until another one."""

    value: typing.Any
    at: float
    until: float


class Reader:
    """Looks at the store again and again, and keeps the last look."""

    def __init__(
        self,
        store: Store,
        liveness: Liveness,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read before the first look."""
        self._store = store
        self._liveness = liveness
        self._limits = limits
        self._monotonic = monotonic
        self._seen: tuple[float, Situation] | None = None
        self._slow: dict[str, _Kept] = {}
        self._keep = float('inf')
        self._away = False

    def latest(self) -> Situation | None:
        """Return the last look, None if it is too old to be told."""
        seen = self._seen
        if seen is None or self._monotonic() - seen[0] > self._keep:
            return None
        return seen[1]

    def run(self, stop: threading.Event, interval: float) -> None:
        """Look again and again until told to stop: the work of a thread."""
        self._keep = _STALE_LOOKS * interval
        while not stop.is_set():
            self.turn()
            stop.wait(interval)

    def turn(self) -> None:
        """Look once; a store that is away leaves the look before."""
        try:
            self._seen = self._monotonic(), self.look()
        except errors.AWAY as error:
            if not self._away:
                LOG.warning(
                    'Prometheus is told nothing of hosts and incidents: the '
                    'store does not answer: %s',
                    error,
                )
            self._away = True
            return
        except Exception:
            LOG.exception('What Prometheus is told could not be read')
            return
        if self._away:
            LOG.info('Prometheus is told of hosts and incidents again')
            self._away = False

    def look(self) -> Situation:
        """Return what is true now.

        :raises errors.AWAY: the store does not say.
        """
        store = self._store
        status = store.engine_status()
        beats = self._liveness.read()
        healths, passed = self._slowly(self._liveness.read_healths)
        records, _ = self._slowly(store.host_records)
        now = store.now()
        ages = [max(0.0, beat.age) for beat in beats]
        heard = sum(age < self._limits.timeout for age in ages)
        checked = [r.verified_at for r in records if r.verified_at]
        return Situation(
            standing=levels.standing(store.open_incidents()),
            armed=store.arm_state().armed,
            engine_age=status.get('age'),
            sight=status.get('sight', ''),
            loop_late=status.get('loop_late'),
            lag=min(ages, default=None),
            heard=heard,
            silent=len(ages) - heard,
            fencing=collections.Counter(r.map_state for r in records),
            fence_check_age=(
                max(0.0, now - min(checked)) if checked else None
            ),
            degraded=_degraded(healths, self._limits.patience),
            watchers=tuple(
                dataclasses.replace(watch, age=watch.age + passed)
                for watch in health.watches(healths)
            ),
            census=store.census(),
            evacuations_limit=self._limits.evacuations,
        )

    def _slowly(
        self, read: Callable[[], tuple[_Row, ...]]
    ) -> tuple[tuple[_Row, ...], float]:
        """Return the rows of one kind, and how many seconds ago they were."""
        name, began = read.__name__, self._monotonic()
        kept = self._slow.get(name)
        if kept is None or began >= kept.until:
            found = read()
            ended = self._monotonic()
            until = ended + (ended - began) * (_SHARE - 1)
            kept = self._slow[name] = _Kept(found, began, until)
        return kept.value, max(0.0, began - kept.at)


def _degraded(
    healths: tuple[views.HostHealth, ...], patience: float
) -> dict[str, int]:
    """Return on how many hosts something is wrong, by kind of channel."""
    ill = {
        (row.channel.partition(':')[0], host)
        for host, rows in health.unwell(healths, patience).items()
        for row in rows
    }
    return dict(collections.Counter(kind for kind, _ in ill))


def open_reader(conf: cfg.ConfigOpts) -> Reader:
    """Return a reader of the store that the configuration names."""
    return Reader(
        store_api.open_store(conf),
        store_liveness.open_liveness(conf),
        Limits(
            conf.nova_ha.heartbeat_timeout,
            conf.nova_ha.health_timeout,
            conf.evacuation.max_open,
        ),
    )
