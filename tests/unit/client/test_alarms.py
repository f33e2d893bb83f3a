# SPDX-License-Identifier: Apache-2.0

"""What the commands about alarms ask of aodh, and what they say."""

import contextlib
import copy
import io
import json
import types
import unittest
from unittest import mock
from urllib import parse

from keystoneauth1 import exceptions as ks_exceptions
from osc_lib import exceptions

from nova_ha_plugins.client import alarming
from nova_ha_plugins.client import alarms


def plain(row):
    """A row as a program gets it."""
    return [
        each.machine_readable() if hasattr(each, 'machine_readable') else each
        for each in row
    ]


class Answer:
    def __init__(self, status_code, body):
        self.status_code = status_code
        self.body = body
        self.reason = 'Bad Something'

    def json(self):
        return json.loads(json.dumps(self.body))


class Aodh:
    """As much of aodh as the commands ask for; an adapter of keystoneauth."""

    def __init__(self):
        self.alarms = {}
        self.calls = []
        self.project = 'p-service'
        self.refuse = {}

    def get_project_id(self):
        return self.project

    def request(self, path, method, json=None, raise_exc=True):
        assert raise_exc is False
        self.calls.append((method, json))
        name = (json or {}).get('name')
        if name in self.refuse:
            return self.refuse[name]
        if method == 'GET':
            wanted = parse.parse_qs(parse.urlsplit(path).query)['q.value'][0]
            found = [a for a in self.alarms.values() if a['name'] == wanted]
            return Answer(200, found)
        if method == 'POST':
            key = f'a-{len(self.alarms)}'
            made = {
                'alarm_id': key,
                'enabled': True,
                'project_id': self.project,
                'state': 'insufficient data',
                'time_constraints': [],
                'insufficient_data_actions': [],
                'description': 'of aodh',
                **json,
            }
        else:
            made = json
            key = made['alarm_id']
            assert path.endswith(key), path
        made = copy.deepcopy(made)
        # Without the trust nothing stands between the slashes.
        made['alarm_actions'] = [
            parse.urlunsplit(parse.urlsplit(each))
            for each in made['alarm_actions']
        ]
        self.alarms[key] = made
        return Answer(201 if method == 'POST' else 200, made)

    def by_name(self):
        return {alarm['name']: alarm for alarm in self.alarms.values()}

    def changes(self):
        return [body for method, body in self.calls if method != 'GET']


class Case(unittest.TestCase):
    def setUp(self):
        self.aodh = Aodh()
        patch = mock.patch.object(
            alarming.adapter, 'Adapter', lambda *a, **k: self.aodh
        )
        patch.start()
        self.addCleanup(patch.stop)

    def command(self, kind):
        manager = types.SimpleNamespace(
            setup_auth=lambda: None,
            session=None,
            interface='public',
            region_name='RegionOne',
        )
        return kind(types.SimpleNamespace(client_manager=manager), None)

    def run_command(self, kind, *words):
        self.made = self.command(kind)
        parsed = self.made.get_parser('openstack').parse_args(words)
        names, rows = self.made.take_action(parsed)
        return names, rows


