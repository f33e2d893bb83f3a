# SPDX-License-Identifier: Apache-2.0

"""The command nova-ha-manage: exit codes, and what it says."""

import contextlib
import http.server
import io
import json
import os
import pathlib
import tempfile
import threading
import unittest
import urllib.parse

from nova_ha_plugins.cmd import doctor
from nova_ha_plugins.cmd import manage
from nova_ha_plugins.cmd import settings
from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import doors
from nova_ha_plugins import signatures
from nova_ha_plugins.store import api


class ManageTestCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.path = self.write(
            'nova-ha.conf',
            '[nova_ha_database]\n'
            f'connection = sqlite:///{self.directory}/store.sqlite\n'
            '[fencing]\n'
            f'map_file = {self.directory}/fencing.yaml\n',
        )

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def run_command(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = manage.main(['--config-file', self.path, *arguments])
        return code, out.getvalue(), err.getvalue()


class TestHeartbeatKey(ManageTestCase):
    def setUp(self):
        super().setUp()
        masters = self.write('masters', f'new {"a" * 32}\nold {"b" * 32}\n')
        with open(self.path, 'a') as stream:
            stream.write(f'[nova_ha]\nheartbeat_masters_file = {masters}\n')

    def test_key_is_made_with_the_newest_master(self):
        code, out, err = self.run_command('heartbeat-key', 'cmp-1')

        expected = signatures.derive(signatures.Key('new', b'a' * 32), 'cmp-1')
        self.assertEqual((0, ''), (code, err))
        self.assertEqual(expected, signatures.parse_key(out))
        self.assertNotEqual(out, self.run_command('heartbeat-key', 'cmp-2')[1])

    def test_key_file_is_readable_by_its_owner_only(self):
        path = pathlib.Path(self.write('key', 'old'))
        path.chmod(0o644)
        self.write('key.new', 'left behind')
        code, out, _ = self.run_command(
            'heartbeat-key', 'cmp-1', '--output', str(path)
        )

        self.assertEqual(0, code)
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        key = signatures.parse_key(path.read_text())
        self.assertIn(str(path), out)
        self.assertNotIn(key.secret.hex(), out)

    def test_masters_that_nobody_named_are_said(self):
        self.path = self.write('bare.conf', '')

        code, out, err = self.run_command('heartbeat-key', 'cmp-1')

        self.assertEqual((1, ''), (code, out))
        self.assertIn('heartbeat_masters_file is not set', err)

    def test_no_masters_are_said(self):
        self.write('masters', 'short one\n')
        code, out, err = self.run_command('heartbeat-key', 'cmp-1')

        self.assertEqual((1, ''), (code, out))
        self.assertIn('heartbeat_masters_file', err)
        self.assertIn('No key was made', err)

    def test_what_no_host_is_called_gets_no_key(self):
        for name in ('', 'cmp-1 cmp-2', 'cmp-1\n'):
            with self.subTest(name), self.assertRaises(SystemExit):
                self.run_command('heartbeat-key', name)

    def test_file_that_cannot_be_written_is_said(self):
        code, _, err = self.run_command(
            'heartbeat-key', 'cmp-1', '--output', f'{self.directory}/no/key'
        )

        self.assertEqual(1, code)
        self.assertIn('could not be written', err)


class TestDatabase(ManageTestCase):
    def test_sync_creates_the_tables(self):
        code, out, _ = self.run_command('db', 'sync')

        self.assertEqual(0, code)
        self.assertRegex(out, "revision '0004', was None")
        conf = config.load([], [self.path])
        self.assertFalse(api.open_store(conf).arm_state().armed)

    def test_sync_again_changes_nothing(self):
        self.run_command('db', 'sync')
        code, out, _ = self.run_command('db', 'sync')

        self.assertEqual(0, code)
        self.assertNotIn('was', out)

    def test_purge_counts(self):
        self.run_command('db', 'sync')
        code, out, _ = self.run_command('db', 'purge', '--days', '30')

        self.assertEqual(0, code)
        self.assertRegex(
            out, 'Removed 0 closed incidents, 0 .* and 0 ended .* 30 days'
        )

    def test_purge_before_sync_says_what_to_run(self):
        code, _, err = self.run_command('db', 'purge')

        self.assertEqual(1, code)
        self.assertIn('nova-ha-manage db sync', err)

    def test_missing_connection_is_said(self):
        self.path = self.write('empty.conf', '')
        code, _, err = self.run_command('db', 'sync')

        self.assertEqual(1, code)
        self.assertIn('[nova_ha_database] connection is not set', err)

    def test_missing_file_is_said(self):
        self.path = str(self.directory / 'nowhere.conf')
        code, _, err = self.run_command('db', 'sync')

        self.assertEqual(1, code)
        self.assertIn('nowhere.conf', err)

    def test_database_that_is_away_is_said(self):
        self.path = self.write(
            'away.conf',
            '[nova_ha_database]\n'
            f'connection = sqlite:///{self.directory}/no/such/dir/x.sqlite\n',
        )
        code, _, err = self.run_command('db', 'purge')

        self.assertEqual(1, code)
        self.assertIn('did not answer', err)

    def test_wrong_command_line_is_2(self):
        for arguments in (
            (),
            ('frob',),
            ('db', 'purge', '--days', '-1'),
            # The storm gate would forget what was fenced just now.
            ('db', 'purge', '--days', '0'),
            ('db', 'purge', '--days', 'nan'),
        ):
            with self.assertRaises(SystemExit) as exits:
                self.run_command(*arguments)
            self.assertEqual(2, exits.exception.code)


class TestDoctor(ManageTestCase):
    def test_bare_installation_is_told_what_is_missing(self):
        aodh = self.write('aodh.conf', '[DEFAULT]\n')
        code, out, _ = self.run_command('doctor', '--aodh-conf', aodh)

        self.assertEqual(1, code)
        for text in (
            'expected revision',
            'project_id is not set',
            "Section '[nova]' names no service user",
            'event_alarm_cache_ttl is 60',
            f'connection of {aodh} names none',
        ):
            self.assertIn(text, out)
        self.assertRegex(out, r'TO DO +schema')
        self.assertRegex(out.splitlines()[-1], r'\d+ findings, \d+ to do')

    def test_configured_services_are_read(self):
        self.run_command('db', 'sync')
        plugins = pathlib.Path(self.path).read_text()
        aodh = self.write(
            'aodh.conf', f'[DEFAULT]\nevent_alarm_cache_ttl = 0\n{plugins}'
        )
        ceilometer = self.write(
            'ceilometer.conf', f'{plugins}[nova_ha]\nproject_id = p-1\n'
        )
        with open(self.path, 'a', encoding='utf-8') as ours:
            ours.write('[nova_ha]\nproject_id = p-1\n')
        _, out, _ = self.run_command(
            'doctor', '--aodh-conf', aodh, '--ceilometer-conf', ceilometer
        )

        for text in (
            "OK     schema        revision '0004'",
            'OK     aodh cache    event_alarm_cache_ttl is 0',
            "OK     project       events carry 'p-1'",
            f'OK     database      {aodh} names the same database',
        ):
            self.assertIn(text, out)

    def test_files_that_must_agree_are_compared(self):
        self.run_command('db', 'sync')
        plugins = pathlib.Path(self.path).read_text()
        central = self.write(
            'central.conf',
            f'{plugins}[nova_ha]\nheartbeat_timeout = 6\nreconnect_max = 2\n',
        )
        receiver = self.write(
            'receiver.conf',
            f'{plugins}[nova_ha]\nliveness_backend = redis\n'
            'liveness_url = redis://:hunter2@db\n',
        )
        files = '--ceilometer-conf', central, '--receiver-conf', receiver
        _, out, _ = self.run_command('doctor', *files)

        for text in ('timeout is 6', 'reconnect_max is 2'):
            self.assertRegex(out, f'NOTE +timeouts .*{text} in {central}')
        self.assertRegex(
            out, f'TO DO +liveness .*backend and liveness_url of {receiver}'
        )
        self.assertEqual(1, out.count(' liveness '))
        for path in (central, receiver):
            self.assertIn(f'File {path!r} holds a secret', out)
            self.assertIn(f'{path} names the same database', out)
        self.assertNotIn('hunter2', out)

    def test_files_are_those_of_the_installation(self):
        etc = pathlib.Path(__file__).parents[3] / 'etc' / 'nova-ha'
        for path in (settings.CENTRAL, settings.RECEIVER):
            name = pathlib.Path(path).name
            self.assertTrue((etc / f'{name}.sample').exists(), name)

    def test_open_files_with_secrets_are_named(self):
        password = self.write('password', 'hunter2')
        entry = '{driver: redfish, address: "https://127.0.0.1:1", system: /1'
        entry += f', username: u, password_file: {password}}}'
        fencing = self.write('fencing.yaml', f'hosts:\n  cmp-1: {entry}\n')
        for path, mode in (
            (password, 0o644),
            (fencing, 0o600),
            (self.path, 0o666),
        ):
            os.chmod(path, mode)

        _, out, _ = self.run_command('doctor')

        for path in (password, self.path):
            self.assertIn(f'File {path!r} holds a secret', out)
        self.assertNotIn(f'File {fencing!r}', out)
        self.assertNotIn('hunter2', out)

    def test_unreadable_file_is_a_finding(self):
        code, out, _ = self.run_command(
            'doctor', '--aodh-conf', str(self.directory / 'nowhere.conf')
        )

        self.assertEqual(1, code)
        self.assertRegex(out, r'configuration Cannot be checked.*nowhere')


class FakeAodh(http.server.BaseHTTPRequestHandler):
    """aodh's GET /v2/alarms: says what the test put into the server."""

    def do_GET(self):
        self.server.asked.append(self.path)
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


class TestEventAlarms(ManageTestCase):
    def setUp(self):
        super().setUp()
        self.server = http.server.HTTPServer(('127.0.0.1', 0), FakeAodh)
        self.server.asked = []
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        path = self.write(
            'nova.conf',
            '[nova]\nauth_type = none\n'
            f'endpoint = http://127.0.0.1:{self.server.server_port}\n',
        )
        self.conf = config.load([], [path])

    def test_event_alarms_of_all_projects_are_asked_for(self):
        self.server.answer = (200, json.dumps([{'alarm_id': 'a-1'}]))

        self.assertEqual([{'alarm_id': 'a-1'}], doctor.event_alarms(self.conf))
        (asked,) = self.server.asked
        url = urllib.parse.urlsplit(asked)
        self.assertEqual('/v2/alarms', url.path)
        self.assertEqual(
            {
                'q.field': ['type', 'all_projects'],
                'q.op': ['eq', 'eq'],
                'q.value': ['event', 'true'],
            },
            urllib.parse.parse_qs(url.query),
        )

    def test_refusal_is_in_aodhs_words(self):
        self.server.answer = (403, 'RBAC Authorization Failed')

        with self.assertRaisesRegex(
            doors.Refused, '403 RBAC Authorization Failed.*all_projects'
        ):
            doctor.event_alarms(self.conf)

    def test_answer_that_is_no_list_is_not_believed(self):
        for body in ('<html>', '{}'):
            self.server.answer = (200, body)
            with self.assertRaisesRegex(doors.Unanswered, 'JSON list'):
                doctor.event_alarms(self.conf)
