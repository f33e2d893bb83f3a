# SPDX-License-Identifier: Apache-2.0

"""The engine's own code for servers, with its real door, on a real nova."""

import dataclasses
import math
import time
from unittest import mock

from nova import context as nova_context
from nova import objects
from oslo_utils.fixture import uuidsentinel
import requests

from nova_ha_plugins.engine import compute_service
from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import servers
from nova_ha_plugins.nova import client
from nova_ha_plugins.nova import door
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import views
from nova_ha_plugins.recovery import waits
from nova_ha_plugins.store import values
from tests.functional.nova import base

SYSTEM = '11111111-2222-3333-4444-555555555555'
PATIENCE = 180.0


class Adapter:
    """What keystoneauth's adapter is for the door, without a keystone."""

    def __init__(self, project):
        self._headers = {
            'X-Auth-User': 'nova-ha',
            'X-User-Id': 'nova-ha',
            'X-Auth-Project-Id': project,
            'X-Roles': 'reader,member,admin',
        }

    def request(
        self,
        path,
        method,
        *,
        microversion,
        headers,
        json=None,
        params=None,
        **kwargs,
    ):
        return requests.request(
            method,
            f'http://{uuidsentinel.osapi_host}:80/v2.1{path}',
            headers={
                **self._headers,
                **headers,
                'OpenStack-API-Version': f'compute {microversion}',
            },
            json=json,
            params=params,
            stream=True,
        )


class Store:
    """As much of the store as one incident needs."""

    def now(self):
        return time.monotonic() + 1e6

    def save(self, subject, lease):
        return dataclasses.replace(subject, generation=subject.generation + 1)

    def renew_lease(self, lease):
        return lease


class Off:
    """A power device of a host that is off."""

    def driver_name(self, host):
        return 'redfish'

    def read(self, host):
        return views.PowerReading(incident.Power.OFF, SYSTEM, 'Off')

    def power_off(self, host, system_uuid):
        raise AssertionError('It is off.')


class RecoveryCase(base.NovaTestCase):
    """A host that is fenced, and what becomes of its servers."""

    patience = waits.Patience(retry_delay=0.2, state_wait=0.5)

    def setUp(self):
        super().setUp()
        self.door = door.NovaDoor(None)
        self.door._cached_client = client.Client(
            'Nova', Adapter(self.api.project_id), 30.0
        )

    def open_door(self):
        return self.door

    def context(self):
        return context.Context(
            store=Store(),
            liveness=mock.Mock(),
            nova=self.open_door(),
            identity=mock.Mock(),
            fencing=Off(),
            probe=mock.Mock(),
            allows=mock.Mock(),
            settings=context.Settings(
                limits=gates.Limits(),
                caps=pacing.Caps(),
                patience=self.patience,
                rules=detector.Rules(6.0, 10.0, 0.5),
                default_policy='evacuate',
                verify_interval=300.0,
                interval=1.0,
                call_deadline=10.0,
            ),
            lease=values.Lease(1, 'test'),
            monotonic=time.monotonic,
        )

    def snapshot(self):
        return context.Snapshot(
            look=mock.Mock(hosts=()),
            beats={},
            services={s.host: s for s in self.door.services()},
            records={},
            arm=values.ArmState(True, 'test', '', 0.0),
            watching=math.inf,
            loop_late=0.0,
            contained=frozenset(),
        )

    def fenced(self, host):
        """Give the incident of a host that is forced down, just before."""
        now = Store().now()
        service = {s.host: s for s in self.door.services()}[host]
        return incident.Incident(
            uuid='0c9f5ad2-0000-4000-8000-000000000001',
            host=host,
            service_uuid=service.uuid,
            epoch=1,
            phase=incident.Phase.EVACUATING,
            opened_at=now,
            updated_at=now,
            expected_system_uuid=SYSTEM,
            forced_down=incident.StepState.DONE,
            disabled=incident.StepState.DONE,
            fence=incident.FenceRecord(
                state=incident.FenceState.VALID,
                epoch=1,
                attempt=1,
                intended_at=now,
                confirmed_at=now,
                evidence_class=incident.FenceClass.CONFIRMED_OFF,
                driver='redfish',
                system_uuid=SYSTEM,
            ),
        )

    def round(self, subject):
        """Take the incident further, as the engine does in one round."""
        ctx, snapshot = self.context(), self.snapshot()
        work = servers.Servers(ctx, snapshot)
        batch = [
            server
            for _, server in pacing.may_begin(
                (subject,), ctx.settings.caps, ctx.store.now()
            )
        ]
        if batch:
            subject = work.begin(subject, batch)
        do = machine.todo(subject, ctx.store.now(), self.patience)
        if do == machine.Do.LIST:
            return work.list_all(subject)
        if do == machine.Do.FOLLOW:
            return work.follow(subject)
        if do == machine.Do.FORCE_DOWN:
            service = compute_service.ComputeService(ctx, snapshot)
            return service.disable(service.force_down(subject))
        return subject

    def review(self, subject):
        """Look again at parked servers, as the engine does now and then."""
        subject = dataclasses.replace(subject, reviewed_at=None)
        work = servers.Servers(self.context(), self.snapshot())
        return work.review(subject)

    def recover(self, host, subject=None, until=incident.Phase.RECOVERED):
        """Go on until all servers of the host are in a final state."""
        subject = subject or self.fenced(host)
        deadline = time.monotonic() + PATIENCE
        while subject.phase != until:
            subject = self.round(subject)
            self.assertLess(
                time.monotonic(),
                deadline,
                f'{[(s.state, s.code, s.reason) for s in subject.servers]}',
            )
            time.sleep(0.1)
        return subject

    # --- what the database says, or is made to say ------------------------

    def set_state(self, server, **changes):
        """Leave an instance as a host leaves it that died in the middle."""
        with nova_context.target_cell(
            nova_context.get_admin_context(), self.cell()
        ) as ctxt:
            found = objects.Instance.get_by_uuid(ctxt, server['id'])
            for name, value in changes.items():
                setattr(found, name, value)
            found.save()

    def cell(self):
        admin = nova_context.get_admin_context()
        [cell] = [
            mapping
            for mapping in objects.CellMappingList.get_all(admin)
            if not mapping.is_cell0()
        ]
        return cell

    def write_move(self, server, source, dest, status, kind):
        """Write the record of a move that the death of a host cut short."""
        with nova_context.target_cell(
            nova_context.get_admin_context(), self.cell()
        ) as ctxt:
            record = objects.Migration(
                ctxt,
                migration_type=kind,
                status=status,
                instance_uuid=server['id'],
                source_compute=source,
                source_node=source,
                dest_compute=dest,
                dest_node=dest,
                dest_compute_id=1,
                old_instance_type_id=1,
                new_instance_type_id=1,
                user_id='fake',
                project_id=self.api.project_id,
            )
            record.create()
        return record

    def end_move(self, record, status):
        with nova_context.target_cell(
            nova_context.get_admin_context(), self.cell()
        ) as ctxt:
            found = objects.Migration.get_by_id(ctxt, record.id)
            found.status = status
            found.save()

    def shown(self, server):
        """Give the server as an administrator sees it."""
        return self.admin_api.get_server(server['id'])

    def evacuations_of(self, server):
        return [
            record
            for record in self.admin_api.api_get('/os-migrations').body[
                'migrations'
            ]
            if record['instance_uuid'] == server['id']
            and record['migration_type'] == 'evacuation'
        ]

    def actions_of(self, server):
        return [
            action['action']
            for action in self.admin_api.get_instance_actions(server['id'])
        ]


Unanswered = doors.Unanswered
