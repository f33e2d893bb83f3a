# SPDX-License-Identifier: Apache-2.0

"""Makes the scene of a decision: the cloud, in as few numbers as it takes.

What waits is judged by what the round knows. What passes every gate is judged
once more by what the store says at that moment: fences that others decided
meanwhile, who is armed, which brakes hold.
"""

import collections
from collections.abc import Iterable
import dataclasses
import functools
import math

from nova_ha_plugins.engine import context
from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import flapping
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import storm
from nova_ha_plugins.store import values

# A host that waits at the storm gate and was not looked at for so long keeps
# nobody else waiting.
_WAITS_LIVELY = 30.0
# More failures of one host within an hour are not counted.
_MOST_FAILURES = 20

_Incidents = tuple[incident.Incident, ...]
_Fences = tuple[gates.PastFence, ...]


@dataclasses.dataclass(frozen=True)
class _Counts:
    """What is counted in all incidents, once for all of their scenes.

    :ivar fences: the newest of each host, within the storm window.
    :ivar incoming: servers on their way, by destination.
    :ivar waiting: who waits at the storm gate, in their order.
    """

    fences: dict[str, gates.PastFence]
    incoming: collections.Counter[str]
    waiting: _Incidents


class Scenes:
    """The scenes of one round."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        self.ctx = ctx
        self.snapshot = snapshot

    def known(self, subject: incident.Incident, now: float) -> gates.Scene:
        """Return the scene as this round knows it."""
        return self._scene(
            subject,
            now,
            self._counts,
            self.snapshot.arm,
            self.snapshot.brakes,
            flaps=0,
        )

    def fresh(self, subject: incident.Incident, now: float) -> gates.Scene:
        """Return the scene as the store tells it at this moment."""
        store = self.ctx.store
        return self._scene(
            subject,
            now,
            self._count(now),
            store.arm_state(),
            store.brakes(),
            self.failures(subject, now),
        )

    def failures(self, subject: incident.Incident, now: float) -> int:
        """Return how often the host failed within the last hour."""
        mine = self.ctx.store.incidents(_MOST_FAILURES, subject.host)
        return flapping.recent(mine, now)

    def brakes(self) -> tuple[gates.Brake, ...]:
        """Return the brakes that hold at this moment."""
        return brakes_of(self.ctx.store.brakes())

    # --- read once in a round, and only if somebody is suspected ----------

    @functools.cached_property
    def _counts(self) -> _Counts:
        return self._count(self.ctx.store.now())

    def _count(self, now: float) -> _Counts:
        window = self.ctx.settings.limits.storm_window
        opened = self.ctx.store.open_incidents()
        begun = (
            gates.PastFence(each.host, each.domain, each.fence.intended_at)
            for each in opened
            if each.fence is not None
        )
        closed = self.ctx.store.recent_fences(now - window)
        return _Counts(
            fences={
                fence.host: fence
                for fence in sorted((*closed, *begun), key=lambda one: one.at)
                if now - fence.at < window
            },
            incoming=collections.Counter(
                server.destination
                for each in opened
                for server in each.servers
                if server.state == incident.ServerState.EVACUATING
                and server.destination
            ),
            waiting=tuple(
                sorted(
                    (each for each in opened if _waits(each, now)), key=_turn
                )
            ),
        )

    @functools.cached_property
    def _zones(self) -> dict[str, str]:
        return {r.host: r.zone for r in self.snapshot.records.values()}

    @functools.cached_property
    def _silences(self) -> dict[str, float]:
        """Hosts that no fence accounts for, and for how long they are down."""
        timeout = self.ctx.settings.rules.timeout
        return {
            host.host: host.silent_for - timeout
            for host in self.snapshot.look.hosts
            if host.silent_for >= timeout
            and host.host in self.snapshot.records
            and host.host not in self.snapshot.contained
        }

    @functools.cached_property
    def _sizes(self) -> collections.Counter[str]:
        return collections.Counter(self._zones.values())

    # --- the scene --------------------------------------------------------

    def _scene(
        self,
        subject: incident.Incident,
        now: float,
        counts: _Counts,
        arm: values.ArmState,
        held: Iterable[values.Brake],
        flaps: int,
    ) -> gates.Scene:
        snapshot = self.snapshot
        on = brakes_of(held)
        fences = tuple(
            counts.fences[host]
            for host in sorted(counts.fences)
            if host != subject.host
        )
        fell = self._fell_silent(fences, on)
        since = snapshot.since_take_over
        return gates.Scene(
            now=now,
            armed=arm.armed,
            arm_text=f'disarmed by {arm.by}: {arm.reason}',
            watching=snapshot.watching,
            loop_late=snapshot.loop_late,
            blind=snapshot.look.sight
            in (detector.Sight.BLIND, detector.Sight.HOLDING_OFF),
            services_age=min(snapshot.services_age, now),
            since_take_over=since if math.isfinite(since) else None,
            newer_release=snapshot.newer_release,
            brakes=brakes.concerning(on, subject.host, subject.domain),
            own=self._own(subject, counts),
            hosts=len(snapshot.records),
            silent=len(self._silences),
            newest_silence=min(fell.values(), default=None),
            domains=self._domains(subject, fell, counts),
            fences=fences,
            flaps=flaps,
        )

    def _fell_silent(
        self, fences: _Fences, on: tuple[gates.Brake, ...]
    ) -> dict[str, float]:
        """Return who may be part of a storm, and for how long."""
        window = self.ctx.settings.limits.storm_window
        accounted = {fence.host for fence in fences}
        accounted |= {b.name for b in on if b.kind == brakes.MAINTENANCE}
        return {
            host: seconds
            for host, seconds in self._silences.items()
            if seconds < window and host not in accounted
        }

    def _own(self, subject: incident.Incident, counts: _Counts) -> gates.Own:
        record = self.snapshot.records.get(subject.host)
        service = self.snapshot.services.get(subject.host)
        return gates.Own(
            known=record is not None,
            mapped=record is not None and record.map_state == 'verified',
            map_text=record.map_text if record else '',
            # No step of a new incident has forced anything down yet, so
            # whoever did is somebody else.
            foreign=service is not None and service.forced_down,
            incoming=counts.incoming[subject.host],
        )

    def _domains(
        self,
        subject: incident.Incident,
        fell: dict[str, float],
        counts: _Counts,
    ) -> tuple[gates.Domain, ...]:
        """Return the host's own failure domain and those that matter."""
        silent = collections.Counter(self._zones[host] for host in fell)
        waiting: dict[str, gates.Waiter] = {}
        for each in counts.waiting:
            if _turn(each) >= _turn(subject):
                break
            waiting.setdefault(
                each.domain, gates.Waiter(each.host, each.opened_at)
            )
        return tuple(
            gates.Domain(
                name, self._sizes[name], silent[name], waiting.get(name)
            )
            for name in sorted({subject.domain, *silent, *waiting})
        )


def brakes_of(held: Iterable[values.Brake]) -> tuple[gates.Brake, ...]:
    """Return the store's brakes as the core knows them."""
    return tuple(
        gates.Brake(
            brake.kind,
            brake.name,
            brake.zone,
            brake.until,
            brake.reason,
            brake.by,
        )
        for brake in held
    )


def _turn(subject: incident.Incident) -> tuple[float, str]:
    return subject.opened_at, subject.host


def _waits(subject: incident.Incident, now: float) -> bool:
    return (
        subject.phase == incident.Phase.HELD
        and subject.code in storm.CODES
        and not subject.released
        and 0.0 <= now - subject.updated_at <= _WAITS_LIVELY
    )
