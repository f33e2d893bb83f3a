# SPDX-License-Identifier: Apache-2.0

"""Tests of the door to nova against a small one on the loopback."""

import logging
import re
import time
from unittest import mock

import fixtures
import testtools

from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import client
from nova_ha_plugins.nova import door
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views
from tests.unit.nova import servers

UUID = '0d8f2b32-6f1e-4a51-8a3e-26b1b4e1c0aa'
ACTION = f'POST /compute/v2.1/servers/{UUID}/action'
GUARD = ('X-Nova-HA-Guard', 'mig-1')
SERVICE = f'PUT /compute/v2.1/os-services/{UUID}'
DETAIL = 'GET /compute/v2.1/servers/detail'


class Case(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = servers.FakeCloud()
        self.addCleanup(self.cloud.close)
        self.door = door.NovaDoor(self.cloud.conf())

    def fault(self, where, answer):
        self.cloud.faults[where] = answer


class ReadingTest(Case):
    def test_services_are_those_of_nova_with_their_addresses(self):
        self.cloud.add_service('cmp-1', 's1')
        self.cloud.add_service(
            'cmp-2',
            's2',
            state='down',
            status='disabled',
            disabled_reason='nova-ha: x',
            forced_down=True,
            zone='az2',
        )
        # Hypervisor names are in no relation to service hosts.
        self.cloud.add_hypervisor('cmp-2', '10.0.0.2', name='cmp-1')
        self.cloud.add_hypervisor('cmp-1', '10.0.0.1', name='node.example')

        self.assertEqual(
            (
                views.ServiceView(
                    'cmp-1', 's1', True, False, False, '', 'nova', '10.0.0.1'
                ),
                views.ServiceView(
                    'cmp-2',
                    's2',
                    False,
                    True,
                    True,
                    'nova-ha: x',
                    'az2',
                    '10.0.0.2',
                ),
            ),
            self.door.services(),
        )

    def test_first_of_several_nodes_gives_the_address(self):
        self.cloud.add_service('cmp-1', 's1')
        for number in range(1, 6):
            self.cloud.add_hypervisor('cmp-1', f'10.0.0.{number}')

        self.assertEqual('10.0.0.1', self.door.services()[0].address)

    def test_service_in_a_cell_that_is_away_is_left_out_and_logged(self):
        self.cloud.add_service('cmp-1', 's1')
        self.cloud.services.append(
            {'binary': 'nova-compute', 'host': 'cmp-2', 'status': 'UNKNOWN'}
        )
        log = self.useFixture(fixtures.FakeLogger())

        found = self.door.services()

        self.assertEqual(['cmp-1'], [one.host for one in found])
        self.assertIn("'cmp-2'", log.output)

    def test_hypervisors_are_never_asked_for_their_uptime(self):
        """From 2.88 nova calls each compute over RPC; a dead one hangs."""
        self.door.services()

        (call,) = self.cloud.calls('GET /compute/v2.1/os-hypervisors')
        minor = int(call['microversion'].rsplit('.', 1)[-1])
        self.assertLess(minor, 88)
        self.assertGreaterEqual(minor, 53)

    def test_servers_of_all_projects_and_pages_are_found(self):
        for number in range(5):
            self.cloud.add_server(
                f'u{number}', 'cmp-1', tenant_id=f'p{number}'
            )
        self.cloud.add_server('other', 'cmp-2')

        found = self.door.servers_on('cmp-1')

        self.assertEqual(
            [f'u{number}' for number in range(5)],
            [one.uuid for one in found],
        )
        calls = self.cloud.calls(DETAIL)
        self.assertEqual(3, len(calls))
        for call in calls:
            self.assertEqual('1', call['query']['all_tenants'])
            self.assertEqual('cmp-1', call['query']['host'])

    def test_server_is_translated(self):
        self.cloud.add_server(
            'u1',
            'cmp-1',
            name='db',
            tenant_id='p7',
            locked=True,
            metadata={'ha:policy': 'evacuate'},
            **{
                'OS-EXT-STS:vm_state': 'stopped',
                'OS-EXT-STS:task_state': 'rebuilding',
            },
        )
        expected = views.ServerView(
            'u1',
            'db',
            'p7',
            'cmp-1',
            'stopped',
            'rebuilding',
            {'ha:policy': 'evacuate'},
            True,
        )

        self.assertEqual((expected,), self.door.servers_on('cmp-1'))
        self.assertEqual(expected, self.door.server('u1'))

    def test_words_of_tenants_are_made_printable(self):
        nasty = 'x\n2026 ERROR \x1b[2J\u202e\ud800'
        self.cloud.add_server(
            'u1', 'cmp-1', name=nasty, metadata={'ha:policy': nasty}
        )
        (found,) = self.door.servers_on('cmp-1')

        for text in (found.name, found.metadata['ha:policy']):
            self.assertEqual('x 2026 ERROR  [2J  ', text)

    def test_server_on_two_pages_is_one_server(self):
        for uuid in ('s0', 's1', 's0', 's2'):
            self.cloud.add_server(uuid, 'cmp-1')

        servers = self.door.servers_on('cmp-1')

        self.assertEqual(['s0', 's1', 's2'], [one.uuid for one in servers])

    def test_servers_elsewhere_are_left_out(self):
        """Nova drops the filter of a user who may not use it."""
        self.cloud.add_server('u1', 'cmp-1')
        self.cloud.add_server('u2', 'cmp-2')
        self.fault(DETAIL, lambda handler: handler.query.pop('host') is None)

        found = self.door.servers_on('cmp-1')

        self.assertEqual(['u1'], [one.uuid for one in found])

    def test_answer_without_hosts_is_not_an_empty_host(self):
        self.cloud.add_server('u1', 'cmp-1')
        del self.cloud.servers[0]['OS-EXT-SRV-ATTR:host']
        self.fault(DETAIL, lambda handler: handler.query.pop('host') is None)

        error = self.assertRaises(
            doors.Unanswered, self.door.servers_on, 'cmp-1'
        )

        self.assertIn('administrator', str(error))

    def test_host_in_a_cell_that_is_away_is_not_an_empty_host(self):
        """Nova skips the cell and returns an empty list with 200."""
        self.cloud.services.append(
            {'binary': 'nova-compute', 'host': 'cmp-2', 'status': 'UNKNOWN'}
        )

        error = self.assertRaises(
            doors.Unanswered, self.door.servers_on, 'cmp-2'
        )

        self.assertIn('cell', str(error))

    def test_server_is_gone_only_when_nova_says_so(self):
        self.assertIsNone(self.door.server('u1'))

        for status in (403, 409):
            self.fault(
                'GET /compute/v2.1/servers/u1',
                lambda handler, status=status: (
                    handler.nova_error(status, 'no') or True
                ),
            )
            self.assertRaises(doors.Refused, self.door.server, 'u1')
        for status in (401, 500, 502, 503, 504):
            self.fault(
                'GET /compute/v2.1/servers/u1',
                lambda handler, status=status: (
                    handler.nova_error(status, 'no') or True
                ),
            )
            self.assertRaises(doors.Unanswered, self.door.server, 'u1')

    def test_evacuations_of_a_host_come_in_novas_order(self):
        for number in range(5, 0, -1):
            self.cloud.add_migration(f'm{number}', 'cmp-1', dest_compute=None)
        self.cloud.add_migration('other', 'cmp-2')
        self.cloud.add_migration(
            'live', 'cmp-1', migration_type='live-migration'
        )

        found = self.door.evacuations('cmp-1')

        self.assertEqual(
            ['m5', 'm4', 'm3', 'm2', 'm1'], [one.uuid for one in found]
        )
        (live,) = self.door.live_migrations('cmp-1')
        self.assertEqual(('live', 'live-migration'), (live.uuid, live.kind))
        self.assertEqual(
            views.MigrationView(
                'm5',
                'server-m5',
                'cmp-1',
                None,
                'done',
                '2026-01-01T00:00:00.000000',
            ),
            found[0],
        )

    def test_moves_are_what_nova_has_not_ended_and_is_no_evacuation(self):
        add = self.cloud.add_migration
        add('evacuation', 'cmp-1', status='accepted')
        for kind in ('live-migration', 'migration', 'resize'):
            add(f'{kind}-1', 'cmp-1', migration_type=kind, status='running')
            for status in sorted(states.MOVE_ENDED):
                add(
                    f'{kind}-{status}',
                    'cmp-1',
                    migration_type=kind,
                    status=status,
                )
        add(
            'to',
            'cmp-2',
            dest_compute='cmp-1',
            migration_type='resize',
            status='finished',
        )
        add('else', 'cmp-2', migration_type='resize', status='migrating')

        found = self.door.moves('cmp-1')

        self.assertEqual(
            {
                ('live-migration-1', 'live-migration', 'cmp-9'),
                ('migration-1', 'migration', 'cmp-9'),
                ('resize-1', 'resize', 'cmp-9'),
                ('to', 'resize', 'cmp-2'),
            },
            {(one.uuid, one.kind, one.other('cmp-1')) for one in found},
        )

    def test_filters_go_with_every_page(self):
        self.cloud.add_server('u1', 'cmp-1')
        link = [{'rel': 'next', 'href': 'http://x/y?marker=u1'}]
        self.fault(
            DETAIL,
            lambda handler: (
                'marker' not in handler.query
                and (
                    handler.answer(
                        200,
                        {'servers': self.cloud.servers, 'servers_links': link},
                    )
                    or True
                )
            ),
        )

        self.door.servers_on('cmp-1')

        (_, second) = self.cloud.calls(DETAIL)
        self.assertEqual(
            {'all_tenants': '1', 'host': 'cmp-1', 'marker': 'u1'},
            second['query'],
        )

    def test_a_clock_that_is_set_back_makes_no_call_wait(self):
        self.door.services()
        now = time.time

        with (
            mock.patch.object(
                time, 'time', autospec=True, side_effect=lambda: now() - 3600.0
            ),
            mock.patch.object(time, 'sleep', autospec=True) as sleep,
        ):
            self.door.services()

        sleep.assert_not_called()

    def test_list_without_end_is_no_answer(self):
        self.cloud.add_server('u1', 'cmp-1')
        link = [{'rel': 'next', 'href': 'http://x/y?marker=u1&limit=1'}]
        self.fault(
            DETAIL,
            lambda handler: (
                handler.answer(
                    200, {'servers': self.cloud.servers, 'servers_links': link}
                )
                or True
            ),
        )

        self.assertRaises(doors.Unanswered, self.door.servers_on, 'cmp-1')
        self.assertLess(len(self.cloud.calls(DETAIL)), 5)

    def test_page_that_fails_is_not_the_end_of_the_list(self):
        for number in range(5):
            self.cloud.add_server(f'u{number}', 'cmp-1')
        self.fault(
            DETAIL,
            lambda handler: (
                'marker' in handler.query and (handler.answer(503, {}) or True)
            ),
        )

        self.assertRaises(doors.Unanswered, self.door.servers_on, 'cmp-1')

    def test_malformed_answers_are_no_answers(self):
        for raw in (
            b'',
            b'<html>',
            b'[]',
            b'null',
            b'{"servers": 7}',
            b'{"servers": [7]}',
            b'{"servers": [{"id": "u1"}]}',
            b'{"server": []}',
            b'{"servers": [{"id"',
        ):
            for where in (DETAIL, 'GET /compute/v2.1/servers/u1'):
                self.fault(
                    where,
                    lambda handler, raw=raw: (
                        handler.answer(200, raw=raw) or True
                    ),
                )

            self.assertRaises(doors.Unanswered, self.door.servers_on, 'cmp-1')
            self.assertRaises(doors.Unanswered, self.door.server, 'u1')

    def test_malformed_service_is_no_answer(self):
        self.cloud.add_service('cmp-1', 's1', forced_down='no')

        self.assertRaises(doors.Unanswered, self.door.services)


class WritingTest(Case):
    def test_evacuate_lets_nova_restore_the_state(self):
        self.door.evacuate(UUID)

        (call,) = self.cloud.calls(ACTION)
        self.assertEqual({'evacuate': {}}, call['document'])
        minor = int(
            re.fullmatch(r'compute 2\.(\d+)', call['microversion']).group(1)
        )
        # 2.95 leaves every server stopped; 2.68 dropped 'force'.
        self.assertLess(minor, 95)
        self.assertGreaterEqual(minor, 68)

    def test_live_migration_leaves_host_and_storage_to_nova(self):
        self.door.live_migrate(UUID)

        (call,) = self.cloud.calls(ACTION)
        self.assertEqual(
            {'os-migrateLive': {'host': None, 'block_migration': 'auto'}},
            call['document'],
        )
        minor = int(
            re.fullmatch(r'compute 2\.(\d+)', call['microversion']).group(1)
        )
        # 'auto' is known from 2.25 on, from 2.68 on there is no 'force'.
        self.assertGreaterEqual(minor, 68)

    def test_every_call_carries_a_request_id_of_its_own(self):
        self.door.evacuate(UUID)
        self.door.stop(UUID)

        found = {one['request_id'] for one in self.cloud.calls(ACTION)}
        self.assertEqual(2, len(found))
        for one in found:
            self.assertRegex(one, '^req-[0-9a-f-]{36}$')

    def test_a_server_is_put_back_with_novas_own_words(self):
        self.door.reset(UUID)
        self.door.stop(UUID)
        self.door.start(UUID)
        self.door.pause(UUID)

        self.assertEqual(
            [
                {'os-resetState': {'state': 'active'}},
                {'os-stop': None},
                {'os-start': None},
                {'pause': None},
            ],
            [call['document'] for call in self.cloud.calls(ACTION)],
        )

    def test_service_is_addressed_by_uuid(self):
        self.door.force_down(UUID, True)
        self.door.disable(UUID, 'fenced')
        self.door.force_down(UUID, False)
        self.door.enable(UUID)

        self.assertEqual(
            [
                {'forced_down': True},
                {'status': 'disabled', 'disabled_reason': 'nova-ha: fenced'},
                {'forced_down': False},
                {'status': 'enabled'},
            ],
            [one['document'] for one in self.cloud.calls(SERVICE)],
        )
        for one in self.cloud.calls(SERVICE):
            minor = int(one['microversion'].rsplit('.', 1)[-1])
            self.assertGreaterEqual(minor, 53)

    def test_reason_is_marked_once_and_fits(self):
        self.door.disable(UUID, 'nova-ha: ' + 'x' * 400)

        (call,) = self.cloud.calls(SERVICE)
        reason = call['document']['disabled_reason']
        self.assertEqual(255, len(reason))
        self.assertTrue(reason.startswith('nova-ha: xxx'))

    def test_refusal_carries_novas_sentence(self):
        sentence = (
            'Unable to force up host cmp-1 as `done` evacuation '
            'migration records remain associated with the host.'
        )
        self.fault(
            SERVICE, lambda handler: handler.nova_error(400, sentence) or True
        )

        error = self.assertRaises(
            doors.Refused, self.door.force_down, UUID, False
        )

        self.assertEqual(400, error.status)
        self.assertIn(sentence, str(error))
        self.assertIn(UUID, str(error))
        self.assertIn('HTTP 400', str(error))
        self.assertIn('req-', str(error))

    def test_hostile_sentence_is_one_short_line(self):
        self.fault(
            SERVICE,
            lambda handler: (
                handler.nova_error(400, 'a\n\x1b[2J' + 'b' * 9000) or True
            ),
        )

        error = self.assertRaises(
            doors.Refused, self.door.force_down, UUID, False
        )

        self.assertTrue(str(error).isprintable(), str(error)[:99])
        self.assertLess(len(str(error)), 1000)

    def test_4xx_is_a_refusal_and_asked_once(self):
        for status in (400, 403, 404, 409, 413, 429):
            del self.cloud.requests[:]
            self.fault(
                ACTION,
                lambda handler, status=status: (
                    handler.nova_error(status, 'because') or True
                ),
            )

            error = self.assertRaises(doors.Refused, self.door.evacuate, UUID)

            self.assertEqual(status, error.status)
            self.assertIn('because', str(error))
            self.assertEqual(1, len(self.cloud.calls(ACTION)))

    def test_refusal_of_the_guard_is_known_by_its_header(self):
        body = {'conflictingRequest': {'code': 409, 'message': 'is open'}}
        for headers, guarded in (((), False), ((GUARD,), True)):
            self.fault(
                ACTION,
                lambda handler, headers=headers: (
                    handler.answer(409, body, headers) or True
                ),
            )

            error = self.assertRaises(doors.Refused, self.door.evacuate, UUID)

            self.assertEqual((409, guarded), (error.status, error.guarded))

    def test_5xx_is_no_answer_and_asked_once(self):
        for status in (500, 502, 503, 504):
            del self.cloud.requests[:]
            self.fault(
                ACTION,
                lambda handler, status=status: (
                    handler.answer(status, raw=b'<html>Gateway</html>') or True
                ),
            )

            self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)

            self.assertEqual(1, len(self.cloud.calls(ACTION)))

    def test_accepted_and_then_504_is_not_a_refusal(self):
        accepted = []

        def accept_then_fail(handler):
            accepted.append(handler.document)
            handler.answer(504, raw=b'')
            return True

        self.fault(ACTION, accept_then_fail)

        self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)
        self.assertEqual(1, len(accepted))

    def test_reset_connection_is_no_answer_and_asked_once(self):
        self.fault(ACTION, lambda handler: handler.reset() or True)

        self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)

        self.assertEqual(1, len(self.cloud.calls(ACTION)))

    def test_redirect_is_not_followed(self):
        for status in (301, 302, 307):
            self.fault(
                ACTION,
                lambda handler, status=status: (
                    handler.answer(
                        status,
                        None,
                        [
                            (
                                'Location',
                                f'{self.cloud.url}/compute/v2.1/elsewhere',
                            )
                        ],
                    )
                    or True
                ),
            )

            self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)

        self.assertEqual([], self.cloud.calls('POST /compute/v2.1/elsewhere'))

    def test_accepted_with_an_unreadable_body_is_accepted(self):
        self.fault(
            ACTION, lambda handler: handler.answer(200, raw=b'<html>') or True
        )

        self.door.evacuate(UUID)

    def test_uuid_cannot_lead_to_another_path(self):
        self.door.evacuate('../os-services')

        (call,) = self.cloud.calls('POST')[1:]
        self.assertEqual(
            '/compute/v2.1/servers/..%2Fos-services/action', call['path']
        )


