# SPDX-License-Identifier: Apache-2.0

"""What the demo leaves behind when it ends before its time."""

import contextlib
import io
import json
import os
import pathlib
import signal
import tempfile
import unittest
from unittest import mock

from lab.demo import __main__ as demo
from lab.demo import stage


class FakeStage:
    """A stage whose start does what a test wants."""

    def __init__(self, start):
        self._start = start
        self.stops = 0

    def start(self, say):
        self._start()

    def stop(self):
        self.stops += 1


class TestMain(unittest.TestCase):
    def setUp(self):
        super().setUp()
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name, 'nova-ha-demo-x')
        for number in demo._ENDS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        patch = mock.patch.dict(os.environ)
        patch.start()
        self.addCleanup(patch.stop)

    def run_demo(self, start, *arguments):
        """Return exit status, last line, standard error."""
        self.stage = FakeStage(start)
        self.directory.mkdir()
        for number in demo._ENDS:
            # A runner may have been started with one of them ignored.
            signal.signal(number, signal.SIG_DFL)
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(
                demo.tempfile,
                'mkdtemp',
                autospec=True,
                return_value=str(self.directory),
            ),
            mock.patch.object(
                demo.embedded,
                'EmbeddedStage',
                autospec=True,
                return_value=self.stage,
            ),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = demo.main([*arguments])
        last = out.getvalue().splitlines()[-1]
        return status, json.loads(last), err.getvalue()

    def test_interrupted_demo_leaves_nothing_behind(self):
        for number in demo._ENDS:
            with self.subTest(number):
                status, summary, err = self.run_demo(
                    lambda number=number: signal.raise_signal(number)
                )

                self.assertEqual(1, status)
                self.assertFalse(summary['ok'])
                self.assertIn('Interrupted', err)
                self.assertEqual(1, self.stage.stops)
                self.assertFalse(self.directory.exists())

    def test_second_interrupt_does_not_disturb_the_cleaning(self):
        def twice():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGTERM)

        self.run_demo(twice)

        self.assertEqual(1, self.stage.stops)
        self.assertFalse(self.directory.exists())

    def test_failed_demo_keeps_its_logs_and_says_where(self):
        def fail():
            raise stage.StageError('keystone has ended')

        status, summary, err = self.run_demo(fail)

        self.assertEqual(1, status)
        self.assertFalse(summary['ok'])
        self.assertIn('keystone has ended', err)
        self.assertIn(f'Logs are in {self.directory}/log', err)
        self.assertEqual(1, self.stage.stops)
        self.assertTrue(self.directory.exists())

    def test_the_callers_cloud_and_proxy_are_not_used(self):
        os.environ.update(OS_CLOUD='production', https_proxy='http://proxy')
        seen = {}

        def look():
            seen.update(os.environ)
            signal.raise_signal(signal.SIGINT)

        self.run_demo(look)

        self.assertNotIn('OS_CLOUD', seen)
        self.assertNotIn('https_proxy', seen)
        self.assertIn('PATH', seen)


if __name__ == '__main__':
    unittest.main()
