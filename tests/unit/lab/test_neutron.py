# SPDX-License-Identifier: Apache-2.0
"""The lab's Neutron says what nova's client understands."""

import unittest

from lab import neutron


class NeutronTest(unittest.TestCase):
    def ask(self, method, path):
        return neutron.answer(method, path, 'here:9696')

    def test_lists_are_empty_and_called_as_the_client_expects(self):
        for path, name in (
            ('/v2.0/ports', 'ports'),
            ('/v2.0/security-groups', 'security_groups'),
            ('/v2.0/extensions', 'extensions'),
        ):
            with self.subTest(path):
                self.assertEqual(('200 OK', {name: []}), self.ask('GET', path))

    def test_versions_lead_to_the_api(self):
        status, body = self.ask('GET', '/')

        self.assertEqual('200 OK', status)
        self.assertEqual(
            'http://here:9696/v2.0/', body['versions'][0]['links'][0]['href']
        )

    def test_there_is_no_port_to_look_at(self):
        status, body = self.ask('GET', '/v2.0/ports/1234')

        self.assertEqual('404 Not Found', status)
        self.assertIn('/v2.0/ports/1234', body['NeutronError']['message'])

    def test_nobody_can_create_one(self):
        status, body = self.ask('POST', '/v2.0/ports')

        self.assertEqual('403 Forbidden', status)
        self.assertIn('--no-network', body['NeutronError']['message'])
