# SPDX-License-Identifier: Apache-2.0

"""What operators and owners are told in words."""

import dataclasses
import itertools
import unittest

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import explain
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery.progress import Reason
from nova_ha_plugins.recovery.progress import Rival

MIB = 1024**2
RUNS = progress.Event(1000.2)
SUCCESS = progress.Event(1000.2, 1000.6, 'Success')
LATER = 1060.0
LEFT = estimate.Estimate(p50=12.4, p90=20.0, samples=9)


def facts(status='pre-migrating', task='rebuilding', **changes):
    base = progress.Facts(
        status=status,
        source='src-host',
        destination=None if status in ('accepted', 'error') else 'dst-host',
        guest=progress.Guest('src-host', 'active', task),
        now=1001.0,
        created_at=1000.0,
        destination_up=True,
    )
    return dataclasses.replace(base, **changes)


def told(known, left=LEFT, with_host=True):
    return explain.sentence(
        known, progress.assess(known), left, with_host=with_host
    )


class GoingOnTest(unittest.TestCase):
    def check(self, known, operator, owner=None):
        rest = ' About 13 s are left.'
        self.assertEqual(operator + rest, told(known))
        self.assertEqual(
            (owner or operator).replace("host 'dst-host'", 'the new host')
            + rest,
            told(known, with_host=False),
        )

    def test_each_phase_says_what_is_done_and_what_comes_next(self):
        self.check(
            facts('accepted'),
            'It waits for nova-conductor; next nova looks for a host.',
        )
        self.check(
            facts('accepted', schedule=RUNS),
            'Nova looks for a host; next that host sets aside what the '
            'server needs.',
        )
        self.check(
            facts('accepted', schedule=SUCCESS),
            'It is about to begin on the chosen host; next its networks and '
            'volumes are prepared.',
        )
        self.check(
            facts(volumes_total=3, volumes_done=1),
            "Its networks and volumes are prepared on host 'dst-host', 1 of 3 "
            'volumes done; next the volumes are connected.',
        )
        self.check(
            facts(task='rebuild_block_device_mapping', volumes_total=3),
            "Its volumes are connected on host 'dst-host', 0 of 3 volumes "
            'done; next its guest is started.',
        )
        self.check(
            facts(task=None),
            "It was built on host 'dst-host'; nova is about to write that "
            'down.',
        )

    def test_one_in_a_queue_says_how_many_come_first(self):
        self.check(
            facts(
                'accepted', destination='dst-host', schedule=SUCCESS, ahead=3
            ),
            "It waits for host 'dst-host', which begins with 3 before it "
            'first; next its networks and volumes are prepared.',
            'It waits for the new host, which begins with others first; next '
            'its networks and volumes are prepared.',
        )

    def test_spawning_says_what_is_copied(self):
        spawning = 'rebuild_spawning'
        image = progress.Boot.IMAGE
        self.check(
            facts(
                task=spawning,
                boot=image,
                disk_total=512 * MIB - 5,
                disk_processed=128 * MIB,
            ),
            "Its image is copied to host 'dst-host', 128 of 512 MiB; next its "
            'guest is started.',
        )
        for known in (
            {'boot': image, 'disk_total': 0},
            {'boot': image, 'disk_total': 9, 'disk_processed': 9},
            {'boot': progress.Boot.VOLUME},
        ):
            self.check(
                facts(task=spawning, **known),
                'Nothing is left to copy, its guest is started on host '
                "'dst-host'; next nova writes down where it is.",
            )
        self.check(
            facts(task=spawning, boot=image),
            "Its disk is made and its guest started on host 'dst-host'; next "
            'nova writes down where it is.',
        )

    def test_missing_estimate_is_said_and_not_filled(self):
        self.assertEqual(
            'It waits for nova-conductor; next nova looks for a host. There '
            'is no estimate of the time left.',
            told(facts('accepted'), left=None),
        )

    def test_time_is_told_as_people_tell_it(self):
        for seconds, words in (
            (0.0, '1 s'),
            # Rounded up, as in eta_seconds beside it.
            (10.3, '11 s'),
            (118.4, '119 s'),
            (120.0, '2 min'),
            (5400.0, '90 min'),
        ):
            left = estimate.Estimate(seconds, seconds, 9)
            self.assertIn(f'About {words} are', told(facts(), left))

    def test_what_disturbs_it_without_stopping_it_is_said(self):
        self.assertIn(
            'The old host came back and has removed its copy.',
            told(facts('completed', rebuild=RUNS)),
        )
        self.assertIn(
            'it may be built twice', told(facts(rival=Rival.OLDER_OPEN))
        )


