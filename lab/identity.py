# SPDX-License-Identifier: Apache-2.0
"""Keystone: its users, its catalog and its service.

The ids of users and projects come out of the cache of databases and are the
same in many labs; keys and passwords are this lab's own.
"""

import json
import pathlib
import sys
import typing

import bcrypt
from cryptography import fernet

from lab import database
from lab.embedded import keystone
from lab import plan as planning
from lab import processes
from lab import wsgi

NAME = 'keystone'

# name: (project, roles). 'admin' is made by keystone's own bootstrap.
USERS = {
    **keystone.USERS,
    # A second tenant.
    'alice': ('alice', ('member',)),
    'glance': ('service', ('admin', 'service')),
    'gnocchi': ('service', ('admin', 'service')),
}
SERVICES = {
    **keystone.SERVICES,
    'network': 'neutron',
    'metric': 'gnocchi',
}
PATHS = {'keystone': '/v3', 'nova': '/v2.1'}

CONFIG = """\
[DEFAULT]
use_stderr = true
[database]
connection = {database}
[fernet_tokens]
key_repository = {directory}/fernet-keys
[fernet_receipts]
key_repository = {directory}/fernet-keys
[credential]
key_repository = {directory}/credential-keys
[cache]
backend = oslo_cache.dict
[identity]
# A login costs 4 ms instead of 250 ms; nothing here is worth guarding.
password_hash_rounds = 4
[oslo_policy]
enforce_scope = true
"""


def write_config(plan: planning.Plan) -> pathlib.Path:
    """Write keystone.conf and, once, the keys; return the former."""
    directory = plan.path(NAME, 'keystone.conf').parent
    # The last one signs, 0 is the next to sign; see keystone's fernet_utils.
    for repository in ('fernet-keys', 'credential-keys'):
        for number in ('0', '1'):
            if not (directory / repository / number).exists():
                plan.write(
                    NAME,
                    repository,
                    number,
                    text=fernet.Fernet.generate_key().decode(),
                )
        (directory / repository).chmod(0o700)
    return plan.write(
        NAME,
        'keystone.conf',
        text=CONFIG.format(
            database=plan.database_url('keystone').replace('%', '%%'),
            directory=directory,
        ),
    )


def service(plan: planning.Plan) -> processes.Service:
    """Write its configuration and return keystone's service."""
    config = write_config(plan)
    return wsgi.service(
        NAME,
        'keystone.wsgi.api:application',
        {'OS_KEYSTONE_CONFIG_FILES': str(config)},
        threads=6,
    )


def ids(plan: planning.Plan) -> dict[str, dict[str, typing.Any]]:
    """Return ``projects``, their ids by name, and ``users`` by name."""
    path = database.directory(plan) / 'identity.json'
    return json.loads(path.read_text())


def project_id(plan: planning.Plan, name: str) -> str:
    return ids(plan)['projects'][name]


def credentials(plan: planning.Plan, user: str) -> dict[str, str]:
    """Return keystoneauth's ``auth`` of a user."""
    project = 'admin' if user == 'admin' else USERS[user][0]
    return {
        'auth_url': plan.url(NAME, PATHS[NAME]),
        'username': user,
        'password': plan.passwords[user],
        'project_name': project,
        'user_domain_id': 'default',
        'project_domain_id': 'default',
    }


def section(plan: planning.Plan, user: str) -> str:
    """Return the options of an oslo.config section that logs in as a user."""
    options = {
        'auth_type': 'password',
        **credentials(plan, user),
        'region_name': planning.REGION,
    }
    return ''.join(f'{name} = {value}\n' for name, value in options.items())


def authtoken(plan: planning.Plan, user: str) -> str:
    """Return the sections with which a service checks its callers."""
    return (
        f'[keystone_authtoken]\n{section(plan, user)}'
        f'www_authenticate_uri = {plan.url(NAME, PATHS[NAME])}\n'
        'service_token_roles = service\n'
        'service_token_roles_required = true\n'
    )


def _statements(plan: planning.Plan) -> list[str]:
    """Return the SQL that gives the users this lab's passwords.

    Over the API it would need a running keystone first.
    """
    lines = []
    for name in ('admin', *USERS):
        digest = bcrypt.hashpw(
            plan.passwords[name].encode(), bcrypt.gensalt(4)
        ).decode()
        lines.append(
            'UPDATE keystone.password JOIN keystone.local_user ON '
            'password.local_user_id = local_user.id '
            f"SET password_hash = '{digest}' "
            f"WHERE local_user.name = '{name}'"
        )
    return lines


def _command(plan: planning.Plan) -> list[str]:
    return [
        sys.executable,
        '-m',
        'lab.identity',
        str(write_config(plan)),
        str(database.directory(plan) / 'identity.json'),
    ]


def main() -> None:
    """Fill the empty database of keystone: CONFIG IDENTITY_JSON."""
    config, target = sys.argv[1:]
    # Keystone's CONF would parse our arguments as its own.
    del sys.argv[1:]
    from keystone.server import configure

    configure(config_files=[config])
    endpoints = {
        kind: (
            f'http://{planning.CONTROLLER}:{planning.PORTS[name]}'
            f'{PATHS.get(name, "")}'
        )
        for kind, name in SERVICES.items()
    }
    found = keystone.fill(USERS, SERVICES, endpoints)
    for user in found['users'].values():
        # Not this lab's; see _statements().
        del user['password']
    pathlib.Path(target).write_text(json.dumps(found))


SCHEMA = database.Schema(
    NAME,
    ('keystone',),
    _command,
    ('keystone', 'oslo.db', 'SQLAlchemy', 'alembic'),
    (pathlib.Path(__file__), pathlib.Path(keystone.__file__)),
    _statements,
)


if __name__ == '__main__':
    main()
