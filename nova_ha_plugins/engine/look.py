# SPDX-License-Identifier: Apache-2.0

"""Looks at a suspected host: every channel, every gate, an operator's word."""

import dataclasses

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import living
from nova_ha_plugins.engine import part
from nova_ha_plugins.engine import scenes
from nova_ha_plugins.engine import witnesses
from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import flapping
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.recovery import suspicion
from nova_ha_plugins.recovery import views

# A probe that is older than this is made again before it is relied on.
_PROBE_FRESH = 5.0

_Readings = tuple[incident.Reading, ...]


class Look(part.Part):
    """Reads the channels and decides with the gates."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        super().__init__(ctx, snapshot)
        self.scenes = scenes.Scenes(ctx, snapshot)
        self.living = living.Living(self)

    def assess(self, subject: incident.Incident) -> incident.Incident:
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
        subject, known = suspicion.taken_up(
            subject,
            self.snapshot.tracks.get(subject.host),
            self.ctx.settings.limits.silent_after,
            now,
        )
        readings = self.readings(subject, now, known)
        lives = self.living.assess(subject, readings)
        if lives is not None:
            return lives
        limits = self.ctx.settings.limits
        lost = limits.management_lost
        doubts = self._doubts(subject, readings)
        readings = reach.corrected(readings, doubts)
        verdict = evidence.verdict(readings)
        silent_probes = evidence.in_a_row(subject, verdict, lost)
        found: gates.Hold | None = None
        if doubts:
            machine = self.ctx.lease.owner.partition(':')[0]
            found = reach.hold(subject, doubts, machine)
        elif evidence.may_fence(verdict, lost):
            subject, found = self.preview(subject, now)
        suspect = gates.suspect_of(
            subject, readings, silent_probes, now, found
        )
        case = gates.Case(suspect, self.scenes.known(subject, now), limits)
        hold = gates.hold(case)
        if hold is None:
            return self._decide(subject, case)
        return self._assessed(subject, case, hold)

    def _decide(
        self, subject: incident.Incident, case: gates.Case
    ) -> incident.Incident:
        """Decide with what everybody knows at this very moment.

        One decision at a time: the next one must see this one's fence, or
        hosts that die together would pass the storm gate together.
        """
        with self.ctx.deciding:
            now = self.ctx.store.now()
            later = self.heard_now()
            case = dataclasses.replace(
                case,
                suspect=self._heard_again(case.suspect, later, now),
                scene=scenes.Scenes(self.ctx, later).fresh(subject, now),
            )
            return self._assessed(subject, case, gates.hold(case))

    def _assessed(
        self,
        subject: incident.Incident,
        case: gates.Case,
        hold: gates.Hold | None,
    ) -> incident.Incident:
        return self.ctx.apply(
            subject,
            events.Assessed(
                self.ctx.store.now(),
                case.suspect.readings,
                case.suspect.silent_probes,
                hold,
                case.limits.management_lost,
                case,
            ),
        )

    def heard_now(self) -> context.Snapshot:
        """Return the round's snapshot with the heartbeats of this moment.

        Nova may have taken a minute to list the servers, and the round's look
        is as old as that.
        """
        return self.snapshot.heard_now(
            self.ctx.liveness.read(),
            self.ctx.monotonic(),
            self.ctx.settings.rules,
        )

    def _heard_again(
        self, suspect: gates.Suspect, later: context.Snapshot, now: float
    ) -> gates.Suspect:
        """Return the suspect as it is after one more look."""
        beat = later.newer_beat(suspect.host, self.snapshot.mark(suspect.host))
        if beat is None:
            return suspect
        heard = incident.Reading(
            evidence.HEARTBEAT,
            incident.Sign.ALIVE,
            now,
            beat.age,
            'heard while it was looked at',
        )
        others = (
            reading
            for reading in suspect.readings
            if reading.channel != evidence.HEARTBEAT
        )
        return dataclasses.replace(
            suspect, readings=(heard, *others), dead_since=None
        )

    def readings(
        self, subject: incident.Incident, now: float, known: _Readings = ()
    ) -> _Readings:
        """Return what all channels say.

        :param known: probes of just now, instead of new ones.
        """
        service = self.snapshot.services.get(subject.host)
        return (
            self.heartbeat(subject, now),
            *(known or self.probe(subject)),
            _nova_reading(service, now),
        )

    def _doubts(
        self, subject: incident.Incident, readings: _Readings
    ) -> tuple[reach.Doubt, ...]:
        """Compare a silence that could be our own with other hosts."""
        return witnesses.doubts(
            self.ctx.probe,
            self.snapshot,
            subject.host,
            readings,
            self.ctx.settings.limits.management_lost,
        )

    def compared(
        self,
        subject: incident.Incident,
        readings: _Readings,
        networks: tuple[str, ...],
    ) -> tuple[reach.Doubt, ...]:
        """Return the networks on which living hosts do not answer either."""
        return witnesses.compared(
            self.ctx.probe, self.snapshot, subject.host, readings, networks
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

    def heartbeat(
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

    def preview(
        self, subject: incident.Incident, now: float
    ) -> tuple[incident.Incident, gates.Hold | None]:
        """List the servers before the decision: none, no fence."""
        servers = doors.attempt(self.ctx.nova.servers_on, subject.host)
        if isinstance(servers, doors.DoorError):
            return subject, gates.Hold(
                'nova-unreachable',
                f"The servers of host '{subject.host}' could not be listed: "
                f'{servers}. Nothing is fenced before nova answers.',
            )
        listed = policy.admit_all(servers, self.ctx.settings.default_policy)
        if listed == subject.servers:
            return subject, None
        return self.ctx.apply(subject, events.Listed(now, listed)), None

    def attested(
        self, subject: incident.Incident, by: str, reason: str
    ) -> events.Attested:
        """Return an operator's word with what can be heard and read now."""
        power = incident.Power.UNKNOWN
        reading = doors.attempt(self.ctx.fencing.read, subject.host)
        # No answer is the reason why an operator is asked at all.
        if not isinstance(reading, doors.DoorError):
            record = self.snapshot.records.get(subject.host)
            if record and reading.system_uuid == record.system_uuid:
                power = reading.power
        now = self.ctx.store.now()
        limits = self.ctx.settings.limits
        failures = self.scenes.failures(subject, now)
        return events.Attested(
            now,
            by,
            reason,
            self.snapshot.mark(subject.host),
            self.readings(subject, now),
            power,
            forbidden=self._foreign(subject)
            or brakes.attest_refusal(
                self.scenes.brakes(),
                subject.host,
                subject.domain,
                limits.minimum_evidence,
            ),
            failures=failures
            if flapping.is_flapping(failures, limits.flap_limit)
            else 0,
        )

    def _foreign(self, subject: incident.Incident) -> str:
        """Return why a host that others work on is not ours to evacuate."""
        service = self.snapshot.services.get(subject.host)
        if (
            service is None
            or not service.forced_down
            or subject.forced_down != incident.StepState.NONE
        ):
            return ''
        return (
            'somebody else forced it down in nova and may be recovering it; '
            'clear that (openstack compute service set --up '
            f'{subject.host} nova-compute), then attest again'
        )

    def probed(self, subject: incident.Incident) -> _Readings:
        """Return the last probes, or new ones if they are old.

        An answer is asked for again: it may be from before the host was
        switched off.
        """
        last = evidence.probes(subject.readings)
        now = self.ctx.store.now()
        if (
            last
            and not evidence.answering(last)
            and all(0.0 <= now - each.at <= _PROBE_FRESH for each in last)
        ):
            return last
        return self.probe(subject)

    def probe(self, subject: incident.Incident) -> _Readings:
        """Return what the host does on each of its networks."""
        service = self.snapshot.services.get(subject.host)
        return self.ctx.probe.probe_all(
            subject.host, service.address if service else ''
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
