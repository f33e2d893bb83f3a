# SPDX-License-Identifier: Apache-2.0

"""The doors of the engine, leading into the simulated world.

Each call that changes something has a point before and one after it: there
the invariants are checked, and there an engine can be killed.
"""

from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import dataclasses

from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views
from tests.scenarios import cloud as cloud_
from tests.scenarios import live as live_
from tests.scenarios import memory
from tests.scenarios import world as world_


@dataclasses.dataclass(frozen=True)
class Act:
    """One side effect that the engine is about to cause.

    :ivar call: 'power-off', 'evacuate', 'force-down', 'un-force', 'disable',
        'enable' or 'stop'.
    :ivar target: the host, or the server.
    :ivar token: of the lease of the engine that does it.
    """

    call: str
    target: str
    token: int = dataclasses.field(default=0, repr=False, compare=False)


@dataclasses.dataclass
class Faults:
    """How the way to nova and keystone is disturbed.

    :ivar nova: '' or 'down'.
    :ivar evacuate: what becomes of the next evacuate calls, one word each:
        'accept-504', 'lost' (never arrives), 'late' (without an answer,
        begun twenty seconds later), 'refuse-409'.
    :ivar migrate: the same of the next live migrations.
    :ivar slow: seconds that each call to nova takes.
    """

    nova: str = ''
    identity: str = ''
    evacuate: list[str] = dataclasses.field(default_factory=list)
    migrate: list[str] = dataclasses.field(default_factory=list)
    slow: float = 0.0


class Outside:
    """All that the doors have in common.

    :ivar act: told before each side effect; it may raise.
    :ivar done: told after it, whatever the answer was.
    """

    def __init__(self, world: world_.World, cloud: cloud_.Cloud) -> None:
        self.world = world
        self.cloud = cloud
        self.live = live_.Live(cloud)
        self.faults = Faults()
        self.trusts: dict[str, doors.TrustView] = {}
        self.readings: dict[str, tuple[float, views.PowerReading]] = {}
        self.act: Callable[[Act], None] = lambda act: None
        self.done: Callable[[Act], None] = lambda act: None
        self.lapse: Callable[[float], None] = lambda seconds: None

    @staticmethod
    def pass_filter(act: Act, store: memory.Store) -> None:
        """Refuse a token that is not the newest, as our filter in nova does.

        :raises Refused: nothing was done.
        """
        if store.down:
            raise doors.Refused('503: the store does not answer', 503)
        if act.token != store.lease_state().token:
            raise doors.Refused(f'409: {act} of an engine of before', 409)


