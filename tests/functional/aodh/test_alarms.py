# SPDX-License-Identifier: Apache-2.0

"""Our actions inside aodh's own services, with a real keystone."""

import time
import unittest

from aodhclient import client
from aodhclient import exceptions
from keystoneauth1.identity import v3
from keystoneauth1 import session

from aodh_actions import webhook
from lab.embedded import plan as planning
from lab.embedded import process
from nova_ha_plugins.conf import policies
from nova_ha_plugins.nova import identity
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import api as store_api
from tests.functional.aodh import reader
from tests.functional import telemetry

ACTION = 'trust+nova-ha://evacuate'


class AlarmTest(unittest.TestCase):
    """An alarm of admin (project admin) and one of alice (project demo)."""

    @classmethod
    def setUpClass(cls):
        cls.cloud = telemetry.Cloud(settings={'evaluator': False})
        cls.addClassCleanup(cls.cloud.stop)
        cls.cloud.start_keystone()
        cls.cloud.telemetry.start_aodh()
        cls.bus = telemetry.Bus(cls.cloud.plan)
        cls.store = store_api.open_store(cls.cloud.conf)
        cls.projects = cls.cloud.plan['projects']
        (port,) = planning.free_ports(1)
        cls.url = f'127.0.0.1:{port}/v1/alarm'
        process.serve(webhook.application(cls.cloud.conf, cls.store), port)

    def setUp(self):
        for fact in self.store.pending_facts():
            self.store.settle_fact(fact.uuid, 'rejected', 'of another test')
        self.incidents = {one.uuid for one in self.store.incidents()}

    def aodh(self, user):
        auth = v3.Password(**planning.credentials(self.cloud.plan, user))
        return client.Client(
            '2',
            session=session.Session(auth=auth),
            region_name=self.cloud.plan['region'],
        )

    def alarm(self, user, action, event_type='compute.host.down'):
        aodh = self.aodh(user)
        made = aodh.alarm.create(
            {
                'name': f'of-{user}',
                'type': 'event',
                'severity': 'critical',
                'repeat_actions': True,
                'event_rule': {'event_type': event_type, 'query': []},
                'alarm_actions': [action],
            }
        )
        self.addCleanup(self.delete, aodh, made['alarm_id'])
        return made

    @staticmethod
    def delete(aodh, alarm_id):
        try:
            aodh.alarm.delete(alarm_id)
        except exceptions.NotFound:
            pass

    def facts(self, host):
        return [
            fact for fact in self.store.pending_facts() if fact.host == host
        ]

    def new_incidents(self):
        return [
            one
            for one in self.store.incidents()
            if one.uuid not in self.incidents
        ]

    def fact_of(self, host):
        return telemetry.wait_for(
            lambda: self.facts(host), f'a fact of {host}'
        )[0]

    def allowed(self, fact):
        trust = identity.IdentityDoor(self.cloud.conf).trust(fact.trust_id)
        enforcer = policies.enforcer(self.cloud.conf)
        return policies.trust_allows(enforcer, trust)

    def test_an_administrators_alarm_is_a_fact_whose_trust_is_enough(self):
        made = self.alarm('admin', ACTION)
        sent = time.monotonic()
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-1'
        )
        fact = self.fact_of('cmp-1')

        self.assertLess(time.monotonic() - sent, 5)
        self.assertEqual(
            (facts.FactKind.HOST_DOWN, made['alarm_id'], 'notifier', False),
            (fact.kind, fact.alarm_id, fact.channel, fact.verified),
        )
        self.assertTrue(fact.trust_id)
        self.assertTrue(self.allowed(fact))
        self.assertEqual([], self.new_incidents())

    def test_a_tenants_alarm_is_a_fact_that_nobody_believes(self):
        self.alarm('alice', ACTION)
        self.bus.send('compute.host.down', self.projects['demo'], host='cmp-2')
        fact = self.fact_of('cmp-2')

        self.assertFalse(fact.verified)
        self.assertFalse(self.allowed(fact))
        self.assertEqual([], self.new_incidents())

    def test_the_engine_believes_the_administrator_and_not_the_tenant(self):
        self.alarm('admin', ACTION)
        self.alarm('alice', ACTION)
        self.bus.send('compute.host.down', self.projects['demo'], host='cmp-1')
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-2'
        )
        forged, honest = self.fact_of('cmp-1'), self.fact_of('cmp-2')

        reader.read_inbox(self.cloud.conf, self.store, ['cmp-1', 'cmp-2'])

        forged = self.store.fact(forged.uuid)
        honest = self.store.fact(honest.uuid)
        self.assertEqual(facts.FactState.REJECTED, forged.state)
        self.assertIn('instance-ha:incidents:report', forged.text)
        self.assertEqual(facts.FactState.ACCEPTED, honest.state)
        (opened,) = self.new_incidents()
        self.assertEqual('cmp-2', opened.host)

    def test_deleting_the_alarm_once_it_is_read_changes_nothing(self):
        made = self.alarm('admin', ACTION)
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-3'
        )
        self.fact_of('cmp-3')
        reader.read_inbox(self.cloud.conf, self.store, ['cmp-3'])

        self.aodh('admin').alarm.delete(made['alarm_id'])

        reader.read_inbox(self.cloud.conf, self.store, ['cmp-3'])
        (opened,) = self.new_incidents()
        self.assertEqual('cmp-3', opened.host)
        self.assertIsNone(opened.closed_at)

    def test_a_tenant_cannot_bring_a_trust_of_somebody_else(self):
        with self.assertRaises(exceptions.ClientException) as caught:
            self.alarm('alice', 'trust+nova-ha://0123456789:delete@evacuate')

        self.assertEqual(400, caught.exception.code)

    def test_the_plain_scheme_does_not_exist(self):
        for user in ('admin', 'alice'):
            with (
                self.subTest(user=user),
                self.assertRaises(exceptions.ClientException) as caught,
            ):
                self.alarm(user, 'nova-ha://evacuate')
            self.assertEqual(400, caught.exception.code)

    def test_a_deleted_alarm_takes_its_trust_along(self):
        made = self.alarm('admin', ACTION)
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-3'
        )
        fact = self.fact_of('cmp-3')
        self.delete(self.aodh('admin'), made['alarm_id'])

        self.assertFalse(self.allowed(fact))

    def test_every_event_fires_while_the_alarm_stands(self):
        self.alarm('admin', ACTION)
        for host in ('cmp-4', 'cmp-5', 'cmp-4'):
            self.bus.send(
                'compute.host.down', self.projects['admin'], host=host
            )
            fact = self.fact_of(host)
            self.store.settle_fact(fact.uuid, 'accepted', 'seen')

            self.assertEqual([], self.facts(host))
            self.assertEqual(facts.FactKind.HOST_DOWN, fact.kind)

    def test_a_tenants_flood_is_one_fact_and_hides_nobody(self):
        self.alarm('alice', ACTION)
        self.alarm('admin', ACTION)
        for _ in range(40):
            self.bus.send(
                'compute.host.down', self.projects['demo'], host='cmp-8'
            )
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-9'
        )
        self.fact_of('cmp-9')

        self.assertEqual(1, len(self.facts('cmp-8')))

    def test_an_event_without_a_project_never_fires(self):
        self.alarm('admin', ACTION)
        self.bus.send('compute.host.down', host='cmp-6')
        self.bus.send('compute.host.down', self.projects['demo'], host='cmp-6')
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-7'
        )
        self.fact_of('cmp-7')

        self.assertEqual([], self.facts('cmp-6'))

    def test_an_event_without_a_host_wakes_up(self):
        self.alarm('admin', ACTION)
        self.bus.send('compute.host.down', self.projects['admin'])
        fact = self.fact_of('')

        self.assertEqual(facts.FactKind.WAKE_UP, fact.kind)

    def test_a_stock_alarm_with_a_trust_opens_one_incident(self):
        self.alarm('admin', f'trust+http://{self.url}')
        for _ in range(3):
            self.bus.send(
                'compute.host.down', self.projects['admin'], host='cmp-8'
            )
        telemetry.wait_for(self.new_incidents, 'an incident of cmp-8')
        time.sleep(1)

        (incident,) = self.new_incidents()
        self.assertEqual('cmp-8', incident.host)

    def test_a_tenants_stock_alarm_opens_nothing(self):
        self.alarm('alice', f'trust+http://{self.url}')
        self.alarm('admin', f'trust+http://{self.url}')
        self.bus.send('compute.host.down', self.projects['demo'], host='cmp-9')
        self.bus.send(
            'compute.host.down', self.projects['admin'], host='cmp-10'
        )
        telemetry.wait_for(self.new_incidents, 'an incident of cmp-10')
        time.sleep(1)

        self.assertEqual(
            ['cmp-10'], [one.host for one in self.new_incidents()]
        )

    def test_a_stock_alarm_with_the_secret_opens_an_incident(self):
        secret = self.cloud.conf.webhook.secret
        self.alarm('admin', f'http://{self.url}/{secret}?host=cmp-11')
        self.bus.send('compute.host.down', self.projects['admin'])
        telemetry.wait_for(self.new_incidents, 'an incident of cmp-11')

        self.assertEqual('cmp-11', self.new_incidents()[0].host)

    def test_strangers_are_refused_over_the_wire(self):
        alarm = {'alarm_id': 'a', 'current': 'alarm'}
        for path, expected in (('', 401), ('/wrong', 401), ('s', 404)):
            status, body = telemetry.post(f'http://{self.url}{path}', alarm)
            self.assertEqual(
                (expected, expected), (status, body['error']['code'])
            )
        self.assertEqual([], self.new_incidents())


if __name__ == '__main__':
    unittest.main()
