# SPDX-License-Identifier: Apache-2.0

"""One incident as a document: nothing lost, nothing obeyed, made again."""

import copy
import io
import json
import pathlib
import tempfile
import types
import unittest
from unittest import mock

from osc_lib import exceptions

from nova_ha_plugins.client import record
from nova_ha_plugins.client import report
from nova_ha_plugins.client import rest
from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import replay

NASTY = '| # <b>x</b>\n## forged\x1b[2J `code` [a](b) &lt; \u202e'

INCIDENT = {
    'uuid': 'inc-1',
    'host': 'cmp-1',
    'service_uuid': 'svc-1',
    'epoch': 3,
    'phase': 'recovered',
    'open': True,
    'code': None,
    'reason': None,
    'outcome': 'resolved',
    'verdict': 'dead',
    'opened_at': '2026-11-20T10:00:00+00:00',
    'closed_at': None,
    'evidence': [
        {
            'channel': 'heartbeat',
            'sign': 'silent',
            'at': '2026-11-20T10:00:05+00:00',
            'age': 7.25,
            'text': '',
        }
    ],
    'fence': {'state': 'valid', 'class': 'confirmed-off', 'raw': 'Off'},
    'servers': [
        {
            'uuid': 'vm-1',
            'name': 'web',
            'vm_state': 'active',
            'priority': 900,
            'state': 'recovered',
            'destination': 'cmp-2',
            'attempts': 1,
            'reason': "on host 'cmp-2', active",
        }
    ],
    'timeline': [
        {
            'seq': 1,
            'at': '2026-11-20T10:00:00+00:00',
            'kind': 'evidence',
            'code': 'suspected',
            'text': 'The heartbeats stopped',
            'input': '',
        },
        {
            'seq': 2,
            'at': '2026-11-20T10:00:06+00:00',
            'kind': 'decision',
            'code': 'fencing',
            'text': 'Fencing decided',
            'input': decision.record('fence', {'looks': 2}, 'go'),
        },
    ],
}


def incident(**changes):
    return {**copy.deepcopy(INCIDENT), **changes}


def again(same):
    now = 'go' if same else 'held:storm'
    return replay.Replayed(name='fence', saved='go', again=now)


class JsonTest(unittest.TestCase):
    def test_document_gives_the_incident_back(self):
        text = report.to_json(incident())

        self.assertEqual(incident(), report.from_json(text))

    def test_what_is_no_document_is_refused_with_the_reason(self):
        newer = json.dumps(
            {'format': report.FORMAT, 'version': 2, 'incident': incident()}
        )
        for text, words in (
            ('nonsense', 'Not an exported incident'),
            ('[]', 'Not an exported incident'),
            ('{"format": "x", "version": 1}', 'Not an exported incident'),
            (newer, 'version 2'),
        ):
            with self.subTest(text[:20]):
                with self.assertRaisesRegex(ValueError, words):
                    report.from_json(text)

    def test_timeline_with_a_missing_line_is_refused(self):
        changed = incident()
        del changed['timeline'][0]

        with self.assertRaisesRegex(ValueError, 'without a gap'):
            report.from_json(report.to_json(changed))


class MarkdownTest(unittest.TestCase):
    def test_everything_that_is_known_is_in_it(self):
        text = report.to_markdown(incident())

        for words in (
            '# Host cmp-1: incident inc-1',
            '| heartbeat | silent |',
            '7.2 s',
            'confirmed-off',
            '| web | vm-1 | active | 900 | recovered | cmp-2 | 1 | on host',
            '| 1 | 2026-11-20T10:00:00+00:00 | evidence | suspected |',
            '### 2: fencing, 2026-11-20T10:00:06+00:00',
            '"looks": 2',
        ):
            with self.subTest(words):
                self.assertIn(words, text)

    def test_host_that_was_not_fenced_is_said_to_be_so(self):
        self.assertIn(
            'The host was not fenced.',
            report.to_markdown(incident(fence=None)),
        )

    def test_words_of_others_stay_in_their_cell(self):
        nasty = incident()
        nasty['servers'][0]['name'] = NASTY
        nasty['timeline'][0]['text'] = NASTY
        nasty['timeline'][1]['input'] = NASTY

        plain = report.to_markdown(incident()).splitlines()
        lines = report.to_markdown(nasty).splitlines()

        heads = [line for line in lines if line.startswith('#')]
        self.assertEqual(
            [line for line in plain if line.startswith('#')], heads
        )
        for line in lines:
            self.assertTrue(line.isprintable(), line)
            self.assertNotIn('<b>', line.partition('    ')[0])
        (row,) = [line for line in lines if '| 900 |' in line]
        self.assertEqual(9, row.replace('\\|', '').count('|'))


