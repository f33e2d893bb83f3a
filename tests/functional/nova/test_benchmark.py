# SPDX-License-Identifier: Apache-2.0

"""The benchmark of lists runs; what it measures is not judged here."""

from unittest import mock

from benchmarks import listing
from benchmarks import pairs


def once(first, second):
    first()
    second()
    return 1.0, 1.0, 1.0


class WaveTest(listing.Cloud):
    """Each way to the list gives all evacuations, or it raises."""

    count = 6
    NUMBER_OF_CELLS = 2

    def test_every_way_gives_all_evacuations(self):
        with (
            mock.patch.object(
                pairs, 'compare', autospec=True, side_effect=once
            ) as compare,
            mock.patch('builtins.print', autospec=True) as printed,
        ):
            self.runTest()

        self.assertEqual(6, compare.call_count)
        self.assertEqual(6, printed.call_count)
