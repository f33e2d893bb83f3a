# SPDX-License-Identifier: Apache-2.0

"""The engine's own machine fails it: the disk, the log, a second engine.

====  =====================================================================
Row   Test
====  =====================================================================
F13   test_locked_store_*: writers wait, nothing happens without an intent
F20   test_second_engine_*, test_engine_that_slept_*
F40   test_full_disk_*, test_full_log_*
====  =====================================================================
"""

import os
import pathlib
import resource
import signal
import sqlite3
import subprocess
import sys
import time

from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench
from tests.functional.engine import faults

Phase = incident.Phase


class DiskTest(bench.Case):
    """The engine may write no file, then again: twice, at two moments."""

    HOSTS = 5

    @classmethod
    def prepare(cls):
        cls.first = cls.cloud.add_server('cmp-1', 'first')
        cls.second = [
            cls.cloud.add_server('cmp-2', f'second-{n}') for n in range(3)
        ]
        # What an operator has when the file system of the log is full.
        cls.bench.write_conf({'DEFAULT': {'log_file': '/dev/full'}})

    @classmethod
    def tell(cls):
        cls.before_the_decision()
        cls.in_the_middle()

    @classmethod
    def before_the_decision(cls):
        before = len(cls.bench.log())
        cls.fill_disk()
        cls.bench.machine('cmp-1').hang()
        time.sleep(4 * bench.TIMEOUT)
        cls.seen_full = (
            cls.racks.resets('cmp-1'),
            cls.cloud.counts('force-down', 'cmp-1'),
            cls.store.engine_status()['age'],
            cls.bench.process.poll(),
        )
        cls.log_when_full = cls.bench.log()[before:]
        cls.fill_disk(False)
        cls.bench.until_recovered('cmp-1')

    @classmethod
    def in_the_middle(cls):
        cls.cloud.script.add('disable', 'cmp-2', faults.after(cls.lock_store))
        cls.bench.machine('cmp-2').hang()
        cls.bench.until('the store is locked', lambda: hasattr(cls, 'lock'))
        time.sleep(5)
        cls.asked_locked = sum(
            call.kind == 'evacuate' and call.subject in cls.second
            for call in cls.cloud.calls
        )
        cls.lock.rollback()
        cls.lock.close()
        cls.bench.until_recovered('cmp-2')

    @classmethod
    def fill_disk(cls, full=True):
        for pid in _family(cls.bench.process.pid):
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(
                pid, resource.RLIMIT_FSIZE, (0 if full else most, most)
            )

    @classmethod
    def lock_store(cls):
        """Another writer, a backup for example, does not come to an end."""
        cls.lock = sqlite3.connect(
            cls.bench.directory / 'store.sqlite',
            isolation_level=None,
            check_same_thread=False,
            timeout=10,
        )
        cls.lock.execute('BEGIN IMMEDIATE')

    def test_full_disk_lets_nothing_happen(self):
        resets, forced, age, ended = self.seen_full

        self.assertEqual((0, 0, None), (resets, forced, ended))
        # Who looks at the status sees that nobody is at work.
        self.assertGreater(age, 2 * bench.TIMEOUT)

    def test_full_disk_is_said_where_something_can_be_said(self):
        self.assertIn('A round failed', self.log_when_full)
        self.assertRegex(self.log_when_full, 'disk|full')

    def test_recovery_begins_when_there_is_room(self):
        self.assertEqual(1, self.racks.resets('cmp-1'))
        self.assertEqual(1, self.cloud.performed[self.first])

    def test_locked_store_lets_nothing_begin_and_nothing_is_lost(self):
        self.assertEqual(0, self.asked_locked)
        for server in self.second:
            self.assertEqual(1, self.cloud.performed[server])

    def test_no_law_was_broken(self):
        # Its tracebacks are how logging tells of a full log.
        self.assertEqual([], self.cloud.violations)
        self.assertEqual([], self.racks.violations)


class SleeperTest(bench.Case):
    """The engine stands still in the middle of a call, for too long."""

    HOSTS = 4

    @classmethod
    def prepare(cls):
        cls.servers = [
            cls.cloud.add_server('cmp-1', f'server-{n}') for n in range(3)
        ]

    @classmethod
    def tell(cls):
        cls.sleeper = cls.bench.process
        cls.second = cls.start_another()
        cls.refused = cls.second.wait(timeout=30)
        cls.cloud.script.add(
            'evacuate',
            max(cls.servers),
            faults.after(cls.put_to_sleep),
        )
        cls.bench.machine('cmp-1').hang()
        cls.bench.until('it sleeps', lambda: hasattr(cls, 'slept_at'))
        lease = bench.QUICK['engine']['lease_ttl']
        time.sleep(lease + 0.5)
        cls.bench.start(wait=False)
        cls.bench.until(
            'another engine acts',
            lambda: (
                str(cls.bench.process.pid)
                in cls.store.engine_status().get('owner', '')
                or cls.token() > 1
            ),
        )
        cls.signal(signal.SIGCONT)
        cls.bench.until_recovered('cmp-1')
        cls.code = cls.sleeper.wait(timeout=20)

    @classmethod
    def token(cls):
        return cls.store.engine_status().get('token', 0)

    @classmethod
    def start_another(cls):
        log = open(cls.bench.directory / 'second.log', 'wb')
        cls.addClassCleanup(log.close)
        return subprocess.Popen(
            [
                sys.executable,
                '-m',
                'nova_ha_plugins.cmd.engine',
                '--config-file',
                str(cls.bench.conf_file),
            ],
            cwd=bench.ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @classmethod
    def put_to_sleep(cls):
        """Stop it while it writes nothing: SQLite has one writer only."""
        while True:
            cls.signal(signal.SIGSTOP)
            try:
                with sqlite3.connect(
                    cls.bench.directory / 'store.sqlite', timeout=0.6
                ) as store:
                    store.execute('BEGIN IMMEDIATE')
                break
            except sqlite3.OperationalError:
                cls.signal(signal.SIGCONT)
                time.sleep(0.02)
        cls.slept_at = time.monotonic()

    @classmethod
    def signal(cls, number):
        os.killpg(cls.sleeper.pid, number)

    def test_second_engine_refuses_to_start(self):
        self.assertEqual(78, self.refused)
        log = (self.bench.directory / 'second.log').read_text()
        self.assertIn('coordination', log)

    def test_engine_that_slept_ends_and_asks_nothing_twice(self):
        self.assertNotEqual(0, self.code)
        for server in self.servers:
            self.assertEqual(1, self.cloud.counts('evacuate', server))
        self.assertEqual(1, self.racks.resets('cmp-1'))


def _family(pid):
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        for path in pathlib.Path(f'/proc/{one}/task').glob('*/children'):
            found += [int(child) for child in path.read_text().split()]
    return found