class EndTest(unittest.TestCase):
    def test_plain_success_needs_no_words(self):
        self.assertIsNone(told(facts('done')))
        self.assertIsNone(told(facts('completed', rebuild=SUCCESS)))

    def test_record_that_stays_open_is_harmless(self):
        known = facts(rebuild=SUCCESS, now=LATER)

        self.assertIn('Nothing is left to do.', told(known))

    def test_failure_says_why_and_what_next(self):
        self.assertEqual(
            'No host that may run the server had room for it; nova does not '
            'try again. Make room or enable hosts, then evacuate it again.',
            told(facts('error')),
        )
        self.assertEqual(
            "Building the server failed on host 'dst-host'; nova does not try "
            'again. See the fault of the server, make sure that no guest was '
            'left there, then evacuate it again.',
            told(facts('failed')),
        )

    def test_owner_is_told_who_acts(self):
        self.assertEqual(
            'Building the server failed on the new host; nova does not try '
            'again. An operator has to evacuate it again.',
            told(facts('failed'), with_host=False),
        )

    def test_lost_disk_is_said(self):
        known = facts(
            'completed',
            destination=None,
            schedule=progress.Event(1000.2, 1000.6, 'Error'),
        )

        self.assertIn('what was on a local disk is lost', told(known))
        self.assertNotIn('lost', told(facts('error')))

    def test_silence_is_counted_and_the_silent_one_named(self):
        late = 1000.0 + progress.QUIET_SECONDS + 61.0
        for known, worker in (
            (facts(now=late), "nova-compute on host 'dst-host'"),
            (
                facts('accepted', rebuild=RUNS, now=late),
                'nova-compute on the chosen host',
            ),
            (
                facts('accepted', now=late),
                'nova-conductor and nova-scheduler',
            ),
        ):
            words = told(known)
            self.assertIn('for 31 minutes', words)
            self.assertIn(f'See the log of {worker}.', words)

    def test_unknown_says_what_is_in_the_way(self):
        self.assertIn("'deleting'", told(facts(task='deleting')))
        self.assertIn(
            'The server has no task any more and has not arrived',
            told(
                facts(
                    guest=progress.Guest(
                        'src-host', 'active', None, launched_at=900.0
                    )
                )
            ),
        )
        self.assertEqual(
            "Nova's records do not tell what became of it.",
            told(facts('reverted')),
        )


class EveryReasonTest(unittest.TestCase):
    def test_every_reason_has_its_words(self):
        left_open = {Reason.RECORD_LEFT_OPEN}

        self.assertEqual(
            set(Reason),
            {
                *explain.FAILED,
                *explain.SUPERSEDED,
                *explain.STALLED,
                *explain.GOING_ON,
                *left_open,
            },
        )

    def test_whatever_is_found_can_be_said_and_names_no_host_to_owners(self):
        guests = [None] + [
            progress.Guest(host, vm, task, None, launched_at)
            for launched_at in (None, 900.0)
            for host in ('src-host', 'dst-host')
            for vm in ('active',)
            for task in (None, 'rebuilding', 'rebuild_spawning', 'deleting')
        ]
        events = [
            None,
            RUNS,
            SUCCESS,
            progress.Event(1000.2, 1000.6, 'Error'),
        ]
        for (
            status,
            there,
            guest,
            schedule,
            rebuild,
            rival,
            up,
            now,
        ) in itertools.product(
            ('accepted', 'pre-migrating', 'completed', 'failed', 'odd'),
            (None, 'dst-host'),
            guests,
            events,
            events,
            Rival,
            (None, False),
            (1001.0, 9999.0),
        ):
            known = facts(
                status,
                destination=there,
                guest=guest,
                schedule=schedule,
                rebuild=rebuild,
                rival=rival,
                destination_up=up,
                now=now,
            )
            found = progress.assess(known)
            operator = explain.sentence(known, found, None, with_host=True)
            owner = explain.sentence(known, found, None, with_host=False)

            self.assertEqual(operator is None, owner is None)
            if owner is not None:
                self.assertNotIn('-host', owner)
                self.assertNotRegex(operator + owner, r'[{}]|\bNone\b')
                self.assertLessEqual(len(operator), 255)


if __name__ == '__main__':
    unittest.main()
