# SPDX-License-Identifier: Apache-2.0

"""One round after another: look, read the inbox, take incidents further.

A round makes one snapshot, and everything in it decides on that. Incidents go
on side by side, one thread each, so that a power device which does not answer
delays nobody else; a single incident never has two.
"""

import collections
from collections.abc import Callable
import dataclasses
import math
import typing

from oslo_log import log

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import intake
from nova_ha_plugins.engine import networks
from nova_ha_plugins.engine import recover
from nova_ha_plugins.engine import registry
from nova_ha_plugins.engine import suspects
from nova_ha_plugins.recovery import arming
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# Seconds for which nova's list of services is good enough to decide on.
_SERVICES_AGE = 3.0
_STATUS_INTERVAL = 2.0
# A new engine has read every power device that answers after so long.
_DEVICES_READ = 20.0

_CONTAINED = frozenset(
    {
        incident.Phase.CONTAINING,
        incident.Phase.EVACUATING,
        incident.Phase.RECOVERED,
    }
)


class Job(typing.Protocol):
    """A future, as concurrent.futures makes them."""

    def done(self) -> bool: ...
    def exception(self) -> BaseException | None: ...


class Executor(typing.Protocol):
    """Runs work, at once (in tests) or in threads."""

    def submit(
        self, work: Callable[..., object], /, *args: typing.Any
    ) -> Job: ...


class Eyes:
    """What was heard of the hosts since this process began to listen.

    An engine that watches keeps them open, so that it need not warm up when
    it takes over. When they were closed for too long, because the process
    stood still or waited for nova, they have missed what happened meanwhile:
    a stall of the pipe that is just over looks like hosts that fell silent.

    :ivar began: since when they are open, by the monotonic clock.
    """

    def __init__(self, at: float, settings: context.Settings) -> None:
        # From then on the gate 'engine-late' does not believe a round either.
        self._rules = dataclasses.replace(
            settings.rules,
            late_after=settings.interval + settings.limits.loop_late_max,
        )
        self.open(at)

    def open(self, at: float) -> None:
        """Begin anew: what was heard before is too old."""
        self._watch = detector.begin(at)
        self.began = at

    def look(self, beats: tuple[views.Beat, ...], at: float) -> detector.Look:
        """Return what the heartbeats say, seen with those before."""
        look = detector.look(self._watch, beats, at, self._rules)
        self._watch = look.state
        return look


@dataclasses.dataclass
class _Memory:
    """What the engine keeps between rounds; all of it can be lost."""

    last_round: float | None = None
    arm: arming.ArmState | None = None
    services: dict[str, views.ServiceView] = dataclasses.field(
        default_factory=dict
    )
    services_at: float = float('-inf')
    status_at: float = float('-inf')


