# SPDX-License-Identifier: Apache-2.0

"""What is published of the directories of instances, and what is not."""

import errno
import os
import pathlib
import tempfile
from unittest import mock

from ceilometer_pollsters import children
from ceilometer_pollsters import probes
from ceilometer_pollsters import storage
from ceilometer_pollsters import storage_child
from tests.unit.ceilometer_pollsters import test_probes

REFUSED = {'failed': 'Permission denied', 'file': '/i/x', 'set_up': False}


class StorageTest(test_probes.ProbeTest):
    def setUp(self):
        super().setUp()
        self.override('instances_paths', ['/instances'])
        patcher = mock.patch.object(children, 'Child', autospec=True)
        self.child = patcher.start().return_value
        self.child.starting = 0.0
        self.addCleanup(patcher.stop)
        self.now = 100.0
        self.patch(storage.Path, 'clock', staticmethod(lambda: self.now))
        self.up = storage.StorageUpPollster(self.conf)
        self.latency = storage.StorageLatencyPollster(self.conf)

    def cycle(self, answer):
        """Return both meters of one cycle."""
        self.child.ask.side_effect = [answer]
        cache = {}
        return [
            sample
            for pollster in (self.up, self.latency)
            for sample in self.poll(pollster, cache)
        ]

    def volumes(self, answer):
        return [sample.volume for sample in self.cycle(answer)]


class TestStorage(StorageTest):
    def test_both_meters_share_one_probe_per_cycle(self):
        up, latency = self.cycle({'seconds': 0.25})

        self.assertEqual(
            [
                ('hypervisor.storage.up', 1),
                ('hypervisor.storage.latency', 0.25),
            ],
            [(up.name, up.volume), (latency.name, latency.volume)],
        )
        self.assertEqual(
            {'host': 'cmp-1', 'device': '/instances'}, up.resource_metadata
        )
        self.assertEqual(up.resource_id, latency.resource_id)
        self.child.ask.assert_called_once()

    def test_directory_that_hangs_is_down_and_its_wait_grows(self):
        self.volumes({'seconds': 0.1})

        with self.assertLogs(storage.__name__, 'ERROR'):
            self.assertEqual([0, 0.0], self.volumes(children.Late('late')))
            self.now += 10
            up, latency = self.cycle(children.Stuck('stuck'))
        self.assertEqual((0, 10.0), (up.volume, latency.volume))
        self.assertIn(
            'within the deadline of 4s', up.resource_metadata['reason']
        )
        self.assertIn('cannot be killed', up.resource_metadata['reason'])

        with self.assertLogs(storage.__name__, 'WARNING') as logged:
            self.assertEqual([1, 0.1], self.volumes({'seconds': 0.1}))
        self.assertIn("'/instances' is up", logged.output[0])

        self.now += 50
        with self.assertLogs(storage.__name__, 'ERROR'):
            self.assertEqual([0, 0.0], self.volumes(children.Late('late')))

    def test_time_that_a_process_takes_to_start_is_not_the_storage_s(self):
        given = []
        for self.child.starting in (4.0, 0.0):
            self.volumes({'seconds': 0.1})
            given.append(self.child.ask.call_args.args[1])

        self.assertEqual([8.0, 4.0], given)

    def test_failure_is_said_once_while_it_lasts(self):
        failed = {'failed': 'Stale file handle', 'file': '/i', 'set_up': True}
        with self.assertLogs(storage.__name__, 'ERROR') as logged:
            found = [self.volumes(failed)[0] for _ in range(3)]

        self.assertEqual([0, 0, 0], found)
        self.assertEqual(1, len(logged.output))
        self.assertIn('Stale file handle', logged.output[0])

    def test_directory_nobody_has_set_up_is_named_and_not_published(self):
        with self.assertLogs(storage.__name__, 'ERROR') as logged:
            self.assertEqual([], self.cycle(REFUSED))
            self.assertEqual([], self.cycle(REFUSED))

        self.assertEqual(1, len(logged.output))
        self.assertIn("Expected a directory '.nova-ha'", logged.output[0])
        self.assertIn('Permission denied', logged.output[0])

    def test_directory_that_was_usable_and_is_not_is_down(self):
        self.volumes({'seconds': 0.1})

        with self.assertLogs(storage.__name__, 'ERROR'):
            self.assertEqual(0, self.volumes(REFUSED)[0])

    def test_probe_that_is_broken_says_nothing_of_the_storage(self):
        with self.assertLogs(storage.__name__, 'ERROR') as logged:
            self.assertEqual([], self.cycle(children.Broken('no memory')))
        self.assertIn('no memory', logged.output[0])

    def test_no_directory_is_said_once(self):
        self.override('instances_paths', [])

        with self.assertLogs(probes.__name__, 'INFO') as logged:
            self.assertEqual([], self.cycle(None))
        self.assertEqual(1, len(logged.output))

    def test_each_directory_is_a_resource_of_its_own(self):
        self.override('instances_paths', ['/one', '/two'])
        self.child.ask.side_effect = [{'seconds': 1.0}, {'seconds': 1.0}]

        found = self.poll(self.up)
        self.assertEqual(2, len({sample.resource_id for sample in found}))


class TestProbeFile(test_probes.ProbeTest):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)
        self.name = storage_child.probe_file(directory.name, 'cmp-1')

    def set_up(self):
        (self.path / '.nova-ha').mkdir()

    def test_file_is_written_past_all_caches_and_read_back(self):
        self.set_up()
        with mock.patch(
            'os.open', autospec=True, side_effect=os.open
        ) as opened:
            found = storage_child.answer(self.name)

        self.assertLess(0, found['seconds'])
        flags = opened.call_args_list[0].args[1]
        self.assertTrue(flags & os.O_DIRECT)
        self.assertTrue(flags & os.O_DSYNC)
        self.assertEqual(4096, os.path.getsize(self.name))
        self.assertEqual(0o600, os.stat(self.name).st_mode & 0o777)

    def test_file_system_in_memory_is_probed_all_the_same(self):
        self.set_up()
        real = os.open

        def refuse(name, flags, mode=0o777):
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, 'Invalid argument')
            return real(name, flags, mode)

        with mock.patch('os.open', autospec=True, side_effect=refuse):
            self.assertIn('seconds', storage_child.answer(self.name))

    def test_mount_point_without_its_storage_is_not_taken_for_it(self):
        found = storage_child.answer(self.name)

        self.assertFalse(found['set_up'])
        self.assertEqual([], list(self.path.iterdir()))

    def test_disk_that_gives_other_than_was_written_is_down(self):
        self.set_up()
        with mock.patch('os.pwrite', autospec=True, return_value=4096):
            pathlib.Path(self.name).write_bytes(bytes(4096))
            found = storage_child.answer(self.name)

        self.assertTrue(found['set_up'])
        self.assertIn('other than was written', found['failed'])

    def test_nothing_but_a_file_of_its_own_is_written_to(self):
        self.set_up()
        target = self.path / 'disk'
        target.write_text('of a tenant')
        os.symlink(target, self.name)
        self.assertIn('failed', storage_child.answer(self.name))

        os.unlink(self.name)
        os.mkfifo(self.name)
        self.assertIn(
            'It is no file', storage_child.answer(self.name)['failed']
        )
        self.assertEqual('of a tenant', target.read_text())

    def test_host_is_a_name_and_no_path(self):
        self.assertEqual(
            '/i/.nova-ha/..%2Fcmp', storage_child.probe_file('/i', '../cmp')
        )
