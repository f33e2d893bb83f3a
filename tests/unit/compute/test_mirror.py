# SPDX-License-Identifier: Apache-2.0

"""What is worth writing into the progress of a server."""

import unittest

from nova_ha_plugins.compute import mirror
from nova_ha_plugins.compute import tally


def percent(task, total=None, processed=None, *, volume=False):
    counted = tally.Tally(converts=False, copies=False)
    counted.total, counted.processed = total, processed
    return mirror.percent(
        source='host1',
        destination='host2',
        task=task,
        volume=volume,
        counted=counted,
    )


class PercentTest(unittest.TestCase):
    def test_it_is_the_percentage_of_our_own_api(self):
        for task, total, processed, expected in (
            ('rebuilding', None, None, 14),
            ('rebuild_spawning', None, None, 40),
            ('rebuild_spawning', 0, 0, 40),
            ('rebuild_spawning', 1000, 0, 40),
            ('rebuild_spawning', 1000, 500, 65),
            ('rebuild_spawning', 1000, 1000, 89),
        ):
            with self.subTest(task=task, processed=processed):
                self.assertEqual(expected, percent(task, total, processed))

    def test_volumes_bring_no_bytes(self):
        self.assertEqual(40, percent('rebuild_spawning', 0, 0, volume=True))

    def test_nothing_is_written_while_volumes_are_connected(self):
        task = 'rebuild_block_device_mapping'

        self.assertIsNone(percent(task))
        self.assertNotIn(task, mirror.WRITTEN_IN)
        self.assertEqual(
            {*mirror.TASKS}, {task, 'rebuilding', 'rebuild_spawning'}
        )
        self.assertEqual(len(mirror.TASKS) - 1, len(mirror.WRITTEN_IN))

    def test_a_task_of_somebody_else_has_no_percentage(self):
        self.assertIsNone(percent('migrating'))


class MirrorTest(unittest.TestCase):
    def test_the_first_number_is_written_at_once(self):
        self.assertTrue(mirror.Mirror().owes(14, 0.0))

    def test_only_what_grows_is_written(self):
        shown = mirror.Mirror()
        shown.wrote(50, 0.0)

        self.assertFalse(shown.owes(50, 100.0))
        self.assertFalse(shown.owes(49, 100.0))
        self.assertTrue(shown.owes(51, 100.0))

    def test_at_most_once_a_second(self):
        shown = mirror.Mirror()
        shown.wrote(50, 10.0)

        self.assertFalse(shown.owes(60, 10.9))
        self.assertTrue(shown.owes(60, 11.0))

    def test_no_number_is_nothing_to_write(self):
        self.assertFalse(mirror.Mirror().owes(None, 0.0))
        self.assertFalse(mirror.Mirror().owes(0, 0.0))
