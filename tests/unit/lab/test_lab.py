# SPDX-License-Identifier: Apache-2.0
"""What a lab may wipe: its own directory and no other."""

import pathlib
import shutil
import tempfile
import unittest
from unittest import mock

from lab import lab as labs
from lab import plan as planning


class TestWipe(unittest.TestCase):
    """With labs of files alone: nothing runs in them."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name).resolve()
        for name in ('up', 'down'):
            patched = mock.patch.object(labs.Lab, name, autospec=True)
            patched.start()
            self.addCleanup(patched.stop)

    def test_directory_of_something_else_is_refused_and_left_alone(self):
        thesis = self.directory / 'thesis.tex'
        thesis.write_text('years of work')

        with self.assertRaisesRegex(planning.LabError, "'thesis.tex'"):
            labs.create(self.directory)

        self.assertTrue(thesis.exists())
        self.assertFalse((self.directory / 'lab.json').exists())

    def test_directory_that_a_lab_was_wiped_from_takes_another(self):
        first = labs.create(self.directory)
        labs.remove(self.directory, wipe=True)

        second = labs.create(self.directory)

        self.assertNotEqual(first.plan.lab_id, second.plan.lab_id)

    def test_directory_of_a_new_lab_is_closed_to_others(self):
        lab = labs.create(self.directory / 'new')

        mode = lab.plan.directory.stat().st_mode
        self.assertEqual(0, mode & 0o077)

    def test_copy_of_a_lab_does_not_wipe_the_lab(self):
        lab = labs.create(self.directory / 'one')
        copy = self.directory / 'copy'
        shutil.copytree(lab.plan.directory, copy)

        self.assertFalse(labs.remove(copy, wipe=True))
        with self.assertRaisesRegex(planning.LabError, 'is a copy of'):
            planning.load(copy)

        self.assertTrue((lab.plan.directory / 'lab.json').exists())

    def test_what_an_interrupted_wipe_leaves_is_wiped_by_the_next_lab(self):
        left = labs.create(self.directory).plan.write('zzz', 'left', text='')
        with (
            mock.patch.object(
                labs.shutil,
                'rmtree',
                autospec=True,
                side_effect=KeyboardInterrupt,
            ),
            self.assertRaises(KeyboardInterrupt),
        ):
            labs.remove(self.directory, wipe=True)

        labs.create(self.directory)

        self.assertFalse(left.exists())
