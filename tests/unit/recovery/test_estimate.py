# SPDX-License-Identifier: Apache-2.0

"""What is told of the time that is left, and what is not told."""

import random
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery.progress import Boot
from nova_ha_plugins.recovery.progress import Phase
from nova_ha_plugins.recovery.progress import Storage

MIB = 1024**2
IN_PLACE = estimate.Kind(Boot.IMAGE, Storage.IN_PLACE)
COPY = estimate.Kind(Boot.IMAGE, Storage.COPY, '512MiB-1GiB')
LARGE = estimate.Kind(Boot.IMAGE, Storage.COPY, '4GiB-8GiB')
VOLUMES = estimate.Kind(Boot.VOLUME, Storage.VOLUMES, '2-4')
UNMEASURED = estimate.Kind(Boot.IMAGE, Storage.UNKNOWN, '16GiB-32GiB')


def past(spawning, kind=IN_PLACE, copied=None, claiming=1.0, preparing=2.0):
    return estimate.Past(
        kind,
        (
            (Phase.CLAIMING, claiming),
            (Phase.PREPARING, preparing),
            (Phase.SPAWNING, spawning),
            (Phase.FINISHING, 1.0),
        ),
        copied,
    )


def pasts(*spawning, **changes):
    return [past(float(seconds), **changes) for seconds in spawning]


def spawning(history, in_phase=0.0, kind=IN_PLACE, **changes):
    return estimate.estimate(
        history, kind, Phase.SPAWNING, 3.0 + in_phase, in_phase, **changes
    )


def times(found):
    return found and (round(found.p50, 6), round(found.p90, 6))


class LeftTest(unittest.TestCase):
    def test_half_and_nine_in_ten_of_its_like_needed_no_longer(self):
        found = spawning(pasts(*range(1, 11)))

        self.assertEqual((6.0, 10.0), times(found))
        self.assertEqual(10, found.samples)

    def test_what_is_over_counts_no_more(self):
        found = spawning(pasts(*range(1, 11)), in_phase=1.0)

        # Of 2 to 10 seconds: 6 and 10, one of which is over; then the rest.
        self.assertEqual((6.0, 10.0), times(found))

    def test_only_those_count_that_took_longer_than_it_has(self):
        found = spawning(pasts(1, 1, 1, 20, 20, 20, 20, 20), in_phase=5.0)

        self.assertEqual((16.0, 16.0), times(found))

    def test_nothing_is_told_from_fewer_than_five(self):
        self.assertIsNone(spawning(pasts(1, 2, 3, 4)))
        self.assertIsNotNone(spawning(pasts(1, 2, 3, 4, 5)))
        self.assertIsNone(
            estimate.Book([]).estimate(IN_PLACE, Phase.ACCEPTED, 0.0, 0.0)
        )

    def test_nothing_is_told_of_one_that_outlasted_its_like(self):
        history = pasts(*range(1, 51))

        self.assertIsNotNone(spawning(history, in_phase=44.5))
        self.assertIsNone(spawning(history, in_phase=46.0))
        self.assertIsNone(spawning(history, in_phase=60.0))

    def test_of_a_few_the_last_may_tell(self):
        history = pasts(1, 2, 3, 4, 9)

        self.assertEqual((6.0, 6.0), times(spawning(history, in_phase=4.0)))
        self.assertIsNone(spawning(history, in_phase=9.0))

    def test_all_that_follows_is_part_of_it(self):
        found = estimate.estimate(
            pasts(5, 5, 5, 5, 5), IN_PLACE, Phase.PREPARING, 1.5, 0.5
        )

        self.assertEqual((7.5, 7.5), times(found))

    def test_when_the_phase_began_is_guessed_from_its_like(self):
        history = pasts(5, 5, 5, 5, 5)

        found = estimate.estimate(history, IN_PLACE, Phase.SPAWNING, 5.0, None)

        # Its like were there after three seconds.
        self.assertEqual((4.0, 4.0), times(found))

    def test_phase_that_most_were_too_quick_for_is_told_by_the_whole(self):
        found = estimate.estimate(
            pasts(5, 5, 5, 5, 5), IN_PLACE, Phase.SCHEDULING, 0.5, 0.1
        )

        self.assertEqual((8.5, 8.5), times(found))

    def test_what_is_over_has_no_time_left(self):
        history = pasts(*range(1, 11))
        for phase in (
            Phase.DONE,
            Phase.FAILED,
            Phase.SUPERSEDED,
            Phase.UNKNOWN,
        ):
            self.assertIsNone(
                estimate.estimate(history, IN_PLACE, phase, 1.0, 1.0)
            )


