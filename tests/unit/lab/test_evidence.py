# SPDX-License-Identifier: Apache-2.0
"""What the guests and hosts wrote is read as it was, and judged by time."""

import dataclasses
import json
import pathlib
import tempfile
import unittest

from lab import evidence
from lab import guest
from lab import host_files
from lab import plan as planning

SERVER = '5f0c2d1e-0000-4000-8000-000000000001'


def slot(run, boot, first, last, server=SERVER, moved=0):
    text = (
        f'nova-ha-lab-run uuid={server} run={run} boot={boot} first={first} '
        f'last={last} beats=9 moved={moved} end=none\n'
    )
    return text.encode().ljust(guest.SLOT, b'\0')


class EvidenceTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.plan = planning.make(self.directory, 2, 1, 'local')
        self.first, self.second = self.plan.hosts[:2]

    def write_disk(self, host, *slots):
        path = (
            host_files.directory(self.plan, host)
            / 'instances' / SERVER / 'disk'
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('wb') as stream:
            stream.seek(guest.AREA_AT)
            stream.write(b''.join(slots).ljust(guest.AREA, b'\0'))
        return path

    def write_ledger(self, host, *notes):
        host_files.ledger(self.plan, host).write_text(
            ''.join(f'{json.dumps(note)}\n' for note in notes)
        )

    def witness(self):
        return evidence.truth(self.plan)[SERVER]

    def test_each_start_of_a_guest_is_a_boot(self):
        self.write_disk(
            self.first, slot('aa', 1, 100, 110), slot('bb', 2, 120, 130)
        )

        witness = self.witness()

        self.assertEqual(2, witness.boots)
        self.assertEqual(['aa', 'bb'], [run.run for run in witness.runs])
        self.assertEqual((), witness.double_writers)
        self.assertEqual((), witness.double_runs)

    def test_what_follows_in_the_same_second_does_not_overlap(self):
        self.write_disk(
            self.first, slot('aa', 1, 100, 110), slot('bb', 2, 110, 130)
        )

        self.assertEqual((), self.witness().double_runs)

    def test_two_writers_of_one_disk_are_seen(self):
        self.write_disk(
            self.first, slot('aa', 1, 100, 112), slot('bb', 2, 110, 130)
        )

        witness = self.witness()

        self.assertEqual(1, len(witness.double_writers))
        self.assertEqual(1, len(witness.double_runs))

    def test_two_disks_of_a_server_that_lives_twice_are_seen(self):
        self.write_disk(self.first, slot('aa', 1, 100, 112))
        self.write_disk(self.second, slot('bb', 1, 110, 130))

        witness = self.witness()

        self.assertEqual((), witness.double_writers)
        self.assertEqual(1, len(witness.double_runs))

    def test_what_was_kept_outlives_the_disk(self):
        disk = self.write_disk(self.first, slot('aa', 1, 100, 112))
        evidence.keep(self.plan, self.first)
        disk.unlink()
        self.write_disk(self.second, slot('bb', 1, 120, 130))

        self.assertEqual(2, self.witness().boots)

    def test_a_later_reading_of_a_run_replaces_what_was_kept(self):
        self.write_disk(self.first, slot('aa', 1, 100, 112))
        evidence.keep(self.plan)
        self.write_disk(self.first, slot('aa', 1, 100, 140))

        self.assertEqual([140], [run.last for run in self.witness().runs])

    def test_disks_of_the_other_storage_are_read_too(self):
        self.write_disk(self.first, slot('aa', 1, 100, 112))
        self.plan = dataclasses.replace(self.plan, storage='shared')

        self.assertEqual(1, self.witness().boots)

    def test_a_host_without_power_ends_the_lives_on_it(self):
        self.write_ledger(
            self.first,
            {'event': 'on', 'time': 1.0, 'boot_id': 'x'},
            {'event': 'began', 'time': 5.0, 'server': SERVER, 'pid': 7},
            {'event': 'off', 'time': 20.0},
        )
        self.write_ledger(
            self.second,
            {'event': 'began', 'time': 21.0, 'server': SERVER, 'pid': 7},
            {'event': 'ended', 'time': 40.0, 'server': SERVER, 'pid': 7},
        )

        witness = self.witness()

        self.assertEqual(
            [('cmp-1', 5.0, 20.0), ('cmp-2', 21.0, 40.0)],
            [(life.host, life.began, life.ended) for life in witness.lives],
        )
        self.assertEqual((), witness.double_runs)

    def test_lives_on_two_hosts_at_once_are_seen(self):
        self.write_ledger(
            self.first,
            {'event': 'began', 'time': 5.0, 'server': SERVER, 'pid': 7},
        )
        self.write_ledger(
            self.second,
            {'event': 'began', 'time': 21.0, 'server': SERVER, 'pid': 7},
            {'event': 'ended', 'time': 40.0, 'server': SERVER, 'pid': 7},
        )

        self.assertEqual(1, len(self.witness().double_runs))

    def test_an_end_that_was_noted_late_is_no_overlap(self):
        self.write_ledger(
            self.first,
            {'event': 'began', 'time': 5.0, 'server': SERVER, 'pid': 7},
            {'event': 'ended', 'time': 22.0, 'server': SERVER, 'pid': 7},
        )
        self.write_ledger(
            self.second,
            {'event': 'began', 'time': 20.5, 'server': SERVER, 'pid': 7},
        )

        self.assertEqual((), self.witness().double_runs)

    def test_a_server_without_a_console_is_told(self):
        with self.assertRaisesRegex(planning.LabError, 'has no console'):
            evidence.console(self.plan, SERVER)