class ReplayTest(unittest.TestCase):
    def test_each_saved_decision_is_made_again(self):
        with mock.patch.object(
            replay, 'replay', autospec=True, return_value=again(True)
        ):
            (found,) = report.replayed(incident())

        self.assertEqual((2, 'fence', 'go', 'go'), found_words(found))
        self.assertTrue(found.same)

    def test_decision_is_told_in_words(self):
        hold = {'code': 'storm', 'reason': '1 of 5 fenced', 'after': 5.0}
        made = replay.Replayed(name='fence', saved=hold, again=None)
        with mock.patch.object(
            replay, 'replay', autospec=True, return_value=made
        ):
            (found,) = report.replayed(incident())

        self.assertEqual(
            'held as storm, again after 5 s: 1 of 5 fenced', found.then
        )
        self.assertEqual('go on: no gate holds it', found.now)
        self.assertFalse(found.same)

    def test_input_that_nobody_understands_is_not_the_same(self):
        broken = incident()
        broken['timeline'][1]['input'] = 'nonsense'

        (found,) = report.replayed(broken)

        self.assertFalse(found.same)
        self.assertIn('no record of a decision', found.trouble)


def found_words(found):
    return found.seq, found.name, found.then, found.now


class CommandTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        client = mock.create_autospec(rest.Client, instance=True)
        client.incidents.return_value = [incident()]
        client.incident.return_value = incident()
        patch = mock.patch.object(
            rest, 'connect', autospec=True, return_value=client
        )
        patch.start()
        self.addCleanup(patch.stop)
        self.out = io.StringIO()
        self.app = types.SimpleNamespace(stdout=self.out)
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name, 'incident')

    def run_it(self, command, *words):
        made = command(self.app, None)
        parsed = made.get_parser('x').parse_args(list(words))
        return made, made.take_action(parsed)

    def test_export_writes_to_the_output(self):
        self.run_it(record.ExportIncident, 'cmp-1')

        self.assertEqual(incident(), report.from_json(self.out.getvalue()))

    def test_export_writes_a_page_to_a_file(self):
        self.run_it(
            record.ExportIncident,
            'cmp-1',
            '--as',
            'markdown',
            '--file',
            str(self.path),
        )

        self.assertIn('## Timeline', self.path.read_text())
        self.assertEqual('', self.out.getvalue())

    def test_file_that_exists_is_kept(self):
        self.path.write_text('mine')

        with self.assertRaisesRegex(exceptions.CommandError, 'File exists'):
            self.run_it(
                record.ExportIncident, 'cmp-1', '--file', str(self.path)
            )

        self.assertEqual('mine', self.path.read_text())

    def test_replay_ends_with_1_when_a_decision_would_be_another(self):
        self.path.write_text(report.to_json(incident()))
        for same, code in ((True, 0), (False, 1)):
            with (
                self.subTest(same),
                mock.patch.object(
                    replay, 'replay', autospec=True, return_value=again(same)
                ),
            ):
                made, (_head, rows) = self.run_it(
                    record.ReplayIncident, '--file', str(self.path)
                )

                self.assertEqual(code, made.code)
                self.assertEqual(1, len(rows))

    def test_replay_logs_in_for_the_name_of_an_incident_only(self):
        logged_in = []
        self.app.prepare_to_run_command = lambda made: logged_in.append(
            made.auth_required
        )
        self.path.write_text(report.to_json(incident()))

        self.assertFalse(record.ReplayIncident.auth_required)
        with mock.patch.object(
            replay, 'replay', autospec=True, return_value=again(True)
        ):
            self.run_it(record.ReplayIncident, '--file', str(self.path))
            self.assertEqual([], logged_in)
            self.run_it(record.ReplayIncident, 'cmp-1')
        self.assertEqual([True], logged_in)

    def test_replay_says_what_is_wrong_with_a_file(self):
        with self.assertRaisesRegex(exceptions.CommandError, 'not be read'):
            self.run_it(record.ReplayIncident, '--file', str(self.path))
        self.path.write_text('{}')
        with self.assertRaisesRegex(exceptions.CommandError, 'exported'):
            self.run_it(record.ReplayIncident, '--file', str(self.path))
