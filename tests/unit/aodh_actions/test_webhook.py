# SPDX-License-Identifier: Apache-2.0

import io
import json
import pathlib
import unittest
from unittest import mock

import fixtures
from keystoneauth1 import fixture as token_fixture
from keystonemiddleware import fixture as middleware_fixture
from oslo_db import exception as db_exc
from oslo_utils import uuidutils
import testtools
import webob

from aodh_actions import webhook
from nova_ha_plugins.conf import config
from nova_ha_plugins.recovery import facts
from tests.unit.aodh_actions import test_message

SECRET = 'correct-horse-battery-staple-0123456789'

CONFIG = f"""
[webhook]
secret = {SECRET}
[keystone_authtoken]
auth_type = password
auth_url = http://keystone.invalid/v3
www_authenticate_uri = http://keystone.invalid/v3
"""


class FakeStore:
    def __init__(self):
        self.reported = []
        self.facts = []
        self.away = False

    def _go(self):
        if self.away:
            raise db_exc.DBConnectionError(Exception('hunter2'))

    def report(self, fact):
        self._go()
        self.reported.append(fact)
        return 'incident-1'

    def add_fact(self, fact):
        self._go()
        self.facts.append(fact)


class NeverRead(io.BytesIO):
    """A body that must not be touched before its sender is known."""

    def read(self, *args):
        raise AssertionError('The body was read')


