# SPDX-License-Identifier: Apache-2.0

"""Takes one incident further: does what ``machine.todo`` says.

Each method does one thing to the outside and brings the result back as an
event. A failure of a door that says nothing changes nothing; the next round
asks again.
"""

import collections
from collections.abc import Callable
from collections.abc import Sequence

from oslo_log import log

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evacuation
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import views

LOG = log.getLogger(__name__)

Do = machine.Do
Phase = incident.Phase
Step = containment.Step

# Phases in which nothing was decided yet.
_UNDECIDED = frozenset({Phase.SUSPECTED, Phase.HELD})
# Phases in which the host must stay off: any sign of life matters.
_MUST_BE_OFF = frozenset({Phase.CONTAINING, Phase.EVACUATING})
# A probe that is older than this is made again before it is relied on.
_PROBE_FRESH = 5.0
# A look at the power and at nova's records is good for this long.
_BATCH_SECONDS = 5.0
_READY = incident.ServerState.READY
# Steps that one call of advance() takes at most before others get a turn.
_STRIDE = 8


class Recovery:
    """One incident, for the length of one round."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        self.ctx = ctx
        self.snapshot = snapshot
        self._work = {
            Do.ASSESS: self._assess,
            Do.READ_POWER: self._read_power,
            Do.POWER_OFF: self._power_off,
            Do.FORCE_DOWN: self._force_down,
            Do.DISABLE: self._disable,
            Do.LIST: self._list,
            Do.FOLLOW: self._follow,
            Do.WATCH_RETURN: self._watch_return,
            Do.UNFORCE: self._unforce,
            Do.ENABLE: self._enable,
        }

    def work(
        self, subject: incident.Incident, batch: Sequence[str]
    ) -> incident.Incident:
        """Ask for the evacuations of the batch, then go on."""
        if batch:
            subject = self.begin(subject, batch)
        return self.advance(subject)

    def advance(self, subject: incident.Incident) -> incident.Incident:
        """Return the incident after as many steps as can be taken now."""
        for _ in range(_STRIDE):
            if self.ctx.stopping.is_set():
                return subject
            subject = self._check_off(subject)
            do = machine.todo(
                subject, self.ctx.store.now(), self.ctx.settings.patience
            )
            if do is None:
                return subject
            phase, before = subject.phase, subject
            subject = self._work[do](subject)
            if subject is before or (
                subject.phase == phase and do in (Do.FOLLOW, Do.WATCH_RETURN)
            ):
                return subject
            if do == Do.ASSESS and subject.phase in _UNDECIDED:
                # The next look must be another moment's.
                return subject
            if do == Do.READ_POWER and subject.phase == phase:
                fence = subject.fence
                if fence is None or fence.power != incident.Power.ON:
                    return subject
                if fence.calls:
                    return subject
        return subject

    def _check_off(self, subject: incident.Incident) -> incident.Incident:
        """Void the fence when a host that must be off sends heartbeats."""
        if subject.phase not in _MUST_BE_OFF or subject.fence is None:
            return subject
        beat = self.snapshot.newer_beat(subject.host, subject.fence.beat_mark)
        if beat is None:
            return subject
        return self._shows_life(
            subject,
            f'sent a heartbeat (boot {beat.boot_id[:8]}, '
            f'sequence {beat.sequence})',
        )

    # --- looking ----------------------------------------------------------

    def _assess(self, subject: incident.Incident) -> incident.Incident:
        services = self.snapshot.services
        if services and subject.host not in services:
            return self.ctx.apply(
                subject,
                events.Dismissed(
                    self.ctx.store.now(),
                    'Nova has no nova-compute service of that name; see '
                    'nova-ha-manage doctor for what each part calls a host',
                ),
            )
        subject = self._identify(subject)
        now = self.ctx.store.now()
        readings = self._readings(subject, now)
        probe = evidence.of(readings, evidence.PROBE)
        silent = probe is not None and probe.sign == incident.Sign.SILENT
        silent_probes = subject.silent_probes + 1 if silent else 0
        verdict = evidence.verdict(readings)
        hold: gates.Hold | None = None
        if verdict == incident.Verdict.DEAD:
            subject, hold = self._preview(subject, now)
        # One decision at a time: the next one must see this one's fence, or
        # hosts that die together would pass the storm gate together.
        with self.ctx.deciding:
            hold = hold or gates.hold(
                subject,
                verdict,
                silent_probes,
                self._fleet(now),
                self.ctx.settings.limits,
            )
            return self.ctx.apply(
                subject,
                events.Assessed(
                    self.ctx.store.now(), readings, silent_probes, hold
                ),
            )

    def _readings(
        self, subject: incident.Incident, now: float
    ) -> tuple[incident.Reading, ...]:
        service = self.snapshot.services.get(subject.host)
        return (
            self._heartbeat(subject, now),
            self._probe(subject),
            _nova_reading(service, now),
        )

    def _identify(self, subject: incident.Incident) -> incident.Incident:
        record = self.snapshot.records.get(subject.host)
        if record is None:
            return subject
        known = (record.service_uuid, record.zone, record.system_uuid)
        if known == (
            subject.service_uuid,
            subject.domain,
            subject.expected_system_uuid,
        ):
            return subject
        return self.ctx.apply(
            subject, events.Identified(self.ctx.store.now(), *known)
        )

    def _heartbeat(
        self, subject: incident.Incident, now: float
    ) -> incident.Reading:
        look = self.snapshot.look
        for host in look.hosts:
            if host.host == subject.host:
                break
        else:
            return incident.Reading(
                evidence.HEARTBEAT,
                incident.Sign.UNKNOWN,
                now,
                text='no heartbeat of this host was ever stored',
            )
        sign = {
            detector.Liveness.UP: incident.Sign.ALIVE,
            detector.Liveness.DOWN: incident.Sign.SILENT,
            detector.Liveness.UNKNOWN: incident.Sign.UNKNOWN,
        }[host.verdict]
        if (
            sign == incident.Sign.UNKNOWN
            and subject.released
            and host.silent_for >= self.ctx.settings.rules.timeout
        ):
            # An operator vouched that several hosts died at once; silence
            # against the newest heartbeat of the others still has to show.
            sign = incident.Sign.SILENT
        return incident.Reading(
            evidence.HEARTBEAT, sign, now, host.age, look.reason
        )

    def _preview(
        self, subject: incident.Incident, now: float
    ) -> tuple[incident.Incident, gates.Hold | None]:
        """List the servers before the decision: none, no fence."""
        try:
            servers = self.ctx.nova.servers_on(subject.host)
        except doors.DoorError as error:
            return subject, gates.Hold(
                'nova-unreachable',
                f"The servers of host '{subject.host}' could not be listed: "
                f'{error}. Nothing is fenced before nova answers.',
            )
        listed = self._admit(servers)
        if listed == subject.servers:
            return subject, None
        return self.ctx.apply(subject, events.Listed(now, listed)), None

    def _admit(
        self, servers: Sequence[views.ServerView]
    ) -> tuple[incident.Server, ...]:
        default = self.ctx.settings.default_policy
        return tuple(
            sorted(
                (policy.admit(server, default) for server in servers),
                key=lambda server: (-server.priority, server.uuid),
            )
        )

    def _fleet(self, now: float) -> gates.Fleet:
        snapshot = self.snapshot
        timeout = self.ctx.settings.rules.timeout
        silent = {
            host.host
            for host in snapshot.look.hosts
            if host.silent_for >= timeout
        } - snapshot.contained
        arm = snapshot.arm
        opened = self.ctx.store.open_incidents()
        # The open ones also when there were many since: a flood of false
        # alarms must not push a fence out of sight.
        past = {
            each.uuid: each
            for each in (*self.ctx.store.incidents(limit=500), *opened)
        }
        fences = tuple(
            gates.PastFence(each.host, each.domain, each.fence.intended_at)
            for each in past.values()
            if each.fence is not None
        )
        incoming = collections.Counter(
            server.destination
            for each in opened
            for server in each.servers
            if server.state == incident.ServerState.EVACUATING
        )
        # No step of a new incident has forced anything down yet, so whoever
        # did is somebody else.
        forced = {
            service.host
            for service in snapshot.services.values()
            if service.forced_down
        }
        return gates.Fleet(
            now=now,
            armed=arm.armed,
            arm_text=f'disarmed by {arm.by}: {arm.reason}',
            watching=snapshot.watching,
            loop_late=snapshot.loop_late,
            blind=snapshot.look.sight
            in (detector.Sight.BLIND, detector.Sight.HOLDING_OFF),
            hosts=tuple(
                gates.HostState(
                    host=record.host,
                    domain=record.zone,
                    silent=record.host in silent,
                    mapped=record.map_state == 'verified',
                    map_text=record.map_text,
                    foreign=record.host in forced,
                    incoming=incoming[record.host],
                )
                for record in snapshot.records.values()
            ),
            fences=fences,
        )

    # --- an operator's word -----------------------------------------------

    def attested(
        self, subject: incident.Incident, by: str, reason: str
    ) -> events.Attested:
        """Return an operator's word with what can be heard and read now."""
        power = incident.Power.UNKNOWN
        try:
            reading = self.ctx.fencing.read(subject.host)
        except doors.DoorError:
            # The reason why an operator is asked at all.
            pass
        else:
            record = self.snapshot.records.get(subject.host)
            if record and reading.system_uuid == record.system_uuid:
                power = reading.power
        now = self.ctx.store.now()
        return events.Attested(
            now,
            by,
            reason,
            self.snapshot.mark(subject.host),
            self._readings(subject, now),
            power,
        )

    # --- power ------------------------------------------------------------

    def _signs_of_life(self, subject: incident.Incident) -> str:
        """Return what shows that the host lives after all, '' if nothing.

        A host that came back after its fence is switched off again, whatever
        it sends.
        """
        if subject.fence is None or subject.fence.attempt > 1:
            return ''
        heartbeat = self._heartbeat(subject, self.ctx.store.now())
        if heartbeat.sign == incident.Sign.ALIVE:
            return 'sent a heartbeat'
        if self._fresh_probe(subject).sign == incident.Sign.ALIVE:
            return 'answers the probe'
        return ''

    def _fresh_probe(self, subject: incident.Incident) -> incident.Reading:
        """Return the last probe, or a new one if that was a while ago."""
        last = evidence.of(subject.readings, evidence.PROBE)
        if last and self.ctx.store.now() - last.at <= _PROBE_FRESH:
            return last
        return self._probe(subject)

    def _probe(self, subject: incident.Incident) -> incident.Reading:
        service = self.snapshot.services.get(subject.host)
        return self.ctx.probe.probe(
            subject.host, service.address if service else ''
        )

    def _read_power(self, subject: incident.Incident) -> incident.Incident:
        now = self.ctx.store.now
        heartbeat = self._heartbeat(subject, now())
        if heartbeat.sign == incident.Sign.ALIVE:
            subject = self._lives(subject, 'sent a heartbeat')
            if subject.phase == Phase.CANCELLED:
                return subject
        if subject.phase == Phase.NEEDS_OPERATOR:
            subject = self.ctx.apply(
                subject, events.Heard(now(), self._readings(subject, now()))
            )
        fencing = self.ctx.fencing
        try:
            driver = fencing.driver_name(subject.host)
            reading = fencing.read(subject.host)
        except doors.DoorError as error:
            return self.ctx.apply(
                subject, events.PowerUnread(now(), str(error))
            )
        if reading.power == incident.Power.OFF:
            alive = self._contradicts_off(subject, heartbeat)
            if alive:
                return self.ctx.apply(
                    subject,
                    events.PowerUnread(
                        now(),
                        f'{driver} reads Off, yet {alive}; a host that is '
                        'heard is not off',
                    ),
                )
        return self.ctx.apply(
            subject,
            events.PowerRead(
                now(), driver, reading, self.snapshot.mark(subject.host)
            ),
        )

    def _lives(
        self, subject: incident.Incident, how: str
    ) -> incident.Incident:
        """Tell that the host lives, unless it was fenced before."""
        if subject.fence is None or subject.fence.attempt > 1:
            return subject
        return self._shows_life(subject, how)

    def _contradicts_off(
        self, subject: incident.Incident, heartbeat: incident.Reading
    ) -> str:
        """Return which channel hears a host whose device reads Off."""
        if heartbeat.sign == incident.Sign.ALIVE:
            return f'it sent a heartbeat {heartbeat.age or 0.0:.1f} s ago'
        if self._fresh_probe(subject).sign == incident.Sign.ALIVE:
            return 'it answers the probe'
        return ''

    def _power_off(self, subject: incident.Incident) -> incident.Incident:
        alive = self._signs_of_life(subject)
        if alive:
            return self._lives(subject, alive)
        fence = subject.fence
        now = self.ctx.store.now()
        if fence and not fence.calls and fence.attempt == 1:
            if now - fence.intended_at > self.ctx.settings.patience.intent_ttl:
                return self.ctx.apply(subject, events.IntentExpired(now))
        fencing = self.ctx.fencing
        try:
            driver = fencing.driver_name(subject.host)
        except doors.DoorError as error:
            return self.ctx.apply(subject, events.PowerUnread(now, str(error)))
        subject = self.ctx.apply(
            subject, events.PowerCalled(self.ctx.store.now(), driver)
        )
        try:
            fencing.power_off(subject.host, subject.expected_system_uuid)
        except doors.DoorError as error:
            # Not success, and not failure either: the reading decides.
            return self.ctx.apply(
                subject,
                events.PowerUnread(self.ctx.store.now(), str(error)),
            )
        return self._read_power(subject)

    # --- the service ------------------------------------------------------

    def _force_down(self, subject: incident.Incident) -> incident.Incident:
        return self._service_step(
            subject,
            Step.FORCE_DOWN,
            lambda: self.ctx.nova.force_down(subject.service_uuid, True),
        )

    def _disable(self, subject: incident.Incident) -> incident.Incident:
        service = self.snapshot.services.get(subject.host)
        if service is not None and service.disabled:
            # Somebody else disabled it before: theirs to enable again.
            return self.ctx.apply(
                subject,
                events.StepDone(self.ctx.store.now(), Step.DISABLE),
            )
        return self._service_step(
            subject,
            Step.DISABLE,
            lambda: self.ctx.nova.disable(
                subject.service_uuid, containment.owner(subject)
            ),
        )

    def _unforce(self, subject: incident.Incident) -> incident.Incident:
        return self._service_step(
            subject,
            Step.UNFORCE,
            lambda: self.ctx.nova.force_down(subject.service_uuid, False),
        )

    def _enable(self, subject: incident.Incident) -> incident.Incident:
        return self._service_step(
            subject,
            Step.ENABLE,
            lambda: self.ctx.nova.enable(subject.service_uuid),
        )

    def _service_step(
        self,
        subject: incident.Incident,
        step: Step,
        call: Callable[[], None],
    ) -> incident.Incident:
        now = self.ctx.store.now
        subject = self.ctx.apply(subject, events.StepIntended(now(), step))
        try:
            call()
        except doors.DoorError as error:
            return self.ctx.apply(
                subject,
                events.StepRefused(
                    now(),
                    step,
                    f"Nova did not confirm '{step}' for host "
                    f"'{subject.host}': {error}. Tried again.",
                ),
            )
        return self.ctx.apply(subject, events.StepDone(now(), step))

    # --- servers ----------------------------------------------------------

    def _list(self, subject: incident.Incident) -> incident.Incident:
        try:
            servers = self.ctx.nova.servers_on(subject.host)
        except doors.DoorError as error:
            LOG.warning(
                "The servers of host '%(host)s' could not be listed: "
                '%(error)s. Tried again in the next round.',
                {'host': subject.host, 'error': error},
            )
            return subject
        return self.ctx.apply(
            subject,
            events.Listed(self.ctx.store.now(), self._admit(servers)),
        )

    def _follow(self, subject: incident.Incident) -> incident.Incident:
        try:
            seen = self._look_at_servers(subject)
        except doors.DoorError as error:
            LOG.warning(
                "The evacuations of host '%(host)s' could not be read: "
                '%(error)s. Nothing is concluded; read again in the next '
                'round.',
                {'host': subject.host, 'error': error},
            )
            return subject
        subject = self.ctx.apply(subject, *seen)
        return self._stop_again(subject)

    def _look_at_servers(
        self, subject: incident.Incident, only: Sequence[str] = ()
    ) -> list[events.EvacuationSeen]:
        # The records first: a server that is read afterwards can only be
        # further than its record says, never behind it.
        records: dict[str, views.MigrationView] = {}
        for record in self.ctx.nova.evacuations(subject.host):
            records.setdefault(record.server_uuid, record)
        there = {
            view.uuid: view for view in self.ctx.nova.servers_on(subject.host)
        }
        off: dict[str, bool] = {}
        seen = []
        for server in subject.servers:
            if server.state in incident.FINAL_SERVER_STATES:
                continue
            if only and server.uuid not in only:
                continue
            view = there.get(server.uuid) or self.ctx.nova.server(server.uuid)
            record_ = records.get(server.uuid)
            to = record_.dest_compute if record_ else None
            if to and to not in off:
                off[to] = self._is_off(to)
            seen.append(
                events.EvacuationSeen(
                    self.ctx.store.now(),
                    server.uuid,
                    record_,
                    view,
                    bool(to and off[to]),
                )
            )
        return seen

    def _is_off(self, host: str) -> bool:
        """Return whether a host that we fenced is off at this very moment.

        That it was fenced does not say it: nova-compute of a host that was
        switched on again takes up what waited for it in the message bus.
        """
        if host not in self.snapshot.contained:
            return False
        record = self.snapshot.records.get(host)
        try:
            reading = self.ctx.fencing.read(host)
        except doors.DoorError as error:
            LOG.warning(
                "Whether destination '%(host)s' is still off could not be "
                'read: %(error)s. What was on its way there waits.',
                {'host': host, 'error': error},
            )
            return False
        return (
            record is not None
            and reading.system_uuid == record.system_uuid
            and reading.power == incident.Power.OFF
        )

    def _stop_again(self, subject: incident.Incident) -> incident.Incident:
        for server in subject.servers:
            if not evacuation.stop_due(server, self.ctx.store.now()):
                continue
            subject = self.ctx.apply(
                subject,
                events.StopIntended(self.ctx.store.now(), server.uuid),
            )
            try:
                self.ctx.nova.stop(server.uuid)
            except doors.DoorError as error:
                LOG.warning(
                    "Server '%(server)s' of host '%(host)s' was stopped "
                    'before and could not be stopped again: %(error)s. '
                    'Tried again.',
                    {
                        'server': server.uuid,
                        'host': subject.host,
                        'error': error,
                    },
                )
        return subject

    def begin(
        self, subject: incident.Incident, uuids: Sequence[str]
    ) -> incident.Incident:
        """Ask nova for a batch of evacuations, after one more look at the
        servers and at the power: what was true when the batch was made may
        have changed, and nova would take a second evacuation of a server."""
        subject = self._check_off(subject)
        if subject.phase != Phase.EVACUATING:
            return subject
        if (
            subject.fence is None
            or subject.fence.state != incident.FenceState.VALID
        ):
            return subject
        try:
            seen = self._look_at_servers(subject, uuids)
        except doors.DoorError as error:
            return self._hold_batch(
                subject,
                'nova-unread',
                f'nova did not tell what it does for the servers: {error}',
            )
        subject = self.ctx.apply(subject, *seen)
        if subject.phase != Phase.EVACUATING:
            return subject
        checked = self._still_off(subject)
        if checked is not None:
            return checked
        looked_at = self.ctx.store.now()
        for uuid in uuids:
            if self.ctx.stopping.is_set():
                return subject
            if self.ctx.store.now() - looked_at > _BATCH_SECONDS:
                # Nova is slow: the rest waits for another look.
                return subject
            if notes.server_of(subject, uuid).state == _READY:
                subject = self._evacuate(subject, uuid)
        return subject

    def _still_off(
        self, subject: incident.Incident
    ) -> incident.Incident | None:
        """Return None when the batch may go, else the incident as it is."""
        fence = subject.fence
        attested = (
            fence is not None
            and fence.evidence_class == incident.FenceClass.OPERATOR_ATTESTED
        )
        try:
            reading = self.ctx.fencing.read(subject.host)
        except doors.DoorError as error:
            if attested:
                return self._answers(subject)
            return self._hold_batch(
                subject,
                'power-unread',
                f'its power could not be read: {error}',
            )
        if reading.system_uuid != subject.expected_system_uuid:
            if attested:
                return self._answers(subject)
            return self._hold_batch(
                subject,
                'identity-mismatch',
                f"its device says system '{reading.system_uuid}', "
                f"expected '{subject.expected_system_uuid}'",
            )
        if reading.power == incident.Power.ON:
            return self._shows_life(subject, 'reads On')
        if reading.power == incident.Power.OFF:
            return None
        if attested:
            return self._answers(subject)
        return self._hold_batch(
            subject,
            'power-unread',
            f'its power reads {reading.power}, not off',
        )

    def _answers(self, subject: incident.Incident) -> incident.Incident | None:
        """Return None unless a host without a usable device, of which an
        operator said that it is off, answers the probe."""
        if self._probe(subject).sign != incident.Sign.ALIVE:
            return None
        return self._shows_life(subject, 'answers the probe')

    def _shows_life(
        self, subject: incident.Incident, how: str
    ) -> incident.Incident:
        return self.ctx.apply(
            subject,
            events.SignOfLife(
                self.ctx.store.now(), f"Host '{subject.host}' {how}"
            ),
        )

    def _hold_batch(
        self, subject: incident.Incident, code: str, found: str
    ) -> incident.Incident:
        return self.ctx.apply(
            subject,
            events.BatchHeld(
                self.ctx.store.now(),
                code,
                f"No evacuation from host '{subject.host}' begins: {found}. "
                'It is read again; servers on their way go on.',
            ),
        )

    def _evacuate(
        self, subject: incident.Incident, uuid: str
    ) -> incident.Incident:
        now = self.ctx.store.now
        subject = self.ctx.apply(subject, events.EvacuateIntended(now(), uuid))
        try:
            self.ctx.nova.evacuate(uuid)
        except doors.Refused as error:
            return self.ctx.apply(
                subject,
                events.EvacuateRefused(
                    now(), uuid, str(error), busy=error.status == 429
                ),
            )
        except doors.Unanswered as error:
            LOG.warning(
                "Evacuation of server '%(server)s' of host '%(host)s' got no "
                "answer: %(error)s. Nova's record will tell.",
                {'server': uuid, 'host': subject.host, 'error': error},
            )
            return subject
        return self.ctx.apply(subject, events.EvacuateAccepted(now(), uuid))

    # --- the return -------------------------------------------------------

    def _watch_return(self, subject: incident.Incident) -> incident.Incident:
        mark = subject.fence.beat_mark if subject.fence else None
        beat = self.snapshot.newer_beat(subject.host, mark)
        beating = (
            beat is not None and beat.age < self.ctx.settings.rules.timeout
        )
        service, uncleaned = None, 0
        if beating:
            try:
                service = {
                    each.uuid: each for each in self.ctx.nova.services()
                }.get(subject.service_uuid)
                uncleaned = sum(
                    record.status == 'done'
                    for record in self.ctx.nova.evacuations(subject.host)
                )
            except doors.DoorError as error:
                LOG.warning(
                    "Whether host '%(host)s' may return could not be read: "
                    '%(error)s. It stays forced down; read again.',
                    {'host': subject.host, 'error': error},
                )
                return subject
        return self.ctx.apply(
            subject,
            events.HostSeen(self.ctx.store.now(), beating, service, uncleaned),
        )


def _nova_reading(
    service: views.ServiceView | None, now: float
) -> incident.Reading:
    if service is None:
        return incident.Reading(
            evidence.NOVA,
            incident.Sign.UNKNOWN,
            now,
            text='nova knows no such compute service',
        )
    sign = incident.Sign.ALIVE if service.up else incident.Sign.SILENT
    return incident.Reading(
        evidence.NOVA,
        sign,
        now,
        text=f'nova says {"up" if service.up else "down"}',
    )
