# SPDX-License-Identifier: Apache-2.0

"""Status and incidents through nova's API, over our own store."""

import dataclasses

import fixtures
from oslo_utils import uuidutils

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import estimates
from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import schema
from nova_ha_plugins.store import values
from tests.functional.nova import base

UNKNOWN = '5d4c2f6e-0000-4000-8000-000000000001'
STATUS = '/os-instance-ha'
INCIDENTS = '/os-instance-ha/incidents'
OWNER = {'user': 'fake', 'roles': 'reader,member'}


class RecoveryTestCase(base.NovaTestCase):
    """Nova with a store of ours beside it."""

    def setUp(self):
        super().setUp()
        database_conf.register_opts(compat.CONF)

    def use_store(self):
        """Give nova's configuration a store, and the test the same one."""
        self.name_database('ha.sqlite')
        schema.sync(compat.CONF)
        # On a machine that is busy half a second may pass.
        patient = estimates.Estimates(backend.open_store, patience=60.0)
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_ha_plugins.api.estimates._known',
                {compat.CONF.nova_ha_database.connection: patient},
            )
        )
        return store_api.open_store(compat.CONF)

    def name_database(self, file):
        self.flags(
            connection=f'sqlite:///{self.directory}/{file}',
            group='nova_ha_database',
        )

    def ask(self, path, status=200, **kwargs):
        answer = self.request(path, **kwargs)
        self.assertEqual(status, answer.status_code, answer.text)
        return answer.json()

    def refuse(self, path, status, fault, **kwargs):
        answer = self.ask(path, status, **kwargs)
        return answer[fault]['message']

    def act(self, path, body, status=200, **kwargs):
        return self.ask(
            f'{path}/action', status, method='POST', json=body, **kwargs
        )

    def store_incident(self, store, **changes):
        subject = incident.Incident(
            uuid=uuidutils.generate_uuid(),
            host='host1',
            service_uuid='s1',
            epoch=1,
            phase=incident.Phase.HELD,
            opened_at=1700000000.0,
            updated_at=1700000001.0,
            code='storm',
            reason='2 of 3 hosts failed within 10 minutes',
            readings=(
                incident.Reading(
                    'heartbeat',
                    incident.Sign.SILENT,
                    1700000000.0,
                    age=7.0,
                    text='silent for 7.0 s',
                ),
            ),
            fence=incident.FenceRecord(
                state=incident.FenceState.INTENDED,
                epoch=1,
                attempt=1,
                intended_at=1700000000.5,
                driver='redfish',
            ),
            servers=(
                incident.Server(uuid='a', name='db', protected=True),
                incident.Server(
                    uuid='b',
                    state=incident.ServerState.LEFT,
                    code='not-tagged',
                    reason='it does not ask for it',
                ),
            ),
            timeline=(incident.Entry(1, 1700000000.0, 'suspected', 'Silent'),),
        )
        return store.create(dataclasses.replace(subject, **changes), None)


