# SPDX-License-Identifier: Apache-2.0

"""What is remembered from look to look, and what is told of it."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import explain
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery import views
from tests.unit.recovery import recordings

MIB = 1024**2
BEGAN = 1000.0


def seen(phase='accepted', percent=0, **changes):
    queued = ('accepted', 'scheduling', 'claiming')
    base = views.Evacuation(
        uuid='record',
        server_uuid='server',
        status='accepted' if phase in queued else 'pre-migrating',
        state='queued' if phase in queued else 'running',
        phase=phase,
        created_at=BEGAN,
        source_compute='src',
        progress=percent,
    )
    return dataclasses.replace(base, **changes)


def done(**changes):
    return seen(
        'done',
        100,
        **{'status': 'done', 'state': 'succeeded', **changes},
    )


def failed(state='failed', **changes):
    return seen(state, None, **{'status': 'failed', 'state': state, **changes})


def follow(*looks):
    """Give what is remembered after the looks, and all that was told."""
    trace, told = None, []
    for now, one in looks:
        found = following.follow(trace, one, now)
        trace = found.trace
        told += [(now, word) for word in found.tellings]
    return trace, told


class PhasesTest(unittest.TestCase):
    def test_each_phase_is_timed_by_nova_or_else_by_the_look(self):
        trace, _ = follow(
            (1000.5, seen()),
            (1002.0, seen('claiming', 10, phase_started_at=1001.0)),
            (1004.0, seen('preparing', 14)),
            (1005.0, seen('preparing', 17)),
            (1006.0, seen('spawning', 40, phase_started_at=1005.5)),
            (1020.0, done(finished_at=1018.0)),
        )

        self.assertEqual(
            {
                'accepted': 1.0,
                'claiming': 3.0,
                'preparing': 1.5,
                'spawning': 12.5,
            },
            trace.seconds,
        )
        self.assertEqual(('done', 1018.0), (trace.phase, trace.finished_at))

    def test_what_was_over_before_the_first_look_is_not_lost(self):
        trace, _ = follow(
            (1010.0, seen('spawning', 40)), (1030.0, done(finished_at=1025.0))
        )

        self.assertEqual({'accepted': 10.0, 'spawning': 15.0}, trace.seconds)

    def test_time_that_contradicts_takes_nothing_back(self):
        trace, _ = follow(
            (1010.0, seen('preparing', 14)),
            (1011.0, seen('spawning', 40, phase_started_at=1004.0)),
            (1020.0, done(finished_at=1003.0)),
        )

        self.assertEqual(
            {'accepted': 10.0, 'preparing': 0.0, 'spawning': 0.0},
            trace.seconds,
        )

    def test_task_of_somebody_else_is_no_phase(self):
        trace, told = follow(
            (1001.0, seen('spawning', 40)),
            (1010.0, seen('unknown', None, state='unknown')),
            (1020.0, seen('spawning', 45)),
        )

        self.assertEqual(
            ('spawning', 1001.0), (trace.phase, trace.phase_since)
        )
        self.assertEqual({'accepted': 1.0}, trace.seconds)
        self.assertEqual([(1001.0, 'start')], told)

    def test_what_it_is_is_learned_and_not_forgotten(self):
        trace, _ = follow(
            (1001.0, seen(boot_source='image', size_class='8GiB-16GiB'))
        )
        self.assertEqual(
            ('image', 'unknown', '8GiB-16GiB', ''),
            (trace.boot, trace.storage, trace.size, trace.destination),
        )

        trace, _ = follow(
            (1001.0, seen(boot_source='image', size_class='8GiB-16GiB')),
            (
                1002.0,
                seen(
                    'spawning',
                    40,
                    dest_compute='dst',
                    storage='copy',
                    size_class='512MiB-1GiB',
                ),
            ),
            (1003.0, done(size_class='8GiB-16GiB')),
        )

        self.assertEqual(
            ('image', 'copy', '512MiB-1GiB', 'dst'),
            (trace.boot, trace.storage, trace.size, trace.destination),
        )


class BytesTest(unittest.TestCase):
    def copying(self, *looks, total=1000 * MIB):
        trace, _ = follow(
            (1000.0, seen('spawning', 40)),
            *(
                (
                    now,
                    seen(
                        'spawning',
                        40,
                        storage='copy',
                        disk_total_bytes=total,
                        disk_processed_bytes=int(amount * MIB),
                    ),
                )
                for now, amount in looks
            ),
        )
        return trace

    def test_one_look_has_no_rate(self):
        self.assertIsNone(self.copying((1001.0, 50)).rate)

    def test_steady_rate_is_told_at_once(self):
        trace = self.copying((1001.0, 0), (1003.0, 20), (1006.0, 50))

        self.assertAlmostEqual(10.0 * MIB, trace.rate)

    def test_rate_follows_the_last_seconds(self):
        quick = [(1000.0 + n, 50.0 * n) for n in range(1, 6)]
        slow = [(1005.0 + n, 250.0 + 5.0 * n) for n in range(1, 31)]

        trace = self.copying(*quick, *slow)

        self.assertLess(trace.rate, 8.0 * MIB)
        self.assertGreater(trace.rate, 5.0 * MIB)

    def test_rate_of_what_stands_still_falls(self):
        trace = self.copying((1001.0, 0), (1002.0, 50), (1032.0, 50))

        self.assertLess(trace.rate, 3.0 * MIB)

    def test_when_all_bytes_are_there_is_kept(self):
        trace = self.copying((1001.0, 0), (1012.0, 1000), (1020.0, 1000))

        self.assertEqual(12.0, trace.copied)

    def test_nothing_to_copy_was_never_copied(self):
        trace = self.copying((1001.0, 0), (1002.0, 0), total=0)

        self.assertIsNone(trace.copied)


class TellingTest(unittest.TestCase):
    def test_beginning_and_end_of_a_quick_one(self):
        _, told = follow(
            (1001.0, seen()),
            (1002.0, seen('preparing', 14)),
            (1003.0, seen('spawning', 40)),
            (1004.0, done(finished_at=1003.5)),
            (1005.0, done(finished_at=1003.5)),
        )

        self.assertEqual([(1001.0, 'start'), (1004.0, 'end')], told)

    def test_progress_is_told_by_phase_and_by_ten_percent(self):
        _, told = follow(
            (1000.0, seen()),
            (1006.0, seen('spawning', 40)),
            (1012.0, seen('spawning', 49)),
            (1018.0, seen('spawning', 50)),
            (1024.0, seen('spawning', 51)),
            (1030.0, seen('finishing', 90)),
        )

        self.assertEqual(
            [
                (1000.0, 'start'),
                (1006.0, 'progress'),
                (1018.0, 'progress'),
                (1030.0, 'progress'),
            ],
            told,
        )

    def test_next_phase_is_told_however_few_percent_it_is(self):
        _, told = follow((1000.0, seen()), (1006.0, seen('scheduling', 2)))

        self.assertEqual([(1000.0, 'start'), (1006.0, 'progress')], told)

    def test_progress_waits_until_five_seconds_are_over(self):
        _, told = follow(
            (1000.0, seen()),
            *((1000.0 + n, seen('spawning', 40 + n)) for n in range(1, 13)),
        )

        self.assertEqual([(1000.0, 'start'), (1005.0, 'progress')], told)

    def test_one_that_ended_badly_is_an_error(self):
        for state in ('failed', 'superseded'):
            _, told = follow((1000.0, seen()), (1009.0, failed(state)))

            self.assertEqual([(1000.0, 'start'), (1009.0, 'error')], told)

    def test_one_that_a_newer_one_replaced_may_still_arrive(self):
        older = failed('superseded', status='pre-migrating', updated_at=1005.0)
        late = 1005.0 + following.LOST_SECONDS

        _, told = follow((1000.0, seen()), (1009.0, older), (late, older))
        self.assertEqual([(1000.0, 'start'), (1009.0, 'progress')], told)

        trace, told = follow(
            (1000.0, seen()), (1009.0, older), (1020.0, done())
        )
        self.assertEqual((1020.0, 'end'), told[-1])
        self.assertIsNone(following.past_of(trace))

        _, told = follow((1000.0, seen()), (late + 1.0, older))
        self.assertEqual([(1000.0, 'start'), (late + 1.0, 'error')], told)

    def test_one_that_ended_between_two_looks_is_told_whole(self):
        _, told = follow((1300.0, done(finished_at=1004.0)))

        self.assertEqual([(1300.0, 'start'), (1300.0, 'end')], told)

    def test_one_that_ended_long_ago_is_history_and_no_news(self):
        late = 1000.0 + 2 * following.NEWS_SECONDS
        for one, word in (
            (done(finished_at=1009.0), 'end'),
            (failed(finished_at=1009.0), 'error'),
            (failed('superseded', updated_at=1009.0), 'error'),
        ):
            trace, told = follow((late, one), (late + 1.0, one))

            self.assertEqual([], told)
            self.assertEqual((word, 1009.0), (trace.told, trace.finished_at))

    def test_slow_one_is_news_whenever_it_ends(self):
        late = 1000.0 + 9 * following.NEWS_SECONDS
        _, told = follow((1001.0, seen()), (late, done(finished_at=1009.0)))

        self.assertEqual([(1001.0, 'start'), (late, 'end')], told)

    def test_one_that_nobody_can_tell_of_is_given_up(self):
        lost = seen(
            'unknown',
            None,
            state='unknown',
            status='completed',
            updated_at=1e4,
        )
        soon, late = 1e4 + 60.0, 1e4 + 2 * following.LOST_SECONDS

        trace, told = follow((1001.0, seen()), (soon, lost))
        self.assertIsNone(trace.finished_at)

        trace, told = follow((1001.0, seen()), (soon, lost), (late, lost))
        self.assertEqual(late, trace.finished_at)
        self.assertEqual([(1001.0, 'start'), (late, 'error')], told)

    def test_open_one_is_never_given_up(self):
        odd = seen('unknown', None, state='unknown')

        trace, _ = follow((1001.0, seen()), (1e6, odd))

        self.assertIsNone(trace.finished_at)


class PastTest(unittest.TestCase):
    def test_one_that_ended_well_is_what_others_are_compared_with(self):
        trace, _ = follow(
            (1001.0, seen(boot_source='image')),
            (1002.0, seen('spawning', 40, storage='copy', size_class='x')),
            (1009.0, done(finished_at=1008.0)),
        )

        self.assertEqual(
            estimate.Past(
                estimate.Kind(progress.Boot.IMAGE, progress.Storage.COPY, 'x'),
                (
                    (progress.Phase.ACCEPTED, 2.0),
                    (progress.Phase.SPAWNING, 6.0),
                ),
            ),
            following.past_of(trace),
        )

    def test_others_are_not(self):
        for looks in (
            [(1001.0, seen())],
            [(1001.0, seen()), (1009.0, failed())],
            [(1001.0, seen()), (1009.0, failed('superseded'))],
        ):
            self.assertIsNone(following.past_of(follow(*looks)[0]))


PHASES = [str(phase) for phase in progress.PERCENT]
LOOKS = st.lists(
    st.tuples(
        st.floats(0.0, 30.0),
        st.sampled_from([*PHASES[:-1], 'unknown']),
        st.one_of(st.none(), st.integers(0, 99)),
        st.one_of(st.none(), st.floats(900.0, 1500.0)),
        st.one_of(st.none(), st.integers(0, 100)),
    ),
    max_size=20,
)


class WhateverTest(unittest.TestCase):
    @hypothesis.settings(deadline=None, max_examples=200)
    @hypothesis.given(LOOKS, st.sampled_from([None, done(), failed()]))
    def test_nothing_is_told_twice_and_no_time_is_lost(self, looks, last):
        now, trace, told = BEGAN, None, []
        sequence = [
            (
                pause,
                seen(
                    phase,
                    percent,
                    state='unknown' if phase == 'unknown' else 'running',
                    phase_started_at=began,
                    disk_total_bytes=100,
                    disk_processed_bytes=count,
                ),
            )
            for pause, phase, percent, began, count in looks
        ]
        for pause, one in [*sequence, *([(1.0, last)] if last else [])]:
            now += pause
            found = following.follow(trace, one, now)
            again = following.follow(found.trace, one, now)

            self.assertEqual((found.trace, ()), (again.trace, again.tellings))
            self.assertGreaterEqual(found.trace.rate or 0.0, 0.0)
            self.assertTrue(
                all(took >= 0.0 for took in found.trace.seconds.values())
            )
            trace, told = found.trace, [*told, *found.tellings]

        if trace is not None:
            self.assertEqual('start', told[0])
            self.assertNotIn('start', told[1:])
            self.assertNotIn('end', told[:-1])
            self.assertNotIn('error', told[:-1])
            self.assertAlmostEqual(
                trace.phase_since - BEGAN, sum(trace.seconds.values())
            )
        if last is not None:
            self.assertIn(told[-1], ('end', 'error'))


class RecordedTest(unittest.TestCase):
    """What a real nova wrote, followed look by look."""

    def view(self, number, facts):
        found = progress.assess(facts)
        kind = estimate.kind_of(facts)
        event = facts.rebuild or facts.schedule
        ended = found.state in ('succeeded', 'failed') and event is not None
        return found, views.Evacuation(
            uuid=str(number),
            server_uuid='server',
            status=facts.status,
            state=found.state,
            phase=found.phase,
            created_at=facts.created_at,
            source_compute=facts.source,
            dest_compute=facts.destination,
            progress=found.progress,
            boot_source=kind.boot,
            storage=kind.storage,
            size_class=kind.size,
            disk_total_bytes=facts.disk_total,
            disk_processed_bytes=facts.disk_processed,
            finished_at=event.finished_at if ended else None,
        )

    def follow(self, run):
        """Give of each record what is remembered, found and told at last."""
        traces, told, last = {}, {}, {}
        for look in run.looks:
            for number, facts in enumerate(look.facts):
                found, one = self.view(number, facts)
                followed = following.follow(traces.get(number), one, facts.now)
                traces[number], last[number] = followed.trace, found
                told.setdefault(number, []).extend(followed.tellings)
                for with_host in (True, False):
                    words = explain.sentence(
                        facts, found, None, with_host=with_host
                    )
                    if words is not None and not with_host:
                        self.assertNotRegex(words, r'host\d')
        return [(traces[n], last[n], told[n]) for n in traces]

    def test_every_evacuation_begins_once_and_ends_as_it_did(self):
        for name in recordings.names():
            for trace, found, told in self.follow(recordings.read(name)):
                words = {'succeeded': ['end'], 'failed': ['error']}.get(
                    found.state, []
                )
                if found.state == 'superseded' and trace.finished_at:
                    words = ['error']
                with self.subTest(name, evacuation=trace.uuid):
                    self.assertEqual(
                        ['start', *words],
                        [word for word in told if word != 'progress'],
                    )

    def test_what_ended_well_can_be_compared_with(self):
        kinds = set()
        for name in recordings.names():
            for trace, found, _ in self.follow(recordings.read(name)):
                past = following.past_of(trace)
                alone = 'superseded' not in trace.seconds
                self.assertEqual(
                    found.state == 'succeeded' and alone,
                    past is not None,
                    name,
                )
                if past is not None:
                    took = sum(seconds for _, seconds in past.seconds)
                    self.assertAlmostEqual(
                        trace.finished_at - trace.created_at, took
                    )
                    kinds.add((past.kind.boot, past.kind.storage))

        self.assertLessEqual(
            {
                (progress.Boot.IMAGE, progress.Storage.COPY),
                (progress.Boot.VOLUME, progress.Storage.VOLUMES),
            },
            kinds,
        )


if __name__ == '__main__':
    unittest.main()
