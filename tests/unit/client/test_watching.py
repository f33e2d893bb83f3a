# SPDX-License-Identifier: Apache-2.0

"""What ``watch`` follows, what is news of it and how it is said."""

import unittest

from nova_ha_plugins.client import watching
from tests.unit.client import answers

MIB = 1024**2


class FollowerTest(unittest.TestCase):
    def test_what_ended_before_is_not_followed(self):
        follower = watching.Follower()

        changed = follower.update([answers.failed()])

        self.assertEqual([], changed)
        self.assertEqual((0, []), (follower.open, follower.failed))

    def test_named_servers_are_followed_even_when_it_ended_before(self):
        follower = watching.Follower(everything=True)

        changed = follower.update([answers.failed()])

        self.assertEqual(1, len(changed))
        self.assertEqual((0, 1), (follower.open, len(follower.failed)))

    def test_only_the_newest_of_a_server_counts(self):
        follower = watching.Follower()

        follower.update(
            [answers.item(uuid='e2'), answers.failed(uuid='e1')],
        )

        self.assertEqual((1, []), (follower.open, follower.failed))

    def test_only_the_estimate_of_an_answer_is_no_news(self):
        follower = watching.Follower()
        follower.update([answers.item(eta_seconds=9)])

        same = follower.update(
            [
                answers.item(
                    eta_seconds=8,
                    eta_p90_seconds=12,
                    explanation='About 8 s are left.',
                    updated_at='x',
                )
            ]
        )
        bytes_moved = follower.update([answers.item(disk_processed_bytes=1)])

        self.assertEqual(([], 1), (same, len(bytes_moved)))
        self.assertEqual(1, follower.items['s1']['disk_processed_bytes'])

    def test_numbers_of_one_record_never_go_back(self):
        follower = watching.Follower()
        follower.update([answers.item(percent=40, disk_processed_bytes=9)])

        follower.update([answers.item(percent=25, disk_processed_bytes=7)])
        kept = follower.items['s1']
        follower.update([answers.item(uuid='e2', percent=2)])

        self.assertEqual(
            (40, 9), (kept['progress'], kept['disk_processed_bytes'])
        )
        self.assertEqual(2, follower.items['s1']['progress'])

    def test_open_ones_that_are_missing_in_an_answer_have_vanished(self):
        follower = watching.Follower(everything=True)
        follower.update(
            [
                answers.item('s1', 'e1'),
                answers.item('s2', 'e2'),
                answers.done('s3', 'e3'),
                answers.item('s4', 'e4'),
            ]
        )

        # The evacuation of s4 was asked for anew.
        found = follower.vanished(
            [answers.item('s2', 'e2'), answers.item('s4', 'e5')]
        )

        self.assertEqual(['e1'], [item['uuid'] for item in found])

    def test_deleted_server_ends_with_a_sentence(self):
        follower = watching.Follower()
        follower.update([answers.item(eta_seconds=9)])

        follower.update([watching.deleted(follower.items['s1'])])

        [item] = follower.failed
        self.assertEqual(
            ('server_deleted', None), (item['reason'], item['eta_seconds'])
        )
        self.assertIn('deleted', item['explanation'])

    def test_record_that_tells_nothing_any_more_is_not_waited_for(self):
        follower = watching.Follower(everything=True)

        follower.update([answers.item(state='unknown', percent=None)])
        waiting = follower.open
        follower.update(
            [answers.item(state='unknown', percent=None, status='cancelled')]
        )

        self.assertEqual(1, waiting)
        self.assertEqual((0, 1), (follower.open, len(follower.failed)))

    def test_line_is_worth_a_change_or_ten_percent(self):
        follower = watching.Follower()
        worth = [
            follower.worth_a_line(answers.item(**changes))
            for changes in (
                {'percent': 40},
                {'percent': 49},
                {'percent': 49, 'eta_seconds': 3, 'explanation': 'So far 3'},
                {'percent': 50},
                {'percent': 50, 'stalled': True, 'reason': 'no_activity'},
                {'percent': None, 'stalled': True, 'reason': 'no_activity'},
                {'percent': None, 'stalled': True, 'reason': 'no_activity'},
                {'percent': 90, 'phase': 'finishing'},
                {'percent': 0, 'uuid': 'e2', 'phase': 'finishing'},
            )
        ]

        self.assertEqual(
            [True, False, False, True, True, True, False, True, True], worth
        )

    def test_trouble_comes_first_and_what_is_back_last(self):
        follower = watching.Follower(everything=True)
        follower.update(
            [
                answers.done('back', 'e1'),
                answers.item('early', 'e2', percent=14),
                answers.item('far', 'e3', percent=60),
                answers.item('waits', 'e4', 'queued', 2),
                answers.item('stuck', 'e5', stalled=True),
                answers.failed('lost', 'e6'),
                answers.item('odd', 'e7', 'unknown', None),
            ]
        )

        order = [item['server_uuid'] for item in follower.ordered()]

        self.assertEqual(
            ['stuck', 'lost', 'far', 'early', 'waits', 'odd', 'back'], order
        )
        self.assertEqual(
            '1 failed, 1 queued, 3 running, 1 succeeded, 1 unknown',
            watching.counts_line(follower),
        )


