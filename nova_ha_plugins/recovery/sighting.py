# SPDX-License-Identifier: Apache-2.0

"""What a look at the heartbeats is made of: rules, memory, what was seen."""

from collections.abc import Mapping
import dataclasses
import enum

from nova_ha_plugins.recovery import views


class Liveness(enum.StrEnum):
    """What the heartbeat alone says of a host."""

    UP = 'up'
    DOWN = 'down'
    UNKNOWN = 'unknown'


class Kind(enum.StrEnum):
    """What can be told of a host."""

    SUSPECTED = 'suspected'
    DOWN = 'down'
    UP = 'up'
    DEGRADED = 'degraded'


class Sight(enum.StrEnum):
    """How well the watcher sees: only CLEAR convicts."""

    CLEAR = 'clear'
    WARMING_UP = 'warming-up'
    BLIND = 'blind'
    HOLDING_OFF = 'holding-off'


@dataclasses.dataclass(frozen=True)
class Rules:
    """When silence counts.

    :ivar timeout: silence in seconds from which a host is down.
    :ivar reemit_interval: seconds between two announcements of one host that
        stays down; a lost announcement is repaired by the next one.
    :ivar mass_silence_share: more than this share of the hosts silent at
        once means that monitoring is blind.
    :ivar reconnect_max: the longest pause of a reporter between two attempts
        to reach the message bus (``rabbit_interval_max``).
    :ivar late_after: seconds between two looks from which the watcher was
        stalled itself. Endless for who watches over its own lateness.
    :ivar health_timeout: silence in seconds from which a probe that was heard
        before makes its host degraded.
    :ivar degraded_interval: seconds between two announcements of one host
        that stays degraded.
    :ivar settled_after: seconds without a complaint until a degraded host is
        told to be up, so that a probe that comes and goes is not told anew
        each time.
    """

    timeout: float
    reemit_interval: float
    mass_silence_share: float
    reconnect_max: float = 30.0
    late_after: float = float('inf')
    health_timeout: float = 180.0
    degraded_interval: float = 60.0
    settled_after: float = 30.0

    @property
    def quiet(self) -> float:
        """Return the silence from which a host, or all, look suspicious."""
        return self.timeout / 2


@dataclasses.dataclass(frozen=True)
class Worry:
    """What was told of a host that is degraded.

    :ivar told_at: when it was told last.
    :ivar channels: everything that was named since it began.
    :ivar well_since: since when nothing is wrong any more, None while it is.
    """

    told_at: float
    channels: frozenset[str]
    well_since: float | None = None


@dataclasses.dataclass(frozen=True)
class State:
    """What one look hands to the next. Times are the watcher's own.

    :ivar began_at: when the watcher began.
    :ivar blind_since: when the present blindness began, None when it sees.
    :ivar hold_until: nobody is convicted before this.
    :ivar announced: host to the time of its last 'down' announcement.
    :ivar suspected: hosts whose present silence was told as suspicion.
    :ivar worries: the degraded hosts.
    :ivar looked_at: when the last look was.
    :ivar heard: host to its newest heartbeat in the last look.
    """

    began_at: float
    blind_since: float | None = None
    hold_until: float = float('-inf')
    announced: Mapping[str, float] = dataclasses.field(default_factory=dict)
    suspected: frozenset[str] = frozenset()
    worries: Mapping[str, Worry] = dataclasses.field(default_factory=dict)
    looked_at: float | None = None
    heard: Mapping[str, views.Beat] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class HostLook:
    """One host in one look.

    :ivar age: seconds since the store heard it.
    :ivar silent_for: the same, measured against the watermark.
    :ivar suspected: silent long enough to ask others about it, while
        monitoring sees; also true once it is down.
    :ivar degraded: the channels that say that something is wrong with a host
        whose heartbeats come. They never change the verdict.
    """

    host: str
    service_uuid: str
    verdict: Liveness
    age: float
    silent_for: float
    suspected: bool = False
    degraded: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Announcement:
    """Something to tell the outside of a host.

    :ivar verdict: the host's own at that moment.
    :ivar repeated: it was told before and still is so.
    :ivar channels: what is wrong with a degraded host, or was until now.
    """

    kind: Kind
    verdict: Liveness
    host: str
    service_uuid: str
    silent_for: float
    repeated: bool = False
    channels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Look:
    """Everything that one look at the heartbeats gave."""

    state: State
    sight: Sight
    reason: str
    hosts: tuple[HostLook, ...]
    announcements: tuple[Announcement, ...]
