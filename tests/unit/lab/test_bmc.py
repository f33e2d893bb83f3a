# SPDX-License-Identifier: Apache-2.0
"""A BMC says Off when it is true, and else it does not."""

import threading
import unittest

from sushy_tools import error

from lab.embedded import bmc


class FakeControl:
    """A process of the host; its off waits until it is let go."""

    def __init__(self, state='on'):
        self.state = state
        self.go = threading.Event()
        self.go.set()
        self.failure = None

    def power(self, host):
        if self.failure:
            raise self.failure
        return self.state

    def set_power(self, host, state):
        if self.failure:
            raise self.failure
        if not self.go.wait(5):
            raise AssertionError('Nobody let the power change')
        self.state = state


class TestSystem(unittest.TestCase):
    """One BMC over two processes."""

    def setUp(self):
        self.nova = FakeControl()
        self.telemetry = FakeControl()
        self.system = bmc.System('cmp-1', 'u', [self.nova, self.telemetry])

    def reset(self, kind):
        """Send a command and wait for its thread."""
        self.system.reset(kind)
        for thread in threading.enumerate():
            if thread.name == 'cmp-1':
                thread.join(5)

    def test_off_needs_both_processes(self):
        self.nova.state = 'off'
        self.assertEqual('On', self.system.read())

        self.telemetry.state = 'off'
        self.assertEqual('Off', self.system.read())

    def test_a_hung_host_has_power(self):
        self.nova.state = self.telemetry.state = 'hung'

        self.assertEqual('On', self.system.read())

    def test_a_process_that_cannot_be_asked_is_an_error(self):
        self.nova.state = 'off'
        self.telemetry.failure = error.FishyError('gone', 503)

        with self.assertRaises(error.FishyError) as caught:
            self.system.read()

        self.assertEqual(503, caught.exception.code)

    def test_it_reads_powering_off_until_it_is_off(self):
        self.telemetry.go.clear()
        self.system.reset('ForceOff')
        self.assertEqual('PoweringOff', self.system.read())

        self.telemetry.go.set()
        self.reset('ForceOff')

        self.assertEqual('Off', self.system.read())

    def test_power_off_that_fails_reads_on(self):
        self.telemetry.failure = error.FishyError('gone', 503)

        with self.assertLogs('lab.embedded.bmc', 'ERROR'):
            self.reset('ForceOff')
        self.telemetry.failure = None

        self.assertEqual('On', self.system.read())

    def test_the_other_command_is_refused_while_one_is_under_way(self):
        self.nova.go.clear()
        self.addCleanup(self.nova.go.set)
        self.system.reset('ForceOff')

        with self.assertRaises(error.Conflict):
            self.system.reset('On')

        self.assertEqual('PoweringOff', self.system.read())

    def test_a_hung_host_does_not_hear_the_button(self):
        self.nova.state = self.telemetry.state = 'hung'

        self.reset('GracefulShutdown')

        self.assertEqual('hung', self.nova.state)

    def test_restart_ends_on(self):
        self.nova.state = self.telemetry.state = 'hung'

        self.reset('ForceRestart')

        self.assertEqual(('on', 'on'), (self.nova.state, self.telemetry.state))
