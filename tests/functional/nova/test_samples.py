# SPDX-License-Identifier: Apache-2.0

"""The samples of the API reference have the fields that the API gives."""

import json
import pathlib

from oslo_utils import uuidutils

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.functional.nova import test_instance_ha

SAMPLES = pathlib.Path(__file__, '../../../../api-ref/source/samples')


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
        return json.loads((SAMPLES.resolve() / name).read_text())

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

    def test_evacuations(self):
        server = self.write_evacuation('host1', 'host2')
        self.write_evacuation('host1', 'host3')
        path = f'/servers/{server["id"]}/evacuations'
        owner = {'user': 'fake', 'roles': 'reader,member'}

        self.compare('server-evacuations-list-resp.json', self.ask(path))
        self.compare(
            'evacuations-list-resp.json', self.ask('/os-evacuations?limit=1')
        )
        uuid = self.ask(path)['evacuations'][-1]['uuid']
        shown = self.ask(f'{path}/{uuid}', **owner)['evacuation']
        sample = self.sample('server-evacuation-show-owner-resp.json')
        self.assertEqual(shown.keys(), sample['evacuation'].keys())
        self.assertEqual(
            {key for key, value in shown.items() if value is None},
            {k for k, v in sample['evacuation'].items() if v is None},
        )

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

    def test_error(self):
        self.compare(
            'error-resp.json', self.ask('/os-evacuations?color=red', 400)
        )