class DeadlineTest(Case):
    def setUp(self):
        super().setUp()
        self.door = door.NovaDoor(self.cloud.conf(timeout=5))
        self.door.services()
        self.door._client._timeout = 0.3

    def within(self, call, *args):
        began = time.monotonic()
        error = self.assertRaises(doors.Unanswered, call, *args)
        self.assertLess(time.monotonic() - began, 2.5)
        return error

    def test_nova_that_hangs_is_no_answer(self):
        self.fault(ACTION, lambda handler: self.cloud.stopping.wait(20))

        self.within(self.door.evacuate, UUID)
        self.assertEqual(1, len(self.cloud.calls(ACTION)))

    def test_nova_that_dribbles_is_no_answer(self):
        def dribble(handler):
            handler.send_response(200)
            handler.send_header('Content-Length', '1000')
            handler.end_headers()
            while not self.cloud.stopping.wait(0.05):
                handler.wfile.write(b' ')
                handler.wfile.flush()
            return True

        self.fault(DETAIL, dribble)

        self.within(self.door.servers_on, 'cmp-1')


class IdentityTroubleTest(Case):
    TOKENS = 'POST /v3/auth/tokens'

    def test_wrong_password_is_no_answer_and_shown_nowhere(self):
        self.fault(
            self.TOKENS,
            lambda handler: (
                handler.answer(
                    401,
                    {'error': {'code': 401, 'message': 'no', 'title': 'x'}},
                )
                or True
            ),
        )
        lines = Lines(self)

        error = self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)

        for text in (str(error), *lines.found):
            self.assertNotIn('b3tter', text)

    def test_keystone_that_fails_is_no_answer(self):
        for status in (500, 503, 404):
            self.fault(
                self.TOKENS,
                lambda handler, status=status: (
                    handler.answer(status, {}) or True
                ),
            )

            self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)

        self.assertEqual([], self.cloud.calls(ACTION))

    def test_keystone_that_hangs_is_no_answer(self):
        self.fault(self.TOKENS, lambda handler: self.cloud.stopping.wait(20))
        found = door.NovaDoor(self.cloud.conf(timeout=1))
        began = time.monotonic()

        self.assertRaises(doors.Unanswered, found.evacuate, UUID)

        self.assertLess(time.monotonic() - began, 4)

    def test_keystone_that_hangs_ends_without_a_configured_timeout(self):
        self.fault(self.TOKENS, lambda handler: self.cloud.stopping.wait(20))
        found = door.NovaDoor(self.cloud.conf(timeout=None))
        began = time.monotonic()

        with mock.patch.object(client, 'DEFAULT_TIMEOUT', 0.3):
            self.assertRaises(doors.Unanswered, found.evacuate, UUID)

        self.assertLess(time.monotonic() - began, 4)

    def test_token_that_nova_does_not_take_is_no_answer(self):
        self.fault(
            ACTION,
            lambda handler: (
                handler.answer(
                    401, {'error': {'code': 401, 'message': 'expired'}}
                )
                or True
            ),
        )

        self.assertRaises(doors.Unanswered, self.door.evacuate, UUID)

    def test_expired_token_is_replaced(self):
        self.door.services()
        refused = []

        def once(handler):
            if refused:
                return False
            refused.append(1)
            handler.answer(401, {})
            return True

        self.fault(ACTION, once)

        self.door.evacuate(UUID)

        self.assertEqual(2, len(self.cloud.calls(self.TOKENS)))

    def test_missing_service_user_is_no_answer_and_named(self):
        conf = self.cloud.conf(auth_type=None)

        error = self.assertRaises(
            doors.Unanswered, door.NovaDoor(conf).services
        )

        self.assertIn("'[nova]'", str(error))

    def test_missing_endpoint_is_no_answer(self):
        conf = self.cloud.conf(region_name='Elsewhere')

        self.assertRaises(doors.Unanswered, door.NovaDoor(conf).services)

    def test_making_a_door_asks_nobody(self):
        door.NovaDoor(self.cloud.conf())

        self.assertEqual([], self.cloud.requests)


class Lines(logging.Handler):
    """Everything that is logged by anybody, as text."""

    def __init__(self, case):
        super().__init__(logging.DEBUG)
        self.found = []
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        case.addCleanup(root.setLevel, level)
        case.addCleanup(root.removeHandler, self)

    def emit(self, record):
        self.found.append(record.getMessage())
