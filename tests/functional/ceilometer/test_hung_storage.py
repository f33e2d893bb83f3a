# SPDX-License-Identifier: Apache-2.0

"""A storage that hangs costs one process, and no cycle of the agent."""

import pathlib
import tempfile
import time
import unittest

from ceilometer_pollsters import storage
from ceilometer_pollsters import storage_child
from tests.functional.ceilometer import hung_storage

DEADLINE = 0.5


def state_of(pid):
    """The kernel's letter for what a process does."""
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    return text.rpartition(')')[2].split()[0]


def eventually(is_true):
    until = time.monotonic() + 10
    while not is_true() and time.monotonic() < until:
        time.sleep(0.01)
    return is_true()


@unittest.skipUnless(
    hung_storage.is_possible(), 'needs root and /dev/fuse to mount something'
)
class TestHungStorage(unittest.TestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        mounted = f'{directory.name}/hung'
        good = f'{directory.name}/good'
        pathlib.Path(mounted).mkdir()
        pathlib.Path(good, storage_child.DIRECTORY).mkdir(parents=True)
        self.hung = hung_storage.HungStorage(mounted)
        self.addCleanup(self.hung.close)
        self.storage = storage.Storage([mounted, good], 'cmp-1', 10.0)
        self.bad, self.good = mounted, good
        for path in self.storage._paths:
            self.addCleanup(path._child.close)

    def cycle(self):
        began = time.monotonic()
        found = self.storage.look({})
        return found, time.monotonic() - began

    def test_one_process_waits_and_the_others_go_on(self):
        found, _ = self.cycle()
        self.assertEqual([True, True], [look.up for look in found.values()])

        (bad,) = (p for p in self.storage._paths if p.path == self.bad)
        bad._deadline = DEADLINE
        pid = bad._child.pid
        self.hung.hang()
        with self.assertLogs(storage.__name__, 'ERROR'):
            found, took = self.cycle()
        self.assertFalse(found[self.bad].up)
        self.assertTrue(found[self.good].up)
        self.assertLess(took, DEADLINE + 3)
        # SIGKILL was sent, and the kernel keeps it.
        self.assertEqual('D', state_of(pid))
        self.assertEqual(1, bad._child.stuck)

        with self.assertLogs(storage.__name__, 'ERROR'):
            found, took = self.cycle()
        self.assertFalse(found[self.bad].up)
        self.assertIn('cannot be killed', found[self.bad].reason)
        self.assertLess(took, DEADLINE)
        self.assertEqual((1, None), (bad._child.stuck, bad._child.pid))

        self.hung.go_on()
        self.assertTrue(eventually(lambda: not bad._child.stuck))
        bad._deadline = 10.0
        with self.assertLogs(storage.__name__, 'WARNING'):
            found, _ = self.cycle()
        self.assertTrue(found[self.bad].up)
