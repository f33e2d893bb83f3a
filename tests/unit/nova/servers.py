# SPDX-License-Identifier: Apache-2.0

"""A small nova and keystone on the loopback that speak the real wire shapes.

What they know are plain dictionaries; what goes wrong is a function in
``faults``, by 'METHOD path', that gets the handler and returns True when it
has answered (or has not, and that is the fault).
"""

import http.server
import json
import os
import socket
import struct
import tempfile
import threading
import urllib.parse

from oslo_config import cfg

from nova_ha_plugins.conf import nova as nova_conf

PAGE = 2


class FakeCloud:
    def __init__(self):
        self.services = []
        self.hypervisors = []
        self.servers = []
        self.migrations = []
        self.trusts = {}
        self.users = {}
        self.assignments = []
        self.faults = {}
        self.requests = []
        self.stopping = threading.Event()
        bench = self

        class Handler(_Handler):
            pass

        Handler.cloud = bench
        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler
        )
        self._server.daemon_threads = True
        # Clients that gave up are what some of the tests are about.
        self._server.handle_error = lambda request, address: None
        self.url = f'http://127.0.0.1:{self._server.server_address[1]}'
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self):
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def conf(self, timeout=5, **changes):
        """A configuration of the service user."""
        values = {
            'auth_type': 'password',
            'auth_url': f'{self.url}/v3',
            'username': 'nova-ha',
            'password': 'b3tter-not-in-a-log',
            'project_name': 'service',
            'user_domain_id': 'default',
            'project_domain_id': 'default',
            'timeout': timeout,
            **changes,
        }
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as target:
            target.write('[nova]\n')
            for key, value in values.items():
                if value is not None:
                    target.write(f'{key} = {value}\n')
            target.flush()
            conf = cfg.ConfigOpts()
            nova_conf.register_opts(conf)
            conf([], default_config_files=[target.name])
        return conf

    def calls(self, prefix):
        """The requests so far that begin with 'METHOD path'."""
        return [
            one
            for one in self.requests
            if f'{one["method"]} {one["path"]}'.startswith(prefix)
        ]

    # --- what there is ----------------------------------------------------

    def add_service(self, host, uuid, **changes):
        self.services.append(
            {
                'id': uuid,
                'binary': 'nova-compute',
                'host': host,
                'zone': 'nova',
                'status': 'enabled',
                'state': 'up',
                'updated_at': '2026-01-01T00:00:00.000000',
                'disabled_reason': None,
                'forced_down': False,
                **changes,
            }
        )

    def add_hypervisor(self, host, address, name=None):
        self.hypervisors.append(
            {
                'id': f'hyp-{host}-{address}',
                'state': 'up',
                'status': 'enabled',
                'host_ip': address,
                'hypervisor_hostname': name or f'{host}.example.org',
                'hypervisor_type': 'QEMU',
                'hypervisor_version': 8002000,
                'service': {
                    'id': f'svc-{host}',
                    'host': host,
                    'disabled_reason': None,
                },
            }
        )

    def add_server(self, uuid, host, **changes):
        self.servers.append(
            {
                'id': uuid,
                'name': f'name-{uuid}',
                'tenant_id': 'p1',
                'status': 'ACTIVE',
                'metadata': {},
                'locked': False,
                'OS-EXT-SRV-ATTR:host': host,
                'OS-EXT-STS:vm_state': 'active',
                'OS-EXT-STS:task_state': None,
                **changes,
            }
        )

    def add_migration(self, uuid, source, **changes):
        self.migrations.append(
            {
                'id': len(self.migrations) + 1,
                'uuid': uuid,
                'instance_uuid': f'server-{uuid}',
                'status': 'done',
                'migration_type': 'evacuation',
                'source_compute': source,
                'source_node': source,
                'dest_compute': 'cmp-9',
                'dest_host': '10.0.0.9',
                'dest_node': 'cmp-9',
                'created_at': '2026-01-01T00:00:00.000000',
                'updated_at': None,
                'user_id': 'u',
                'project_id': 'p1',
                'old_instance_type_id': 1,
                'new_instance_type_id': 1,
                **changes,
            }
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    cloud: FakeCloud

    def log_message(self, format, *args):
        pass

    def answer(self, status, document=None, headers=(), raw=None):
        body = json.dumps(document).encode() if raw is None else raw
        if document is None and raw is None:
            body = b''
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def nova_error(self, status, message):
        kind = {
            400: 'badRequest',
            404: 'itemNotFound',
            409: 'conflictingRequest',
            403: 'forbidden',
            429: 'overLimit',
        }.get(status, 'computeFault')
        self.answer(status, {kind: {'code': status, 'message': message}})

    def reset(self):
        """End the connection as a proxy does that has lost its patience."""
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
        )
        self.connection.close()
        self.wfile = open(os.devnull, 'wb')

    def _handle(self):
        parts = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(parts.query))
        length = int(self.headers.get('Content-Length') or 0)
        text = self.rfile.read(length)
        self.document = json.loads(text) if text else None
        self.cloud.requests.append(
            {
                'method': self.command,
                'path': parts.path,
                'query': self.query,
                'document': self.document,
                'microversion': self.headers.get('OpenStack-API-Version'),
                'request_id': self.headers.get('X-OpenStack-Request-ID'),
            }
        )
        fault = self.cloud.faults.get(f'{self.command} {parts.path}')
        if fault and fault(self):
            return
        if parts.path.startswith('/v3'):
            self._keystone(parts.path.removeprefix('/v3'))
        elif self.headers.get('X-Auth-Token') != 'token':
            self.answer(
                401,
                {
                    'error': {
                        'code': 401,
                        'title': 'Unauthorized',
                        'message': 'The request you have made requires '
                        'authentication.',
                    }
                },
            )
        else:
            self._nova(parts.path.removeprefix('/compute/v2.1'))

    do_GET = do_POST = do_PUT = _handle

    # --- keystone ---------------------------------------------------------

    def _keystone(self, path):
        cloud = self.cloud
        if path.rstrip('/') == '':
            self.answer(
                200,
                {
                    'version': {
                        'id': 'v3.14',
                        'status': 'stable',
                        'links': [{'rel': 'self', 'href': f'{cloud.url}/v3/'}],
                    }
                },
            )
        elif path == '/auth/tokens':
            self.answer(
                201,
                {
                    'token': {
                        'methods': ['password'],
                        'user': {
                            'id': 'u',
                            'name': 'nova-ha',
                            'domain': {'id': 'default', 'name': 'Default'},
                        },
                        'project': {
                            'id': 'p',
                            'name': 'service',
                            'domain': {'id': 'default', 'name': 'Default'},
                        },
                        'expires_at': '2099-01-01T00:00:00.000000Z',
                        'issued_at': '2026-01-01T00:00:00.000000Z',
                        'roles': [{'id': 'r', 'name': 'admin'}],
                        'catalog': [
                            {
                                'type': 'compute',
                                'name': 'nova',
                                'id': 'c',
                                'endpoints': [
                                    {
                                        'id': 'e',
                                        'interface': 'public',
                                        'region': 'R',
                                        'region_id': 'R',
                                        'url': f'{cloud.url}/compute/v2.1',
                                    }
                                ],
                            }
                        ],
                    }
                },
                [('X-Subject-Token', 'token')],
            )
        elif path.startswith('/OS-TRUST/trusts/'):
            self._one('trust', cloud.trusts, path)
        elif path.startswith('/users/'):
            self._one('user', cloud.users, path)
        elif path == '/role_assignments':
            user = self.query.get('user.id')
            project = self.query.get('scope.project.id')
            self.answer(
                200,
                {
                    'role_assignments': [
                        {
                            'role': {'id': role},
                            'user': {'id': user},
                            'scope': {'project': {'id': project}},
                        }
                        for owner, where, role in cloud.assignments
                        if (owner, where) == (user, project)
                    ]
                },
            )
        else:
            self.answer(404, {'error': {'code': 404, 'message': 'no'}})

    def _one(self, key, known, path):
        found = known.get(path.rsplit('/', 1)[-1])
        if found is None:
            self.answer(
                404,
                {
                    'error': {
                        'code': 404,
                        'title': 'Not Found',
                        'message': f'Could not find {key}.',
                    }
                },
            )
        else:
            self.answer(200, {key: found})

    # --- nova -------------------------------------------------------------

    def _nova(self, path):
        cloud, query = self.cloud, self.query
        if self.command == 'GET' and path == '/os-services':
            self.answer(
                200,
                {
                    'services': [
                        one
                        for one in cloud.services
                        if query.get('host') in (None, one['host'])
                    ]
                },
            )
        elif self.command == 'GET' and path == '/os-hypervisors/detail':
            self._page('hypervisors', 'id', cloud.hypervisors)
        elif self.command == 'GET' and path == '/servers/detail':
            self._page(
                'servers',
                'id',
                [
                    one
                    for one in cloud.servers
                    if query.get('host')
                    in (None, one.get('OS-EXT-SRV-ATTR:host'))
                ],
            )
        elif self.command == 'GET' and path == '/os-migrations':
            self._page(
                'migrations',
                'uuid',
                [
                    one
                    for one in cloud.migrations
                    if query.get('migration_type')
                    in (None, one['migration_type'])
                    and query.get('source_compute')
                    in (None, one['source_compute'])
                    and query.get('host')
                    in (None, one['source_compute'], one['dest_compute'])
                ],
            )
        elif self.command == 'GET' and path.startswith('/servers/'):
            for one in cloud.servers:
                if one['id'] == path.rsplit('/', 1)[-1]:
                    self.answer(200, {'server': one})
                    return
            self.nova_error(404, 'Instance could not be found.')
        elif self.command == 'POST' and path.endswith('/action'):
            self.answer(200 if 'evacuate' in self.document else 202)
        elif self.command == 'PUT' and path.startswith('/os-services/'):
            self.answer(200, {'service': {}})
        else:
            self.nova_error(404, 'The resource could not be found.')

    def _page(self, key, marker_key, items):
        marker, start = self.query.get('marker'), 0
        for number, one in enumerate(items):
            if one[marker_key] == marker:
                start = number + 1
        page = items[start : start + PAGE]
        document = {key: page}
        if start + PAGE < len(items):
            query = {**self.query, 'marker': page[-1][marker_key]}
            # Nova behind a proxy names a host that nobody else knows.
            document[f'{key}_links'] = [
                {
                    'rel': 'next',
                    'href': 'http://nova.internal.invalid/v2.1/x?'
                    + urllib.parse.urlencode(query),
                }
            ]
        self.answer(200, document)