class CreateAlarmsTest(Case):
    def create(self, *words):
        _, rows = self.run_command(alarms.CreateAlarms, *words)
        return {
            name.machine_readable(): result.machine_readable()
            for name, result, *_ in rows
        }

    def test_all_of_them_are_made(self):
        done = self.create()

        self.assertEqual(
            dict.fromkeys(
                (
                    'ha-host-down',
                    'ha-hypervisor-heartbeat',
                    'ha-host-silent',
                    'ha-host-degraded',
                    'ha-dead-man',
                ),
                'created',
            ),
            done,
        )
        self.assertEqual(0, self.made.code)

    def test_what_wakes_the_engine_repeats_and_what_wakes_people_does_not(
        self,
    ):
        self.create('--notify', 'https://a', '--notify', 'https://b')

        made = self.aodh.by_name()
        for name in ('ha-host-down', 'ha-hypervisor-heartbeat'):
            self.assertEqual(['trust+nova-ha:'], made[name]['alarm_actions'])
            self.assertTrue(made[name]['repeat_actions'])
            self.assertEqual([], made[name]['ok_actions'])
        for name in ('ha-host-silent', 'ha-dead-man'):
            people = ['https://a', 'https://b']
            self.assertEqual(people, made[name]['alarm_actions'])
            self.assertEqual(people, made[name]['ok_actions'])
            self.assertFalse(made[name]['repeat_actions'])
            rule = made[name]['hypervisor_heartbeat_rule']
            self.assertGreater(rule['remind'], 0)
        self.assertTrue(made['ha-host-degraded']['repeat_actions'])

    def test_nothing_acts_on_insufficient_data(self):
        self.create()

        for alarm in self.aodh.alarms.values():
            self.assertEqual([], alarm['insufficient_data_actions'])

    def test_a_second_time_changes_nothing(self):
        self.create()
        del self.aodh.calls[:]

        done = self.create()

        self.assertEqual({'unchanged'}, set(done.values()))
        self.assertEqual([], self.aodh.changes())

    def test_what_differs_is_updated_and_the_rest_is_kept(self):
        self.create()
        alarm = self.aodh.by_name()['ha-dead-man']
        alarm.update(state='alarm', enabled=False, severity='low')
        del self.aodh.calls[:]

        _, rows = self.run_command(alarms.CreateAlarms, '--dead-after', '50')

        (changed,) = self.aodh.changes()
        self.assertEqual(alarm['alarm_id'], changed['alarm_id'])
        self.assertEqual(
            ('alarm', False, 'critical', 50),
            (
                changed['state'],
                changed['enabled'],
                changed['severity'],
                changed['hypervisor_heartbeat_rule']['max_age'],
            ),
        )
        self.assertEqual(
            [
                'ha-dead-man',
                'updated',
                alarm['alarm_id'],
                False,
                'hypervisor_heartbeat_rule, severity',
            ],
            plain(rows[-1]),
        )

    def test_an_alarm_of_another_type_loses_its_old_rule(self):
        self.create()
        alarm = self.aodh.by_name()['ha-host-silent']
        del alarm['hypervisor_heartbeat_rule']
        alarm.update(type='event', event_rule={'event_type': 'x'})

        done = self.create()

        self.assertEqual('updated', done['ha-host-silent'])
        alarm = self.aodh.by_name()['ha-host-silent']
        self.assertNotIn('event_rule', alarm)
        self.assertIn('hypervisor_heartbeat_rule', alarm)

    def refused(self, *words):
        with self.assertRaises(exceptions.CommandError) as caught:
            self.create(*words)
        self.assertEqual([], self.aodh.changes())
        self.assertIn('Nothing was changed', str(caught.exception))
        return str(caught.exception)

    def test_another_project_than_the_one_of_the_events_is_refused(self):
        text = self.refused('--ha-project', 'p-right')

        self.assertIn("'p-right', and this token is of 'p-service'", text)
        self.aodh.project = 'p-right'
        self.assertIn(
            'created', self.create('--ha-project', 'p-right').values()
        )

    def test_alarms_in_another_project_are_refused(self):
        self.create()
        self.aodh.project = 'p-other'
        del self.aodh.calls[:]

        text = self.refused()

        self.assertIn("'ha-host-down' (a-0) belongs to project", text)
        self.assertIn("'p-service', and this token is of 'p-other'", text)

    def test_two_of_one_name_are_refused(self):
        self.create()
        twin = {**self.aodh.alarms['a-3'], 'alarm_id': 'a-9'}
        self.aodh.alarms['a-9'] = twin
        del self.aodh.calls[:]

        self.assertIn('there are 2: a-3, a-9', self.refused())

    def test_a_token_without_a_project_is_refused(self):
        self.aodh.project = None

        self.assertIn('this token is of none', self.refused())

    def test_one_that_fails_spoils_no_other_and_the_exit_code_tells(self):
        fault = {'faultstring': "'hypervisor_heartbeat' is not known"}
        self.aodh.refuse['ha-hypervisor-heartbeat'] = Answer(
            400, {'error_message': fault}
        )

        _, rows = self.run_command(alarms.CreateAlarms)

        told = [plain(row) for row in rows]
        self.assertEqual('created', told[0][1])
        self.assertEqual('failed', told[1][1])
        self.assertIn('is not known. Install nova-ha-plugins', told[1][4])
        self.assertEqual({'created'}, {row[1] for row in told[2:]})
        self.assertEqual(1, self.made.code)


