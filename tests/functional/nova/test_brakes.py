# SPDX-License-Identifier: Apache-2.0

"""Ends of the arm state, maintenance, pauses, history, engines."""

import datetime

from oslo_utils import uuidutils

from nova_ha_plugins.api import compat
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values
from tests.functional.nova import test_instance_ha

STATUS = test_instance_ha.STATUS
MAINTENANCE = f'{STATUS}/maintenance'
PAUSES = f'{STATUS}/pauses'
HISTORY = f'{STATUS}/history'
LATEST = 'instance-ha 1.1'
DISARM = f'{STATUS}/action'


class OperatorTestCase(test_instance_ha.RecoveryTestCase):
    def setUp(self):
        super().setUp()
        self.store = self.use_store()
        for host, zone in (('host1', 'az1'), ('cmp.example.org', 'az2')):
            self.store.save_host_record(
                values.HostRecord(host, zone=zone, map_state='verified')
            )

    def ask(self, path, status=200, **kwargs):
        kwargs.setdefault('version', LATEST)
        return super().ask(path, status, **kwargs)

    def post(self, path, body, status=200, **kwargs):
        return self.ask(path, status, method='POST', json=body, **kwargs)

    def delete(self, path, status=204, **kwargs):
        kwargs.setdefault('version', LATEST)
        answer = self.request(path, method='DELETE', **kwargs)
        self.assertEqual(status, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def post_badly(self, path, body, *words):
        answer = self.post(path, body, 400)
        text = answer['badRequest']['message']
        for word in words:
            self.assertIn(word, text)
        return text

    def seconds(self, text):
        moment = datetime.datetime.fromisoformat(text)
        return moment.replace(tzinfo=datetime.UTC).timestamp()


class ArmUntilTest(OperatorTestCase):
    def test_end_of_the_arm_state_is_a_duration_or_a_time(self):
        armed = self.act(
            STATUS, {'arm': {'reason': 'night', 'until': '1h30m'}}
        )['arm']
        now = self.store.now()
        at = datetime.datetime.fromtimestamp(now + 600, datetime.UTC)
        disarmed = self.act(
            STATUS,
            {'disarm': {'reason': 'switch', 'until': at.isoformat()}},
        )['arm']

        self.assertAlmostEqual(
            now + 5400, self.seconds(armed['until']), delta=20
        )
        self.assertEqual('armed', armed['state'])
        self.assertAlmostEqual(
            now + 600, self.seconds(disarmed['until']), delta=1
        )
        self.assertEqual('disarmed', disarmed['state'])
        self.assertIn('isarmed', disarmed['state_reason'])
        self.assertEqual(
            self.store.arm_state().until, self.store.arm_history()[0].until
        )

    def test_wrong_ends_are_refused_and_change_nothing(self):
        self.act(STATUS, {'arm': {'reason': 'x'}})
        for until, word in (
            ('0s', 'is over'),
            ('2000-01-01T00:00Z', 'is over'),
            ('2 hours', 'not understood'),
            ('16:00', 'not understood'),
            ('2030-01-01', 'not understood'),
            ('2030-13-01T00:00Z', 'not understood'),
            ('99999d', 'more than 366 days'),
            ('9999-12-31T23:59:59+00:00', 'more than 366 days'),
            ('', 'until'),
            (7200, 'until'),
            (None, 'until'),
            ('2h\n', 'until'),
        ):
            for verb in ('arm', 'disarm'):
                self.post_badly(
                    DISARM, {verb: {'reason': 'x', 'until': until}}, word
                )

        self.assertEqual(1, len(self.store.arm_history()))

    def test_an_end_needs_the_version_that_has_it(self):
        body = {'arm': {'reason': 'x', 'until': '2h'}}
        for version in (None, 'instance-ha 1.0'):
            answer = self.post(DISARM, body, 400, version=version)
            self.assertIn('1.1', answer['badRequest']['message'])

        self.assertEqual((), self.store.arm_history())

    def test_nobody_arms_by_disarming_for_a_while(self):
        body = {'disarm': {'reason': 'x', 'until': '2h'}}

        answer = self.post(DISARM, body, 409)

        text = answer['conflictingRequest']['message']
        self.assertIn('never armed', text)
        self.assertIn('Nothing was changed', text)
        self.assertEqual((), self.store.arm_history())

    def test_a_disarming_for_a_while_is_prolonged(self):
        self.act(STATUS, {'arm': {'reason': 'x'}})
        for until in ('1h', '2h'):
            self.act(STATUS, {'disarm': {'reason': 'x', 'until': until}})

        self.assertAlmostEqual(
            self.store.now() + 7200, self.store.arm_state().until, delta=20
        )

    def test_status_tells_what_is_in_flight_while_it_disarms(self):
        moving = self.store_incident(
            self.store,
            phase=incident.Phase.EVACUATING,
            code='',
            servers=(
                incident.Server(
                    uuid='a', state=incident.ServerState.RECOVERED
                ),
                incident.Server(uuid='b'),
            ),
        )
        self.store_incident(
            self.store, uuid=uuidutils.generate_uuid(), host='host2'
        )
        self.act(STATUS, {'arm': {'reason': 'x'}})
        self.act(STATUS, {'disarm': {'reason': 'x'}})

        arm = self.ask(STATUS)['instance_ha']['arm']

        self.assertEqual('disarming', arm['state'])
        [item] = arm['in_flight']
        self.assertEqual(
            (moving.uuid, 'host1', 'evacuating', 2, 1),
            tuple(
                item[key]
                for key in (
                    'uuid',
                    'host',
                    'phase',
                    'servers_total',
                    'servers_done',
                )
            ),
        )

    def test_armed_without_usable_devices_is_standby(self):
        for host in ('host1', 'cmp.example.org'):
            self.store.save_host_record(
                values.HostRecord(host, map_state='unreachable')
            )

        arm = self.act(STATUS, {'arm': {'reason': 'x'}})['arm']

        self.assertEqual('standby', arm['state'])
        self.assertIn('fencing is unavailable', arm['state_reason'])

    def test_status_tells_engines_brakes_and_waits_from_1_1_on(self):
        self.store.note_engine(
            'ctl-1:7', 15.0, {'acting': True, 'warm': True, 'token': 3}
        )
        self.store.note_engine('ctl-2:7', 0.0, {'acting': True})
        self.store.set_brake(values.Brake('pause', 'upgrade', reason='x'))
        self.store_incident(self.store, next_look_at=1700000009.0)

        new = self.ask(STATUS)['instance_ha']
        old = self.ask(STATUS, version=None)['instance_ha']

        first, second = new['engines']
        self.assertEqual(
            ('ctl-1:7', 'acting', True, True, 3),
            tuple(
                first[key]
                for key in ('name', 'role', 'alive', 'warm', 'token')
            ),
        )
        self.assertFalse(second['alive'])
        self.assertEqual('upgrade', new['brakes'][0]['name'])
        self.assertEqual(
            ('host1', 'storm'),
            (new['waits'][0]['host'], new['waits'][0]['code']),
        )
        self.assertEqual({'armed', 'by', 'reason', 'at'}, set(old['arm']))
        self.assertFalse({'engines', 'brakes', 'waits'} & set(old))

    def test_status_tells_watchers_from_1_3_on(self):
        healths = liveness.open_liveness(compat.CONF).healths
        healths(
            [
                values.Health('', 'watcher:ctl-1', True, 2.0),
                values.Health('', 'watcher:ctl-2', False, 2.0, 'late'),
            ]
        )

        new = self.ask(STATUS, version='instance-ha 1.3')['instance_ha']
        old = self.ask(STATUS)['instance_ha']

        first, second = new['watchers']
        self.assertEqual(
            ('ctl-1', True, True, None, 2),
            tuple(
                first[key]
                for key in ('name', 'alive', 'sees', 'reason', 'hosts')
            ),
        )
        self.assertEqual((False, 'late'), (second['sees'], second['reason']))
        self.assertNotIn('watchers', old)


class MaintenanceTest(OperatorTestCase):
    def set(self, host='host1', status=200, **words):
        body = {'maintenance': {'host': host, 'reason': 'disk', **words}}
        return self.post(MAINTENANCE, body, status)

    def test_host_is_put_into_maintenance_and_taken_out(self):
        item = self.set(until='2h')['maintenance']
        listed = self.ask(MAINTENANCE)['maintenance']
        self.delete(f'{MAINTENANCE}/host1?reason=replaced')

        self.assertEqual(
            ('host1', 'disk', 'admin', None),
            tuple(
                item[key] for key in ('host', 'reason', 'by', 'open_incident')
            ),
        )
        self.assertAlmostEqual(
            self.store.now() + 7200, self.seconds(item['until']), delta=20
        )
        del item['open_incident']
        self.assertEqual([item], listed)
        self.assertEqual([], self.ask(MAINTENANCE)['maintenance'])
        self.assertEqual(
            'replaced', self.store.brake_history()[0].ended_reason
        )

    def test_host_with_dots_in_its_name(self):
        self.set('cmp.example.org')
        self.delete(f'{MAINTENANCE}/cmp.example.org')

        self.assertEqual((), self.store.brakes())

    def test_incident_that_goes_on_all_the_same_is_told(self):
        subject = self.store_incident(
            self.store, phase=incident.Phase.EVACUATING
        )

        item = self.set()['maintenance']

        self.assertEqual(subject.uuid, item['open_incident']['uuid'])
        self.assertEqual('evacuating', item['open_incident']['phase'])

    def test_host_that_only_nova_knows_so_far(self):
        self.start_hosts('host7')

        self.set('host7')

        self.assertEqual('host7', self.store.brakes()[0].name)

    def test_host_that_nobody_knows_is_refused(self):
        for host in ('host9', 'HOST1', 'host1.'):
            text = self.set(host, 400)['badRequest']['message']
            self.assertIn(f"nova-compute service on a host '{host}'", text)

        self.assertEqual((), self.store.brakes())

    def test_wrong_words_are_refused_and_change_nothing(self):
        good = {'host': 'host1', 'reason': 'x'}
        for change in (
            {'reason': ''},
            {'reason': '  '},
            {'reason': 'x\x1b[2J'},
            {'reason': None},
            {'host': ''},
            {'host': ' '},
            {'host': ['host1']},
            {'until': 'soon'},
            {'until': '0m'},
            {'zone': 'az1'},
            {'by': 'somebody'},
        ):
            body = {'maintenance': {**good, **change}}
            self.post_badly(MAINTENANCE, body)
        for body in ({}, {'maintenance': None}, {'pause': good}, []):
            self.post_badly(MAINTENANCE, body)
        for missing in good:
            body = {key: good[key] for key in good if key != missing}
            self.post_badly(MAINTENANCE, {'maintenance': body})
        for query in (
            'reason=',
            'reason=%00',
            'color=red',
            'reason=a&reason=b',
        ):
            self.delete(f'{MAINTENANCE}/host1?{query}', 400)
        self.ask(f'{MAINTENANCE}?limit=1', 400)

        self.assertEqual((), self.store.brake_history())

    def test_end_of_what_does_not_hold_is_404(self):
        self.set(until='1s')
        self.store.set_brake(
            values.Brake(
                'maintenance', 'cmp.example.org', until=self.store.now() - 1
            )
        )
        self.store.set_brake(values.Brake('pause', 'host2'))
        for name in ('host2', 'cmp.example.org', '%00', '%ff', 'a' * 5000):
            answer = self.delete(f'{MAINTENANCE}/{name}', 404)
            text = answer['itemNotFound']['message']
            self.assertIn('nothing was changed', text)
            self.assertTrue(text.isprintable(), text)


class PausesTest(OperatorTestCase):
    def set(self, name='upgrade', status=200, **words):
        body = {'pause': {'name': name, 'reason': 'new switch', **words}}
        return self.post(PAUSES, body, status)

    def test_pauses_are_set_listed_and_ended(self):
        whole = self.set()['pause']
        zone = self.set('rack-4', zone='az1', until='30m')['pause']
        listed = self.ask(PAUSES)['pauses']
        self.delete(f'{PAUSES}/upgrade')

        self.assertEqual(
            ('upgrade', None, None, 'admin'),
            tuple(whole[key] for key in ('name', 'zone', 'until', 'by')),
        )
        self.assertEqual('az1', zone['zone'])
        self.assertEqual([zone, whole], listed)
        self.assertEqual(
            ['rack-4'], [brake.name for brake in self.store.brakes()]
        )

    def test_zone_without_a_host_is_refused_with_those_that_there_are(self):
        self.start_hosts('host7')

        text = self.set(zone='AZ1', status=400)['badRequest']['message']

        self.assertIn("zone 'AZ1'", text)
        self.assertIn('nova', text)
        self.assertEqual((), self.store.brakes())

    def test_zone_that_only_nova_knows_so_far(self):
        self.start_hosts('host7')

        self.set(zone='nova')

        self.assertEqual('nova', self.store.brakes()[0].zone)

    def test_wrong_words_are_refused_and_change_nothing(self):
        good = {'name': 'p', 'reason': 'x'}
        for name in ('a/b', '..', 'x' * 65, 'two words', ' ', '-p', 'p\u00e4'):
            text = self.post_badly(PAUSES, {'pause': {**good, 'name': name}})
            self.assertIn(f"cannot have the name '{name}'", text)
        for change in (
            {'name': ''},
            {'name': 'x\n'},
            {'zone': ''},
            {'zone': None},
            {'until': '-2h'},
            {'host': 'host1'},
        ):
            self.post_badly(PAUSES, {'pause': {**good, **change}})

        self.assertEqual((), self.store.brake_history())

    def test_end_of_a_pause_that_does_not_hold_is_404(self):
        answer = self.delete(f'{PAUSES}/none', 404)

        self.assertIn("pause 'none'", answer['itemNotFound']['message'])


class HistoryTest(OperatorTestCase):
    def test_everything_that_was_said_is_there_newest_first(self):
        self.act(STATUS, {'arm': {'reason': 'tested'}})
        self.post(
            MAINTENANCE, {'maintenance': {'host': 'host1', 'reason': 'disk'}}
        )
        self.delete(f'{MAINTENANCE}/host1?reason=done', user='omar')
        self.post(PAUSES, {'pause': {'name': 'p', 'reason': 'switch'}})
        self.act(STATUS, {'disarm': {'reason': 'night', 'until': '2h'}})

        found = self.ask(HISTORY)['history']
        two = self.ask(f'{HISTORY}?limit=2')['history']

        self.assertEqual(
            ['disarm', 'pause', 'maintenance', 'arm'],
            [item['kind'] for item in found],
        )
        self.assertEqual(found[:2], two)
        self.assertIsNotNone(found[0]['until'])
        self.assertEqual(
            ('host1', 'admin', 'disk', 'omar', 'done'),
            tuple(
                found[2][key]
                for key in ('name', 'by', 'reason', 'ended_by', 'ended_reason')
            ),
        )
        self.assertIsNone(found[1]['ended_at'])
        self.assertIsNone(found[0]['ended_at'])
        self.assertEqual(
            (found[0]['at'], 'night'),
            (found[3]['ended_at'], found[3]['ended_reason']),
        )

    def test_history_refuses_wrong_queries(self):
        for query in ('limit=-1', 'limit=x', 'color=red'):
            self.ask(f'{HISTORY}?{query}', 400)


class RightsTest(OperatorTestCase):
    calls = (
        ('GET', MAINTENANCE, None, 'brakes:index'),
        ('GET', PAUSES, None, 'brakes:index'),
        ('GET', HISTORY, None, 'history:index'),
        (
            'POST',
            MAINTENANCE,
            {'maintenance': {'host': 'host1', 'reason': 'x'}},
            'maintenance',
        ),
        ('POST', PAUSES, {'pause': {'name': 'p', 'reason': 'x'}}, 'pause'),
        ('DELETE', f'{MAINTENANCE}/host1', None, 'maintenance'),
        ('DELETE', f'{PAUSES}/p', None, 'pause'),
    )

    def test_nobody_but_administrators(self):
        for method, path, body, rule in self.calls:
            answer = self.ask(
                path,
                403,
                method=method,
                json=body,
                **test_instance_ha.OWNER,
            )
            text = answer['forbidden']['message']
            self.assertIn(f'os_compute_api:instance-ha:{rule} ', text)
            self.assertNotIn('host1', text)

        self.assertEqual((), self.store.brake_history())

    def test_an_older_version_has_no_such_resource(self):
        for method, path, body, _ in self.calls:
            for version in (None, 'instance-ha 1.0', 'compute 2.96'):
                answer = self.ask(
                    path, 404, method=method, json=body, version=version
                )
                self.assertIn('1.1', answer['itemNotFound']['message'])

        self.assertEqual((), self.store.brake_history())

    def test_without_a_store_nothing_is_promised(self):
        self.name_database('empty.sqlite')
        for method, path, body, _ in self.calls:
            self.ask(path, 503, method=method, json=body)
