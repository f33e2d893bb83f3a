# SPDX-License-Identifier: Apache-2.0

"""What a look at nova's files says."""

import os
import tempfile
import unittest

from nova_ha_plugins.compute import files

SERVER = '5f9d6c0e-37d5-4c8b-8a51-2f2d5f0f0a11'


class LookTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.instances = directory.name
        self.place = files.place(self.instances, '_base', 'image', SERVER)
        os.mkdir(os.path.join(self.instances, '_base'))

    def write(self, path, size, age=0.0):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(b'x' * size)
        now = 1000.0
        os.utime(path, (now - age, now - age))

    def look(self):
        return files.look(self.place, since=990.0)

    def test_the_name_is_the_one_nova_gives(self):
        # sha1 of 'image', as nova.virt.libvirt.imagecache has it.
        self.assertEqual(
            os.path.join(
                self.instances,
                '_base',
                '0e76292794888d4f1fa75fb3aff4ca27c58f56a6',
            ),
            self.place.base,
        )
        self.assertEqual(
            os.path.join(self.instances, SERVER, 'disk'), self.place.disk
        )

    def test_nothing_is_there(self):
        self.assertEqual(files.Look(), self.look())

    def test_no_directory_at_all(self):
        place = files.place('/nonexistent', '_base', 'image', SERVER)

        self.assertEqual(files.Look(), files.look(place, 0.0))

    def test_a_name_that_no_file_can_have(self):
        place = files.place(self.instances, '_base', 'image', 'a\0b')

        self.assertEqual(files.Look(), files.look(place, 0.0))

    def test_a_fetch_under_way(self):
        self.write(self.place.part, 5000)

        self.assertEqual(files.Look(part=5000), self.look())

    def test_what_a_killed_fetch_left_does_not_count(self):
        self.write(self.place.part, 5000, age=60)
        self.write(self.place.converted, 5000, age=60)

        self.assertEqual(files.Look(), self.look())

    def test_the_source_of_a_conversion_counts_although_it_rests(self):
        self.write(self.place.part, 5000, age=60)
        self.write(self.place.converted, 4096)

        look = self.look()

        self.assertEqual(5000, look.part)
        self.assertGreater(look.converted, 0)

    def test_a_conversion_counts_what_it_wrote_and_not_its_length(self):
        with open(self.place.converted, 'wb') as file:
            file.truncate(1 << 30)
            file.write(b'x' * 4096)
        os.utime(self.place.converted, (1000.0, 1000.0))

        self.assertLess(self.look().converted, 1 << 20)

    def test_the_image_and_the_disk_are_there_however_old(self):
        self.write(self.place.base, 8192, age=1e5)
        self.write(self.place.disk, 4096, age=1e5)

        look = self.look()

        self.assertGreater(look.base, 0)
        self.assertGreater(look.disk, 0)
        self.assertTrue(look.home)
