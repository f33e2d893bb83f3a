# SPDX-License-Identifier: Apache-2.0
"""A Neutron in which there is nothing: every list is empty.

Nova asks it even for servers without a network. ``python -m lab.wsgi
lab.neutron:application``.
"""

import collections.abc
import json
import typing

Environ = dict[str, typing.Any]
Body = dict[str, typing.Any]

# A status and its body.
Answer = tuple[str, Body]


def _versions(host: str) -> Body:
    links = [{'rel': 'self', 'href': f'http://{host}/v2.0/'}]
    return {'versions': [{'id': 'v2.0', 'status': 'CURRENT', 'links': links}]}


def _refused(status: str, kind: str, message: str) -> Answer:
    error = {'type': kind, 'message': message, 'detail': ''}
    return status, {'NeutronError': error}


def answer(method: str, path: str, host: str) -> Answer:
    """Return what this Neutron says to a request."""
    parts = [part for part in path.split('/') if part]
    if method not in ('GET', 'HEAD'):
        return _refused(
            '403 Forbidden',
            'PolicyNotAuthorized',
            'The lab has no networks for servers; use --no-network',
        )
    if not parts:
        return '200 OK', _versions(host)
    if parts == ['v2.0']:
        return '200 OK', {'resources': []}
    if len(parts) == 2:
        return '200 OK', {parts[1].replace('-', '_'): []}
    return _refused(
        '404 Not Found', 'NotFound', f'There is no {path} in the lab'
    )


def application(
    environ: Environ, start_response: typing.Any
) -> collections.abc.Iterable[bytes]:
    """Answer one request."""
    status, body = answer(
        environ['REQUEST_METHOD'], environ['PATH_INFO'], environ['HTTP_HOST']
    )
    data = json.dumps(body).encode()
    headers = [
        ('Content-Type', 'application/json'),
        ('Content-Length', str(len(data))),
    ]
    start_response(status, headers)
    return [data]
