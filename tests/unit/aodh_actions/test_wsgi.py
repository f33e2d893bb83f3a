# SPDX-License-Identifier: Apache-2.0

import os
import pathlib
import runpy
from unittest import mock

import fixtures
import testtools
import webob

SECRET = 'long-enough-to-be-a-secret-by-itself'
CONFIG = f"""
[nova_ha_database]
connection = sqlite://
[webhook]
secret = {SECRET}
"""


class WsgiTest(testtools.TestCase):
    def test_a_server_finds_the_application_and_it_reads_our_file(self):
        path = self.useFixture(fixtures.TempDir()).join('nova-ha.conf')
        pathlib.Path(path).write_text(CONFIG)
        with (
            mock.patch.dict(os.environ, NOVA_HA_CONFIG=path),
            mock.patch('oslo_log.log.setup', autospec=True),
        ):
            module = runpy.run_module('aodh_actions.wsgi')

        answers = [
            webob.Request.blank(url, method='POST', body=b'{}')
            .get_response(module['application'])
            .status_code
            for url in ('/v1/alarm/other', f'/v1/alarm/{SECRET}')
        ]
        self.assertEqual([401, 400], answers)
