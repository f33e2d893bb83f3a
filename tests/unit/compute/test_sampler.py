# SPDX-License-Identifier: Apache-2.0

"""What the thread in nova-compute writes, and what it survives."""

import logging
import os
import tempfile
import time
import unittest
from unittest import mock

from nova_ha_plugins.compute import files
from nova_ha_plugins.compute import mirror
from nova_ha_plugins.compute import sampler
from nova_ha_plugins.compute import watched
from tests.unit.compute import fakes


class SamplerCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.instances = directory.name
        os.mkdir(os.path.join(self.instances, '_base'))
        self.records = fakes.Records()
        self.conf = fakes.conf(self.instances)
        self.sampler = sampler.Sampler(self.conf, self.records)
        self.addCleanup(self.let_go)
        for module, name, value in (
            (sampler, '_FIRST_PAUSE', 0.01),
            (sampler, '_LAST_PAUSE', 0.02),
            (mirror, '_INTERVAL', 0.01),
        ):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        # What it logs is looked at where it matters.
        logging.getLogger('nova_ha_plugins').addHandler(logging.NullHandler())

    def let_go(self):
        # As if all were deleted: nothing outlives the test.
        self.records.servers.clear()
        self.records.answers.set()
        self.records.failure = None
        self.sampler.wait(10)

    def place(self, server='one'):
        return files.place(self.instances, '_base', 'image', server)

    def write(self, path, size):
        with open(path, 'wb') as file:
            file.write(b'x' * size)

    def eventually(self, condition):
        fakes.wait_for(condition)

    def finish(self, server, *, succeeded=True):
        server.task_state = None
        self.sampler.tell(fakes.end(server.uuid, succeeded=succeeded))
        self.assertTrue(self.sampler.wait(10))


class EvacuationTest(SamplerCase):
    def test_bytes_and_percent_follow_the_file(self):
        server = self.records.add('one')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.history == [14])
        server.task_state = 'rebuild_spawning'

        self.write(self.place().part, 500)
        self.eventually(lambda: self.records.bytes)
        self.assertEqual(('record of one', 1000, 500), self.records.bytes[-1])
        self.eventually(lambda: 65 in server.history)

        os.rename(self.place().part, self.place().base)
        self.finish(server)
        self.assertEqual(('record of one', 1000, 1000), self.records.bytes[-1])
        self.assertEqual(sorted(server.history[:-1]), server.history[:-1])
        self.assertEqual(0, server.history[-1])

    def test_a_failure_leaves_the_bytes_and_no_percent(self):
        server = self.records.add('one', task='rebuild_spawning')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.history)
        self.write(self.place().part, 500)
        self.eventually(lambda: self.records.bytes)
        os.unlink(self.place().part)
        self.finish(server, succeeded=False)

        self.assertEqual(('record of one', 1000, 500), self.records.bytes[-1])
        self.assertEqual(0, server.progress)

    def test_bytes_are_written_only_when_they_changed(self):
        server = self.records.add('one', task='rebuild_spawning')
        self.write(self.place().base, 4096)
        self.sampler.tell(fakes.start('one'))
        rounds = len(self.records.calls) + 30
        self.eventually(lambda: len(self.records.calls) > rounds)
        self.finish(server)

        self.assertEqual([('record of one', 0, 0)], self.records.bytes)

    def test_a_percentage_is_written_at_most_once_a_second(self):
        server = self.records.add('one')
        with mock.patch.object(mirror, '_INTERVAL', 0.4):
            began = time.monotonic()
            self.sampler.tell(fakes.start('one'))
            self.eventually(lambda: server.history == [14])
            server.task_state = 'rebuild_spawning'
            self.eventually(lambda: server.history == [14, 40])

        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_a_number_of_an_earlier_evacuation_is_replaced(self):
        server = self.records.add('one', progress=62)
        self.sampler.tell(fakes.start('one'))

        self.eventually(lambda: server.progress == 14)

    def test_no_mirror_no_percent(self):
        self.conf.nova_ha_progress.mirror_progress = False
        server = self.records.add('one', task='rebuild_spawning')
        self.sampler.tell(fakes.start('one'))
        self.write(self.place().part, 500)
        self.eventually(lambda: self.records.bytes)
        self.finish(server)

        self.assertEqual([], server.history)

    def test_a_number_that_somebody_else_wrote_is_left_alone(self):
        server = self.records.add('one')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.progress == 14)
        server.progress = 33
        self.finish(server)

        self.assertEqual(33, server.progress)

    def test_a_directory_that_is_there_before_the_disks_is_shared(self):
        os.mkdir(self.place().home)
        server = self.records.add('one')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: self.records.bytes)
        self.finish(server)

        self.assertEqual([('record of one', 0, 0)], self.records.bytes)

    def test_a_directory_that_may_be_new_says_nothing(self):
        os.mkdir(self.place().home)
        server = self.records.add('one', task='rebuild_spawning')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.history)
        self.finish(server)

        self.assertEqual([], self.records.bytes)

    def test_a_server_that_boots_from_a_volume_brings_nothing(self):
        server = self.records.add('one', image='')
        self.sampler.tell(fakes.start('one', image=''))
        self.eventually(lambda: self.records.bytes)
        self.finish(server)

        self.assertEqual([('record of one', 0, 0)], self.records.bytes)

    def test_the_image_is_the_one_nova_knows(self):
        server = self.records.add('one', task='rebuild_spawning')
        self.write(self.place().base, 4096)
        self.sampler.tell(fakes.start('one', image='another'))
        self.eventually(lambda: self.records.bytes)
        self.finish(server)

        self.assertEqual([('record of one', 0, 0)], self.records.bytes)

    def test_the_other_format_of_a_start_is_no_second_start(self):
        server = self.records.add('one')
        for _format in range(2):
            self.sampler.tell(fakes.start('one'))
            self.eventually(lambda: server.history)
        self.finish(server)

        self.assertEqual(1, self.records.calls.count('find_evacuation'))

    def test_the_thread_ends_with_its_work_and_comes_back(self):
        for uuid in ('one', 'two'):
            server = self.records.add(uuid)
            self.sampler.tell(fakes.start(uuid))
            self.eventually(lambda found=server: found.history)
            self.finish(server)

            self.assertEqual(0, server.progress)

    def test_what_a_killed_nova_compute_left_is_set_back_once(self):
        self.records.left[fakes.HOST] = ['old']
        with self.assertLogs(sampler.LOG, 'INFO') as logs:
            self.sampler.tell(fakes.HOST)
            self.assertTrue(self.sampler.wait(10))

        self.assertIn('server old set back to 0', logs.output[0])
        self.assertEqual(['forget_progress'], self.records.calls)

    def test_an_end_that_was_not_heard_is_noticed(self):
        server = self.records.add('one')
        with mock.patch.object(sampler, '_END_PATIENCE', 0.05):
            self.sampler.tell(fakes.start('one'))
            self.eventually(lambda: server.history)
            server.task_state = None
            self.assertTrue(self.sampler.wait(10))

        self.assertEqual(0, server.progress)


