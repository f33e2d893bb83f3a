# SPDX-License-Identifier: Apache-2.0

"""What the doctor says of signatures of heartbeats."""

import unittest

from ceilometer_pollsters import admission
from nova_ha_plugins.cmd import finding
from nova_ha_plugins.cmd import signed
from nova_ha_plugins.recovery import views


def row(host, value=1.0, ok=True, text='', age=5.0, channel='signature'):
    return views.HostHealth(host, channel, ok, value, text, age)


class SignedTest(unittest.TestCase):
    def only(self, *rows):
        (one,) = signed.check(rows)
        return one

    def test_channel_is_the_one_that_the_publisher_writes(self):
        self.assertEqual(admission.CHANNEL, signed._CHANNEL)

    def test_nobody_who_looks_is_a_note_with_what_it_means(self):
        for rows in ((), (row('a', age=500.0),), (row('a', channel='nic'),)):
            one = self.only(*rows)

            self.assertEqual(finding.Level.NOTE, one.level)
            self.assertIn('keep a dead host alive', one.text)

    def test_all_signed_is_well(self):
        one = self.only(row('a'), row('b'), row('c', channel='libvirt'))

        self.assertEqual(finding.Level.OK, one.level)
        self.assertIn('2 hosts', one.text)

    def test_hosts_that_do_not_sign_are_named(self):
        one = self.only(row('z'), *(row(f'h{n}', 0.0) for n in range(7)))

        self.assertEqual(finding.Level.NOTE, one.level)
        self.assertIn("'h0', 'h1', 'h2', 'h3', 'h4' and 2 more", one.text)
        self.assertIn('require', one.text)

    def test_hosts_with_an_old_key_are_named(self):
        one = self.only(row('z'), row('h1', 0.5))

        self.assertIn("'h1' sign with an old key", one.text)
        self.assertNotIn("'z'", one.text)

    def test_forgery_is_to_be_looked_at(self):
        one = self.only(row('z'), row('h1', 0.0, False, 'refused'))

        self.assertEqual(finding.Level.ACTION, one.level)
        self.assertIn("'h1': refused", one.text)


if __name__ == '__main__':
    unittest.main()
