# SPDX-License-Identifier: Apache-2.0

"""Switches a host off through its device, and reads the power back."""

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import look
from nova_ha_plugins.engine import part
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident

Phase = incident.Phase


class Power(part.Part):
    """Asks the device; only what it reads counts."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        super().__init__(ctx, snapshot)
        self.look = look.Look(ctx, snapshot)

    def _signs_of_life(self, subject: incident.Incident) -> str:
        """Return what shows that the host lives after all, '' if nothing.

        A host that came back after its fence is switched off again, whatever
        it sends. One that is fenced because it lost its management network
        answers on the others, which is no news; on that one it is.
        """
        if subject.fence is None or subject.fence.attempt > 1:
            return ''
        heartbeat = self.look.heartbeat(subject, self.ctx.store.now())
        if heartbeat.sign == incident.Sign.ALIVE:
            return self._heard(subject)
        probes = self.look.probed(subject)
        if subject.verdict == incident.Verdict.ISOLATED:
            networks = evidence.forbidding(
                probes, self.ctx.settings.limits.management_lost
            )
        else:
            networks = evidence.answering(probes)
        return evidence.answers(networks) if networks else ''

    def _heard(self, subject: incident.Incident) -> str:
        """Return what a heartbeat means.

        One of a host that is fenced because it lost a network, by the policy
        of that network, is no news; an answer on that network is.
        """
        fence = subject.fence
        if fence is None or not fence.networks or fence.attempt > 1:
            return 'sent a heartbeat'
        back = [
            network
            for network in evidence.answering(self.look.probe(subject))
            if network in fence.networks
        ]
        return f'answers on network {evidence.quoted(back)}' if back else ''

    def read_power(self, subject: incident.Incident) -> incident.Incident:
        now = self.ctx.store.now
        heartbeat = self.look.heartbeat(subject, now())
        if heartbeat.sign == incident.Sign.ALIVE:
            heard, before = self._heard(subject), subject.phase
            subject = self._lives(subject, heard) if heard else subject
            if subject.phase != before:
                return subject
        if subject.phase == Phase.NEEDS_OPERATOR:
            subject = self.ctx.apply(
                subject,
                events.Heard(now(), self.look.readings(subject, now())),
            )
        fencing = self.ctx.fencing
        driver = doors.attempt(fencing.driver_name, subject.host)
        reading = doors.attempt(fencing.read, subject.host)
        if isinstance(driver, doors.DoorError) or isinstance(
            reading, doors.DoorError
        ):
            failed = driver if isinstance(driver, doors.DoorError) else reading
            return self.ctx.apply(
                subject, events.PowerUnread(now(), str(failed))
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
        beat = self.snapshot.beats.get(subject.host)
        return self.ctx.apply(
            subject,
            events.PowerRead(
                now(),
                driver,
                reading,
                self.snapshot.mark(subject.host),
                beat.age if beat else None,
            ),
        )

    def _lives(
        self, subject: incident.Incident, how: str
    ) -> incident.Incident:
        """Tell that the host lives, unless it was fenced before.

        It may have been switched on again; that its device lied is news.
        """
        if subject.fence is None:
            return subject
        if subject.fence.attempt > 1 and (
            subject.phase != Phase.FENCING or not self.device_lied(subject)
        ):
            return subject
        return self.shows_life(subject, how)

    def _contradicts_off(
        self, subject: incident.Incident, heartbeat: incident.Reading
    ) -> str:
        """Return which channel hears a host whose device reads Off."""
        if heartbeat.sign == incident.Sign.ALIVE:
            return f'it sent a heartbeat {heartbeat.age or 0.0:.1f} s ago'
        networks = evidence.answering(self.look.probed(subject))
        return f'it {evidence.answers(networks)}' if networks else ''

    def power_off(self, subject: incident.Incident) -> incident.Incident:
        alive = self._signs_of_life(subject)
        if alive:
            return self._lives(subject, alive)
        fence = subject.fence
        now = self.ctx.store.now()
        if fence and not fence.calls and fence.attempt == 1:
            if now - fence.intended_at > self.ctx.settings.patience.intent_ttl:
                return self.ctx.apply(subject, events.IntentExpired(now))
        fencing = self.ctx.fencing
        driver = doors.attempt(fencing.driver_name, subject.host)
        if isinstance(driver, doors.DoorError):
            return self.ctx.apply(
                subject, events.PowerUnread(now, str(driver))
            )
        subject = self.ctx.apply(
            subject, events.PowerCalled(self.ctx.store.now(), driver)
        )
        error = doors.attempt(
            fencing.power_off, subject.host, subject.expected_system_uuid
        )
        if isinstance(error, doors.NotCalled):
            return self.ctx.apply(
                subject, events.PowerNotCalled(self.ctx.store.now())
            )
        if isinstance(error, doors.DoorError):
            # Not success, and not failure either: the reading decides.
            return self.ctx.apply(
                subject,
                events.PowerUnread(self.ctx.store.now(), str(error)),
            )
        return self.read_power(subject)
