# SPDX-License-Identifier: Apache-2.0

"""The requests that reach nova and keystone: what each of them asks for."""

import dataclasses
import json
import re
import time
import typing
import urllib.parse

from tests.functional.engine import faults
from tests.functional.engine import wire


@dataclasses.dataclass(frozen=True)
class Call:
    """One request that reached the wire.

    :ivar kind: 'services', 'evacuate', 'force-down'...
    :ivar subject: the host or server that it is about.
    :ivar token: of the engine's lease, None where the call carries none.
    """

    at: float
    kind: str
    subject: str
    document: object
    version: str | None
    token: str | None


class Handler(wire.Handler):
    """What reaches nova and keystone.

    :ivar cloud: the truth that is asked.
    """

    cloud: typing.Any

    @property
    def over(self):
        return self.cloud.over

    def _handle(self):
        cloud = self.cloud
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        text = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        document = json.loads(text) if text else None
        kind, subject, perform = self._route(parts.path, query, document)
        call = Call(
            time.monotonic(),
            kind,
            subject,
            document,
            self.headers.get('OpenStack-API-Version'),
            self.headers.get('X-Nova-HA-Token'),
        )
        with cloud.lock:
            cloud.calls.append(call)
        self.kind, self.subject = kind, subject
        token = self.headers.get('X-Auth-Token')

        def under_lock():
            with cloud.lock:
                if kind not in ('version', 'token') and (
                    not cloud.keystone.is_valid(token)
                ):
                    return wire.recorded('unauthorized')
                return perform()

        self.perform = under_lock
        cloud.script.take(kind, subject)(self)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _route(self, path, query, document):
        """Return kind, subject and what carries the call out."""
        cloud = self.cloud
        path = path.rstrip('/')
        last = path.rsplit('/', 1)[-1]
        if path.startswith('/v3'):
            return self._route_keystone(path, last, query)
        path = path.removeprefix('/compute/v2.1')
        if self.command == 'PUT' and path.startswith('/os-services/'):
            (host,) = (
                host
                for host, service in cloud.services.items()
                if service['id'] == last
            )
            kind = {True: 'force-down', False: 'un-force'}.get(
                document.get('forced_down')
            ) or {'disabled': 'disable', 'enabled': 'enable'}.get(
                document.get('status')
            )
            return (
                kind,
                host,
                lambda: cloud.put_service(kind, host, document),
            )
        if self.command == 'POST' and path.endswith('/action'):
            server = path.split('/')[2]
            ((kind, argument),) = document.items()
            return kind, server, lambda: cloud.act(kind, server, argument)
        kind, subject = {
            '/os-services': ('services', query.get('host', '')),
            '/os-hypervisors/detail': ('hypervisors', ''),
            '/servers/detail': ('servers', query.get('host', '')),
            '/os-migrations': (
                'migrations',
                query.get('source_compute') or query.get('host', ''),
            ),
        }.get(path, ('', ''))
        if re.fullmatch('/servers/[0-9a-f-]{36}', path):
            kind, subject = 'server', last
        if self.command != 'GET' or not kind:
            return (
                'unknown',
                self.path,
                lambda: faults.nova_error(
                    404, 'The resource could not be found.'
                ),
            )
        return kind, subject, lambda: cloud.look(kind, subject, query)

    def _route_keystone(self, path, last, query):
        cloud = self.cloud
        if path == '/v3/auth/tokens':
            return 'token', '', cloud.keystone.login
        kind = {
            '/v3': 'version',
            '/v3/OS-TRUST/trusts': 'trust',
            '/v3/users': 'user',
            '/v3/role_assignments': 'roles',
        }[
            path
            if path in ('/v3', '/v3/role_assignments')
            else path.rsplit('/', 1)[0]
        ]
        subject = last if kind in ('trust', 'user') else ''
        return (
            kind,
            subject,
            lambda: cloud.keystone.look(kind, subject, query),
        )
