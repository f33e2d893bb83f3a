# SPDX-License-Identifier: Apache-2.0

"""Keeps what must be known of a host before it dies.

Its service UUID, its failure domain, its address, what it says of itself, and
whether the fencing device that the map names for it really is its own. A host
is matched with its device only while it lives: afterwards nobody could
contradict a wrong row of the map.
"""

import dataclasses

from oslo_log import log

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.fencing import identity
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# A map entry that is not verified is looked at again this soon.
_UNVERIFIED_INTERVAL = 10.0


class Registry:
    """The hosts of the cloud, kept in the store."""

    def __init__(self, ctx: context.Context) -> None:
        self.ctx = ctx
        self._read: set[str] = set()

    def refresh(
        self,
        services: dict[str, views.ServiceView],
        beats: dict[str, views.Beat],
    ) -> dict[str, values.HostRecord]:
        """Return the record of every compute service nova knows."""
        known = {r.host: r for r in self.ctx.store.host_records()}
        records = {}
        for host, service in services.items():
            before = known.get(host) or values.HostRecord(host)
            after = dataclasses.replace(
                before,
                service_uuid=service.uuid,
                zone=service.zone,
                address=service.address or before.address,
                system_uuid=self._reported(before, beats.get(host)),
            )
            if after != before:
                self.ctx.store.save_host_record(after)
            records[host] = after
        if not services:
            # Nova did not answer: what was known still is.
            return known
        return records

    def _reported(
        self, record: values.HostRecord, beat: views.Beat | None
    ) -> str:
        if beat is None or not beat.system_uuid:
            return record.system_uuid
        if beat.age >= self.ctx.settings.rules.timeout:
            return record.system_uuid
        return identity.normalize(beat.system_uuid)

    def due(
        self, record: values.HostRecord, beat: views.Beat | None, now: float
    ) -> bool:
        """Return whether the host's fencing device should be read now."""
        if beat is None or beat.age >= self.ctx.settings.rules.timeout:
            return False
        if record.host not in self._read:
            # The map may be another one than before the engine's start.
            return True
        changed = record.map_state == 'verified' and (
            record.bmc_uuid != record.system_uuid
        )
        wait = (
            self.ctx.settings.verify_interval
            if record.map_state == 'verified'
            else _UNVERIFIED_INTERVAL
        )
        return changed or now - record.verified_at >= wait

    def verify(self, record: values.HostRecord) -> None:
        """Read the device of a living host and keep whether it is its own."""
        state, text, bmc_uuid = self._compare(record)
        self._read.add(record.host)
        if state != record.map_state:
            LOG.log(
                log.INFO if state == 'verified' else log.WARNING,
                "Host '%(host)s' fencing device: %(text)s",
                {'host': record.host, 'text': text},
            )
        self.ctx.store.save_host_record(
            dataclasses.replace(
                record,
                map_state=state,
                map_text=text,
                bmc_uuid=bmc_uuid,
                verified_at=self.ctx.store.now(),
            )
        )

    def _compare(self, record: values.HostRecord) -> tuple[str, str, str]:
        if record.host not in self.ctx.fencing.hosts():
            return 'absent', 'the fencing map has no entry for it', ''
        reading = doors.attempt(self.ctx.fencing.read, record.host)
        if isinstance(reading, doors.DoorError):
            return 'unreachable', f'its device does not answer: {reading}', ''
        if not record.system_uuid:
            return (
                'mismatch',
                'the host does not report its system UUID; see [nova_ha] '
                'system_uuid_file in its ceilometer.conf',
                reading.system_uuid,
            )
        if reading.system_uuid != record.system_uuid:
            return (
                'mismatch',
                identity.explain(record.system_uuid, reading.system_uuid),
                reading.system_uuid,
            )
        return 'verified', 'its device is its own', reading.system_uuid
