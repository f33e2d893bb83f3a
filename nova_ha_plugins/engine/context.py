# SPDX-License-Identifier: Apache-2.0

"""What every part of the engine works with: doors, store, limits."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import math
import threading
import typing

from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import permits
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import suspicion
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)


class Store(typing.Protocol):
    """The part of the store that the engine needs."""

    def now(self) -> float: ...
    def pending_facts(self) -> tuple[facts.Fact, ...]: ...
    def settle_fact(self, uuid: str, state: str, text: str) -> None: ...
    def open_incidents(self) -> tuple[incident.Incident, ...]: ...
    def newer_incidents(self) -> tuple[str, ...]: ...
    def incidents(
        self, limit: int, host: str | None = None
    ) -> tuple[incident.Incident, ...]: ...
    def recent_fences(self, since: float) -> tuple[gates.PastFence, ...]: ...
    def save(
        self, subject: incident.Incident, lease: values.Lease, /
    ) -> incident.Incident: ...
    def create(
        self, subject: incident.Incident, lease: values.Lease, /
    ) -> incident.Incident: ...
    def next_epoch(self, host: str) -> int: ...
    def arm_state(self) -> values.ArmState: ...
    def brakes(self) -> tuple[values.Brake, ...]: ...
    def engines(self) -> tuple[values.EngineState, ...]: ...
    def note_engine(
        self, name: str, ttl: float, told: dict[str, typing.Any], /
    ) -> None: ...
    def forget_engine(self, name: str, /) -> None: ...
    def host_records(self) -> tuple[values.HostRecord, ...]: ...
    def save_host_record(self, record: values.HostRecord) -> None: ...
    def save_engine_status(self, status: dict[str, typing.Any]) -> None: ...
    def renew_lease(self, lease: values.Lease) -> values.Lease: ...


class Liveness(typing.Protocol):
    """The part of the liveness store that the engine needs."""

    def read(self) -> tuple[views.Beat, ...]: ...


class Levels(typing.Protocol):
    """Counts what saves of incidents add; raises nothing."""

    def saved(
        self,
        before: incident.Incident | None,
        after: incident.Incident,
        /,
    ) -> None: ...


class Uncounted:
    """Counts nothing."""

    def saved(
        self,
        before: incident.Incident | None,
        after: incident.Incident,
        /,
    ) -> None:
        """Leave it."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the operator configured, as values that the core understands."""

    limits: gates.Limits
    caps: pacing.Caps
    patience: waits.Patience
    rules: detector.Rules
    default_policy: str
    verify_interval: float
    interval: float
    call_deadline: float = 2.0
    network_rules: networks.Rules = dataclasses.field(
        default_factory=networks.Rules
    )


def settings_from(conf: cfg.ConfigOpts) -> Settings:
    """Return the settings of a loaded configuration."""
    return Settings(
        limits=gates.Limits(
            storm_max_hosts=conf.gates.storm_max_hosts,
            storm_max_share=conf.gates.storm_max_share,
            storm_window=conf.gates.storm_window,
            storm_max_domains=conf.gates.storm_max_domains,
            storm_interval=conf.gates.storm_interval,
            storm_cooldown=conf.gates.storm_cooldown,
            loop_late_max=conf.gates.loop_late_max,
            blind_share=conf.gates.blind_share,
            warm_up=conf.engine.warm_up,
            take_over_quiet=conf.engine.take_over_quiet,
            silent_after=conf.probe.silent_after,
            kdump_wait=conf.gates.kdump_wait,
            flap_limit=conf.gates.flap_limit,
            minimum_evidence=incident.FenceClass(
                conf.fencing.minimum_evidence
            ),
            management_lost=evidence.Response(conf.networks.management),
        ),
        caps=pacing.Caps(
            max_per_destination=conf.evacuation.max_per_destination,
            max_open=conf.evacuation.max_open,
        ),
        patience=waits.Patience(
            fence_timeout=conf.fencing.timeout,
            unanswered_quiet=conf.engine.unanswered_quiet,
            retry_delay=conf.evacuation.retry_delay,
            max_attempts=conf.evacuation.max_attempts,
            state_wait=conf.evacuation.state_wait,
            healthy_delay=conf.gates.healthy_delay,
        ),
        rules=detector.Rules(
            timeout=conf.nova_ha.heartbeat_timeout,
            reemit_interval=conf.nova_ha.reemit_interval,
            mass_silence_share=conf.nova_ha.mass_silence_share,
            reconnect_max=conf.nova_ha.reconnect_max,
        ),
        default_policy=conf.engine.default_policy,
        verify_interval=conf.fencing.verify_interval,
        interval=conf.engine.interval,
        call_deadline=conf.engine.call_deadline,
        network_rules=_network_rules(conf),
    )


