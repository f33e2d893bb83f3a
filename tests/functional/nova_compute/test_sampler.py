# SPDX-License-Identifier: Apache-2.0

"""Bytes and percent of real evacuations, written by the real driver.

The image is fetched and converted by nova's own code and the real qemu-img;
the driver is loaded by oslo.messaging; what it writes goes through the real
nova-conductor. Only the hypervisor is nova's fake one.
"""

import errno
import functools
import os
import shutil
import time
from unittest import mock

from tests.functional.nova_compute import base

import oslo_messaging

from nova_ha_plugins.compute import files
from nova_ha_plugins.compute import records
from nova_ha_plugins.compute import watched


def closed(record, shown):
    return record.status not in ('accepted', 'pre-migrating')


class ImageTest(base.SamplerTestCase):
    def test_bytes_and_percent_of_an_image(self):
        self.start_hosts('host1', 'host2')
        self.slow = {'host2'}
        server, follower, stopped = (self.boot_slow() for _ in range(3))
        self.kill('host1')
        self.source.pace = functools.partial(self.wait_for_bytes, server)

        self.evacuate(server)
        seen = self.watch(server, self._is_converting)
        self.let_conversion_go()
        seen += self.watch(server, closed)
        self.assertTrue(self.sampler.wait(20))

        self._check_bytes(seen)
        self._check_progress(server, seen)
        self.assertLess(max(self.notify_times), 0.05)
        self._check_our_own_view(server)

        # The image is here now, and the server is not slower for being alone.
        self.evacuate(follower)
        self.watch(follower, closed)
        self.assertTrue(self.sampler.wait(20))
        record = self.record(follower)
        self.assertEqual('done', record.status)
        self.assertEqual(
            (0, 0, 0),
            (record.disk_total, record.disk_processed, record.disk_remaining),
        )

        self._check_a_server_that_is_stopped(stopped)
        self._check_a_rebuild_is_not_followed(server)
        self._check_what_a_killed_nova_compute_left(server, follower)

    def _is_converting(self, record, shown):
        return (record.disk_processed or 0) > self.size

    def _check_bytes(self, seen):
        counted = [r for r, _shown in seen if r.disk_total is not None]
        # Fetched and converted, each as long as the image.
        self.assertEqual({2 * self.size}, {r.disk_total for r in counted})
        done = [record.disk_processed for record in counted]
        self.assertEqual(sorted(done), done)
        self.assertTrue(
            all(
                r.disk_processed + r.disk_remaining == r.disk_total
                for r in counted
            )
        )
        fetching = {n for n in done if 0 < n < self.size}
        converting = {n for n in done if self.size < n < 2 * self.size}
        self.assertGreater(len(fetching), 5, done)
        self.assertTrue(converting, done)

    def _check_progress(self, server, seen):
        shown = [
            shown['progress']
            for _record, shown in seen
            if shown['status'] == 'REBUILD'
        ]
        self.assertEqual(sorted(shown), shown)
        self.assertTrue([n for n in shown if 40 < n < 90], shown)
        record = self.record(server)
        self.assertEqual('done', record.status)
        self.assertEqual(record.disk_total, record.disk_processed)
        self.assertEqual(0, self.instance(server).progress)
        self.assertEqual('ACTIVE', seen[-1][1]['status'])

    def _check_our_own_view(self, server):
        [item] = self.get_evacuations(server)
        self.assertEqual(2 * self.size, item['disk_total_bytes'])
        self.assertEqual(2 * self.size, item['disk_processed_bytes'])
        self.assertEqual(0, item['disk_remaining_bytes'])

    def _check_a_server_that_is_stopped(self, server):
        """Nova starts the guest and stops it, with a 0 of its own."""
        with mock.patch.object(self.admin_api, 'microversion', '2.95'):
            self.evacuate(server)
            self.watch(server, closed)
        self.assertTrue(self.sampler.wait(20))
        instance = self.instance(server)
        self.assertEqual(
            ('stopped', 0), (instance.vm_state, instance.progress)
        )

    def _check_what_a_killed_nova_compute_left(self, server, other):
        self._leave(server, None)
        # This one is being worked on, by whomever.
        self._leave(other, 'rebuild_spawning')
        self.sampler.tell('host2')
        self.assertTrue(self.sampler.wait(20))
        self.assertEqual(0, self.instance(server).progress)
        self.assertEqual(62, self.instance(other).progress)

        # And once the work is over, no number can be written any more.
        with self.assertRaisesRegex(watched.Gone, 'task_state'):
            records.save_progress(self.instance(server), 50)
        self.assertEqual(0, self.instance(server).progress)

    def _leave(self, server, task):
        instance = self.instance(server)
        instance.progress = 62
        instance.task_state = task
        instance.save()

    def _check_a_rebuild_is_not_followed(self, server):
        del self.conductor.calls[:]
        self.admin_api.post_server_action(
            server['id'], {'rebuild': {'imageRef': base.IMAGE_ID}}
        )
        self._wait_for_state_change(server, 'ACTIVE')
        self.assertTrue(self.sampler.wait(20))
        self.assertEqual([], self.conductor.calls)


