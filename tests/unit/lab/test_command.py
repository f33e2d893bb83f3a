# SPDX-License-Identifier: Apache-2.0
"""The command of the lab answers with sentences, and replaces nothing."""

import argparse
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest
from unittest import mock

from lab import __main__ as command
from lab.demo import real
from lab.demo import stage as stages
from lab import evidence
from lab import lab as labs
from lab import network
from lab import plan as planning


class TestCommand(unittest.TestCase):
    """What needs no lab that is up."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def options(self, **more):
        return argparse.Namespace(directory=self.directory, **more)

    def test_up_does_not_replace_a_lab_that_is_up(self):
        planning.make(self.directory, 1, 0, 'shared')
        (self.directory / 'openrc').touch()

        with (
            mock.patch.object(
                network, 'exists', autospec=True, return_value=True
            ),
            mock.patch.object(labs, 'remove', autospec=True) as remove,
            self.assertRaisesRegex(planning.LabError, 'is up.*down'),
        ):
            command._up(
                self.options(
                    hosts=3,
                    fake=0,
                    storage='shared',
                    engines=1,
                    liveness='sql',
                )
            )

        remove.assert_not_called()

    def test_a_demo_that_is_refused_takes_down_no_lab_of_others(self):
        stage = real.LabStage(self.directory)

        with mock.patch.object(labs, 'remove', autospec=True) as remove:
            with (
                mock.patch.object(
                    labs,
                    'create',
                    autospec=True,
                    side_effect=planning.LabError('it is up'),
                ),
                self.assertRaisesRegex(stages.StageError, 'it is up'),
            ):
                stage.start(print)
            stage.stop()

        remove.assert_not_called()

    def test_what_a_crash_left_is_not_up(self):
        planning.make(self.directory, 1, 0, 'shared')

        with mock.patch.object(
            network, 'exists', autospec=True, return_value=True
        ):
            self.assertFalse(labs.is_up(self.directory))

    def test_a_wrong_size_leaves_the_old_lab_alone(self):
        for count, fake in ((-1, 2), (0, 0), (1, -1), (1, 244)):
            with (
                self.subTest(count=count, fake=fake),
                mock.patch.object(labs, 'remove', autospec=True) as remove,
                self.assertRaisesRegex(planning.LabError, '1 to 244 hosts'),
            ):
                labs.create(self.directory, count, fake)
            remove.assert_not_called()

    def test_down_leaves_a_place_without_a_lab_alone(self):
        for place in (self.directory, self.directory / 'nothing'):
            options = self.options(wipe=True)
            options.directory = place

            with (
                self.subTest(place.name),
                mock.patch('builtins.print', autospec=True) as said,
            ):
                command._down(options)
                self.assertIn('There is no lab', said.call_args[0][0])

        self.assertEqual([], list(self.directory.iterdir()))

    def run_exec(self, *words):
        planning.make(self.directory, 1, 0, 'shared')
        with mock.patch.object(network, 'enter', autospec=True):
            command._exec(self.options(words=list(words)))

    def test_exec_of_an_unknown_command_is_a_sentence(self):
        with self.assertRaisesRegex(planning.LabError, 'cannot be run: No'):
            self.run_exec('no-such-command')

    def test_exec_takes_two_dashes(self):
        with self.assertRaises(SystemExit) as caught:
            self.run_exec('--', 'sh', '-c', 'exit 7')

        self.assertEqual(7, caught.exception.code)

    def test_what_is_frozen_does_not_count_as_running(self):
        process = subprocess.Popen(['sleep', '60'])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        before = labs._state(process.pid)

        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)

        self.assertEqual('running', before)
        self.assertEqual('frozen', labs._state(process.pid))

    def test_truth_has_a_verdict(self):
        lives = [
            evidence.Life('server', 'cmp-1', 100.0, 200.0),
            evidence.Life('server', 'cmp-2', 150.0, 300.0),
        ]

        once = command._told(evidence.Witness('server', (), (lives[0],)))
        twice = command._told(evidence.Witness('server', (), tuple(lives)))

        self.assertIn('never ran twice', once[0])
        self.assertIn('RAN TWICE', twice[0])
        self.assertIn('on cmp-2', twice[2])