class LikeTest(unittest.TestCase):
    """Like is compared with like, and the basis is said."""

    def setUp(self):
        super().setUp()
        self.history = [
            *pasts(*[2] * 6),
            *pasts(*[10] * 6, kind=COPY),
            *pasts(*[60] * 6, kind=LARGE),
            *pasts(*[4] * 6, kind=VOLUMES),
        ]

    def told(self, kind, phase=Phase.SPAWNING):
        found = estimate.estimate(self.history, kind, phase, 3.0, 0.0)
        return found and (found.p50, found.samples, found.basis)

    def test_of_the_same_size(self):
        same = 'same boot source, storage and size'
        self.assertEqual((11.0, 6, same), self.told(COPY))
        self.assertEqual((61.0, 6, same), self.told(LARGE))
        self.assertEqual((5.0, 6, same), self.told(VOLUMES))
        self.assertEqual((3.0, 6, same), self.told(IN_PLACE))

    def test_of_any_size_where_its_own_is_rare(self):
        kind = estimate.Kind(Boot.IMAGE, Storage.COPY, '<256MiB')

        self.assertEqual(
            (11.0, 12, 'same boot source and storage'), self.told(kind)
        )

    def test_a_few_of_its_size_are_not_enough(self):
        self.history = [
            *pasts(*[3] * 4, kind=COPY),
            *pasts(*[60] * 6, kind=LARGE),
        ]

        self.assertEqual(
            (61.0, 10, 'same boot source and storage'), self.told(COPY)
        )

    def test_phase_that_was_seen_in_a_few_is_told_by_the_whole(self):
        rest = ((Phase.SPAWNING, 5.0),)
        quick = estimate.Past(IN_PLACE, ((Phase.VOLUMES, 1.0), *rest))
        self.history = [quick] * 4 + [estimate.Past(IN_PLACE, rest)] * 4

        # All of it took five or six seconds, of which three are over.
        self.assertEqual(2.0, self.told(IN_PLACE, Phase.VOLUMES)[0])

    def test_copying_is_never_compared_with_what_need_not_copy(self):
        self.history = pasts(*[2] * 9)

        self.assertIsNone(self.told(COPY))
        self.assertIsNone(self.told(VOLUMES))

    def test_before_the_destination_has_looked_it_may_be_any(self):
        self.assertEqual(
            (13.0, 18, 'same boot source'),
            self.told(UNMEASURED, Phase.PREPARING),
        )

    def test_where_nobody_measures_the_flavor_tells(self):
        other = estimate.Kind(Boot.IMAGE, Storage.UNKNOWN, '1GiB-2GiB')
        self.history = [
            *pasts(*[7] * 6, kind=UNMEASURED),
            *pasts(*[1] * 6, kind=other),
        ]

        for phase, left in ((Phase.PREPARING, 10.0), (Phase.SPAWNING, 8.0)):
            self.assertEqual(
                (left, 6, 'same boot source, storage and size'),
                self.told(UNMEASURED, phase),
            )

    def test_without_knowing_what_it_is_all_are_its_like(self):
        self.assertEqual(
            (11.0, 24, 'all evacuations')[1:],
            self.told(estimate.Kind())[1:],
        )