class CreateAlarmTest(Case):
    def test_no_time_is_refused_before_anything_is_made(self):
        for word in ('-5', '0', 'soon'):
            with (
                self.subTest(word),
                contextlib.redirect_stderr(io.StringIO()) as said,
                self.assertRaises(SystemExit),
            ):
                self.run_command(
                    alarms.CreateAlarm, 'ha-net', '--max-age', word
                )
            self.assertIn(f"found '{word}'", said.getvalue())

    def test_one_is_made_with_its_own_options(self):
        names, row = self.run_command(
            alarms.CreateAlarm,
            'mine',
            *('--subject', 'service', '--max-age', '40', '--remind', '7'),
            *('--alarm-action', 'https://a', '--severity', 'low'),
            '--disabled',
        )

        shown = dict(zip(names, row, strict=True))
        (alarm,) = self.aodh.alarms.values()
        self.assertEqual(
            {'subject': 'service', 'max_age': 40, 'remind': 7},
            alarm['hypervisor_heartbeat_rule'],
        )
        self.assertEqual(
            (['https://a'], 'low', False, False),
            (
                alarm['alarm_actions'],
                alarm['severity'],
                alarm['enabled'],
                alarm['repeat_actions'],
            ),
        )
        self.assertEqual('a-0', shown['alarm_id'].machine_readable())
        self.assertEqual('of aodh', shown['description'].machine_readable())

    def test_a_second_one_of_the_name_is_refused(self):
        self.run_command(alarms.CreateAlarm, 'mine')

        with self.assertRaises(exceptions.CommandError) as caught:
            self.run_command(alarms.CreateAlarm, 'mine')

        self.assertIn("an alarm 'mine' already, a-0", str(caught.exception))
        self.assertEqual(1, len(self.aodh.changes()))

    def test_a_refusal_says_what_is_missing(self):
        self.aodh.refuse['mine'] = Answer(
            403, {'error_message': 'RBAC\x1b[31m failed'}
        )

        with self.assertRaises(exceptions.CommandError) as caught:
            self.run_command(alarms.CreateAlarm, 'mine')

        self.assertIn('needs the role admin (HTTP 403)', str(caught.exception))
        self.assertNotIn('\x1b', str(caught.exception))

    def test_an_answer_without_a_sentence_gives_the_reason(self):
        for body in (None, 'x', {'error_message': None}, {}):
            with self.subTest(body=body):
                self.aodh.refuse['mine'] = Answer(500, body)
                with self.assertRaises(exceptions.CommandError) as caught:
                    self.run_command(alarms.CreateAlarm, 'mine')
                self.assertIn('(HTTP 500)', str(caught.exception))

    def test_no_aodh_is_said(self):
        def away(*args, **kwargs):
            raise ks_exceptions.EndpointNotFound('public endpoint not found')

        self.aodh.request = away
        with self.assertRaises(exceptions.CommandError) as caught:
            self.run_command(alarms.CreateAlarm, 'mine')

        self.assertIn('Aodh does not answer: public', str(caught.exception))


if __name__ == '__main__':
    unittest.main()
