# SPDX-License-Identifier: Apache-2.0

"""Acts for a host that lives and lost a network: alerts, lets servers leave.

Nothing is done on what the periodic look knew: the host is asked once more,
and so are others, right before.
"""

import dataclasses
import typing

from oslo_log import log

from nova_ha_plugins.engine import compute_service
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import part
from nova_ha_plugins.engine import scenes
from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import leaving
from nova_ha_plugins.recovery import moves
from nova_ha_plugins.recovery import network_events
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.recovery import responses
from nova_ha_plugins.recovery import views

if typing.TYPE_CHECKING:
    from nova_ha_plugins.engine import look

LOG = log.getLogger(__name__)

Phase = incident.Phase
Response = evidence.Response
Verdict = incident.Verdict

# A look that is older than this is made again before it is acted on.
_FRESH = 5.0

# In these phases an open live migration is followed no more.
_BEYOND = frozenset({Phase.EVACUATING, Phase.RECOVERED, Phase.RETURNING})

_Readings = tuple[incident.Reading, ...]


class Living(part.Part):
    """What is done about a host whose heartbeats come."""

    def __init__(self, looking: 'look.Look') -> None:
        super().__init__(looking.ctx, looking.snapshot)
        self.look = looking

    def assess(
        self, subject: incident.Incident, readings: _Readings
    ) -> incident.Incident | None:
        """Return the incident of a living host that lost a network.

        None when it lost none, or is not heard: then it is assessed as any
        other.
        """
        if evidence.verdict(readings) != Verdict.ALIVE:
            return None
        answer = self.answer(subject, readings)
        if answer is None:
            return None
        if answer.response == Response.ALERT or leaving.unfinished(subject):
            return self._say(subject, readings, answer)
        if answer.response == Response.MIGRATE:
            return self._migrate(subject, readings, answer)
        return self._fence(subject, readings, answer)

    def answer(
        self, subject: incident.Incident, readings: _Readings
    ) -> networks.Answer | None:
        """Return what the policy says, after a comparison with other hosts."""
        signs = {
            evidence.network_of(reading.channel): reading.sign
            for reading in evidence.probes(readings)
        }
        losses: dict[str, networks.Loss | None] = dict.fromkeys(
            subject.networks_lost
        )
        for name, loss in self.snapshot.picture.of(subject.host).items():
            if name in subject.networks_heard:
                # By an engine before this one.
                loss = dataclasses.replace(loss, heard=True)
            losses[name] = loss
        machine = self.ctx.lease.owner.partition(':')[0]
        answer = networks.answer(
            subject.host,
            {name: losses[name] for name in losses if name in signs},
            signs,
            self.ctx.settings.network_rules,
            machine,
        )
        if answer is None or answer.response == Response.ALERT:
            return answer
        doubts = self.look.compared(subject, readings, answer.acting)
        if not doubts:
            return answer
        hold = reach.hold(subject, doubts, machine)
        return dataclasses.replace(
            answer, response=Response.ALERT, code=hold.code, text=hold.reason
        )

    def _say(
        self,
        subject: incident.Incident,
        readings: _Readings,
        answer: networks.Answer,
        hold: gates.Hold | None = None,
        case: gates.Case | None = None,
        servers: tuple[incident.Server, ...] = (),
    ) -> incident.Incident:
        return self.ctx.apply(
            subject,
            network_events.NetworksAssessed(
                self.ctx.store.now(), readings, answer, hold, servers, case
            ),
        )

    def _fence(
        self,
        subject: incident.Incident,
        readings: _Readings,
        answer: networks.Answer,
    ) -> incident.Incident:
        began = self.ctx.store.now()
        subject, found = self.look.preview(subject, began)
        case = self._case(subject, readings, answer, found)
        hold = gates.hold(case)
        if hold is not None:
            return self._say(subject, readings, answer, hold, case)
        with self.ctx.deciding:
            now = self.ctx.store.now()
            if not 0.0 <= now - began <= _FRESH:
                # Nova took long to list the servers: the network may be back.
                return subject
            later = scenes.Scenes(self.ctx, self.look.heard_now())
            case = dataclasses.replace(case, scene=later.fresh(subject, now))
            return self._say(subject, readings, answer, gates.hold(case), case)

    def _migrate(
        self,
        subject: incident.Incident,
        readings: _Readings,
        answer: networks.Answer,
    ) -> incident.Incident:
        began = self.ctx.store.now()
        found, servers = None, self._servers(subject)
        if isinstance(servers, doors.DoorError):
            found = gates.Hold(
                'nova-unreachable',
                f"The servers of host '{subject.host}' could not be listed: "
                f'{servers}. None leaves before nova answers.',
            )
            servers = ()
        case = self._case(subject, readings, answer, found)
        hold = responses.hold_migration(case)
        if not 0.0 <= self.ctx.store.now() - began <= _FRESH:
            return subject
        return self._say(subject, readings, answer, hold, case, servers)

    def _servers(
        self, subject: incident.Incident
    ) -> tuple[incident.Server, ...] | doors.DoorError:
        found = doors.attempt(self.ctx.nova.servers_on, subject.host)
        if isinstance(found, doors.DoorError):
            return found
        return policy.admit_all(found, self.ctx.settings.default_policy)

    def _case(
        self,
        subject: incident.Incident,
        readings: _Readings,
        answer: networks.Answer,
        found: gates.Hold | None,
    ) -> gates.Case:
        now = self.ctx.store.now()
        suspect = gates.suspect_of(subject, readings, 0, now, found)
        return gates.Case(
            dataclasses.replace(suspect, networks=answer.acting),
            self.look.scenes.known(subject, now),
            self.ctx.settings.limits,
        )

    # --- servers leave ----------------------------------------------------

    def leave(self, subject: incident.Incident) -> incident.Incident:
        """Follow the servers that leave, and let the next ones begin."""
        readings = self.look.readings(subject, self.ctx.store.now())
        verdict = evidence.verdict(readings)
        if verdict not in (Verdict.ALIVE, Verdict.UNKNOWN):
            return self.ctx.apply(
                subject,
                network_events.HostSilent(self.ctx.store.now(), readings),
            )
        followed = self.follow(subject)
        if followed is None:
            return subject
        subject = followed
        if subject.phase != Phase.MIGRATING:
            return subject
        subject = self._look_at_networks(subject, readings)
        step = leaving.step_due(subject)
        if step is not None:
            return self._say_to_nova(subject, step)
        for uuid in leaving.may_begin(subject, self.ctx.store.now()):
            after = self._begin(subject, uuid)
            if after is None:
                break
            subject = after
        return subject

    def _look_at_networks(
        self, subject: incident.Incident, readings: _Readings
    ) -> incident.Incident:
        answer, hold = None, None
        if not leaving.is_healed(subject):
            answer = self.answer(subject, readings)
            if answer is not None:
                hold = self._hold(subject, readings, answer)
        return self.ctx.apply(
            subject,
            network_events.NetworksSeen(self.ctx.store.now(), answer, hold),
        )

    def _hold(
        self,
        subject: incident.Incident,
        readings: _Readings,
        answer: networks.Answer,
    ) -> gates.Hold | None:
        if answer.response == Response.ALERT:
            return None
        if evidence.verdict(readings) == Verdict.UNKNOWN:
            return gates.evidence_unknown(subject.host)
        case = self._case(subject, readings, answer, None)
        return responses.hold_migration(case)

    def follow(self, subject: incident.Incident) -> incident.Incident | None:
        """Read from nova where the servers are; None when nova did not say.

        The records first: a server that is read afterwards can only be
        further than its record says.
        """
        waiting = [
            move.uuid
            for move in subject.moves
            if move.state not in incident.FINAL_MOVE_STATES
        ]
        if not waiting:
            return subject
        seen = doors.attempt(self._seen, subject.host, waiting)
        if isinstance(seen, doors.DoorError):
            LOG.warning(
                "The live migrations from host '%(host)s' could not be read: "
                '%(error)s. Nothing is concluded; read again in the next '
                'round.',
                {'host': subject.host, 'error': seen},
            )
            return None
        return self.ctx.apply(
            subject, network_events.MovesSeen(self.ctx.store.now(), seen)
        )

    def _seen(
        self, host: str, uuids: list[str]
    ) -> tuple[network_events.MoveSeen, ...]:
        records: dict[str, views.MigrationView] = {}
        for record in self.ctx.nova.live_migrations(host):
            records.setdefault(record.server_uuid, record)
        there = {view.uuid: view for view in self.ctx.nova.servers_on(host)}
        return tuple(
            network_events.MoveSeen(
                uuid,
                records.get(uuid),
                there.get(uuid) or self.ctx.nova.server(uuid),
            )
            for uuid in uuids
        )

    def _begin(
        self, subject: incident.Incident, uuid: str
    ) -> incident.Incident | None:
        """Ask nova for one live migration; None when the cap is reached."""
        now = self.ctx.store.now
        with self.ctx.deciding:
            open_ = sum(
                move.state in moves.OPEN_MOVES
                for each in self.ctx.store.open_incidents()
                if each.phase not in _BEYOND
                for move in each.moves
            )
            if open_ >= self.ctx.settings.network_rules.max_migrations:
                return None
            subject = self.ctx.apply(
                subject, network_events.MoveIntended(now(), uuid)
            )
        error = doors.attempt(self.ctx.nova.live_migrate, uuid)
        if isinstance(error, doors.Refused):
            return self.ctx.apply(
                subject,
                network_events.MoveRefused(
                    now(), uuid, str(error), busy=error.status == 429
                ),
            )
        if isinstance(error, doors.DoorError):
            LOG.warning(
                "Live migration of server '%(server)s' of host '%(host)s' got "
                "no answer: %(error)s. Nova's record will tell.",
                {'server': uuid, 'host': subject.host, 'error': error},
            )
            return subject
        return self.ctx.apply(
            subject, network_events.MoveAccepted(now(), uuid)
        )

    def _say_to_nova(
        self, subject: incident.Incident, step: containment.Step
    ) -> incident.Incident:
        service = compute_service.ComputeService(self.ctx, self.snapshot)
        if step == containment.Step.DISABLE:
            return service.disable(subject)
        # Read anew: the round's list may be from before our own disable.
        found = doors.attempt(self.ctx.nova.services)
        if isinstance(found, doors.DoorError):
            LOG.warning(
                "Whether the service of host '%(host)s' is disabled could not "
                'be read: %(error)s. Read again in the next round.',
                {'host': subject.host, 'error': found},
            )
            return subject
        ours = any(
            each.uuid == subject.service_uuid
            and each.disabled
            and each.disabled_reason == containment.owner(subject)
            for each in found
        )
        if ours:
            return service.enable(subject)
        return self.ctx.apply(
            subject,
            events.StepDone(self.ctx.store.now(), containment.Step.ENABLE),
        )
