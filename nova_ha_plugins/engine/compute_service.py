# SPDX-License-Identifier: Apache-2.0

"""Keeps the compute service of a host out of nova, and lets it back in."""

from collections.abc import Callable

from oslo_log import log

from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import look
from nova_ha_plugins.engine import part
from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import views

LOG = log.getLogger(__name__)

Step = containment.Step


class ComputeService(part.Part):
    """Each call to nova about the service is intended before it is made."""

    def force_down(self, subject: incident.Incident) -> incident.Incident:
        return self._service_step(
            subject,
            Step.FORCE_DOWN,
            lambda: self.ctx.nova.force_down(subject.service_uuid, True),
        )

    def disable(self, subject: incident.Incident) -> incident.Incident:
        service = self.snapshot.services.get(subject.host)
        if (
            service is not None
            and service.disabled
            and not containment.is_ours(service.disabled_reason)
        ):
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

    def unforce(self, subject: incident.Incident) -> incident.Incident:
        return self._service_step(
            subject,
            Step.UNFORCE,
            lambda: self.ctx.nova.force_down(subject.service_uuid, False),
        )

    def enable(self, subject: incident.Incident) -> incident.Incident:
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
        error = doors.attempt(call)
        if isinstance(error, doors.DoorError):
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

    def watch_return(self, subject: incident.Incident) -> incident.Incident:
        """Look whether a contained host may return, and how far it is."""
        mark = subject.fence.beat_mark if subject.fence else None
        beat = self.snapshot.newer_beat(subject.host, mark)
        beating = (
            beat is not None and beat.age < self.ctx.settings.rules.timeout
        )
        now = self.ctx.store.now
        if not beating:
            # Nothing of nova matters to a host that is not heard.
            silent = beat is not None and self._failed_again(subject)
            return self.ctx.apply(
                subject, events.HostSeen(now(), False, None, 0, silent=silent)
            )
        if subject.phase == incident.Phase.RECOVERED and self.device_lied(
            subject
        ):
            return self.ctx.apply(
                subject, events.HostSeen(now(), True, None, 0, lied=True)
            )
        seen = doors.attempt(self._seen, subject)
        if isinstance(seen, doors.DoorError):
            LOG.warning(
                "Whether host '%(host)s' may return could not be read: "
                '%(error)s. It stays as it is; read again.',
                {'host': subject.host, 'error': seen},
            )
            return subject
        return self.ctx.apply(subject, events.HostSeen(now(), True, *seen))

    def _seen(
        self, subject: incident.Incident
    ) -> tuple[views.ServiceView | None, int, int]:
        """Return the service, guests not yet removed, servers on their way."""
        nova = self.ctx.nova
        services = {each.uuid: each for each in nova.services()}
        newest: dict[str, views.MigrationView] = {}
        uncleaned = 0
        for record in nova.evacuations(subject.host):
            newest.setdefault(record.server_uuid, record)
            uncleaned += record.status == 'done'
        evacuating = 0
        for uuid, record in newest.items():
            if not records.is_open(record):
                continue
            # Nova leaves some records open for ever: the server tells.
            server = nova.server(uuid)
            evacuating += server is not None and server.host == subject.host
        return services.get(subject.service_uuid), uncleaned, evacuating

    def _let_back(self, subject: incident.Incident) -> bool:
        """Return whether somebody else cleared forced_down.

        The snapshot's list may be from before we set it: nova is asked again.
        """
        service = self.snapshot.services.get(subject.host)
        if service is None or service.forced_down:
            return False
        services = doors.attempt(self.ctx.nova.services)
        return not isinstance(services, doors.DoorError) and any(
            each.uuid == subject.service_uuid and not each.forced_down
            for each in services
        )

    def _failed_again(self, subject: incident.Incident) -> bool:
        """Return whether a host that was back is silent everywhere.

        One that somebody else let back may have servers by now.
        """
        if subject.phase == incident.Phase.RECOVERED:
            if not self._let_back(subject):
                return False
        elif subject.unforced != incident.StepState.DONE:
            return False
        looking = look.Look(self.ctx, self.snapshot)
        readings = looking.readings(subject, self.ctx.store.now())
        return evidence.verdict(readings) == incident.Verdict.DEAD
