# SPDX-License-Identifier: Apache-2.0
"""A BMC of the lab says what is true unless it was told to lie."""

import pathlib
import tempfile
import threading
import unittest

from lab import bmc
from lab import bmc_daemon
from lab import plan as planning


class FakeHosts:
    """The power of hosts, without hosts."""

    def __init__(self):
        self.state = 'on'

    def power(self, host):
        return self.state

    def power_on(self, host):
        self.state = 'on'

    def power_off(self, host):
        self.state = 'off'


class TestBoard(unittest.TestCase):
    """One BMC, its host and its fault."""

    def setUp(self):
        self.hosts = FakeHosts()
        self.fault = bmc.Fault()
        host = planning.Host('cmp-1', 'cmp-1', 'real', 1, 'u')
        self.board = bmc_daemon.Board(self.hosts, host, lambda: self.fault)

    def reset(self, kind):
        """Send a command and wait until it is carried out."""
        self.board.reset(kind)
        for thread in threading.enumerate():
            if thread.name == 'cmp-1':
                thread.join(5)

    def test_a_sound_one_cuts_the_power(self):
        self.reset('ForceOff')

        self.assertEqual(('off', 'Off'), (self.hosts.state, self.board.read()))

    def test_a_lie_is_told_after_a_command_only(self):
        self.fault = bmc.parse('lie')
        before = self.board.read()

        self.reset('ForceOff')

        self.assertEqual(('On', 'Off'), (before, self.board.read()))
        self.assertEqual('on', self.hosts.state)

    def test_a_lie_ends_when_it_is_healed_and_is_not_remembered(self):
        self.fault = bmc.parse('lie')
        self.reset('ForceOff')

        self.fault = bmc.parse('none')
        healed = self.board.read()
        self.fault = bmc.parse('lie')

        self.assertEqual(('On', 'On'), (healed, self.board.read()))

    def test_one_that_ignores_reads_the_truth(self):
        self.fault = bmc.parse('ignore')

        self.reset('ForceOff')

        self.assertEqual(('on', 'On'), (self.hosts.state, self.board.read()))

    def test_nobody_hears_the_button_of_a_shutdown(self):
        self.reset('GracefulShutdown')

        self.assertEqual('on', self.hosts.state)


class TestFaults(unittest.TestCase):
    """What is wrong with a BMC is in a file that two processes share."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.plan = planning.make(pathlib.Path(directory.name), 2, 0, 'shared')
        self.first, self.second = self.plan.hosts

    def test_it_is_of_one_host_and_can_be_taken_back(self):
        bmc.set_fault(self.plan, self.first, 'slow:1.5')
        bmc.set_fault(self.plan, self.second, 'hang')

        found = bmc.fault(self.plan, self.first)
        bmc.set_fault(self.plan, self.first, 'none')

        self.assertEqual(('slow', 1.5), (found.kind, found.seconds))
        self.assertEqual('none', bmc.fault(self.plan, self.first).kind)
        self.assertEqual('hang', bmc.fault(self.plan, self.second).kind)

    def test_what_makes_no_sense_is_refused_and_changes_nothing(self):
        bmc.set_fault(self.plan, self.first, 'lie')

        for text in ('lies', 'slow', 'slow:x', 'slow:-1', 'lie:3', ''):
            with (
                self.subTest(text),
                self.assertRaisesRegex(planning.LabError, 'A BMC can have'),
            ):
                bmc.set_fault(self.plan, self.first, text)

        self.assertEqual('lie', bmc.fault(self.plan, self.first).kind)

    def test_the_password_is_short_enough_for_ipmi(self):
        self.assertLessEqual(len(self.plan.passwords['bmc']), 20)
