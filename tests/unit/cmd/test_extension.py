# SPDX-License-Identifier: Apache-2.0

"""What the doctor says of evacuations."""

import unittest

from nova_ha_plugins.cmd import extension
from nova_ha_plugins.cmd import finding
from nova_ha_plugins.engine import doors

Level = finding.Level


class ExtensionTest(unittest.TestCase):
    def assert_says(self, level, pattern, found):
        self.assertEqual(level, found.level, found.text)
        self.assertRegex(found.text, pattern)

    def test_resource_that_is_there_is_well(self):
        self.assert_says(Level.OK, 'version 1.2', extension.check(None, '1.2'))

    def test_resource_that_is_missing_is_to_be_put_in(self):
        self.assert_says(
            Level.ACTION,
            "'instance_ha' into api-paste.ini of every nova-api",
            extension.check(doors.Refused('no', 404), '1.2'),
        )

    def test_older_release_is_to_be_upgraded(self):
        self.assert_says(
            Level.ACTION,
            "expected version 1.2 of 'instance-ha'.*upgrade it beside every",
            extension.check(doors.Refused('no', 406), '1.2'),
        )

    def test_anything_else_is_told_as_it_was_said(self):
        for failure in (doors.Refused('you?', 403), doors.Unanswered('you?')):
            self.assert_says(
                Level.ACTION,
                'Cannot be checked: you',
                extension.check(failure, '1.2'),
            )

    def test_notifications_that_are_not_sent_are_worth_a_note(self):
        for arguments, why in (
            ((False, True, True), 'follow is off'),
            ((True, False, True), 'notify is off'),
            ((True, True, False), 'transport_url is not set'),
        ):
            self.assert_says(Level.NOTE, why, extension.following(*arguments))
        self.assert_says(
            Level.OK, 'acting engine', extension.following(True, True, True)
        )