class WebhookCase(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.store = FakeStore()
        path = self.useFixture(fixtures.TempDir()).join('nova-ha.conf')
        pathlib.Path(path).write_text(CONFIG)
        conf = config.load(files=[path])
        self.conf = conf
        self.tokens = self.useFixture(middleware_fixture.AuthTokenFixture())
        self.admin = self.token(
            user_id='admin-id', project_id='p', role_list=['admin']
        )
        self.member = self.token(
            user_id='alice', project_id='q', role_list=['member', 'reader']
        )
        self.app = webhook.application(conf, self.store)
        self.logged = self.useFixture(fixtures.FakeLogger())

    def token(self, **data):
        name = uuidutils.generate_uuid(dashed=False)
        self.tokens.add_token_data(token_id=name, **data)
        return name

    def post(self, body=None, path='/v1/alarm', token=None, **environ):
        if body is None:
            body = test_message.alarm()
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = webob.Request.blank(path, method='POST', body=body)
        if token:
            request.headers['X-Auth-Token'] = token
        request.environ.update(environ)
        return request.get_response(self.app)

    def assert_refused(self, status, response):
        self.assertEqual(status, response.status_code, response.text)
        self.assertEqual('application/json', response.content_type)
        error = response.json['error']
        self.assertEqual(status, error['code'])
        self.assertGreater(len(error['message'].split()), 4)
        self.assertEqual([], self.store.reported + self.store.facts)
        self.assertNotIn(SECRET[:-1], response.text + self.logged.output)


class WelcomeTest(WebhookCase):
    def test_an_administrators_token_reports_a_host(self):
        response = self.post(token=self.admin)

        self.assertEqual(202, response.status_code, response.text)
        self.assertEqual({'incident': 'incident-1'}, response.json)
        (fact,) = self.store.reported
        self.assertEqual(
            (facts.FactKind.HOST_DOWN, 'cmp-1', True, 'webhook'),
            (fact.kind, fact.host, fact.verified, fact.channel),
        )
        self.assertEqual('user admin-id', fact.by)

    def test_the_secret_in_the_url_reports_a_host(self):
        response = self.post(path=f'/v1/alarm/{SECRET}')

        self.assertEqual(202, response.status_code, response.text)
        self.assertEqual('secret in the URL', self.store.reported[0].by)
        self.assertNotIn(SECRET, self.logged.output)

    def test_the_host_may_stand_in_the_url(self):
        body = test_message.alarm(reason_data={'type': 'threshold'})
        response = self.post(body, '/v1/alarm?host=cmp-7', self.admin)

        self.assertEqual(202, response.status_code, response.text)
        self.assertEqual('cmp-7', self.store.reported[0].host)

    def test_each_host_of_our_own_alarm_is_reported(self):
        body = test_message.alarm(
            reason_data=test_message.listed('cmp-1', 'cmp-2')
        )
        response = self.post(body, token=self.admin)

        self.assertEqual(202, response.status_code, response.text)
        self.assertEqual(
            [('cmp-1', 'u-cmp-1'), ('cmp-2', 'u-cmp-2')],
            [(one.host, one.service_uuid) for one in self.store.reported],
        )

    def test_a_degraded_host_is_not_reported(self):
        data = {'event': test_message.event('compute.host.degraded')}
        response = self.post(
            test_message.alarm(reason_data=data), token=self.admin
        )

        self.assertEqual({'incident': None}, response.json)
        self.assertEqual([], self.store.reported)

    def test_an_alarm_without_a_host_is_a_wake_up(self):
        body = test_message.alarm(reason_data={'type': 'threshold'})
        response = self.post(body, token=self.admin)

        self.assertEqual(202, response.status_code, response.text)
        self.assertEqual({'incident': None}, response.json)
        (fact,) = self.store.facts
        self.assertEqual(facts.FactKind.WAKE_UP, fact.kind)
        self.assertTrue(fact.verified)

    def test_a_state_other_than_alarm_is_a_wake_up(self):
        for state in ('ok', 'insufficient data'):
            self.store.facts.clear()
            response = self.post(
                test_message.alarm(current=state),
                '/v1/alarm?host=cmp-1',
                self.admin,
            )
            self.assertEqual({'incident': None}, response.json)
            self.assertEqual('', self.store.facts[0].host)
        self.assertEqual([], self.store.reported)

    def test_the_host_of_event_and_url_may_be_the_same(self):
        response = self.post(path='/v1/alarm?host=cmp-1', token=self.admin)

        self.assertEqual(202, response.status_code, response.text)

    def test_fields_of_a_newer_aodh_are_ignored(self):
        body = test_message.alarm(colour='red', user={'a': [1]})
        response = self.post(body, token=self.admin)

        self.assertEqual(202, response.status_code, response.text)

    def test_a_chunked_body_is_read(self):
        data = json.dumps(test_message.alarm()).encode()
        request = webob.Request.blank('/v1/alarm', method='POST')
        request.headers['X-Auth-Token'] = self.admin
        request.environ.pop('CONTENT_LENGTH', None)
        request.environ['wsgi.input'] = io.BytesIO(data)
        request.environ['wsgi.input_terminated'] = True
        response = request.get_response(self.app)

        self.assertEqual(202, response.status_code, response.text)


class StrangerTest(WebhookCase):
    def test_no_token_is_401(self):
        self.assert_refused(401, self.post())

    def test_an_unknown_token_is_401(self):
        self.assert_refused(401, self.post(token='0' * 32))

    def test_an_expired_token_is_401(self):
        expired = self.token(
            user_id='admin-id',
            project_id='p',
            role_list=['admin'],
            expires='2020-01-01T00:00:00.000000Z',
        )

        self.assert_refused(401, self.post(token=expired))

    def test_a_member_is_403(self):
        response = self.post(token=self.member)

        self.assert_refused(403, response)
        self.assertIn('instance-ha:incidents:report', response.text)

    def test_identity_headers_of_the_sender_count_for_nothing(self):
        response = self.post(
            HTTP_X_IDENTITY_STATUS='Confirmed',
            HTTP_X_ROLES='admin',
            HTTP_X_USER_ID='admin-id',
        )

        self.assert_refused(401, response)

    def test_a_token_without_a_project_is_403(self):
        token = token_fixture.V3Token(user_id='u')
        self.tokens.add_token(token, token_id='1' * 32)

        self.assert_refused(403, self.post(token='1' * 32))

    def test_a_token_for_a_domain_or_the_system_is_403(self):
        headers = {'X-Identity-Status': 'Confirmed', 'X-Roles': 'admin'}
        app = webhook.WebhookApp(self.conf, self.store, True)
        for scope in ('X-Domain-Id', 'OpenStack-System-Scope'):
            request = webob.Request.blank(
                '/v1/alarm',
                method='POST',
                json_body=test_message.alarm(),
                headers={**headers, scope: 'all'},
            )

            self.assert_refused(403, request.get_response(app))

    def test_a_short_secret_counts_for_nothing(self):
        self.conf.set_override('secret', 'x' * 31, 'webhook')
        self.app = webhook.WebhookApp(self.conf, self.store, True)

        self.assertIn('at least 32 random', self.logged.output)
        self.assertNotIn('x' * 31, self.logged.output)
        self.assert_refused(401, self.post(path='/v1/alarm/' + 'x' * 31))

    def test_a_wrong_secret_is_401(self):
        for secret in (SECRET[:-1], f'{SECRET}x', '%C3%A9', f'{SECRET}/'):
            self.assert_refused(401, self.post(path=f'/v1/alarm/{secret}'))

    def test_a_wrong_secret_is_not_mended_by_a_token(self):
        response = self.post(path='/v1/alarm/wrong', token=self.admin)

        self.assert_refused(401, response)

    def test_no_configured_secret_refuses_every_secret(self):
        self.conf.set_override('secret', '', group='webhook')
        self.app = webhook.application(self.conf, self.store)
        for path in ('/v1/alarm/', '/v1/alarm/x', '/v1/alarm//'):
            self.assert_refused(401, self.post(path=path))

    def test_a_strangers_body_is_not_even_read(self):
        for path in ('/v1/alarm', '/v1/alarm/wrong'):
            request = webob.Request.blank(path, method='POST')
            request.environ['wsgi.input'] = NeverRead()
            request.environ['CONTENT_LENGTH'] = '100'
            response = request.get_response(self.app)
            self.assert_refused(401, response)

    def test_the_secret_is_compared_in_constant_time(self):
        with mock.patch.object(
            webhook.hmac, 'compare_digest', autospec=True, return_value=True
        ) as compare:
            response = self.post(path='/v1/alarm/other')

        self.assertEqual(202, response.status_code)
        compare.assert_called_once()


class HostileTest(WebhookCase):
    def test_other_methods_are_405(self):
        for method in ('GET', 'PUT', 'DELETE', 'HEAD', 'BREW'):
            request = webob.Request.blank('/v1/alarm', method=method)
            response = request.get_response(self.app)
            self.assertEqual(405, response.status_code, method)
            self.assertEqual('POST', response.headers['Allow'])

    def test_other_paths_are_404(self):
        for path in ('/', '/v1', '/v1/alarms', '/v2/alarm', '/%FF'):
            self.assert_refused(404, self.post(path=path))

    def test_a_body_over_the_limit_is_413_and_not_read(self):
        request = webob.Request.blank('/v1/alarm', method='POST')
        request.headers['X-Auth-Token'] = self.admin
        request.environ['wsgi.input'] = NeverRead()
        request.environ['CONTENT_LENGTH'] = str(64 * 1024 + 1)

        self.assert_refused(413, request.get_response(self.app))

    def test_an_endless_chunked_body_is_413(self):
        class Endless:
            taken = 0

            def read(self, size):
                Endless.taken += size
                return b'[' * size

        request = webob.Request.blank('/v1/alarm', method='POST')
        request.headers['X-Auth-Token'] = self.admin
        request.environ.pop('CONTENT_LENGTH', None)
        request.environ['wsgi.input'] = Endless()
        request.environ['wsgi.input_terminated'] = True

        self.assert_refused(413, request.get_response(self.app))
        self.assertLessEqual(Endless.taken, 64 * 1024 + 1)

    def test_a_strange_content_length_is_400(self):
        for length in ('many', '-1'):
            response = self.post(token=self.admin, CONTENT_LENGTH=length)
            self.assert_refused(400, response)

    def test_what_is_no_json_object_is_400(self):
        bodies = (
            b'',
            b'nonsense',
            b'\xff\xfe',
            b'{"alarm_id": ',
            b'[]',
            b'null',
            b'"alarm"',
            b'{"alarm_id": "a", "current": "alarm", "x": NaN}',
            b'[' * 60000,
            b'{"a":' * 10000,
            b'1' * 60000,
        )
        for body in bodies:
            self.assert_refused(400, self.post(body, token=self.admin))

    def test_a_key_that_stands_twice_is_400(self):
        for body in (
            b'{"alarm_id": "a", "current": "ok", "current": "alarm"}',
            b'{"alarm_id": "a", "current": "alarm", "reason_data": '
            b'{"event": {}, "event": {}}}',
        ):
            self.assert_refused(400, self.post(body, token=self.admin))

    def test_wrong_types_are_400_and_name_the_rule(self):
        wrong = (
            {'alarm_id': 5},
            {'alarm_id': ''},
            {'alarm_id': 'x' * 256},
            {'alarm_name': ['x']},
            {'current': 'broken'},
            {'current': None},
            {'previous': 1},
            {'severity': 'lethal'},
            {'reason': {}},
            {'reason': 'x' * 5000},
            {'reason_data': 'x'},
            {'reason_data': {'event': []}},
            {'reason_data': {'event': {'traits': {}}}},
            {'reason_data': {'event': {'traits': [['host', 1]]}}},
            {'reason_data': {'event': {'traits': [[1, 1, 'x']]}}},
            {'reason_data': {'event': {'event_type': 1}}},
        )
        for change in wrong:
            response = self.post(
                test_message.alarm(**change), token=self.admin
            )
            self.assert_refused(400, response)
            (name,) = change
            self.assertIn(name, response.text)

    def test_a_missing_state_is_400(self):
        body = test_message.alarm()
        del body['current']

        self.assert_refused(400, self.post(body, token=self.admin))

    def test_a_bad_host_is_400_and_not_repeated(self):
        body = test_message.alarm(
            reason_data={'event': test_message.event(host='<script>')}
        )
        first = self.post(body, token=self.admin)
        body = test_message.alarm(reason_data=None)
        second = self.post(body, '/v1/alarm?host=a%20b', self.admin)
        third = self.post(body, '/v1/alarm?host=%FF', self.admin)

        for response in (first, second, third):
            self.assert_refused(400, response)
        self.assertNotIn('script', first.text)

    def test_two_different_hosts_are_400(self):
        for query in ('host=cmp-2', 'host=cmp-1&host=cmp-2'):
            response = self.post(path=f'/v1/alarm?{query}', token=self.admin)
            self.assert_refused(400, response)

    def test_deep_json_in_a_free_field_breaks_nothing(self):
        deep = b'{"alarm_id": "a", "current": "ok", "reason_data": {"x": '
        body = deep + b'[' * 400 + b']' * 400 + b'}}'
        response = self.post(body, token=self.admin)

        self.assertEqual(202, response.status_code, response.text)

    def test_a_store_that_is_away_is_503_and_critical(self):
        self.store.away = True
        response = self.post(token=self.admin)

        self.assert_refused(503, response)
        self.assertEqual('5', response.headers['Retry-After'])
        self.assertIn("host 'cmp-1' is lost", self.logged.output)
        self.assertNotIn('hunter2', self.logged.output + response.text)


class WithoutKeystoneTest(WebhookCase):
    def setUp(self):
        super().setUp()
        self.conf.set_override('auth_type', None, group=webhook.AUTHTOKEN)
        self.app = webhook.application(self.conf, self.store)

    def test_the_secret_still_counts(self):
        response = self.post(path=f'/v1/alarm/{SECRET}')

        self.assertEqual(202, response.status_code, response.text)

    def test_nobody_confirms_himself(self):
        response = self.post(
            token=self.admin,
            HTTP_X_IDENTITY_STATUS='Confirmed',
            HTTP_X_ROLES='admin',
            HTTP_X_USER_ID='admin-id',
        )

        self.assert_refused(401, response)

    def test_no_way_in_at_all_is_an_error_in_the_log(self):
        self.conf.set_override('secret', '', group='webhook')
        webhook.application(self.conf, self.store)

        self.assertIn('refuses every call', self.logged.output)


class FactoryTest(unittest.TestCase):
    def test_a_paste_file_may_name_the_configuration(self):
        with (
            mock.patch.object(webhook.config, 'load', autospec=True) as load,
            mock.patch.object(webhook, 'application', autospec=True) as made,
        ):
            webhook.app_factory({}, config_file='/etc/x.conf')
            webhook.app_factory({})

        self.assertEqual(
            [mock.call(files=['/etc/x.conf']), mock.call(files=None)],
            load.call_args_list,
        )
        made.assert_called_with(load.return_value)