class FaultTest(base.SamplerTestCase):
    """What goes wrong costs numbers, never an evacuation."""

    mebibytes = 2

    def setUp(self):
        super().setUp()
        # As where telemetry and versioned consumers both listen.
        self.flags(notification_format='both', group='notifications')
        self.stub_out('nova_ha_plugins.compute.sampler._FIRST_PAUSE', 0.1)
        self.stub_out('nova_ha_plugins.compute.sampler._LAST_PAUSE', 0.2)
        self.let_conversion_go()
        self.start_hosts('host1', 'host2')
        self.slow = {'host2'}

    def test_evacuations_survive_what_breaks(self):
        servers = [self.boot_slow() for _number in range(5)]
        self.kill('host1')

        self._our_own_code_is_broken(servers[0])
        self._the_disk_is_full(servers[1])
        self._the_conductor_hangs(servers[2])
        self._the_server_is_deleted_in_the_record(servers[3])
        self._the_directory_of_instances_is_gone(servers[4])

        self.assertLess(max(self.notify_times), 0.05)

    def _evacuate(self, server, status='done'):
        self.evacuate(server)
        record, shown = self.watch(server, closed)[-1]
        self.assertEqual(status, record.status)
        return shown

    def _finish(self, server):
        """Wait until our thread is through, and see that no number is left."""
        self.assertTrue(self.sampler.wait(30))
        self.assertEqual(0, self.instance(server).progress)
        return self.record(server)

    def _our_own_code_is_broken(self, server):
        with mock.patch.object(
            files, 'look', autospec=True, side_effect=RuntimeError('ours')
        ) as look:
            self._evacuate(server)
            self.assertTrue(look.called)
            os.unlink(self.base_path)
        self._finish(server)

    def _the_disk_is_full(self, server):
        def fill(given):
            if given > self.size // 2:
                self.wait_for_bytes(server, 1)
                raise OSError(errno.ENOSPC, 'No space left on device')

        self.source.pace = fill
        self._evacuate(server, 'failed')
        self.source.pace = lambda given: None

        self._wait_for_state_change(server, 'ERROR')
        record = self._finish(server)
        self.assertEqual(2 * self.size, record.disk_total)
        self.assertLess(record.disk_processed, self.size)
        self.assertFalse(os.path.exists(f'{self.base_path}.part'))

    def _the_conductor_hangs(self, server):
        self.conductor.answers.clear()
        del self.conductor.calls[:]
        self.conductor.failure = oslo_messaging.MessagingTimeout()
        self._evacuate(server)
        # It waits for an answer all this time, and nobody waits for it.
        self.assertEqual(1, len(self.conductor.calls))
        self.assertFalse(self.sampler.wait(0))

        self.conductor.answers.set()
        self._wait_for_calls(3)
        self.conductor.failure = None
        record = self._finish(server)
        self.assertEqual(2 * self.size, record.disk_processed)

    def _wait_for_calls(self, count):
        deadline = time.monotonic() + 20
        while len(self.conductor.calls) < count:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def _the_server_is_deleted_in_the_record(self, server):
        with mock.patch.object(
            records, 'find_evacuation', autospec=True
        ) as find:
            find.side_effect = watched.Gone('purged')
            self._evacuate(server)
            self.assertTrue(self.sampler.wait(30))
            self.assertTrue(find.called)
        self.assertIsNone(self._finish(server).disk_total)

    def _the_directory_of_instances_is_gone(self, server):
        self.slow = set()
        shutil.rmtree(self.instances)
        self._evacuate(server)
        self.assertIsNone(self._finish(server).disk_total)
