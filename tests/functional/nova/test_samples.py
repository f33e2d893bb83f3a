# SPDX-License-Identifier: Apache-2.0

"""The samples of the API reference are what the API gives.

Those about evacuations are made here; the others have the same fields.
"""

import dataclasses
import json
import threading
import time

import fixtures
from nova import exception
from nova.virt import fake
from oslo_utils import uuidutils

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.functional.nova import samples as sampling
from tests.functional.nova import test_instance_ha

LATEST = 'instance-ha 1.2'


def fields(value):
    """Names of all fields, however deep; of a list its first element."""
    if isinstance(value, list):
        return [fields(value[0])] if value else []
    if isinstance(value, dict):
        return {key: fields(item) for key, item in value.items()}
    return None


class SamplesTest(test_instance_ha.RecoveryTestCase):
    def ask(self, path, status=200, **kwargs):
        kwargs.setdefault('version', 'instance-ha 1.1')
        return super().ask(path, status, **kwargs)

    def sample(self, name):
        return json.loads((sampling.DIRECTORY.resolve() / name).read_text())

    def compare(self, name, answer, *free):
        """:param free: dictionaries whose keys are data, not fields."""
        found, expected = fields(answer), fields(self.sample(name))
        for side in (found, expected):
            for path in free:
                place = side
                *way, last = path.split('.')
                for step in way:
                    place = place[step]
                    place = place[0] if isinstance(place, list) else place
                place[last] = None
        self.assertEqual(found, expected, name)

    def test_status_and_incidents(self):
        store = self.use_store()
        store.save_host_record(values.HostRecord('host1', 's1'))
        store.save_engine_status({'owner': 'ctl:1'})
        store.note_engine('ctl:1', 15.0, {})
        store.set_brake(values.Brake('pause', 'upgrade'))
        self.store_incident(
            store,
            uuid=uuidutils.generate_uuid(),
            host='host2',
            phase=incident.Phase.EVACUATING,
        )
        subject = self.store_incident(store)
        status, incidents = '/os-instance-ha', '/os-instance-ha/incidents'
        path = f'{incidents}/{subject.uuid}'

        self.compare(
            'status-show-resp.json',
            self.ask(status),
            'instance_ha.open_incidents_by_phase',
            'instance_ha.servers_waiting_by_code',
        )
        self.compare(
            'incidents-list-resp.json',
            self.ask(incidents),
            'incidents.servers_by_state',
        )
        self.compare(
            'incident-show-resp.json',
            self.ask(path),
            'incident.servers_by_state',
        )
        self.compare(
            'arm-resp.json',
            self.act(status, self.sample('arm-req.json')),
            'arm.in_flight',
        )
        body = self.sample('release-req.json')
        self.compare('fact-resp.json', self.act(path, body, 202))

    def test_disarm_for_a_while(self):
        store = self.use_store()
        store.set_arm_state(True, 'admin', 'tested')
        body = self.sample('disarm-req.json')
        body['disarm']['until'] = '2h'

        answer = self.act('/os-instance-ha', body)

        self.compare('arm-resp.json', answer, 'arm.in_flight')

    def test_attest(self):
        store = self.use_store()
        store.set_arm_state(True, 'admin', 'tested')
        subject = self.store_incident(store)
        path = f'/os-instance-ha/incidents/{subject.uuid}'

        begun = self.act(path, self.sample('attest-req.json'), 202)
        path = f'/os-instance-ha/facts/{begun["fact"]["uuid"]}'
        body = self.sample('confirm-req.json')
        body['confirm']['host'] = 'host1'
        confirmed = self.act(path, body, 202)

        self.compare('attest-resp.json', begun)
        self.compare('confirm-resp.json', confirmed)

    def test_brakes_and_history(self):
        store = self.use_store()
        store.save_host_record(values.HostRecord('cmp-4', zone='az1'))
        for path, name, listed in (
            ('maintenance', 'maintenance', 'maintenance-list'),
            ('pauses', 'pause', 'pauses-list'),
        ):
            body = self.sample(f'{name}-req.json')
            body[name]['until'] = '2h'
            path = f'/os-instance-ha/{path}'
            answer = self.ask(path, method='POST', json=body)
            self.compare(f'{name}-resp.json', answer)
            self.compare(f'{listed}-resp.json', self.ask(path))
        self.compare('history-resp.json', self.ask('/os-instance-ha/history'))


