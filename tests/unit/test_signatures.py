# SPDX-License-Identifier: Apache-2.0

"""Keys of hosts, and the files that they come from."""

import pathlib
import tempfile
import unittest

from nova_ha_plugins import signatures
from nova_ha_plugins.store import values

SECRET = 'correct-horse-battery-staple-0123'
KEY = 'a8123b2c326b2447763c1a9a1fd21b3f56fd6f844a1d2da9d3c7ba3419cdb841'
SIGNATURE = 'a1190e8793a909394dbb56b894a245569063a9afe64970d607d11955778f2de0'


class KeyTest(unittest.TestCase):
    def test_signature_is_what_it_was_in_earlier_releases(self):
        # A change here makes every host of a cloud unsigned at the upgrade.
        key = signatures.derive(signatures.Key('m', SECRET.encode()), 'cmp-1')
        heard = values.Heard('cmp-1', 'boot', 7, 'uuid', 'service')

        self.assertEqual(
            KEY,
            key.secret.hex(),
        )
        self.assertEqual(SIGNATURE, signatures.sign(key, heard))

    def test_keys_are_not_shown(self):
        key = signatures.Key('m', SECRET.encode())

        self.assertNotIn(SECRET, f'{key} {key!r} {(key,)}')

    def test_key_file_is_read_as_it_was_written(self):
        key = signatures.derive(signatures.Key('m', SECRET.encode()), 'cmp-1')

        self.assertEqual(key, signatures.parse_key(signatures.format_key(key)))

    def test_key_file_of_another_form_is_refused(self):
        for text in ('', 'id', f'id {"g" * 64}', 'id abcd', f'a b {"a" * 64}'):
            with (
                self.subTest(text=text),
                self.assertRaisesRegex(signatures.BadFile, "'ID KEY'"),
            ):
                signatures.parse_key(text)


class MastersTest(unittest.TestCase):
    def test_first_line_is_the_newest(self):
        masters = signatures.parse_masters(
            f'# made in May\n\nnew {SECRET}\nold {SECRET[::-1]}\n'
        )

        self.assertEqual('new', masters.newest.id)

    def test_files_of_another_form_are_refused_without_a_secret(self):
        for text, reason in (
            ('', 'At least one line'),
            ('# only words\n', 'At least one line'),
            (SECRET, 'Line 1 should be'),
            (f'a b {SECRET}', 'Line 1 should be'),
            (f'i/d {SECRET}', 'Line 1 should be'),
            (f'{"i" * 33} {SECRET}', 'Line 1 should be'),
            (f'a {SECRET[:31]}', 'line 1 should have at least 32'),
            (f'a {SECRET}\na {SECRET}', "'a' in line 2 is there twice"),
        ):
            with (
                self.subTest(text=text),
                self.assertRaisesRegex(signatures.BadFile, reason) as caught,
            ):
                signatures.parse_masters(text)
            self.assertNotIn(SECRET[:31], str(caught.exception))

    def test_hosts_that_are_invented_fill_no_memory(self):
        masters = signatures.parse_masters(f'm {SECRET}')
        masters.KEPT = 10
        for number in range(25):
            masters.judge(values.Heard(f'h{number}', 'b', 1), 'm', 'f' * 64)

        self.assertLessEqual(len(masters._keys), 10)


class WatchedTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name) / 'file'
        self.read = []
        self.file = signatures.Watched(str(self.path), self.parse)

    def parse(self, text):
        self.read.append(text)
        return text

    def test_file_is_read_when_it_has_changed_only(self):
        self.path.write_text('a')
        self.file.read()
        self.assertEqual('a', self.file.read())
        self.path.write_text('bc')
        self.assertEqual('bc', self.file.read())

        self.assertEqual(['a', 'bc'], self.read)

    def test_file_that_is_no_text_is_refused_without_its_bytes(self):
        self.path.write_bytes(b'\xffhunter2')
        with self.assertRaises(signatures.BadFile) as caught:
            self.file.read()

        self.assertNotIn('hunter2', str(caught.exception))
        self.assertIsNone(caught.exception.__cause__)


if __name__ == '__main__':
    unittest.main()