class InstanceHATest(RecoveryTestCase):
    def test_status_tells_arm_state_engine_hosts_and_incidents(self):
        store = self.use_store()
        fresh = self.ask(STATUS)['instance_ha']
        store.save_host_record(
            values.HostRecord(
                'host1', 's1', map_state='verified', map_text='same uuid'
            )
        )
        store.save_host_record(values.HostRecord('host2', 's2'))
        store.save_engine_status({'owner': 'ctl:1', 'sight': 'clear'})
        liveness.open_liveness(compat.CONF).beat(
            'host1', boot_id='b', sequence=1, system_uuid='u'
        )
        self.store_incident(store)

        full = self.ask(STATUS)['instance_ha']

        self.assertEqual(
            (False, 'installation'),
            (fresh['arm']['armed'], fresh['arm']['by']),
        )
        self.assertIsNone(fresh['engine'])
        self.assertEqual((0, []), (fresh['open_incidents'], fresh['hosts']))
        self.assertEqual('ctl:1', full['engine']['owner'])
        self.assertLess(full['engine']['age'], 10.0)
        self.assertEqual(1, full['open_incidents'])
        self.assertEqual({'held': 1}, full['open_incidents_by_phase'])
        first, second = full['hosts']
        self.assertEqual(
            ('host1', 'verified', 'same uuid'),
            (first['host'], first['fencing_state'], first['fencing_text']),
        )
        self.assertLess(first['heartbeat_age'], 10.0)
        self.assertEqual('absent', second['fencing_state'])
        self.assertIsNone(second['heartbeat_age'])

    def test_arm_and_disarm_are_kept_with_name_and_reason(self):
        store = self.use_store()

        armed = self.act(STATUS, {'arm': {'reason': 'tested'}})['arm']
        disarmed = self.act(STATUS, {'disarm': {'reason': 'switch'}})['arm']

        self.assertEqual(
            (True, 'admin', 'tested'),
            (armed['armed'], armed['by'], armed['reason']),
        )
        self.assertFalse(disarmed['armed'])
        self.assertEqual(
            [(False, 'admin', 'switch'), (True, 'admin', 'tested')],
            [(s.armed, s.by, s.reason) for s in store.arm_history()],
        )

    def test_incidents_are_listed_and_shown_with_their_story(self):
        store = self.use_store()
        other = self.store_incident(
            store, host='host2', opened_at=1700000100.0
        )
        subject = self.store_incident(store)

        everything = self.ask(INCIDENTS)['incidents']
        of_host = self.ask(f'{INCIDENTS}?host=host1')['incidents']
        one = self.ask(f'{INCIDENTS}?limit=1')['incidents']
        shown = self.ask(f'{INCIDENTS}/{subject.uuid}')['incident']

        uuids = [item['uuid'] for item in everything]
        self.assertEqual([other.uuid, subject.uuid], uuids)
        self.assertEqual([everything[1]], of_host)
        self.assertEqual([everything[0]], one)
        self.assertEqual({'left': 1, 'queued': 1}, shown['servers_by_state'])
        self.assertEqual(('held', 'storm'), (shown['phase'], shown['code']))
        self.assertTrue(shown['open'])
        self.assertEqual('silent', shown['evidence'][0]['sign'])
        self.assertEqual('redfish', shown['fence']['driver'])
        self.assertEqual('not-tagged', shown['servers'][1]['code'])
        self.assertEqual('Silent', shown['timeline'][0]['text'])
        self.assertTrue(shown['opened_at'].startswith('2023-11-14T22:13:20'))

    def test_release_reaches_the_engine_as_a_verified_fact(self):
        store = self.use_store()
        subject = self.store_incident(store)
        path = f'{INCIDENTS}/{subject.uuid}'

        released = self.act(path, {'release': {'reason': 'rack move'}}, 202)
        [fact] = store.pending_facts()
        store.settle_fact(
            fact.uuid, facts.FactState.REJECTED, 'It still beats'
        )
        became = self.ask(f'{STATUS}/facts/{fact.uuid}')['fact']

        self.assertEqual('pending', released['fact']['state'])
        self.assertEqual(fact.uuid, released['fact']['uuid'])
        self.assertEqual(
            (
                facts.FactKind.RELEASE,
                'rack move',
                'host1',
                'admin',
                'operator',
                True,
                subject.uuid,
            ),
            (
                fact.kind,
                fact.reason,
                fact.host,
                fact.by,
                fact.channel,
                fact.verified,
                fact.detail['incident'],
            ),
        )
        self.assertEqual(
            ('rejected', 'It still beats'), (became['state'], became['text'])
        )

    def test_closed_incident_takes_no_word_any_more(self):
        store = self.use_store()
        subject = self.store_incident(store, phase=incident.Phase.CLOSED)
        path = f'{INCIDENTS}/{subject.uuid}/action'

        text = self.refuse(
            path,
            409,
            'conflictingRequest',
            method='POST',
            json={'release': {'reason': 'late'}},
        )

        self.assertIn("host 'host1' is closed", text)
        self.assertEqual((), store.pending_facts())

    def test_what_is_not_there_is_404(self):
        self.use_store()
        body = {'release': {'reason': 'x'}}

        self.refuse(f'{INCIDENTS}/{UNKNOWN}', 404, 'itemNotFound')
        self.refuse(f'{STATUS}/facts/{UNKNOWN}', 404, 'itemNotFound')
        self.refuse(
            f'{INCIDENTS}/{UNKNOWN}/action',
            404,
            'itemNotFound',
            method='POST',
            json=body,
        )

    def test_wrong_words_are_refused_and_change_nothing(self):
        store = self.use_store()
        subject = self.store_incident(store)
        word = f'{INCIDENTS}/{subject.uuid}/action'
        switch = f'{STATUS}/action'
        for path, body in (
            (switch, {'arm': {}}),
            (switch, {'arm': {'reason': ''}}),
            (switch, {'arm': {'reason': '  '}}),
            (switch, {'arm': {'reason': 'x' * 256}}),
            (switch, {'arm': {'reason': 'x', 'until': 'y'}}),
            (switch, {'arm': None}),
            (switch, {'explode': {'reason': 'x'}}),
            (switch, {}),
            (word, {'attest': {'reason': 'x'}}),
            (word, {'attest': {'power': 'on', 'reason': 'x'}}),
            (word, {'release': {'reason': 7}}),
        ):
            self.refuse(path, 400, 'badRequest', method='POST', json=body)
        # Unprintable, the half of a character, the direction of writing.
        for code in (0, 0x0A, 0x1B, 0x85, 0x2028, 0x202E, 0xD800):
            body = {'arm': {'reason': f'x{chr(code)}'}}
            self.refuse(switch, 400, 'badRequest', method='POST', json=body)
        for query in ('color=red', 'limit=-1', 'limit=x', 'host=', 'host=%00'):
            self.refuse(f'{INCIDENTS}?{query}', 400, 'badRequest')

        self.assertEqual((), store.arm_history())
        self.assertEqual((), store.pending_facts())

    def test_deep_nesting_is_a_bad_request(self):
        self.use_store()
        for body in ('[' * 50000, '{"arm":{"reason":' + '[' * 30000):
            text = self.refuse(
                f'{STATUS}/action',
                400,
                'badRequest',
                method='POST',
                data=body,
            )

            self.assertIn('nested too deeply', text)

    def test_strange_ids_are_404_and_shown_harmless(self):
        self.use_store()
        for id in ('%00', '%1b%5b2J', 'x%0d%0ay', '%ff', '%25', 'a' * 5000):
            for path in (f'{INCIDENTS}/{id}', f'{STATUS}/facts/{id}'):
                text = self.refuse(path, 404, 'itemNotFound')
                self.assertTrue(text.isprintable(), text)

    def test_nobody_but_administrators(self):
        store = self.use_store()
        subject = self.store_incident(store)
        item = f'{INCIDENTS}/{subject.uuid}'
        reason = {'reason': 'x'}
        for path, body, rule in (
            (STATUS, None, 'status:show'),
            (INCIDENTS, None, 'incidents:index'),
            (item, None, 'incidents:show'),
            (f'{STATUS}/facts/{UNKNOWN}', None, 'incidents:show'),
            (f'{STATUS}/action', {'arm': reason}, 'arm'),
            (f'{STATUS}/action', {'disarm': reason}, 'disarm'),
            (f'{item}/action', {'release': reason}, 'incidents:release'),
            (
                f'{item}/action',
                {'attest': {'power': 'off', **reason}},
                'incidents:attest',
            ),
        ):
            text = self.refuse(
                path,
                403,
                'forbidden',
                method='POST' if body else 'GET',
                json=body,
                **OWNER,
            )
            self.assertIn(f'os_compute_api:instance-ha:{rule} ', text)

        self.assertEqual((), store.arm_history())
        self.assertEqual((), store.pending_facts())

    def test_without_a_store_only_these_resources_say_so(self):
        missing = self.refuse(STATUS, 503, 'serviceUnavailable')
        self.name_database('empty.sqlite')
        empty = self.refuse(INCIDENTS, 503, 'serviceUnavailable')
        self.name_database('no/such/directory.sqlite')
        away = self.refuse(STATUS, 503, 'serviceUnavailable')

        self.assertIn('[nova_ha_database] connection is not set', missing)
        self.assertIn('nova-ha-manage db sync', empty)
        self.assertIn('does not answer', away)
        for secret in (self.directory, 'sqlite', 'unable to open'):
            self.assertNotIn(secret, away)
        self.ask('/os-evacuations')
