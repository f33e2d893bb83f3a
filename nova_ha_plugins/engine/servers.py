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
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import notes
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import restoring
from nova_ha_plugins.recovery import telling
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
        missing = doors.attempt(self._left_out, subject, servers)
        if isinstance(missing, doors.DoorError) or missing:
            LOG.warning(
                "The list of servers of host '%(host)s' is not complete: "
                '%(missing)s. Listed again in the next round.',
                {'host': subject.host, 'missing': missing},
            )
            return subject
        return self.ctx.apply(
            subject,
            events.Listed(
                self.ctx.store.now(),
                policy.admit_all(servers, self.ctx.settings.default_policy),
            ),
        )

    def _left_out(
        self,
        subject: incident.Incident,
        servers: Sequence[views.ServerView],
    ) -> list[str]:
        """Return servers of the first look that only the list left out.

        A list may be older than one that was read before it; believed, it
        would leave the others on a host that is off.
        """
        listed = {server.uuid for server in servers}
        looked_at = {
            server.uuid: self.ctx.nova.server(server.uuid)
            for server in subject.servers
            if server.uuid not in listed
        }
        return [
            uuid
            for uuid, view in looked_at.items()
            if view is not None and view.host == subject.host
        ]

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
        return self._put_back(subject)

    def review(self, subject: incident.Incident) -> incident.Incident:
        """Look again at the servers of a host that is recovered and off.

        The reason of a parked one may have ended, and nova may have ended a
        move to the host only now. Nothing begins while the host is heard, or
        while it is not certain that it is off.
        """
        happened: list[events.Event] = []
        if self.snapshot.arm.armed and self._is_quiet(subject):
            seen = doors.attempt(self._look_at_servers, subject)
            if isinstance(seen, doors.DoorError):
                LOG.warning(
                    "The servers of host '%(host)s' could not be looked at "
                    'again: %(error)s. They are in half a minute.',
                    {'host': subject.host, 'error': seen},
                )
            else:
                happened.extend(seen)
        return self.ctx.apply(
            subject, *happened, events.Reviewed(self.ctx.store.now())
        )

    def _is_quiet(self, subject: incident.Incident) -> bool:
        """Return whether a recovered host is still off, without touching it.

        Somebody may have switched it on: that is welcome by now.
        """
        fence = subject.fence
        if fence is None or self.snapshot.newer_beat(
            subject.host, fence.beat_mark
        ):
            return False
        reading = doors.attempt(self.ctx.fencing.read, subject.host)
        if (
            not isinstance(reading, doors.DoorError)
            and reading.system_uuid == subject.expected_system_uuid
        ):
            return reading.power == incident.Power.OFF
        return (
            fence.evidence_class == incident.FenceClass.OPERATOR_ATTESTED
            and not evidence.answering(self.look.probe(subject))
        )

    def _look_at_servers(
        self, subject: incident.Incident, only: Sequence[str] = ()
    ) -> list[events.Event]:
        # The records first: a server that is read afterwards can only be
        # further than its record says, never behind it.
        records: dict[str, list[views.MigrationView]] = {}
        for record in self.ctx.nova.evacuations(subject.host):
            records.setdefault(record.server_uuid, []).append(record)
        moves: dict[str, views.MigrationView] = {}
        if only or _any_waits(subject):
            for move in self.ctx.nova.moves(subject.host):
                moves.setdefault(move.server_uuid, move)
        there = {
            view.uuid: view for view in self.ctx.nova.servers_on(subject.host)
        }
        off: dict[str, bool] = {}

        def is_off(host: str | None) -> bool:
            if host and host not in off:
                off[host] = self._is_off(host)
            return bool(host and off[host])

        seen: list[events.Event] = []
        # Once for all of them: it is a question to the store.
        now = self.ctx.store.now()
        review = not only and machine.review_due(subject, now)
        for server in subject.servers:
            if not _is_looked_at(server, review, only):
                continue
            view = there.get(server.uuid) or self.ctx.nova.server(server.uuid)
            mine, moving = records.get(server.uuid, []), moves.get(server.uuid)
            found = telling.telling(mine, server.baseline, is_off)
            seen.append(
                events.EvacuationSeen(
                    now,
                    server.uuid,
                    found,
                    view,
                    is_off(found.taken_by if found else None),
                    moving,
                    is_off(moving.other(subject.host) if moving else None),
                )
            )
        if review and subject.phase == Phase.EVACUATING:
            seen.append(events.Reviewed(now))
        new = [there[uuid] for uuid in there if uuid not in _uuids(subject)]
        if new and not only:
            settings = self.ctx.settings
            # Before the others: they may be the last ones to end.
            seen.insert(
                0,
                events.Appeared(
                    self.ctx.store.now(),
                    policy.admit_all(new, settings.default_policy),
                ),
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

    def _put_back(self, subject: incident.Incident) -> incident.Incident:
        """Have servers that arrived put into the state that they had."""
        nova = self.ctx.nova
        calls = {
            'stopping': nova.stop,
            'pausing': nova.pause,
            'starting': nova.start,
        }
        for server in subject.servers:
            if not restoring.due(server, self.ctx.store.now()):
                continue
            subject = self.ctx.apply(
                subject,
                events.RestoreIntended(self.ctx.store.now(), server.uuid),
            )
            error = doors.attempt(calls[server.code], server.uuid)
            if isinstance(error, doors.DoorError):
                LOG.warning(
                    "Server '%(server)s' of host '%(host)s' could not be put "
                    'back as it was (%(what)s): %(error)s. Tried again.',
                    {
                        'server': server.uuid,
                        'host': subject.host,
                        'what': server.code,
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
        if self._cleared(subject.host):
            return self.ctx.apply(
                subject, events.Uncontained(self.ctx.store.now())
            )
        unsure = self._unsure_destination(subject)
        if unsure:
            return self._hold_batch(
                subject,
                pacing.UNSURE,
                f"host '{unsure}' has just fallen silent too, and nova still "
                'calls it up and may choose it (for at most '
                f'{pacing.LONGEST_UNSURE:.0f} s)',
            )
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

    def _cleared(self, host: str) -> bool:
        """Return whether somebody cleared forced_down of a contained host.

        The snapshot's list may be from before we set it: nova is asked again.
        """
        service = self.snapshot.services.get(host)
        if service is None or service.forced_down:
            return False
        services = doors.attempt(self.ctx.nova.services)
        if isinstance(services, doors.DoorError):
            return False
        return any(
            each.host == host and not each.forced_down for each in services
        )

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

    def _unsure_destination(self, subject: incident.Incident) -> str:
        """Return a host that seems to be dying while nova may choose it.

        An evacuation to it would stand still until it is fenced in turn.
        """
        if not pacing.may_wait(subject, self.ctx.store.now()):
            return ''
        quiet = self.ctx.settings.rules.quiet
        for host in self.snapshot.look.hosts:
            service = self.snapshot.services.get(host.host)
            if (
                service is None
                or not service.up
                or service.disabled
                or host.host == subject.host
                or host.host in self.snapshot.contained
                or not quiet <= host.silent_for < pacing.LONGEST_UNSURE
            ):
                continue
            probes = self.ctx.probe.probe_all(host.host, service.address)
            if not evidence.answering(probes):
                return host.host
        return ''

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
        if evacuation.must_reset(notes.server_of(subject, uuid)):
            subject = self._reset(subject, uuid)
            if evacuation.must_reset(notes.server_of(subject, uuid)):
                return subject
        subject = self.ctx.apply(subject, events.EvacuateIntended(now(), uuid))
        error = doors.attempt(self.ctx.nova.evacuate, uuid)
        if isinstance(error, doors.Refused):
            return self.ctx.apply(
                subject,
                events.EvacuateRefused(
                    now(),
                    uuid,
                    str(error),
                    busy=error.status == 429,
                    guarded=error.guarded,
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

    def _reset(
        self, subject: incident.Incident, uuid: str
    ) -> incident.Incident:
        """Have nova call a server active that it does not evacuate as it is.

        Without an answer the next look at the server tells what it is.
        """
        now = self.ctx.store.now
        subject = self.ctx.apply(subject, events.ResetIntended(now(), uuid))
        error = doors.attempt(self.ctx.nova.reset, uuid)
        if isinstance(error, doors.Refused):
            return self.ctx.apply(
                subject,
                events.EvacuateRefused(
                    now(), uuid, str(error), busy=error.status == 429
                ),
            )
        if isinstance(error, doors.DoorError):
            LOG.warning(
                "The state of server '%(server)s' of host '%(host)s' was to "
                'be set and nova gave no answer: %(error)s. It is looked at '
                'again.',
                {'server': uuid, 'host': subject.host, 'error': error},
            )
            return subject
        return self.ctx.apply(subject, events.ResetDone(now(), uuid))


def _uuids(subject: incident.Incident) -> frozenset[str]:
    return frozenset(server.uuid for server in subject.servers)


def _any_waits(subject: incident.Incident) -> bool:
    """Return whether nova's other moves matter to any server now."""
    return any(
        server.state
        in (
            incident.ServerState.QUEUED,
            incident.ServerState.READY,
            incident.ServerState.PARKED,
        )
        for server in subject.servers
    )


def _is_looked_at(
    server: incident.Server, review: bool, only: Sequence[str]
) -> bool:
    if only:
        return server.uuid in only
    if server.state == incident.ServerState.PARKED:
        return review
    return server.state not in incident.FINAL_SERVER_STATES
