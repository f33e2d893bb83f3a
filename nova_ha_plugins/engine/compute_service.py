# SPDX-License-Identifier: Apache-2.0

"""Keeps the compute service of a host out of nova, and lets it back in."""

from collections.abc import Callable

from oslo_log import log

from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import part
from nova_ha_plugins.recovery import containment
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident

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
        mark = subject.fence.beat_mark if subject.fence else None
        beat = self.snapshot.newer_beat(subject.host, mark)
        beating = (
            beat is not None and beat.age < self.ctx.settings.rules.timeout
        )
        service, uncleaned = None, 0
        if beating:
            services = doors.attempt(self.ctx.nova.services)
            records = doors.attempt(self.ctx.nova.evacuations, subject.host)
            if isinstance(services, doors.DoorError) or isinstance(
                records, doors.DoorError
            ):
                LOG.warning(
                    "Whether host '%(host)s' may return could not be read: "
                    '%(error)s. It stays forced down; read again.',
                    {
                        'host': subject.host,
                        'error': services
                        if isinstance(services, doors.DoorError)
                        else records,
                    },
                )
                return subject
            service = {each.uuid: each for each in services}.get(
                subject.service_uuid
            )
            uncleaned = sum(record.status == 'done' for record in records)
        return self.ctx.apply(
            subject,
            events.HostSeen(self.ctx.store.now(), beating, service, uncleaned),
        )
