# SPDX-License-Identifier: Apache-2.0

"""Tests of the spelling of system UUIDs."""

import testtools

from nova_ha_plugins.fencing import identity

PLAIN = '4c4c4544-0042-3510-8052-b7c04f4e3232'


class IdentityTest(testtools.TestCase):
    def test_every_spelling_becomes_one(self):
        for text in (
            PLAIN,
            PLAIN.upper(),
            PLAIN.replace('-', ''),
            f'{{{PLAIN}}}',
            f'urn:uuid:{PLAIN}',
            f' {PLAIN}\n',
        ):
            self.assertEqual(PLAIN, identity.normalize(text))

    def test_placeholder_names_no_machine(self):
        for text in (
            '',
            None,
            '00000000-0000-0000-0000-000000000000',
            'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF',
            '03000200-0400-0500-0006-000700080009',
        ):
            self.assertEqual('', identity.normalize(text))
            self.assertFalse(identity.matches(text, text))

    def test_same_system_matches(self):
        self.assertTrue(identity.matches(PLAIN, PLAIN.upper()))
        self.assertEqual('', identity.explain(PLAIN, PLAIN.upper()))

    def test_swapped_bytes_do_not_match_but_are_named(self):
        swapped = '44454c4c-4200-1035-8052-b7c04f4e3232'

        self.assertFalse(identity.matches(PLAIN, swapped))
        self.assertIn('swapped', identity.explain(PLAIN, swapped))

    def test_other_system_is_not_called_swapped(self):
        text = identity.explain(PLAIN, '99999999-8888-4777-8666-555555555555')

        self.assertIn(PLAIN, text)
        self.assertNotIn('swapped', text)

    def test_missing_side_is_named(self):
        self.assertIn('the host', identity.explain('', PLAIN))
        self.assertIn('the device', identity.explain(PLAIN, ''))