class Engine:
    """Everything that is done again and again.

    :ivar lost: the lease was lost; the process must end.
    """

    def __init__(
        self,
        ctx: context.Context,
        executor: Executor,
        eyes: Eyes | None = None,
        readers: Executor | None = None,
        probers: Executor | None = None,
    ) -> None:
        """Begin to act.

        :param eyes: of the time in which this process watched; None begins
            with new ones.
        :param readers: for the devices of living hosts: when none of them
            answers, no recovery waits behind them.
        :param probers: for hosts that are late.
        """
        self.ctx = ctx
        self.executor = executor
        self.readers = readers or executor
        self.probers = probers or executor
        self.registry = registry.Registry(ctx)
        self.networks = networks.Watch(ctx)
        self.suspects = suspects.Suspects(ctx)
        self.lost = False
        self._acts_since = ctx.monotonic()
        self._eyes = eyes or Eyes(self._acts_since, ctx.settings)
        self._memory = _Memory()
        self._jobs: dict[str, Job] = {}
        self._begun: dict[str, frozenset[str]] = {}

    def round(self) -> None:
        """Do one round.

        :raises LeaseLost: another engine took over; nothing more may be done.
        """
        ctx = self.ctx
        if self.lost:
            raise values.LeaseLost(f"Engine '{ctx.lease.owner}' lost it")
        ctx.store.renew_lease(ctx.lease)
        self._reap()
        snapshot = self._snapshot()
        box = intake.Intake(ctx, snapshot, frozenset(self._jobs))
        box.read()
        box.find_lost()
        subjects = ctx.store.open_incidents()
        self.suspects.turn(
            snapshot, {each.host for each in subjects}, self._start_probe
        )
        worker = recover.Recovery(ctx, snapshot)
        batches = self._batches(subjects)
        for subject in subjects:
            self._start(
                subject.uuid, worker.work, subject, batches[subject.uuid]
            )
        self._verify_map(snapshot)
        self.networks.turn(snapshot, self._start)
        self._report(snapshot, subjects)

    def _snapshot(self) -> context.Snapshot:
        ctx, memory = self.ctx, self._memory
        at = ctx.monotonic()
        late = 0.0
        if memory.last_round is not None:
            late = max(0.0, at - memory.last_round - ctx.settings.interval)
        memory.last_round = at
        beats = ctx.liveness.read()
        # Their ages are of this moment, however long the store took.
        look = self._eyes.look(beats, ctx.monotonic())
        by_host = {beat.host: beat for beat in beats}
        services = self._services(at)
        arm = ctx.store.arm_state()
        self._tell_sight(look)
        contained = frozenset(
            subject.host
            for subject in ctx.store.open_incidents()
            if subject.phase in _CONTAINED
            and subject.fence is not None
            and subject.fence.state == incident.FenceState.VALID
        )
        return context.Snapshot(
            look=look,
            beats=by_host,
            services=services,
            records=self.registry.refresh(services, by_host),
            arm=arm,
            watching=at - self._eyes.began,
            loop_late=late,
            since_take_over=(
                at - self._acts_since if ctx.lease.taken_from else math.inf
            ),
            newer_release=self._newer_release(),
            services_age=at - memory.services_at,
            brakes=ctx.store.brakes(),
            contained=contained,
            picture=self.networks.picture(look, contained),
            tracks=self.suspects.tracks(look),
            at=at,
        )

    def _tell_sight(self, look: detector.Look) -> None:
        if look.sight in (detector.Sight.BLIND, detector.Sight.HOLDING_OFF):
            self.ctx.trouble(
                'sight',
                f'Monitoring is blind: {look.reason}. Nothing is '
                'fenced meanwhile; check message bus and telemetry',
            )
        else:
            self.ctx.over('sight', 'Monitoring sees clearly again')

    def _armed(
        self,
        snapshot: context.Snapshot,
        subjects: tuple[incident.Incident, ...],
    ) -> arming.Arm:
        """Return whether a failure now would be acted on; tell changes."""
        arm, records = snapshot.arm, snapshot.records.values()
        found = arming.look(
            arm.armed,
            arm.until,
            sum(subject.phase in arming.IN_FLIGHT for subject in subjects),
            *arming.fenceable(
                {each.host: each.map_state == 'verified' for each in records},
                {subject.host for subject in subjects},
            ),
        )
        standby = found.state == arming.ArmState.STANDBY
        if standby and snapshot.watching < _DEVICES_READ:
            return found
        before, self._memory.arm = self._memory.arm, found.state
        if found.state == before:
            return found
        text = f'{found.reason} ({arm.by}: {arm.reason})'
        if standby:
            self.ctx.trouble('standby', text)
        else:
            self.ctx.over('standby', 'Fencing is available again')
            if before is not None:
                LOG.info('%s', text)
        return found

    def _newer_release(self) -> bool:
        """Return whether an incident is open that this release cannot read."""
        hosts = self.ctx.store.newer_incidents()
        if not hosts:
            self.ctx.over('newer', 'Every open incident can be read again')
            return False
        self.ctx.trouble(
            'newer',
            'A newer release wrote the incidents of '
            + ', '.join(f"'{host}'" for host in hosts)
            + '. They are left alone, and nothing new is fenced, until this '
            'engine is of that release as well',
        )
        return True

    def _services(self, at: float) -> dict[str, views.ServiceView]:
        memory = self._memory
        if at - memory.services_at < _SERVICES_AGE:
            return memory.services
        services = doors.attempt(self.ctx.nova.services)
        if isinstance(services, doors.DoorError):
            self.ctx.trouble(
                'services',
                'The engine goes on with the compute services that it knew; '
                f'nova did not list them: {services}',
            )
            return memory.services
        self.ctx.over('services', 'Nova listed its compute services again')
        memory.services = {service.host: service for service in services}
        memory.services_at = at
        return memory.services

    # --- work beside the round --------------------------------------------

    def _start(
        self, key: str, work: Callable[..., object], *args: typing.Any
    ) -> None:
        self._submit(self.executor, key, work, *args)

    def _start_probe(
        self, key: str, work: Callable[..., object], *args: typing.Any
    ) -> None:
        self._submit(self.probers, key, work, *args)

    def _submit(
        self,
        executor: Executor,
        key: str,
        work: Callable[..., object],
        *args: typing.Any,
    ) -> None:
        if key not in self._jobs:
            self._jobs[key] = executor.submit(work, *args)
            self._reap()

    def _reap(self) -> None:
        """Forget finished jobs; none may end without a word."""
        for key, job in list(self._jobs.items()):
            if not job.done():
                continue
            del self._jobs[key]
            error = job.exception()
            if error is None:
                continue
            if isinstance(error, values.LeaseLost):
                self.lost = True
                self.ctx.stopping.set()
            if isinstance(error, values.Conflict):
                LOG.info('%s; it is loaded again', error)
                continue
            LOG.error(
                'Work on %(key)s failed: %(error)s. It is taken up again '
                'from what is saved.',
                {'key': key, 'error': error},
                exc_info=error,
            )

    def _batches(
        self, subjects: tuple[incident.Incident, ...]
    ) -> dict[str, tuple[str, ...]]:
        """Return which evacuations each incident may ask for now."""
        batches: dict[str, tuple[str, ...]] = collections.defaultdict(tuple)
        begun = frozenset().union(
            *(self._begun[key] for key in self._jobs if key in self._begun)
        )
        for uuid, server in pacing.may_begin(
            subjects, self.ctx.settings.caps, self.ctx.store.now(), begun
        ):
            if uuid not in self._jobs:
                batches[uuid] = (*batches[uuid], server)
        self._begun = {
            **{
                key: self._begun[key]
                for key in self._begun
                if key in self._jobs
            },
            **{key: frozenset(batch) for key, batch in batches.items()},
        }
        return batches

    def _verify_map(self, snapshot: context.Snapshot) -> None:
        now = self.ctx.store.now()
        for host, record in snapshot.records.items():
            if self.registry.due(record, snapshot.beats.get(host), now):
                verify = self.registry.verify
                self._submit(self.readers, f'map:{host}', verify, record)

    def _report(
        self,
        snapshot: context.Snapshot,
        subjects: tuple[incident.Incident, ...],
    ) -> None:
        arm = self._armed(snapshot, subjects)
        at = self.ctx.monotonic()
        if at - self._memory.status_at < _STATUS_INTERVAL:
            return
        self._memory.status_at = at
        self.ctx.store.save_engine_status(
            {
                'owner': self.ctx.lease.owner,
                'token': self.ctx.lease.token,
                'watching': round(snapshot.watching, 1),
                'loop_late': round(snapshot.loop_late, 3),
                'sight': snapshot.look.sight.value,
                'sight_reason': snapshot.look.reason,
                'hosts': len(snapshot.records),
                'open_incidents': len(subjects),
                'arm_state': arm.state.value,
                'arm_reason': arm.reason,
                'networks': self.networks.told(snapshot.picture),
            }
        )

    def idle(self) -> bool:
        """Return whether no work is under way."""
        self._reap()
        return not self._jobs
