# SPDX-License-Identifier: Apache-2.0
"""A lab begins with a copy of tables that were made for the same versions."""

import pathlib
import tempfile
import unittest
from unittest import mock

from lab import database
from lab import plan as planning


class FakeProcesses:
    """Knows only whether the server runs, and what it was started with."""

    def __init__(self):
        self.running = False
        self.starts = []

    def start_all(self, services):
        (service,) = services
        self.running = True
        first = next(
            argument.partition('=')[2]
            for argument in service.argv
            if argument.startswith('--init-file=')
        )
        self.starts.append(pathlib.Path(first).read_text())

    def stop(self, name, patience=0.0):
        self.running = False


class DatabaseTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.cache = self.directory / 'cache'
        self.source = self.directory / 'tables.py'
        self.source.write_text('one')
        self.made = []
        self.schemas = self.enterContext(
            mock.patch.dict(database._schemas, clear=True)
        )
        database.schema(
            database.Schema(
                'cinema',
                ('films', 'seats'),
                lambda plan: ['make', 'tables'],
                (),
                (self.source,),
                statements=lambda plan: [f'CALL paint({plan.lab_id!r})'],
            )
        )
        self.enterContext(
            mock.patch.object(
                database, '_run', autospec=True, side_effect=self.run_tool
            )
        )
        self.enterContext(
            mock.patch.object(
                database.subprocess,
                'run',
                autospec=True,
                side_effect=self.make_tables,
            )
        )

    def run_tool(self, argv):
        if argv[0] == 'cp':
            database.shutil.copytree(argv[-2], argv[-1])
        return 'a version'

    def make_tables(self, argv, **rest):
        self.made.append(argv[-2:])
        return mock.Mock(returncode=0)

    def lab(self, name):
        plan = planning.make(self.directory / name, 1, 0, 'shared')
        processes = FakeProcesses()
        database.Database(plan, processes, self.cache).up()
        return plan, processes

    def test_tables_are_made_once_for_all_labs(self):
        self.lab('first')
        _, processes = self.lab('second')

        self.assertEqual([['make', 'tables']], self.made)
        self.assertEqual(1, len(processes.starts))
        self.assertTrue(processes.running)

    def test_tables_are_made_anew_when_their_source_has_changed(self):
        self.lab('first')
        self.source.write_text('two')
        self.lab('second')

        self.assertEqual(2, len(self.made))

    def test_what_an_interrupted_start_has_left_is_not_used(self):
        plan = planning.make(self.directory / 'first', 1, 0, 'shared')
        (database.directory(plan) / 'data').mkdir(parents=True)
        (database.directory(plan) / 'data' / 'half').touch()

        database.Database(plan, FakeProcesses(), self.cache).up()

        self.assertEqual([['make', 'tables']], self.made)
        self.assertFalse((database.directory(plan) / 'data').exists())

    def test_what_belongs_to_one_lab_is_set_when_the_tables_are_there(self):
        plan, processes = self.lab('first')

        before, after = processes.starts
        self.assertIn('`seats`', before)
        self.assertNotIn('CALL paint', before)
        self.assertIn(f"CALL paint('{plan.lab_id}');", after)
        self.assertIn(plan.passwords['database'], after)

    def test_failure_shows_the_end_of_the_log(self):
        def fail(argv, stdout, **rest):
            stdout.write(b'line 1\nno such film\n')
            return mock.Mock(returncode=3)

        database.subprocess.run.side_effect = fail

        with self.assertRaisesRegex(
            planning.LabError, r'tables of cinema .*code 3.*\n.*\nno such film'
        ):
            self.lab('first')

        self.assertEqual([], list(self.cache.glob('*')))

    def test_command_without_end_is_ended(self):
        database.subprocess.run.side_effect = (
            database.subprocess.TimeoutExpired('make', 1)
        )

        with self.assertRaisesRegex(planning.LabError, 'cinema .*no end'):
            self.lab('first')

    def test_cache_forgets_versions_of_long_ago(self):
        for number in range(database.KEPT + 1):
            self.source.write_text(str(number))
            self.lab(f'lab-{number}')

        self.assertEqual(database.KEPT, len(list(self.cache.iterdir())))
        self.assertEqual(database.KEPT + 1, len(self.made))
