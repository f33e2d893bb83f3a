# SPDX-License-Identifier: Apache-2.0

"""Seconds and bytes as people say them."""

import unittest

from nova_ha_plugins.client import quantities


class DurationTest(unittest.TestCase):
    def test_as_much_is_said_as_matters(self):
        for seconds, said in (
            (-3, '0 s'),
            (0.4, '0 s'),
            (59.4, '59 s'),
            (59.6, '1 min'),
            (80, '1 min 20 s'),
            (599, '9 min 59 s'),
            (629, '10 min'),
            (660, '11 min'),
            (3600, '1 h'),
            (3599, '1 h'),
            (7500, '2 h 5 min'),
        ):
            with self.subTest(seconds=seconds):
                self.assertEqual(said, quantities.duration(seconds))


class SizeTest(unittest.TestCase):
    def test_unit_suits_the_amount(self):
        for amount, said in (
            (0, '0 bytes'),
            (1023, '1023 bytes'),
            (1024, '1 KiB'),
            (512 * 1024**2, '512 MiB'),
            (int(2.5 * 1024**3), '2.5 GiB'),
            (5000 * 1024**4, '5000 TiB'),
        ):
            with self.subTest(amount=amount):
                self.assertEqual(said, quantities.size(amount))

    def test_both_numbers_of_a_part_have_one_unit(self):
        mib = 1024**2

        self.assertEqual(
            ['310 of 512 MiB', '0 of 512 MiB', '0.3 of 2 GiB'],
            [
                quantities.part(310 * mib, 512 * mib),
                quantities.part(0, 512 * mib),
                quantities.part(310 * mib, 2048 * mib),
            ],
        )


if __name__ == '__main__':
    unittest.main()
