# SPDX-License-Identifier: Apache-2.0

"""Our own version in nova's header."""

import unittest

from nova_ha_plugins.api import versions


class VersionsTest(unittest.TestCase):
    def negotiate(self, value=None):
        headers = {} if value is None else {versions.HEADER: value}
        return versions.negotiate(headers)

    def refuse(self, value):
        with self.assertRaises(versions.VersionError) as caught:
            self.negotiate(value)
        return caught.exception

    def test_nothing_asked_is_the_first_version(self):
        self.assertEqual('1.0', self.negotiate())
        self.assertEqual('1.0', self.negotiate('compute 2.96'))

    def test_latest_and_exact(self):
        self.assertEqual('1.3', self.negotiate('instance-ha latest'))
        for version in ('1.0', '1.1', '1.2', '1.3'):
            self.assertEqual(
                version, self.negotiate(f'compute 2.96, instance-ha {version}')
            )

    def test_out_of_range_is_not_acceptable(self):
        for asked in ('0.9', '1.4', '2.0'):
            error = self.refuse(f'instance-ha {asked}')
            self.assertEqual(406, error.status)
            self.assertIn(f"'{asked}'", str(error))
            self.assertIn('maximum is 1.3', str(error))

    def test_malformed_is_a_bad_request(self):
        for asked in ('x', '1', '1.x'):
            error = self.refuse(f'instance-ha {asked}')
            self.assertEqual(400, error.status)
            self.assertIn('malformed', str(error))


if __name__ == '__main__':
    unittest.main()