class BytesTest(unittest.TestCase):
    """While bytes come their rate tells, whatever its like did."""

    def setUp(self):
        super().setUp()
        # Eight seconds of copying, and two or three until it was done.
        self.history = pasts(*[10] * 4, *[11] * 4, kind=COPY, copied=8.0)

    def told(self, left, rate, in_phase=1.0):
        return times(
            spawning(self.history, in_phase, COPY, bytes_left=left, rate=rate)
        )

    def test_own_rate_and_what_comes_after(self):
        self.assertEqual((23.0, 30.0), self.told(200 * MIB, 10.0 * MIB))

    def test_slow_disk_is_told_even_when_all_of_its_like_were_done(self):
        self.assertEqual((103.0, 134.0), self.told(100, 1.0, in_phase=99.0))

    def test_without_a_rate_its_like_tell(self):
        for rate in (None, 0.0):
            self.assertEqual((10.0, 11.0), self.told(200 * MIB, rate))

    def test_after_the_last_byte_only_the_rest_is_left(self):
        self.assertEqual((3.0, 4.0), self.told(0, 1.0 * MIB, in_phase=7.0))
        self.assertEqual((1.5, 1.5), self.told(0, 0.0, in_phase=10.5))
        self.assertIsNone(self.told(0, 0.0, in_phase=20.0))

    def test_bytes_of_what_needs_no_copy_are_no_bytes(self):
        history = pasts(*[1] * 5, *[50] * 5, copied=0.0)

        found = spawning(history, bytes_left=0, in_phase=5.0)

        self.assertEqual((46.0, 46.0), times(found))


class QueueTest(unittest.TestCase):
    """A destination begins with one after the other."""

    def setUp(self):
        super().setUp()
        self.history = [
            past(5.0, claiming=float(waited)) for waited in range(1, 21)
        ]

    def told(self, phase, ahead, in_phase=0.0):
        return times(
            estimate.estimate(
                self.history, IN_PLACE, phase, in_phase, in_phase, ahead=ahead
            )
        )

    def test_each_before_it_takes_what_the_quickest_took(self):
        # Two seconds each, and eight for the work itself.
        self.assertEqual((18.0, 21.0), self.told(Phase.CLAIMING, 4))
        self.assertEqual((10.0, 10.6), self.told(Phase.CLAIMING, 0))

    def test_first_in_the_queue_has_begun(self):
        self.assertEqual((9.5, 9.95), self.told(Phase.CLAIMING, 0, 0.5))
        self.assertEqual((8.0, 8.0), self.told(Phase.CLAIMING, 0, 5.0))

    def test_without_a_queue_its_like_tell(self):
        self.assertEqual((18.0, 26.0), self.told(Phase.CLAIMING, None))

    def test_queue_is_over_once_the_destination_works(self):
        self.assertEqual((8.0, 8.0), self.told(Phase.PREPARING, 4))


class KindTest(unittest.TestCase):
    def kind(self, **changes):
        return estimate.kind_of(
            progress.Facts(
                status='accepted',
                source='src',
                destination=None,
                guest=None,
                now=1.0,
                created_at=0.0,
                **changes,
            )
        )

    def test_image_is_classed_by_its_bytes(self):
        for total, size in (
            (1, '<256MiB'),
            (256 * MIB, '256MiB-512MiB'),
            (512 * MIB - 1, '256MiB-512MiB'),
            (512 * MIB, '512MiB-1GiB'),
            (5000 * MIB, '4GiB-8GiB'),
            (2**42, '4096GiB-8192GiB'),
        ):
            self.assertEqual(
                estimate.Kind(Boot.IMAGE, Storage.COPY, size),
                self.kind(boot=Boot.IMAGE, disk_total=total, flavor_disk=20),
            )

    def test_server_on_volumes_is_classed_by_their_number(self):
        for number, size in (
            (None, ''),
            (1, '1'),
            (2, '2-4'),
            (4, '2-4'),
            (5, '5-8'),
            (9, '>8'),
        ):
            self.assertEqual(
                estimate.Kind(Boot.VOLUME, Storage.VOLUMES, size),
                self.kind(boot=Boot.VOLUME, volumes_total=number),
            )

    def test_nothing_to_bring_has_no_size(self):
        self.assertEqual(
            IN_PLACE,
            self.kind(boot=Boot.IMAGE, disk_total=0, flavor_disk=20),
        )

    def test_unmeasured_disk_is_classed_by_the_flavor(self):
        self.assertEqual(
            UNMEASURED, self.kind(boot=Boot.IMAGE, flavor_disk=20)
        )
        self.assertEqual('', self.kind(flavor_disk=0).size)

    def test_class_fits_its_column(self):
        self.assertLessEqual(len(self.kind(disk_total=2**62).size), 32)


# ---- whatever happened ------------------------------------------------------

