# SPDX-License-Identifier: Apache-2.0

"""How bytes are counted from what was seen."""

import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.compute import files
from nova_ha_plugins.compute import images
from nova_ha_plugins.compute import tally

QCOW2 = images.Image(1000, 'qcow2')
RAW = images.Image(1000, 'raw')


def begin(*, converts=True, copies=False):
    return tally.Tally(converts=converts, copies=copies)


def take(counted, image=QCOW2, *, settled=True, **seen):
    counted.take(files.Look(**seen), image, settled=settled)
    return counted.total, counted.processed


class TallyTest(unittest.TestCase):
    def test_nothing_is_said_before_anything_is_seen(self):
        self.assertEqual((None, None), take(begin()))

    def test_a_fetch_and_a_conversion(self):
        counted = begin()
        take(counted)

        self.assertEqual((2000, 300), take(counted, part=300))
        self.assertEqual((2000, 1400), take(counted, part=1000, converted=400))
        self.assertEqual((2000, 2000), take(counted, base=4096))

    def test_a_raw_image_is_only_fetched(self):
        self.assertEqual((1000, 300), take(begin(), RAW, part=300))

    def test_where_nothing_is_converted(self):
        self.assertEqual((1000, 300), take(begin(converts=False), part=300))

    def test_an_image_in_the_cache_leaves_nothing_to_bring(self):
        self.assertEqual((0, 0), take(begin(), None, base=4096))

    def test_a_copy_of_an_image_in_the_cache(self):
        counted = begin(copies=True)

        self.assertEqual((4096, 0), take(counted, None, base=4096))
        self.assertEqual((4096, 512), take(counted, base=4096, disk=512))
        # Whether it is finished is not for the disk to say.
        self.assertEqual((4096, 4095), take(counted, base=4096, disk=9000))
        counted.complete()
        self.assertEqual(4096, counted.processed)

    def test_a_fetch_a_conversion_and_a_copy(self):
        counted = begin(copies=True)
        take(counted)

        self.assertEqual((3000, 1000), take(counted, part=1000))
        self.assertEqual((3000, 1500), take(counted, converted=500))
        self.assertEqual((3000, 2100), take(counted, base=4096, disk=100))

    def test_a_fetch_that_was_over_before_the_second_look(self):
        counted = begin()
        take(counted)

        self.assertEqual((2000, 2000), take(counted, base=4096))

    def test_a_conversion_that_grows_is_not_done_before_its_end(self):
        counted = begin()
        take(counted, part=1000, converted=0)

        self.assertEqual((2000, 1999), take(counted, converted=5000))

    def test_the_length_is_waited_for(self):
        counted = begin()
        take(counted, None, settled=False)

        self.assertEqual(
            (None, None), take(counted, None, settled=False, part=300)
        )
        self.assertEqual(
            (None, None),
            take(counted, None, settled=False, part=300, converted=100),
        )
        self.assertEqual((2000, 300), take(counted, part=300))

    def test_a_fetch_is_never_longer_than_the_image(self):
        self.assertEqual((2000, 1000), take(begin(), part=1500))

    def test_without_a_length_the_end_of_the_fetch_says_it(self):
        counted = begin()
        take(counted, None)

        self.assertEqual((None, None), take(counted, None, part=700))
        self.assertEqual(
            (1400, 800), take(counted, None, part=700, converted=100)
        )

    def test_without_a_length_and_without_a_conversion(self):
        counted = begin()
        take(counted, None, part=700)

        self.assertEqual((700, 700), take(counted, None, base=4096))

    def test_a_disk_that_is_here_stays_so(self):
        counted = begin()
        counted.nothing_to_bring()

        self.assertEqual((0, 0), take(counted, part=300))

    def test_what_was_said_is_not_taken_back(self):
        counted = begin()
        take(counted)
        take(counted, part=800)
        counted.nothing_to_bring()

        self.assertEqual((2000, 800), take(counted))

    @hypothesis.settings(max_examples=200, deadline=None)
    @hypothesis.given(
        st.booleans(),
        st.booleans(),
        st.lists(
            st.tuples(
                st.builds(
                    files.Look,
                    base=st.none() | st.integers(0, 3000),
                    part=st.none() | st.integers(0, 3000),
                    converted=st.none() | st.integers(0, 3000),
                    disk=st.none() | st.integers(0, 3000),
                ),
                st.sampled_from([None, QCOW2, RAW]),
                st.booleans(),
            ),
            max_size=12,
        ),
    )
    def test_no_sequence_of_looks_goes_back_or_over(
        self, converts, copies, looks
    ):
        counted = begin(converts=converts, copies=copies)
        before, total = -1, None
        for seen, image, settled in looks:
            counted.take(seen, image, settled=settled)
            self.assertEqual(counted.total is None, counted.processed is None)
            if counted.total is None:
                continue
            self.assertIn(total, (None, counted.total))
            self.assertLessEqual(before, counted.processed)
            self.assertLessEqual(counted.processed, counted.total)
            before, total = counted.processed, counted.total
