# SPDX-License-Identifier: Apache-2.0
"""Makes keystone's tables, users and catalog.

``python -m lab.keystone_schema CONFIG IDENTITY_JSON``. Ids of users and
projects are the same in all labs that begin with this copy; passwords are
not.
"""

import json
import pathlib
import sys

import bcrypt
from cryptography import fernet

from lab import database
from lab.embedded import keystone
from lab import plan as planning

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
ENDPOINTS = {
    kind: (
        f'http://{planning.CONTROLLER}:{planning.PORTS[name]}'
        f'{PATHS.get(name, "")}'
    )
    for kind, name in SERVICES.items()
}
# A login costs 4 ms instead of 250 ms; nothing here is worth guarding.
ROUNDS = 4
KEYS = """\
[fernet_tokens]
key_repository = {directory}/fernet-keys
[fernet_receipts]
key_repository = {directory}/fernet-keys
[credential]
key_repository = {directory}/credential-keys
"""


def identity_file(plan: planning.Plan) -> pathlib.Path:
    """Return the file with the ids of users and projects."""
    return database.directory(plan) / 'identity.json'


def write_keys(plan: planning.Plan) -> str:
    """Write this lab's keys, once; return the configuration that names them.

    Keystone does not start without any, whatever it is to do.
    """
    directory = plan.path('keystone', 'x').parent
    # The highest number signs, 0 is the next to sign.
    for repository in ('fernet-keys', 'credential-keys'):
        for number in ('0', '1'):
            if not (directory / repository / number).exists():
                plan.write(
                    'keystone',
                    repository,
                    number,
                    text=fernet.Fernet.generate_key().decode(),
                )
        (directory / repository).chmod(0o700)
    return KEYS.format(directory=directory)


def _command(plan: planning.Plan) -> list[str]:
    config = plan.write(
        'keystone',
        'schema.conf',
        text=(
            '[DEFAULT]\nuse_stderr = true\n'
            f'[database]\nconnection = {plan.database_url("keystone")}\n'
            f'[identity]\npassword_hash_rounds = {ROUNDS}\n'
            f'{write_keys(plan)}'
        ),
    )
    return [
        sys.executable,
        '-m',
        'lab.keystone_schema',
        str(config),
        str(identity_file(plan)),
    ]


def _statements(plan: planning.Plan) -> list[str]:
    """Return the SQL that gives the users this lab's passwords.

    Over the API it would need a running keystone first.
    """
    lines = []
    for name in ('admin', *USERS):
        digest = bcrypt.hashpw(
            plan.passwords[name].encode(), bcrypt.gensalt(ROUNDS)
        ).decode()
        lines.append(
            'UPDATE keystone.password JOIN keystone.local_user ON '
            'password.local_user_id = local_user.id '
            f"SET password_hash = '{digest}' "
            f"WHERE local_user.name = '{name}'"
        )
    return lines


def main() -> None:
    """Fill the empty database of keystone."""
    config, target = sys.argv[1:]
    # Keystone's CONF would parse our arguments as its own.
    del sys.argv[1:]
    from keystone.server import configure

    configure(config_files=[config])
    found = keystone.fill(USERS, SERVICES, ENDPOINTS)
    for user in found['users'].values():
        # No lab uses it; see _statements().
        del user['password']
    pathlib.Path(target).write_text(json.dumps(found))


SCHEMA = database.Schema(
    'keystone',
    ('keystone',),
    _command,
    ('keystone', 'oslo.db', 'SQLAlchemy', 'alembic'),
    (pathlib.Path(__file__), pathlib.Path(keystone.__file__)),
    statements=_statements,
    depends_on=str(ENDPOINTS),
)


if __name__ == '__main__':
    main()