# Multiples of 1/8: sums and products of them are exact.
SECONDS = st.integers(0, 4000).map(lambda eighths: eighths / 8)
PHASES = [phase for phase in progress.PERCENT if phase is not Phase.DONE]
KINDS = st.sampled_from(
    [IN_PLACE, COPY, LARGE, VOLUMES, UNMEASURED, estimate.Kind()]
)
HISTORY = st.lists(
    st.builds(
        estimate.Past,
        KINDS,
        st.dictionaries(st.sampled_from(PHASES), SECONDS).map(
            lambda seconds: tuple(
                (phase, seconds[phase]) for phase in PHASES if phase in seconds
            )
        ),
        st.one_of(st.none(), SECONDS),
    ),
    max_size=40,
)
ASKED = st.fixed_dictionaries(
    {
        'kind': KINDS,
        'phase': st.sampled_from(list(Phase)),
        'elapsed': SECONDS,
        'in_phase': st.one_of(st.none(), SECONDS),
        'bytes_left': st.one_of(st.none(), st.integers(0, 2**40)),
        'rate': st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0**20])),
        'ahead': st.one_of(st.none(), st.integers(0, 100)),
    }
)


def slower(history, times):
    return [
        estimate.Past(
            past.kind,
            tuple((phase, took * times) for phase, took in past.seconds),
            None if past.copied is None else past.copied * times,
        )
        for past in history
    ]


class WhateverTest(unittest.TestCase):
    @hypothesis.settings(deadline=None, max_examples=300)
    @hypothesis.given(HISTORY, ASKED)
    def test_it_is_never_negative_and_never_the_wrong_way_round(
        self, history, asked
    ):
        found = estimate.estimate(history, **asked)

        if found is not None:
            self.assertLessEqual(0.0, found.p50)
            self.assertLessEqual(found.p50, found.p90)
            self.assertLessEqual(estimate.MINIMUM_SAMPLES, found.samples)
            self.assertLessEqual(found.samples, len(history))
            self.assertTrue(found.basis)

    @hypothesis.settings(deadline=None, max_examples=100)
    @hypothesis.given(HISTORY, ASKED, st.randoms(use_true_random=False))
    def test_the_order_of_history_says_nothing(self, history, asked, chance):
        shuffled = list(history)
        chance.shuffle(shuffled)

        self.assertEqual(
            estimate.estimate(history, **asked),
            estimate.estimate(shuffled, **asked),
        )

    @hypothesis.settings(deadline=None, max_examples=100)
    @hypothesis.given(HISTORY, ASKED)
    def test_cloud_of_half_the_speed_needs_twice_the_time(
        self, history, asked
    ):
        in_phase, rate = asked['in_phase'], asked['rate']
        if rate == 1.0:
            asked['rate'] = rate = 2.0
        doubled = {
            **asked,
            'elapsed': asked['elapsed'] * 2,
            'in_phase': None if in_phase is None else in_phase * 2,
            'rate': None if rate is None else rate / 2,
        }

        one = estimate.estimate(history, **asked)
        two = estimate.estimate(slower(history, 2), **doubled)

        self.assertEqual(one is None, two is None)
        if one is not None:
            self.assertAlmostEqual(one.p50 * 2, two.p50)
            self.assertAlmostEqual(one.p90 * 2, two.p90)

    @hypothesis.settings(deadline=None, max_examples=100)
    @hypothesis.given(HISTORY, st.lists(ASKED, max_size=6))
    def test_book_tells_the_same_however_often_it_is_asked(
        self, history, questions
    ):
        book = estimate.Book(history)

        for asked in [*questions, *questions]:
            self.assertEqual(
                estimate.estimate(history, **asked), book.estimate(**asked)
            )

    def test_asking_for_a_thousand_is_quick(self):
        chance = random.Random(1)
        history = pasts(*(chance.random() for _ in range(200)))
        book = estimate.Book(history)
        book.estimate(IN_PLACE, Phase.SPAWNING, 1.0, 0.1)
        made = len(book._tables)

        for _ in range(1000):
            book.estimate(IN_PLACE, Phase.SPAWNING, 1.0, chance.random())

        # What costs is making a table, and none is made twice.
        self.assertEqual(made, len(book._tables))


if __name__ == '__main__':
    unittest.main()
