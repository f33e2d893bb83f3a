# SPDX-License-Identifier: Apache-2.0

"""Servers leave a living host by nova's own live migration."""

import dataclasses
import time
import types

from nova_ha_plugins.engine import living
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import networks
from tests.functional.nova import recovery

LOST = networks.Answer(
    ('tenant',),
    evidence.Response.MIGRATE,
    '',
    'lost',
    ('tenant',),
    ('tenant',),
)
ALIVE = (
    incident.Reading(evidence.HEARTBEAT, incident.Sign.ALIVE, 0.0, 0.0),
    incident.Reading(evidence.PROBE, incident.Sign.ALIVE, 0.0, 0.0),
)


class Store(recovery.Store):
    def open_incidents(self):
        return ()


class Living(living.Living):
    """With a network that is lost, or is back, as the test says."""

    lost: networks.Answer | None = LOST

    def answer(self, subject, readings):
        return self.lost

    def _hold(self, subject, readings, answer):
        return None


class LeavingTest(recovery.RecoveryCase):
    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2')
        self.server = self.boot('host1')
        self.lost = LOST

    def leaving(self):
        subject = self.fenced('host1')
        return dataclasses.replace(
            subject,
            phase=incident.Phase.MIGRATING,
            forced_down=incident.StepState.NONE,
            disabled=incident.StepState.NONE,
            fence=None,
            networks_lost=('tenant',),
            moves=(incident.Move(self.server['id']),),
        )

    def leave(self, subject):
        ctx = self.context()
        ctx.store = Store()
        look = types.SimpleNamespace(
            ctx=ctx,
            snapshot=self.snapshot(),
            readings=lambda subject, now: ALIVE,
        )
        work = Living(look)
        work.lost = self.lost
        return work.leave(subject)

    def until(self, subject, done):
        deadline = time.monotonic() + recovery.PATIENCE
        while not done(subject):
            subject = self.leave(subject)
            self.assertLess(
                time.monotonic(), deadline, f'{subject.phase} {subject.moves}'
            )
            time.sleep(0.1)
        return subject

    def service(self):
        return {s.host: s for s in self.door.services()}['host1']

    def test_a_server_leaves_and_the_service_is_as_it_was(self):
        subject = self.until(
            self.leaving(),
            lambda s: s.moves[0].state in incident.FINAL_MOVE_STATES,
        )

        self.assertEqual(incident.MoveState.MOVED, subject.moves[0].state)
        self.assertEqual('host2', self.door.server(self.server['id']).host)
        (record,) = self.door.live_migrations('host1')
        self.assertEqual(
            ('completed', 'live-migration', 'host2'),
            (record.status, record.kind, record.dest_compute),
        )
        self.assertEqual(
            f'nova-ha: incident {subject.uuid}', self.service().disabled_reason
        )

        self.lost = None
        subject = self.until(
            subject, lambda s: s.phase == incident.Phase.CLOSED
        )

        self.assertEqual('resolved', subject.outcome)
        self.assertFalse(self.service().disabled)

    def test_without_another_host_nova_says_so_and_the_server_stays(self):
        service = {s.host: s for s in self.door.services()}['host2']
        self.door.disable(service.uuid, 'no room')

        subject = self.until(
            self.leaving(),
            lambda s: s.moves[0].state in incident.FINAL_MOVE_STATES,
        )

        self.assertEqual(incident.MoveState.FAILED, subject.moves[0].state)
        self.assertIn('error', subject.moves[0].reason)
        self.assertEqual('host1', self.door.server(self.server['id']).host)
        self.assertEqual(3, len(self.door.live_migrations('host1')))