class Nova:
    """The door to nova."""

    def __init__(self, outside: Outside, token: int) -> None:
        self.outside = outside
        self.cloud = outside.cloud
        self.token = token

    def _ask(self) -> None:
        if self.outside.faults.slow:
            self.outside.lapse(self.outside.faults.slow)
        if self.outside.faults.nova == 'down':
            raise doors.Unanswered('connection refused')

    def _do(self, call: str, target: str, what: Callable[[], object]) -> None:
        act = Act(call, target, self.token)
        self.outside.act(act)
        try:
            self._ask()
            try:
                what()
            except cloud_.NovaError as error:
                raise doors.Refused(str(error), error.status) from error
        finally:
            self.outside.world.watch(f'{call} {target}')
        self.outside.done(act)

    def services(self) -> tuple[views.ServiceView, ...]:
        self._ask()
        return tuple(
            views.ServiceView(
                host=service.host,
                uuid=service.uuid,
                up=self.cloud.up(service.host),
                forced_down=service.forced_down,
                disabled=service.disabled,
                disabled_reason=service.reason,
                zone=self.outside.world.hosts[service.host].zone,
                address=f'10.0.0.{service.host}',
            )
            for service in self.cloud.services.values()
        )

    @staticmethod
    def _view(server: cloud_.Server) -> views.ServerView:
        return views.ServerView(
            uuid=server.uuid,
            name=server.uuid,
            project_id='project',
            host=server.host,
            vm_state=server.vm_state,
            task_state=server.task_state,
            metadata=dict(server.metadata),
        )

    def servers_on(self, host: str) -> tuple[views.ServerView, ...]:
        self._ask()
        return tuple(
            self._view(server)
            for server in self.cloud.servers.values()
            if server.host == host
        )

    def server(self, uuid: str) -> views.ServerView | None:
        self._ask()
        server = self.cloud.servers.get(uuid)
        return self._view(server) if server else None

    def evacuations(self, host: str) -> tuple[views.MigrationView, ...]:
        self._ask()
        return tuple(
            views.MigrationView(
                uuid=migration.uuid,
                server_uuid=migration.server,
                source_compute=migration.source,
                dest_compute=migration.dest,
                status=migration.status,
                created_at=str(int(migration.created_at)),
            )
            for migration in reversed(self.cloud.migrations)
            if migration.source == host
        )

    def force_down(self, service_uuid: str, forced: bool) -> None:
        host = service_uuid.removeprefix('svc-')
        self._do(
            'force-down' if forced else 'un-force',
            host,
            lambda: self.cloud.force_down(service_uuid, forced),
        )

    def disable(self, service_uuid: str, reason: str) -> None:
        host = service_uuid.removeprefix('svc-')
        self._do(
            'disable', host, lambda: self.cloud.disable(service_uuid, reason)
        )

    def enable(self, service_uuid: str) -> None:
        host = service_uuid.removeprefix('svc-')
        self._do('enable', host, lambda: self.cloud.enable(service_uuid))

    def evacuate(self, server_uuid: str) -> None:
        faults = self.outside.faults.evacuate
        fault = faults.pop(0) if faults else ''

        def late() -> None:
            with contextlib.suppress(cloud_.NovaError):
                self.cloud.evacuate(server_uuid, 'engine')

        def call() -> None:
            if fault == 'refuse-409':
                raise doors.Refused('409: busy', 409)
            if fault == 'late':
                self.outside.world.later(20.0, late)
            elif fault != 'lost':
                self.cloud.evacuate(server_uuid, 'engine')
            if fault in ('lost', 'late', 'accept-504'):
                raise doors.Unanswered('504 Gateway Timeout')

        self._do('evacuate', server_uuid, call)

    def stop(self, server_uuid: str) -> None:
        self._do('stop', server_uuid, lambda: self.cloud.stop(server_uuid))

    def start(self, server_uuid: str) -> None:
        self._do('start', server_uuid, lambda: self.cloud.start(server_uuid))

    def pause(self, server_uuid: str) -> None:
        self._do('pause', server_uuid, lambda: self.cloud.pause(server_uuid))

    def reset(self, server_uuid: str) -> None:
        self._do('reset', server_uuid, lambda: self.cloud.reset(server_uuid))

    def moves(self, host: str) -> tuple[views.MigrationView, ...]:
        self._ask()
        return tuple(
            views.MigrationView(
                uuid=record.uuid,
                server_uuid=record.server,
                source_compute=record.source,
                dest_compute=record.dest,
                status=record.status,
                created_at=str(int(record.created_at)),
                kind=record.kind,
            )
            for record in reversed(self.outside.live.records)
            if host in (record.source, record.dest)
            and record.status not in states.MOVE_ENDED
        )

    def live_migrations(self, host: str) -> tuple[views.MigrationView, ...]:
        self._ask()
        return tuple(
            views.MigrationView(
                uuid=record.uuid,
                server_uuid=record.server,
                source_compute=record.source,
                dest_compute=record.dest,
                status=record.status,
                created_at=str(int(record.created_at)),
            )
            for record in reversed(self.outside.live.records)
            if record.source == host
        )

    def live_migrate(self, server_uuid: str) -> None:
        faults = self.outside.faults.migrate
        fault = faults.pop(0) if faults else ''
        migrate = self.outside.live.migrate

        def late() -> None:
            with contextlib.suppress(cloud_.NovaError):
                migrate(server_uuid, 'engine')

        def call() -> None:
            if fault == 'refuse-409':
                raise doors.Refused('409: busy', 409)
            if fault == 'late':
                self.outside.world.later(20.0, late)
            elif fault != 'lost':
                migrate(server_uuid, 'engine')
            if fault in ('lost', 'late', 'accept-504'):
                raise doors.Unanswered('504 Gateway Timeout')

        self._do('live-migrate', server_uuid, call)


