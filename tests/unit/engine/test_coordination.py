# SPDX-License-Identifier: Apache-2.0

"""The lock by which the death of an engine shows, with tooz's file driver."""

import tempfile
import time
import unittest

from nova_ha_plugins.engine import coordination


def until(check):
    deadline = time.monotonic() + 10.0
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError('Not within 10 s')
        time.sleep(0.01)


class LocksTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.url = f'file://{directory.name}'

    def locks(self, name, url=None):
        found = coordination.Locks(
            self.url if url is None else url, name, 0.02
        )
        self.addCleanup(found.stop)
        found.start()
        return found

    def test_lock_of_an_engine_is_caught_when_it_gave_it_back(self):
        first, second = self.locks('ctl-1'), self.locks('ctl-2')
        until(lambda: first.held and second.held)
        self.assertNotEqual(first.held, second.held)
        lock = first.held
        second.catch(lock)
        time.sleep(0.2)
        self.assertEqual('', second.caught)

        first.stop()

        until(lambda: second.caught == lock)
        second.catch('')
        until(lambda: second.caught == '')

    def test_backend_that_is_away_is_told_once_and_tried_again(self):
        with self.assertLogs('nova_ha_plugins.engine.coordination') as logs:
            locks = self.locks(
                'ctl-1', 'mysql://nobody:secret@127.0.0.1:1/absent'
            )
            until(lambda: logs.output)
            locks.stop()

        self.assertEqual('', locks.held)
        (line,) = logs.output
        self.assertIn('mysql://127.0.0.1:1/absent does not serve', line)
        self.assertNotIn('secret', line)

    def test_without_a_backend_nothing_is_done(self):
        locks = self.locks('ctl-1', '')
        locks.catch('anything')

        self.assertEqual(('', ''), (locks.held, locks.caught))
