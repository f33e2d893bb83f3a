# SPDX-License-Identifier: Apache-2.0

"""Lists the servers of a host, has them evacuated and follows them."""

from collections.abc import Sequence

from oslo_log import log

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import look
from nova_ha_plugins.engine import part
from nova_ha_plugins.engine import scenes
from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import evacuation
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import views

LOG = log.getLogger(__name__)

Phase = incident.Phase

# A look at the power and at nova's records is good for this long.
_BATCH_SECONDS = 5.0
_READY = incident.ServerState.READY


class Servers(part.Part):
    """Asks nova for evacuations; nova's records say what became of them."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        super().__init__(ctx, snapshot)
        self.look = look.Look(ctx, snapshot)

    def list_all(self, subject: incident.Incident) -> incident.Incident:
        servers = doors.attempt(self.ctx.nova.servers_on, subject.host)
        if isinstance(servers, doors.DoorError):
            LOG.warning(
                "The servers of host '%(host)s' could not be listed: "
                '%(error)s. Tried again in the next round.',
                {'host': subject.host, 'error': servers},
            )
            return subject
        return self.ctx.apply(
            subject,
            events.Listed(
                self.ctx.store.now(),
                policy.admit_all(servers, self.ctx.settings.default_policy),
            ),
        )

    def follow(self, subject: incident.Incident) -> incident.Incident:
        seen = doors.attempt(self._look_at_servers, subject)
        if isinstance(seen, doors.DoorError):
            LOG.warning(
                "The evacuations of host '%(host)s' could not be read: "
                '%(error)s. Nothing is concluded; read again in the next '
                'round.',
                {'host': subject.host, 'error': seen},
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
        reading = doors.attempt(self.ctx.fencing.read, host)
        if isinstance(reading, doors.DoorError):
            LOG.warning(
                "Whether destination '%(host)s' is still off could not be "
                'read: %(error)s. What was on its way there waits.',
                {'host': host, 'error': reading},
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
            error = doors.attempt(self.ctx.nova.stop, server.uuid)
            if isinstance(error, doors.DoorError):
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
        """Ask nova for a batch of evacuations, after one more look.

        At the servers and at the power: what was true when the batch was made
        may have changed, and nova would take a second evacuation of a server.
        """
        subject = self.check_off(subject)
        if subject.phase != Phase.EVACUATING:
            return subject
        if (
            subject.fence is None
            or subject.fence.state != incident.FenceState.VALID
        ):
            return subject
        paused = brakes.batch(scenes.brakes_of(self.snapshot.brakes), subject)
        if paused:
            return self._hold_batch(subject, brakes.PAUSED, paused)
        seen = doors.attempt(self._look_at_servers, subject, uuids)
        if isinstance(seen, doors.DoorError):
            return self._hold_batch(
                subject,
                'nova-unread',
                f'nova did not tell what it does for the servers: {seen}',
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
        reading = doors.attempt(self.ctx.fencing.read, subject.host)
        if isinstance(reading, doors.DoorError):
            if attested:
                return self._answers(subject)
            return self._hold_batch(
                subject,
                'power-unread',
                f'its power could not be read: {reading}',
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
            return self.shows_life(subject, 'reads On')
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
        """Return None unless a host that an operator attested answers.

        It has no usable device, so the probe is all that can contradict.
        """
        networks = evidence.answering(self.look.probe(subject))
        if not networks:
            return None
        return self.shows_life(subject, evidence.answers(networks))

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
        error = doors.attempt(self.ctx.nova.evacuate, uuid)
        if isinstance(error, doors.Refused):
            return self.ctx.apply(
                subject,
                events.EvacuateRefused(
                    now(), uuid, str(error), busy=error.status == 429
                ),
            )
        if isinstance(error, doors.DoorError):
            LOG.warning(
                "Evacuation of server '%(server)s' of host '%(host)s' got no "
                "answer: %(error)s. Nova's record will tell.",
                {'server': uuid, 'host': subject.host, 'error': error},
            )
            return subject
        return self.ctx.apply(subject, events.EvacuateAccepted(now(), uuid))
