# SPDX-License-Identifier: Apache-2.0

"""One cloud, one thread, and a clock that we turn."""

from collections.abc import Callable
import dataclasses
import typing

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors as product_doors
from nova_ha_plugins.engine import loop
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits
from nova_ha_plugins.store import values
from tests.scenarios import cloud
from tests.scenarios import doors
from tests.scenarios import engines
from tests.scenarios import invariants
from tests.scenarios import memory
from tests.scenarios import world

# How long an engine stands still.
PAUSE = 15
# Of the lease of each engine.
TTL = 15.0
# Between the last look at the lease and the device: an engine that stands
# still here makes the call when it goes on, and nobody can prevent that.
WINDOW = "before Act(call='power-off'"
# Every host lives and is known before a story begins at t=0.
PRELUDE = 20


class Crash(BaseException):
    """The engine process is killed here."""


class _Done:
    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def exception(self) -> BaseException | None:
        return self._error


class Inline:
    """An executor that does the work at once."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def submit(
        self, work: Callable[..., object], /, *args: typing.Any
    ) -> _Done:
        try:
            work(*args)
        except Exception as error:  # as any executor keeps it
            self._failed(error)
            return _Done(error)
        return _Done(None)


def settings(**changes: typing.Any) -> context.Settings:
    """The settings of the box, a few of them changed by name."""
    parts: list[typing.Any] = [
        gates.Limits(warm_up=10.0),
        pacing.Caps(),
        waits.Patience(healthy_delay=5.0),
        detector.Rules(6.0, 10.0, 0.5),
        networks.Rules(interval=5.0, lost_after=10.0),
    ]
    own: dict[str, typing.Any] = {
        'default_policy': 'none',
        'verify_interval': 300.0,
        'interval': 1.0,
    }
    for name, value in changes.items():
        if name in ('storage', 'tenant'):
            known = (name, evidence.Response(value))
            parts[4] = dataclasses.replace(
                parts[4], responses=(*parts[4].responses, known)
            )
            continue
        if name in own:
            own[name] = value
            continue
        for index, part in enumerate(parts):
            if hasattr(part, name):
                parts[index] = dataclasses.replace(part, **{name: value})
                break
        else:
            raise ValueError(f'no setting {name}')
    *parts, rules = parts
    return context.Settings(*parts, network_rules=rules, **own)


class Simulation:
    """A world with an engine in it.

    :ivar crash_at: number of the point at which the engine is killed.
    :ivar pause_at: number of the point at which the engine stands still until
        another one has taken over and worked for a while.
    :ivar pause_on: how the name of a point begins at which it does.
    :ivar wrong: what was expected in the middle of a story and was not so.
    :ivar members: several engines; without any there is one at a time, which
        takes the lease as it starts.
    :ivar running: the one of them whose code runs right now.
    :ivar engine_began: since when the engine that acts has watched.
    :ivar took_over_at: when it took the lease.
    :ivar foreign: since when somebody else has forced down a service.
    :ivar hands_off: somebody else changed a service: it is not checked.
    """

    def __init__(
        self,
        zones: dict[str, str],
        crash_at: int | None = None,
        **changes: typing.Any,
    ) -> None:
        self.settings = settings(**changes)
        self.world = world.World(zones)
        self.cloud = cloud.Cloud(self.world)
        self.outside = doors.Outside(self.world, self.cloud)
        self.store = memory.Store(self.world)
        self.store.arm = values.ArmState(True, 'admin', 'story', 0.0)
        self.liveness = memory.Liveness(self.world)
        self.liveness.away = lambda: (
            self.store.down or ('read-only' if self.store.read_only else '')
        )
        self.invariants = invariants.Invariants(self)
        self.crash_at = crash_at
        self.pause_at: int | None = None
        self.pause_on = ''
        self.points = 0
        self.labels: list[tuple[float, str]] = []
        self.crashes = 0
        self.wrong: list[str] = []
        self.save_seconds = 0.0
        self.log: list[str] = []
        self.acts: list[doors.Act] = []
        self.hands_off = False
        self.foreign: dict[str, float] = {}
        self.alarms = True
        self.engine: loop.Engine | None = None
        self.engine_began = 0.0
        self.took_over_at = 0.0
        self.members: list[engines.Member] = []
        self.running: engines.Member | None = None
        self.coordination = engines.Coordination()
        self.engine_stopped = False
        self.seen: dict[str, views.Beat] = {}
        self.seen_newest = 0.0
        self._facts = 0
        self._watcher = detector.begin(self.world.now)
        self.outside.trusts['watcher'] = product_doors.TrustView(
            'admin', 'service', ('admin',)
        )
        self.outside.act = self._act
        self.outside.done = lambda act: self.point(f'after {act}')
        self.outside.lapse = self.world.advance
        self.store.point = self.point
        self.store.saved = self._saved
        self.world.watch = self._happened

    CRASH = Crash
    ttl = TTL

    @property
    def t(self) -> float:
        """Seconds of the story."""
        return self.world.now - 100000.0 - PRELUDE

    # --- what is checked and written down ---------------------------------

    def note(self, text: str) -> None:
        self.log.append(f'{self.t:7.1f}  {text}')

    def point(self, what: str) -> None:
        if self.save_seconds and what.startswith('after save'):
            self.world.advance(self.save_seconds)
        self.points += 1
        self.labels.append((self.t, what))
        if self.points == self.crash_at:
            self.note(f'the engine is killed {what}')
            raise Crash
        if self.pause_on and what.startswith(self.pause_on):
            self.pause_on = ''
            self._stand_still(what)
        if self.pause_at is None or self.points < self.pause_at:
            return
        if not what.startswith(WINDOW):
            self.pause_at = None
            self._stand_still(what)

    def _stand_still(self, what: str) -> None:
        """The engine stands still here, and another one takes over."""
        still = self.running
        self.note(f'the engine stands still {what}')
        if still is None:
            self.start_engine()
            self.run(PAUSE)
        else:
            still.freeze()
            self.run(int(TTL) + PAUSE)
            still.go_on()
            self.running = still
        self.note('the old engine goes on')

    def _act(self, act: doors.Act) -> None:
        self.point(f'before {act}')
        if act.call != 'power-off':
            # Nova asks the store whether the caller still has the lease.
            self.outside.pass_filter(act, self.store)
        self.note(f'engine: {act.call} {act.target}')
        self.invariants.act(act)
        self.acts.append(act)

    def _happened(self, what: str) -> None:
        if what != 'timer':
            self.note(f'world: {what}')
        self.invariants.world(what)

    def _saved(
        self, before: incident.Incident | None, after: incident.Incident
    ) -> None:
        for entry in after.timeline[len(before.timeline) if before else 0 :]:
            self.note(f'{after.host}: {entry.code}: {entry.text}')
        self.invariants.saved(before, after)

    def job_failed(self, error: BaseException) -> None:
        if isinstance(error, values.Conflict | values.LeaseLost | memory.Away):
            return
        raise invariants.Violation(f'work failed: {error!r}') from error

    # --- the engine -------------------------------------------------------

    def context(
        self, lease: values.Lease, access: memory.Access
    ) -> context.Context:
        """Return the hands of an engine with that lease."""
        return context.Context(
            store=access,
            liveness=Watched(self, access),
            nova=doors.Nova(self.outside, lease.token),
            identity=doors.Identity(self.outside),
            fencing=doors.Fencing(self.outside, lease.token),
            probe=doors.Probe(self.outside),
            allows=doors.allows,
            settings=self.settings,
            lease=lease,
            monotonic=lambda: self.world.now,
        )

    def watched(self, access: memory.Access) -> 'Watched':
        return Watched(self, access)

    def executor(self) -> Inline:
        return Inline(self.job_failed)

    def start_members(self, count: int) -> None:
        """From now on there are so many engines."""
        self.members = [
            engines.Member(self, f'e{number}')
            for number in range(1, count + 1)
        ]

    def start_engine(self) -> None:
        """A new engine takes the lease; an older one has lost it."""
        if self.store.down or self.store.read_only:
            self.note('an engine cannot start: the database is away')
            return
        self.store.reload()
        lease = self.store.take_lease(
            f'engine-{self.store.token + 1}', TTL, locked=True
        )
        self.engine_began = self.took_over_at = self.world.now
        self.engine = loop.Engine(
            self.context(lease, memory.Access(self.store)),
            self.executor(),
        )

    def second(self) -> None:
        """One second of the world, then one round of each engine."""
        self.world.advance(1.0)
        self._watch()
        if self.members:
            for member in self.members:
                self.running = member
                member.second()
        elif not self.engine_stopped:
            self._round()

    def _round(self) -> None:
        if self.engine is None:
            self.start_engine()
        if self.engine is None:
            return
        try:
            self.engine.round()
        except Crash:
            self.engine = None
            self.crashes += 1
        except values.LeaseLost:
            # Its process ends; the other one is at work.
            self.note('an engine has lost its lease')
        except memory.Away as error:
            # The service logs it, and the next round begins anew.
            self.note(f'a round failed: {error}')

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.second()

    def prelude(self) -> None:
        self.run(PRELUDE)

    # --- telemetry --------------------------------------------------------

    def _watch(self) -> None:
        """The watcher and the alarm, as ceilometer and aodh run them."""
        if self.store.down:
            return
        look = detector.look(
            self._watcher,
            self.liveness.read(),
            self.world.now,
            self.settings.rules,
        )
        self._watcher = look.state
        if not (self.alarms and self.world.bus):
            return
        for item in look.announcements:
            if item.verdict == detector.Liveness.DOWN:
                self.alarm(item.host)

    def alarm(self, host: str, trust: str = 'watcher') -> None:
        self.fact(
            facts.FactKind.HOST_DOWN,
            host,
            channel='notifier',
            trust_id=trust,
            reason='heartbeat missing',
        )

    def operator(self, kind: facts.FactKind, host: str) -> None:
        self.fact(
            kind,
            host,
            channel='operator',
            verified=True,
            by='olga',
            reason='seen it',
        )

    def fact(
        self, kind: facts.FactKind, host: str, **more: typing.Any
    ) -> None:
        if self.store.down or self.store.read_only:
            self.note(f'lost: {kind} {host}, the database takes nothing')
            return
        self._facts += 1
        self.store.add_fact(
            facts.Fact(
                uuid=f'fact-{self._facts}', kind=kind, host=host, **more
            )
        )

    # --- the end ----------------------------------------------------------

    def newest(self, host: str) -> incident.Incident | None:
        found = self.store.incidents(1, host)
        return found[0] if found else None

    def final(self) -> dict[str, typing.Any]:
        """What must be the same, wherever the engine was killed."""
        end: dict[str, typing.Any] = {}
        running = dict(self.world.writers())
        for server in self.cloud.servers.values():
            end[server.uuid] = (
                'moved' if server.host != server.origin else 'stayed',
                server.vm_state,
                server.uuid in running,
            )
        for name, host in self.world.hosts.items():
            service = self.cloud.services[name]
            newest = self.newest(name)
            end[name] = (
                host.power,
                service.forced_down,
                service.disabled,
                newest
                and (
                    newest.phase.value,
                    newest.code,
                    newest.outcome,
                    tuple(
                        sorted((s.uuid, s.state.value) for s in newest.servers)
                    ),
                ),
            )
        return end

    def told(self) -> str:
        """Everything that happened, one line each."""
        return '\n'.join(self.log)


class Watched:
    """The heartbeats, remembering what the engine saw of them."""

    def __init__(self, sim: Simulation, access: memory.Access) -> None:
        self._sim = sim
        self._access = access

    def read(self) -> tuple[views.Beat, ...]:
        if self._sim.store.down or self._access.cut:
            raise memory.Away('connection to the database refused')
        beats = self._sim.liveness.read()
        self._sim.seen = {beat.host: beat for beat in beats}
        self._sim.seen_newest = min((b.age for b in beats), default=0.0)
        return beats
