# SPDX-License-Identifier: Apache-2.0

"""Runs our openstack commands against nova's API in this process."""

import io
import types

from keystoneauth1 import session as ks_session
from keystoneauth1 import token_endpoint
from openstack import connection
from oslo_utils.fixture import uuidsentinel

from tests.functional.nova import base

ENDPOINT = f'http://{uuidsentinel.osapi_host}:80/v2.1'


class Terminal(io.StringIO):
    """A terminal that keeps what it is given."""

    def isatty(self):
        return True


class CommandTestCase(base.NovaTestCase):
    def session(self, user='admin', roles='reader,member,admin'):
        return ks_session.Session(
            auth=token_endpoint.Token(ENDPOINT, 'token'),
            additional_headers={
                'X-Auth-User': user,
                'X-User-Id': user,
                'X-Auth-Project-Id': self.api.project_id,
                'X-Roles': roles,
            },
        )

    def run_command(self, command, *words, stdout=None, **who):
        """Run it as cliff does; give exit code and what it printed."""
        stdout = stdout or io.StringIO()
        self.told = io.StringIO()
        app = types.SimpleNamespace(
            stdout=stdout,
            stderr=self.told,
            options=types.SimpleNamespace(verbose_level=1, os_beta=False),
            client_manager=types.SimpleNamespace(
                compute=connection.Connection(
                    session=self.session(**who),
                    compute_endpoint_override=ENDPOINT,
                ).compute
            ),
        )
        running = command(app, None)
        for name in ('sleep', 'clock', 'ask', 'on_terminal'):
            if name in self.doubles:
                setattr(running, name, self.doubles[name])
        parsed = running.get_parser('openstack').parse_args(list(words))
        return running.run(parsed), stdout.getvalue()

    def setUp(self):
        super().setUp()
        self.doubles = {}
