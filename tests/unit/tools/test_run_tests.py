# SPDX-License-Identifier: Apache-2.0

"""The command line of tools/test."""

import contextlib
import io
import pathlib
import runpy
import sys
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[3]


class RunTestsTest(unittest.TestCase):
    def run_tests(self, *arguments):
        """Return exit status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, 'argv', ['run_tests.py', *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            self.assertRaises(SystemExit) as ended,
        ):
            runpy.run_path(
                str(ROOT / 'tools/run_tests.py'), run_name='__main__'
            )
        return ended.exception.code, out.getvalue(), err.getvalue()

    def test_help_names_the_command_and_every_kind(self):
        status, out, _ = self.run_tests('--help')

        self.assertEqual(0, status)
        self.assertIn('usage: tools/test ', out)
        for kind in ('style', 'unit', 'scenarios', 'functional', 'demo'):
            self.assertIn(kind, out)

    def test_misspelt_kind_runs_nothing_and_names_the_kinds(self):
        status, out, err = self.run_tests('unit', 'unti')

        self.assertEqual(2, status)
        self.assertEqual('', out)
        self.assertIn('no such kind: unti; expected one of style, unit', err)


if __name__ == '__main__':
    unittest.main()
