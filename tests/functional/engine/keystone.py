# SPDX-License-Identifier: Apache-2.0

"""Keystone beside the nova that lies: tokens, a catalog, trusts."""

import datetime
import threading
import uuid

from tests.functional.engine import wire


class Keystone:
    """The truth of keystone.

    :ivar trusts: by id: the trust, and whether its owner is enabled.
    """

    def __init__(self):
        self.url = ''
        self.trusts = {}
        self._lock = threading.Lock()
        self._tokens = set()

    def add_trust(self, roles=('admin',), enabled=True):
        """Return the id of a trust whose owner still holds the roles."""
        trust = wire.recorded('trust')[1]['trust']
        trust['id'] = uuid.uuid4().hex
        trust['roles'] = [
            {**trust['roles'][0], 'id': f'id-{name}', 'name': name}
            for name in roles
        ]
        self.trusts[trust['id']] = (trust, enabled)
        return trust['id']

    def revoke(self):
        """Every token that was given out is worth nothing."""
        with self._lock:
            self._tokens.clear()

    def login(self):
        status, document, _ = wire.recorded('token')
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
            hours=1
        )
        document['token']['expires_at'] = f'{expires:%Y-%m-%dT%H:%M:%S.%fZ}'
        for service in document['token']['catalog']:
            for endpoint in service['endpoints']:
                endpoint['url'] = self.url + {
                    'compute': '/compute/v2.1',
                    'identity': '/v3',
                }.get(service['type'], '/nothing')
        token = uuid.uuid4().hex
        with self._lock:
            self._tokens.add(token)
        return status, document, (('X-Subject-Token', token),)

    def is_valid(self, token):
        with self._lock:
            return token in self._tokens

    def look(self, kind, subject, query):
        if kind == 'version':
            status, document, _ = wire.recorded('keystone version')
            document['version']['links'][0]['href'] = f'{self.url}/v3/'
            return status, document, ()
        if kind == 'trust':
            if subject not in self.trusts:
                return wire.recorded('trust missing')
            return 200, {'trust': self.trusts[subject][0]}, ()
        if kind == 'user':
            user = wire.recorded('user')[1]['user']
            user['id'] = subject
            user['enabled'] = all(
                enabled
                for trust, enabled in self.trusts.values()
                if trust['trustor_user_id'] == subject
            )
            return 200, {'user': user}, ()
        document = wire.recorded('role assignments')[1]
        first = document['role_assignments'][0]
        held = {
            role['id']
            for trust, _ in self.trusts.values()
            for role in trust['roles']
        }
        document['role_assignments'] = [
            {**first, 'role': {'id': role}} for role in sorted(held)
        ]
        return 200, document, ()