class Fencing:
    """The door to the power devices, through the map."""

    def __init__(self, outside: Outside, token: int) -> None:
        self.outside = outside
        self.token = token

    def hosts(self) -> tuple[str, ...]:
        return tuple(self.outside.world.map)

    def driver_name(self, host: str) -> str:
        if host not in self.outside.world.map:
            raise doors.Refused(f"the fencing map has no host '{host}'")
        return 'redfish'

    def _device(self, host: str) -> world_.Device:
        self.driver_name(host)
        device = self.outside.world.devices[self.outside.world.map[host]]
        if device.fault == 'error':
            raise doors.Refused('500 Internal Error', 500)
        if device.fault == 'hang':
            raise doors.Unanswered('no answer within 10 s')
        return device

    def power_off(self, host: str, system_uuid: str) -> None:
        device = self._device(host)
        if device.system_uuid != system_uuid:
            raise doors.Refused(f"it is system '{device.system_uuid}'")
        act = Act('power-off', host, self.token)
        self.outside.act(act)
        self.outside.world.command_off(device)
        self.outside.done(act)
        if device.fault == 'mute':
            raise doors.Unanswered('no answer within 10 s')

    def read(self, host: str) -> views.PowerReading:
        world = self.outside.world
        device = self._device(host)
        power = (
            incident.Power.ON
            if world.hosts[device.cabled].power
            else incident.Power.OFF
        )
        if device.fault == 'changing':
            power = incident.Power.CHANGING
        if device.fault == 'says-off':
            power = incident.Power.OFF
        reading = views.PowerReading(power, device.system_uuid, power.value)
        self.outside.readings[host] = (world.now, reading)
        return reading


class Probe:
    """A channel for each network that is probed."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    def probe_all(
        self, host: str, address: str
    ) -> tuple[incident.Reading, ...]:
        return tuple(
            incident.Reading(
                evidence.channel_of(network),
                self._sign(host, network),
                self.outside.world.now,
                text='no answer',
            )
            for network in self.networks_of(host, address)
        )

    def networks_of(self, host: str, address: str) -> tuple[str, ...]:
        return (world_.MANAGEMENT, *self.outside.world.probed)

    def compare(
        self, targets: Iterable[reach.Target], since: float
    ) -> tuple[reach.Witness, ...]:
        return tuple(
            reach.Witness(
                target.host,
                target.network,
                self._sign(target.host, target.network),
            )
            for target in targets
        )

    def sweep(
        self, targets: Iterable[reach.Target]
    ) -> tuple[reach.Witness, ...]:
        return self.compare(targets, 0.0)

    def _sign(self, host: str, network: str) -> incident.Sign:
        world = self.outside.world
        there = world.hosts[host]
        if not there.networks[network].known:
            return incident.Sign.UNKNOWN
        if world.legs[network].works and there.answers(network):
            return incident.Sign.ALIVE
        return incident.Sign.SILENT


class Identity:
    """The door to keystone."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    def trust(self, trust_id: str) -> doors.TrustView | None:
        if self.outside.faults.identity == 'down':
            raise doors.Unanswered('connection refused')
        return self.outside.trusts.get(trust_id)


def allows(trust: doors.TrustView | None) -> bool:
    """The policy rule: administrators and the service role may report."""
    return trust is not None and bool({'admin', 'service'} & set(trust.roles))