class FaultTest(SamplerCase):
    def test_a_deleted_server_is_let_go(self):
        self.sampler.tell(fakes.start('deleted'))

        self.assertTrue(self.sampler.wait(10))

    def test_a_server_without_a_record_is_let_go(self):
        self.records.add('one')
        del self.records.records['one']
        self.sampler.tell(fakes.start('one'))

        self.assertTrue(self.sampler.wait(10))
        self.assertEqual([], self.records.bytes)

    def test_a_conductor_that_fails_is_left_alone_and_tried_again(self):
        server = self.records.add('one')
        self.records.failure = TimeoutError('no answer')
        with self.assertLogs(sampler.LOG, 'WARNING') as logs:
            self.sampler.tell(fakes.start('one'))
            self.eventually(lambda: len(self.records.calls) > 4)
        self.records.failure = None
        self.eventually(lambda: server.history == [14])
        self.finish(server)

        # Once per outage, not once per attempt.
        self.assertEqual(1, len(logs.output))
        self.assertIn('They go on', logs.output[0])

    def test_the_end_waits_for_a_conductor_that_is_away(self):
        server = self.records.add('one')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.progress == 14)
        self.records.failure = TimeoutError('no answer')
        server.task_state = None
        self.sampler.tell(fakes.end('one'))
        self.assertFalse(self.sampler.wait(0.2))
        self.records.failure = None

        self.assertTrue(self.sampler.wait(10))
        self.assertEqual(0, server.progress)

    def test_a_number_whose_write_was_not_answered_is_taken_back(self):
        server = self.records.add('one')
        save = self.records.save_progress

        def unanswered(server, value):
            save(server, value)
            server.task_state = None
            raise TimeoutError('written, but no answer')

        with mock.patch.object(self.records, 'save_progress', unanswered):
            self.sampler.tell(fakes.start('one'))
            self.eventually(lambda: server.progress == 14)
        self.finish(server)

        self.assertEqual(0, server.progress)

    def test_the_end_waits_for_a_conductor_only_so_long(self):
        self.records.add('one')
        self.records.failure = TimeoutError('no answer')
        self.sampler.tell(fakes.start('one'))
        with mock.patch.object(sampler, '_END_PATIENCE', 0.05):
            self.sampler.tell(fakes.end('one'))

            self.assertTrue(self.sampler.wait(10))

    def test_one_that_always_fails_does_not_stop_the_others(self):
        bad, good = self.records.add('bad'), self.records.add('good')
        self.records.records['bad'] = None
        self.write(self.place().base, 4096)
        self.sampler.tell(fakes.start('bad'))
        self.sampler.tell(fakes.start('good'))

        self.eventually(lambda: good.history == [14])
        self.assertEqual([], bad.history)

    def test_one_that_is_given_up_leaves_no_number(self):
        server = self.records.add('one')
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.progress == 14)
        with (
            self.assertLogs(sampler.LOG, 'WARNING') as logs,
            mock.patch.object(
                self.records,
                'save_bytes',
                autospec=True,
                side_effect=ValueError,
            ) as save_bytes,
        ):
            self.write(self.place().part, 500)
            self.eventually(
                lambda: 'is not written any more' in ' '.join(logs.output)
            )
            self.finish(server)

        self.assertEqual(sampler._MAX_FAILURES, save_bytes.call_count)
        self.assertEqual(0, server.progress)

    def test_a_look_that_fails_does_not_stop_the_others(self):
        look = files.look

        def broken(where, since):
            if where.home.endswith('bad'):
                raise RuntimeError('ours')
            return look(where, since)

        good = self.records.add('good', task='rebuild_spawning')
        self.records.add('bad', task='rebuild_spawning')
        self.write(self.place().base, 4096)
        with mock.patch.object(files, 'look', broken):
            self.sampler.tell(fakes.start('bad'))
            self.sampler.tell(fakes.start('good'))
            self.eventually(lambda: self.records.bytes)
            self.sampler.tell(fakes.end('bad'))
            self.finish(good)

        self.assertIn(('record of good', 0, 0), self.records.bytes)

    def test_options_that_cannot_be_read_cost_one_evacuation(self):
        server = self.records.add('one')
        with (
            mock.patch.object(
                watched, 'storage_of', autospec=True, side_effect=KeyError
            ),
            self.assertLogs(sampler.LOG, 'WARNING') as logs,
        ):
            self.sampler.tell(fakes.start('other'))
            self.assertTrue(self.sampler.wait(10))
        self.assertIn('Not followed', logs.output[0])
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: server.history)

    def test_a_full_queue_drops_and_does_not_wait(self):
        self.records.add('one')
        self.records.answers.clear()
        self.sampler.tell(fakes.start('one'))
        self.eventually(lambda: self.records.calls)
        began = time.monotonic()
        told = [
            self.sampler.tell(fakes.start(f'server {number}'))
            for number in range(2 * sampler._QUEUE)
        ]
        took = time.monotonic() - began

        self.assertEqual(sampler._QUEUE, sum(told))
        # 2048 of them; waiting for any one would be seen.
        self.assertLess(took, 2.0)

    def test_telling_does_not_wait_for_a_conductor_that_hangs(self):
        self.records.add('one')
        self.records.answers.clear()
        times = []
        for number in range(200):
            began = time.monotonic()
            self.sampler.tell(fakes.start(f'server {number}'))
            times.append(time.monotonic() - began)

        self.assertLess(sorted(times)[100], 0.001)
        self.assertLess(max(times), 0.25)

    def test_many_at_once_mean_fewer_rounds_and_not_more_load(self):
        for number in range(64):
            self.records.add(f'server {number}', task='rebuild_spawning')
        busy = []
        find_servers = self.records.find_servers

        def slow(uuids):
            began = time.monotonic()
            time.sleep(0.05)
            try:
                return find_servers(uuids)
            finally:
                busy.append(time.monotonic() - began)

        self.records.find_servers = slow
        self.conf.nova_ha_progress.mirror_progress = False
        for number in range(64):
            self.sampler.tell(fakes.start(f'server {number}'))
        self.eventually(lambda: busy)
        began = time.monotonic()
        before = len(busy)
        self.eventually(lambda: len(busy) >= before + 4)
        elapsed = time.monotonic() - began

        # It rests three times as long as it works; one round is cut off.
        self.assertLess(sum(busy[before:]) - busy[-1], 0.4 * elapsed)