class LineTest(unittest.TestCase):
    def line(self, **changes):
        return watching.line(answers.item(**changes), 'web-1')

    def test_line_of_a_copy_has_bytes_way_and_estimate(self):
        line = self.line(
            percent=62,
            disk_total_bytes=512 * MIB,
            disk_processed_bytes=310 * MIB,
            eta_seconds=80,
            eta_p90_seconds=130,
            explanation='It copies the image.',
        )

        self.assertEqual(
            'web-1  6/8 spawning     62%  310 of 512 MiB  cmp-1 -> cmp-2  '
            'about 1 min 20 s left (9 in 10: 2 min 10 s)',
            line,
        )

    def test_line_of_a_tenant_names_no_host(self):
        line = self.line(source_compute=None, dest_compute=None)

        self.assertEqual('web-1  6/8 spawning     40%  no estimate yet', line)

    def test_one_that_waits_says_for_what_and_how_long(self):
        line = self.line(
            state='queued',
            phase='claiming',
            percent=10,
            dest_compute=None,
            eta_seconds=80,
            explanation='It waits for the others. About 80 s are left.',
        )

        self.assertEqual(
            'web-1  3/8 claiming     10%  cmp-1 -> ?  It waits for the '
            'others. About 80 s are left.',
            line,
        )

    def test_one_that_goes_on_in_spite_of_something_says_of_what(self):
        line = self.line(
            reason='source_returned', explanation='The old host came back.'
        )

        self.assertTrue(
            line.endswith('no estimate yet  The old host came back.'), line
        )

    def test_volumes_are_counted_while_they_are_attached(self):
        volumes = {'volumes_total': 3, 'volumes_done': 1}

        attached = self.line(phase='volumes', percent=30, **volumes)
        later = self.line(**volumes)

        self.assertIn('1 of 3 volumes', attached)
        self.assertNotIn('of 3', later)

    def test_what_is_not_copied_has_no_bytes(self):
        self.assertNotIn(' of ', self.line(disk_total_bytes=0))

    def test_stalled_one_promises_no_end(self):
        line = self.line(
            percent=None,
            stalled=True,
            reason='destination_down',
            eta_seconds=9,
        )

        self.assertEqual(
            'web-1  6/8 spawning      -   cmp-1 -> cmp-2  '
            'stalled: destination_down',
            line,
        )

    def test_ended_ones_say_how(self):
        failed = watching.line(answers.failed(dest_compute=None), 'web-1')
        back = watching.line(
            answers.done(explanation='It is there.', eta_seconds=0), 'web-1'
        )

        self.assertEqual(
            'web-1  failed            -   cmp-1 -> ?  No host has room for '
            'it. Make room, evacuate again.',
            failed,
        )
        self.assertEqual('web-1  8/8 done        100%  cmp-1 -> cmp-2', back)

    def test_older_api_is_said_in_its_words(self):
        item = answers.item(reason='source_returned')
        for name in answers.NEW:
            del item[name]

        line = watching.line(item, 'web-1')

        self.assertTrue(line.endswith('no estimate yet  source_returned'))


class HostLineTest(unittest.TestCase):
    def test_counts_progress_and_estimate_of_a_host(self):
        line = watching.host_line(
            answers.row(
                succeeded=26,
                running=3,
                queued=9,
                failed=1,
                planned=2,
                stalled=1,
                progress=63,
                eta_seconds=280,
                eta_p90_seconds=420,
            )
        )

        self.assertEqual(
            'cmp-1: 41 servers  26 back, 3 running, 9 queued, 1 failed, 2 not '
            'asked for yet, 1 stalled  63%  about 4 min 40 s left (9 in 10: '
            '7 min)',
            line,
        )

    def test_host_that_is_through_has_no_estimate(self):
        through = watching.host_line(
            answers.row(succeeded=1, progress=100, eta_seconds=0)
        )
        unknown = watching.host_line(
            answers.row(queued=1, planned=None, progress=None)
        )

        planned = watching.host_line(answers.row(planned=1, progress=0))

        self.assertEqual('cmp-1: 1 server  1 back  100%', through)
        self.assertEqual(
            'cmp-1: 1 server  1 not asked for yet  0%  no estimate yet',
            planned,
        )
        self.assertEqual('cmp-1: 1 server  1 queued  no estimate yet', unknown)

    def test_what_is_not_back_and_does_not_move_is_bad(self):
        self.assertEqual(
            (0, 3),
            (
                watching.bad_of(answers.row(queued=1, succeeded=1)),
                watching.bad_of(
                    answers.row(failed=1, superseded=1, unknown=1)
                ),
            ),
        )


if __name__ == '__main__':
    unittest.main()
