# SPDX-License-Identifier: Apache-2.0

"""What the store hands out beside incidents and facts, and how it refuses.

The tree of errors::

    StoreError
        NotConfigured   no [nova_ha_database] connection
        SchemaOutdated  'nova-ha-manage db sync' was not run
        AlreadyOpen     the host has an open incident
        Conflict        somebody saved the incident in between: load it again
        LeaseHeld       another engine is at work
        LeaseLost       another engine took over: stop acting
        NewerRelease    a newer release has written it: upgrade this one
        Unreachable     what keeps the heartbeats does not answer
"""

from collections.abc import Mapping
import dataclasses
import typing

from nova_ha_plugins.recovery import following


class StoreError(Exception):
    """The store refused; see the subclasses."""


class NotConfigured(StoreError):
    """No database is named."""


class SchemaOutdated(StoreError):
    """The database's schema is not the one of this release."""


class AlreadyOpen(StoreError):
    """A second open incident of one host was refused by the database."""


class Conflict(StoreError):
    """The incident was saved by somebody else since it was loaded."""


class LeaseHeld(StoreError):
    """Another engine holds the lease.

    :ivar owner: who holds it.
    :ivar age: seconds since its last renewal, by the store's clock.
    """

    def __init__(self, owner: str, age: float) -> None:
        super().__init__(
            f'Engine {owner!r} holds the lease and renewed it {age:.1f}s ago'
        )
        self.owner = owner
        self.age = age


class LeaseLost(StoreError):
    """The lease belongs to another engine now."""


class NewerRelease(StoreError):
    """What was asked for was written by a newer release."""


class Unreachable(StoreError):
    """What keeps the heartbeats beside the database does not answer."""


@dataclasses.dataclass(frozen=True)
class Lease:
    """The right to act, as long as the store agrees.

    :ivar token: higher at each take-over; checked in every save.
    :ivar taken_from: the engine that had not given it back, '' for none.
    """

    token: int
    owner: str
    taken_from: str = dataclasses.field(default='', compare=False)


@dataclasses.dataclass(frozen=True)
class LeaseState:
    """Who holds the lease, as anybody may read it.

    :ivar owner: '' when it was given back, or nobody ever had it.
    :ivar age: seconds since its last renewal, by the store's clock.
    :ivar ttl: after so many it may be taken over.
    """

    token: int = 0
    owner: str = ''
    age: float = 0.0
    ttl: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether anybody may take it.

        Also when it was renewed long after now: the store's clock went back,
        and nobody waits until it is that late again.
        """
        return not self.owner or not -self.ttl < self.age < self.ttl


@dataclasses.dataclass(frozen=True)
class ArmState:
    """Whether the engine may act, who said so and why.

    :ivar until: when it ends and the opposite begins; None for never.
    """

    armed: bool
    by: str
    reason: str
    at: float
    until: float | None = None


@dataclasses.dataclass(frozen=True)
class Brake:
    """What an operator put on so that nothing new is fenced for a while.

    :ivar kind: 'maintenance' (of one host) or 'pause' (named, of a zone or of
        the whole cloud).
    :ivar name: the host, or the name of the pause.
    :ivar zone: the failure domain a pause holds for, '' for the whole cloud.
    :ivar until: when it ends by itself; None for never.
    """

    kind: str
    name: str
    zone: str = ''
    until: float | None = None
    reason: str = ''
    by: str = ''
    at: float = 0.0


@dataclasses.dataclass(frozen=True)
class BrakeEntry:
    """A brake in the history.

    :ivar ended_at: when it was taken off or ran out; None while it holds.
    :ivar ended_by: who took it off; 'until' when it ran out.
    """

    brake: Brake
    ended_at: float | None = None
    ended_by: str = ''
    ended_reason: str = ''


@dataclasses.dataclass(frozen=True)
class EngineState:
    """One engine process, as it last said of itself.

    :ivar age: seconds since then, by the store's clock.
    :ivar ttl: after so many seconds of silence it counts as gone.
    :ivar told: what it said: JSON values.
    """

    name: str
    age: float
    ttl: float
    told: dict[str, typing.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class HostRecord:
    """What is known of a host while it lives, for the day it does not.

    :ivar system_uuid: what the host last reported of itself.
    :ivar bmc_uuid: what its power device reported.
    :ivar map_state: 'verified', 'mismatch', 'unreachable' or 'absent'.
    :ivar map_text: the same as a sentence.
    :ivar verified_at: when map_state was last found out.
    """

    host: str
    service_uuid: str = ''
    system_uuid: str = ''
    bmc_uuid: str = ''
    map_state: str = 'absent'
    map_text: str = ''
    verified_at: float = 0.0
    zone: str = ''
    address: str = ''


@dataclasses.dataclass(frozen=True)
class Heard:
    """One heartbeat as it arrived, before the store stamps it."""

    host: str
    boot_id: str
    sequence: int
    system_uuid: str = ''
    service_uuid: str = ''


@dataclasses.dataclass(frozen=True)
class Health:
    """What something other than the heartbeat says of a host.

    :ivar host: nova's service host; '' for what belongs to no host, such as
        a watcher.
    :ivar channel: who says it: 'libvirt', 'storage:/path', 'watcher:name'.
    :ivar ok: whether all is well there.
    :ivar value: the number behind it, in the unit of its meter.
    :ivar text: the reason, for people; empty if all is well.
    """

    host: str
    channel: str
    ok: bool
    value: float = 0.0
    text: str = ''


@dataclasses.dataclass(frozen=True)
class Census:
    """How many servers of the cloud would be recovered.

    :ivar unprotected: how many would not, by the code of the reason.
    :ivar hosts: on how many hosts they are.
    :ivar age: seconds since they were counted, by the store's clock.
    """

    protected: int
    unprotected: Mapping[str, int]
    hosts: int
    age: float = 0.0


@dataclasses.dataclass(frozen=True)
class Purged:
    """How much a purge removed."""

    incidents: int
    facts: int
    evacuations: int = 0


# What the follower of evacuations remembers; the core says what it means.
EvacuationTrace = following.Trace
