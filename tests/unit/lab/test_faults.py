# SPDX-License-Identifier: Apache-2.0
"""Every fault is known before it is caused, and everything heals."""

import mmap
import pathlib
import struct
import tempfile
import unittest

from lab import breakages
from lab import clock
from lab import faults
from lab import plan as planning
from lab import processes


class FakeHosts:
    """Hosts that have power and nothing else."""

    def __init__(self):
        self.off = set()
        self.failure = None

    def power(self, host):
        return 'off' if host.name in self.off else 'on'

    def power_off(self, host):
        if self.failure:
            raise self.failure
        self.off.add(host.name)

    def power_on(self, host):
        if self.failure:
            raise self.failure
        self.off.discard(host.name)


class TestFaults(unittest.TestCase):
    """Faults that need no namespace: power and BMCs."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.plan = planning.make(pathlib.Path(directory.name), 2, 1, 'shared')
        self.hosts = FakeHosts()
        self.faults = self.another()

    def another(self):
        """Return what another process would have."""
        return faults.Faults(
            self.plan, processes.Processes(self.plan), self.hosts
        )

    def test_another_process_sees_and_heals_it(self):
        self.faults.cause('power', 'cmp-1')
        other = self.another()
        active = other.active()

        other.heal('power', 'cmp-1')

        self.assertEqual(['power cmp-1'], active)
        self.assertEqual([], self.faults.active())
        self.assertEqual(set(), self.hosts.off)

    def test_a_clock_jumps_as_the_service_runs_and_jumps_back(self):
        clock.jump(self.plan, 'mariadb', 0.0)
        file = self.plan.path('run', 'clock', 'mariadb')
        with file.open('rb') as mapped:
            page = mmap.mmap(mapped.fileno(), 8, prot=mmap.PROT_READ)

        self.faults.cause('jump:mariadb', '-3600')

        # What the service reads is the same file, not a new one of its name.
        self.assertEqual((-3600 * 10**9,), struct.unpack('=q', page))
        self.assertTrue(self.another().holds('jump:mariadb', '-3600'))
        self.another().heal('jump:mariadb')
        self.assertEqual((0,), struct.unpack('=q', page))
        self.assertFalse(self.faults.holds('jump:mariadb', '-3600'))

    def test_a_crash_while_it_is_caused_leaves_what_can_be_healed(self):
        self.hosts.failure = KeyboardInterrupt()
        with self.assertRaises(KeyboardInterrupt):
            self.faults.cause('power', 'cmp-1')
        self.hosts.failure = None
        self.hosts.off.add('cmp-1')

        self.another().heal('all')

        self.assertEqual(set(), self.hosts.off)

    def test_a_crash_while_it_is_healed_is_healed_again(self):
        self.faults.cause('power', 'cmp-1')
        self.hosts.failure = KeyboardInterrupt()
        with self.assertRaises(KeyboardInterrupt):
            self.faults.heal('all')
        self.hosts.failure = None
        between = self.another().active()

        self.another().heal('all')

        self.assertEqual(['power cmp-1'], between)
        self.assertEqual((set(), []), (self.hosts.off, self.faults.active()))

    def test_one_that_cannot_be_healed_keeps_no_other_from_it(self):
        self.faults.cause('bmc:lie', 'cmp-2')
        self.faults.cause('power', 'cmp-1')
        self.hosts.failure = planning.LabError('It is on fire')

        with self.assertRaisesRegex(planning.LabError, 'power cmp-1.*fire'):
            self.faults.heal('all')

        self.assertEqual(['power cmp-1'], self.faults.active())
        self.assertFalse(self.faults.holds('bmc:lie', 'cmp-2'))

    def test_the_same_place_has_a_fault_once(self):
        self.faults.cause('bmc:slow', 'cmp-1', '3')
        self.faults.cause('bmc:slow', 'cmp-1', '5')
        self.faults.cause('bmc:slow', 'cmp-2', '3')
        active = self.faults.active()

        self.faults.heal('bmc:slow', 'cmp-1')

        self.assertEqual(['bmc:slow cmp-1 5', 'bmc:slow cmp-2 3'], active)
        self.assertEqual(['bmc:slow cmp-2 3'], self.faults.active())

    def test_a_later_fault_of_a_bmc_outlives_the_earlier_one(self):
        self.faults.cause('bmc:lie', 'cmp-1')
        self.faults.cause('bmc:hang', 'cmp-1')

        self.faults.heal('bmc:lie')

        self.assertTrue(self.faults.holds('bmc:hang', 'cmp-1'))

    def test_what_makes_no_sense_is_refused_and_not_recorded(self):
        for words, text in (
            (('powr', 'cmp-1'), "no fault 'powr'"),
            (('power',), "followed by HOST, not by ''"),
            (('power', 'cmp-9'), "no host 'cmp-9'"),
            (('network:mangement', 'cmp-1'), 'no fault'),
            (('bmc:slow', 'cmp-1', 'x'), "SECONDS is a number.*not 'x'"),
            (('loss:storage', 'cmp-1', '100'), 'PERCENT is a number'),
            (('libvirtd:killed', 'fake-1'), 'it has no libvirtd'),
            (('disk:full', 'fake-1'), 'its guests have no disks'),
            (('jump:mariadb', 'x'), "SECONDS is a number.*not 'x'"),
            (('jump:keystone', '5'), 'no fault'),
            (('nova:frozen',), "no service 'nova' in this lab"),
        ):
            with (
                self.subTest(words),
                self.assertRaisesRegex(planning.LabError, text),
            ):
                self.faults.cause(*words)

        self.assertEqual([], self.faults.active())

    def test_what_needs_power_is_refused_without_and_not_recorded(self):
        self.hosts.off.add('cmp-1')

        for name in ('frozen', 'hung', 'nova-compute:killed'):
            with (
                self.subTest(name),
                self.assertRaisesRegex(planning.LabError, 'lab host on'),
            ):
                self.faults.cause(name, 'cmp-1')

        self.assertEqual([], self.faults.active())

    def test_nothing_to_heal_is_said(self):
        self.faults.heal('all')

        with self.assertRaisesRegex(planning.LabError, "No fault 'power'"):
            self.faults.heal('power')

    def test_the_catalogue_has_a_sentence_for_every_fault(self):
        catalogue = faults.catalogue()

        for name in self.faults.names():
            self.assertIn(name.partition(':')[0], catalogue)
        for kind in breakages.Fault.__subclasses__():
            self.assertIn(kind.__doc__, catalogue)