def _network_rules(conf: cfg.ConfigOpts) -> networks.Rules:
    group = conf.networks
    named = {
        **group.others,
        'management': group.management,
        'storage': group.storage,
        'tenant': group.tenant,
    }
    return networks.Rules(
        responses=tuple(
            (name, evidence.Response(named[name])) for name in sorted(named)
        ),
        interval=group.interval,
        lost_after=group.lost_after,
        together=group.together,
        max_migrations=group.max_migrations,
    )


# How many lasting troubles are remembered as told.
_MANY_TROUBLES = 1000


@dataclasses.dataclass
class Context:
    """The engine's hands: everything it can reach.

    A side effect needs a permit: ``apply`` of an intent gives one, the next
    call in the same thread uses it up; see ``permits``.

    :ivar allows: whether a trust may report a failure (one policy rule).
    :ivar deciding: held from the look at the gates to the saved decision.
    :ivar monotonic: a clock that never jumps, for the engine's own lateness.
    :ivar levels: hears of every save.
    """

    store: Store
    liveness: Liveness
    nova: doors.Nova
    identity: doors.Identity
    fencing: doors.Fencing
    probe: doors.Probe
    allows: Callable[[doors.TrustView | None], bool]
    settings: Settings
    lease: values.Lease
    monotonic: Callable[[], float]
    levels: Levels = dataclasses.field(default_factory=Uncounted)
    deciding: threading.Lock = dataclasses.field(
        default_factory=threading.Lock
    )
    _troubles: set[str] = dataclasses.field(default_factory=set)
    _telling: threading.Lock = dataclasses.field(
        default_factory=threading.Lock
    )
    stopping: threading.Event = dataclasses.field(
        default_factory=threading.Event
    )

    def __post_init__(self) -> None:
        self._permits = permits.Permits(
            self.monotonic,
            self.settings.call_deadline,
            lambda: self._still_ours(),
        )
        self.nova = permits.guarded(self.nova, doors.Nova, self._permits)
        self.fencing = permits.guarded(
            self.fencing, doors.Fencing, self._permits
        )

    def _still_ours(self) -> None:
        self.store.renew_lease(self.lease)

    def trouble(self, key: str, text: str) -> None:
        """Warn of something that lasts, once, until it is over."""
        if self._once(key):
            LOG.warning('%s', text)

    def over(self, key: str, text: str) -> None:
        """Tell that a trouble ended, if it was told of."""
        with self._telling:
            known = key in self._troubles
            self._troubles.discard(key)
        if known:
            LOG.info('%s', text)

    def _once(self, key: str) -> bool:
        with self._telling:
            if key in self._troubles:
                return False
            if len(self._troubles) >= _MANY_TROUBLES:
                # Somebody makes ever new ones: rather tell some again.
                self._troubles.clear()
            self._troubles.add(key)
            return True

    def apply(
        self, subject: incident.Incident, *happened: events.Event
    ) -> incident.Incident:
        """Step the incident through events, save it once, tell the log.

        Several events may share a save only when all of them are
        observations; an intent is always saved alone, before its effect.

        :raises Conflict: somebody saved the incident in between.
        :raises LeaseLost: another engine took over.
        """
        before = subject
        intent = any(isinstance(event, events.Intent) for event in happened)
        self._permits.withdraw()
        for event in happened:
            subject = machine.step(subject, event, self.settings.patience)
        if subject == before and not intent:
            return before
        # Before the save: the lease was ours at some moment after this one.
        began = self.monotonic()
        saved = self.store.save(self._signed(subject), self.lease)
        if intent:
            self._permits.give(began)
        self._tell(before, saved)
        self.levels.saved(before, saved)
        return saved

    def _signed(self, subject: incident.Incident) -> incident.Incident:
        """Return an incident that nobody acts for yet as this engine's."""
        if subject.engine:
            return subject
        return dataclasses.replace(
            subject, token=self.lease.token, engine=self.lease.owner
        )

    def create(self, subject: incident.Incident) -> incident.Incident:
        """Store a new incident.

        :raises AlreadyOpen: somebody opened one of the host just now.
        :raises LeaseLost: another engine took over.
        """
        saved = self.store.create(self._signed(subject), self.lease)
        self._tell(dataclasses.replace(saved, timeline=()), saved)
        self.levels.saved(None, saved)
        return saved

    @staticmethod
    def _tell(before: incident.Incident, after: incident.Incident) -> None:
        """Write one line per new entry of the timeline: the only place."""
        for entry in after.timeline[len(before.timeline) :]:
            serious = after.phase == incident.Phase.NEEDS_OPERATOR or (
                entry.code.startswith(
                    ('held:', 'fence-void', 'server-parked', 'servers-wait')
                )
            )
            LOG.log(
                log.WARNING if serious else log.INFO,
                "Host '%(host)s' incident %(uuid)s: %(text)s",
                {
                    'host': after.host,
                    'uuid': after.uuid,
                    'text': entry.text,
                },
            )


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What one round knows; every incident of the round sees the same.

    :ivar since_take_over: seconds since this engine took the lease from one
        that had not given it back.
    :ivar newer_release: an open incident was written by a newer release.
    :ivar services_age: seconds since nova last listed its services.
    :ivar brakes: maintenance and pauses that hold.
    :ivar picture: which networks living hosts have lost.
    :ivar tracks: what probes said of hosts that are late.
    :ivar at: when it was made, by the engine's own clock; None if that does
        not matter.
    """

    look: detector.Look
    beats: dict[str, views.Beat]
    services: dict[str, views.ServiceView]
    records: dict[str, values.HostRecord]
    arm: values.ArmState
    watching: float
    loop_late: float
    contained: frozenset[str]
    since_take_over: float = math.inf
    newer_release: bool = False
    services_age: float = 0.0
    brakes: tuple[values.Brake, ...] = ()
    picture: networks.Picture = dataclasses.field(
        default_factory=networks.Picture
    )
    tracks: Mapping[str, suspicion.Track] = dataclasses.field(
        default_factory=dict
    )
    at: float | None = None

    def heard_now(
        self, beats: tuple[views.Beat, ...], at: float, rules: detector.Rules
    ) -> 'Snapshot':
        """Return it with the heartbeats of this moment.

        Work may have waited for its turn, or for nova: a minute ago the
        monitoring saw, and one host was silent.
        """
        passed = 0.0 if self.at is None else max(0.0, at - self.at)
        return dataclasses.replace(
            self,
            look=detector.look(self.look.state, beats, at, rules),
            beats={beat.host: beat for beat in beats},
            services_age=self.services_age + passed,
            at=at,
        )

    def newer_beat(
        self, host: str, mark: tuple[str, int] | None
    ) -> views.Beat | None:
        """Return the host's heartbeat if it is newer than the mark.

        Where there was none before, any is newer.
        """
        beat = self.beats.get(host)
        if beat is None or mark is None:
            return beat
        if (beat.boot_id, beat.sequence) == mark:
            return None
        if beat.boot_id == mark[0] and beat.sequence < mark[1]:
            return None
        return beat

    def mark(self, host: str) -> tuple[str, int] | None:
        """Return what a later heartbeat of the host will differ from."""
        beat = self.beats.get(host)
        return (beat.boot_id, beat.sequence) if beat else None
