# SPDX-License-Identifier: Apache-2.0

"""The door to keystone: whose rights stand behind an alarm.

A trust that was deleted, has expired or is used up is 404 to keystone and
None here. Only the roles that the trustor *still* holds count, as when
keystone issues a token for the trust: an administrator who lost the role
must not keep it through an old alarm.

``identity:get_trust`` of keystone 30 asks for an administrator, a system
reader, or one of the two parties of the trust; a token that was obtained with
an application credential is refused whatever its roles are.
"""

import collections.abc
import re
import time
import typing
import urllib.parse

from keystoneauth1 import adapter as ks_adapter
from keystoneauth1 import plugin as ks_plugin
from oslo_config import cfg

from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import client

# Keystone makes 32 hexadecimal digits.
_TRUST_ID = re.compile(r'[0-9A-Za-z-]{1,64}')

# The engine asks in the middle of its round, and any tenant's alarm makes it
# ask. So keystone may be slow for this many seconds of a round only ...
_CALL_TIMEOUT = 5.0
_BUDGET = 3.0
# ... and for this share of the time.
_SHARE = 0.25


class IdentityDoor:
    """Reads trusts with the service user; satisfies ``doors.Identity``."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        clock: collections.abc.Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the configuration; keystone is asked at the first call."""
        self._conf = conf
        self._cached_client: client.Client | None = None
        self._timeout = min(client.call_timeout(conf), _CALL_TIMEOUT)
        self._clock = clock
        self._budget = _BUDGET
        self._counted_at = self._clock()

    @property
    def _client(self) -> client.Client:
        if self._cached_client is None:
            # The URL where the service user authenticates is known to work;
            # the catalog's may be one that this host does not reach.
            session = client.open_session(self._conf)
            session.timeout = self._timeout
            adapter = ks_adapter.Adapter(
                session,
                service_type='identity',
                # A marker object that keystoneauth's own types leave out.
                interface=typing.cast(str, ks_plugin.AUTH_INTERFACE),
                version='3',
            )
            self._cached_client = client.Client(
                'Keystone', adapter, self._timeout
            )
        return self._cached_client

    def trust(self, trust_id: str) -> doors.TrustView | None:
        """Return a trust with the rights it gives now, None if it is gone.

        :raises doors.Unanswered: keystone did not answer, or does not let
            the service user look: neither says anything of the trust. Also
            when keystone has taken too much of the engine's time lately.
        """
        if not _TRUST_ID.fullmatch(trust_id):
            # It came with an alarm, so anybody may have written it; asked
            # for it, keystone could answer with something else.
            return None
        self._check_budget()
        began = self._clock()
        try:
            return self._look(trust_id)
        finally:
            self._budget -= self._clock() - began

    def _check_budget(self) -> None:
        now = self._clock()
        earned = (now - self._counted_at) * _SHARE
        self._budget = min(_BUDGET, self._budget + earned)
        self._counted_at = now
        if self._budget <= 0:
            raise doors.Unanswered(
                'Keystone is not asked about another trust yet: looking at '
                'trusts took too much of the time lately, because it is slow '
                'or there are many alarms; the fact waits.'
            )

    def _look(self, trust_id: str) -> doors.TrustView | None:
        found = self._find(
            f'/OS-TRUST/trusts/{trust_id}', 'trust', f"show trust '{trust_id}'"
        )
        if found is None:
            return None
        trustor = str(found.get('trustor_user_id') or '')
        project = str(found.get('project_id') or '')
        granted = {
            str(role.get('id')): str(role.get('name'))
            for role in found.get('roles') or []
        }
        if not trustor or not self._is_enabled(trustor):
            return None
        held = self._roles_held(trustor, project)
        return doors.TrustView(
            trustor_user_id=trustor,
            project_id=project,
            roles=tuple(
                sorted(name for key, name in granted.items() if key in held)
            ),
        )

    def _is_enabled(self, user_id: str) -> bool:
        user = self._find(
            f'/users/{urllib.parse.quote(user_id, safe="")}',
            'user',
            f"show user '{user_id}'",
        )
        return user is not None and user.get('enabled') is not False

    def _roles_held(self, user_id: str, project_id: str) -> frozenset[str]:
        """Return ids of the roles of a user in a project, groups included."""
        if not project_id:
            return frozenset()
        what = f"list the roles of user '{user_id}' in '{project_id}'"
        try:
            document = self._client.read(
                '/role_assignments',
                what,
                params={
                    'user.id': user_id,
                    'scope.project.id': project_id,
                    'effective': '1',
                },
            )
            return frozenset(
                str(item['role']['id'])
                for item in document['role_assignments']
            )
        except (KeyError, TypeError):
            raise _strange(what, 'role_assignments') from None
        except doors.Refused as exc:
            # A project or user that is gone holds no role.
            if exc.status == 404:
                return frozenset()
            raise doors.Unanswered(str(exc)) from exc

    def _find(
        self, path: str, key: str, what: str
    ) -> dict[str, typing.Any] | None:
        try:
            document = self._client.read(path, what)
        except doors.Refused as exc:
            if exc.status == 404:
                return None
            raise doors.Unanswered(str(exc)) from exc
        found = document.get(key)
        if not isinstance(found, dict):
            raise _strange(what, key)
        return found


def _strange(what: str, key: str) -> doors.Unanswered:
    return doors.Unanswered(
        f'Keystone gave no readable answer to the request to {what}: '
        f"expected '{key}', found something else; the alarm is not trusted."
    )