class EvacuationSamplesTest(test_instance_ha.RecoveryTestCase):
    """A host dies: one server is back, one failed, one is on its way."""

    def setUp(self):
        super().setUp()
        self.broken, self.gates = set(), {}
        spawn = fake.FakeDriver.spawn

        def held(driver, context, instance, *args, **kwargs):
            if instance.uuid in self.broken:
                raise exception.NovaException('no space left on device')
            if instance.uuid in self.gates:
                self.gates[instance.uuid].wait(60)
            return spawn(driver, context, instance, *args, **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch('nova.virt.fake.FakeDriver.spawn', held)
        )

    def wait_for(self, server, **wanted):
        """Ask until the newest evacuation is like that."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for item in self.get_evacuations(server, version=LATEST)[:1]:
                if wanted.items() <= item.items():
                    return item
            time.sleep(0.05)
        self.fail(f'{wanted} not reached: {self.get_evacuations(server)[:1]}')

    def remember(self, store):
        """Let six evacuations of the same kind have been, all alike."""
        self.lease = store.take_lease('test', 600.0)
        past = values.EvacuationTrace(
            uuid='',
            server_uuid=uuidutils.generate_uuid(),
            source='cmp-9',
            created_at=1.0,
            state='succeeded',
            phase='done',
            boot='image',
            storage='copy',
            size='2GiB-4GiB',
            finished_at=500.0,
            seconds={'spawning': 365.0, 'finishing': 1.0},
            copied=300.0,
        )
        traces = [
            dataclasses.replace(past, uuid=uuidutils.generate_uuid())
            for _ in range(6)
        ]
        store.save_evacuation_traces(traces, self.lease)

    def follow(self, store, item):
        """Let the engine have seen how fast the bytes come."""
        now = time.time()
        trace = values.EvacuationTrace(
            uuid=item['uuid'],
            server_uuid=item['server_uuid'],
            source='cmp-1',
            created_at=now,
            state='running',
            phase='spawning',
            phase_since=now,
            rate=float(8 << 20),
        )
        store.save_evacuation_traces([trace], self.lease)

    def test_evacuations(self):
        store = self.use_store()
        self.remember(store)
        self.start_hosts('cmp-1', 'cmp-3')
        back, failed, coming, planned = (
            self.boot('cmp-1', name=name)
            for name in ('web-1', 'web-2', 'db-1', 'web-3')
        )
        self.broken.add(failed['id'])
        gate = self.gates[coming['id']] = threading.Event()
        self.addCleanup(gate.set)
        self.kill('cmp-1')
        for server, state in ((back, 'succeeded'), (failed, 'failed')):
            self.evacuate(server)
            self.wait_for(server, state=state)
        self.evacuate(coming)
        item = self.wait_for(coming, phase='spawning')
        path = f'/servers/{coming["id"]}/evacuations'
        report = {
            'progress': {
                'disk_total_bytes': 2 << 30,
                'disk_processed_bytes': 750 << 20,
            }
        }
        self.ask_for_nothing(f'{path}/{item["uuid"]}/progress', report)
        self.follow(store, self.wait_for(coming, storage='copy'))
        self.store_incident(
            store,
            host='cmp-1',
            phase=incident.Phase.EVACUATING,
            servers=(
                incident.Server(
                    uuid=planned['id'], state=incident.ServerState.READY
                ),
            ),
        )
        samples = self.samples()

        samples.take('evacuation-progress-req.json', report)
        samples.take(
            'server-evacuations-list-resp.json', self.ask_latest(path)
        )
        samples.take(
            'server-evacuation-show-owner-resp.json',
            self.ask_latest(
                f'{path}/{item["uuid"]}', user='fake', roles='reader,member'
            ),
        )
        samples.take(
            'evacuations-list-resp.json',
            self.ask_latest(
                '/os-evacuations?limit=1&state=failed&state=succeeded'
            ),
        )
        samples.take(
            'evacuations-summary-resp.json',
            self.ask_latest('/os-evacuations/summary?source_compute=cmp-1'),
        )
        samples.take(
            'evacuate-refused-resp.json',
            self.ask(
                f'/servers/{coming["id"]}/action',
                409,
                method='POST',
                json={'evacuate': {}},
                version='compute 2.96',
            ),
            moment=item['created_at'],
        )
        samples.take(
            'error-resp.json', self.ask('/os-evacuations?color=red', 400)
        )

        samples.check()

    def samples(self):
        address = self.computes['cmp-3'].manager.driver.get_host_ip_addr()
        return sampling.Samples(
            self,
            {
                address: '192.0.2.19',
                self.api.project_id: 'eea457ba9609455d891bab3f48bc2b5b',
                '"user_id": "admin"': (
                    '"user_id": "7f1835bc6b2f460d9373ee48970505ea"'
                ),
            },
        )

    def ask_latest(self, path, **kwargs):
        return self.ask(path, version=LATEST, **kwargs)

    def ask_for_nothing(self, path, body):
        answer = self.request(path, version=LATEST, method='PUT', json=body)
        self.assertEqual(204, answer.status_code, answer.text)
