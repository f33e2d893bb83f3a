# SPDX-License-Identifier: Apache-2.0
"""Keystone as a process of its own, on SQLite.

It cannot share nova's process: both own oslo.config's global CONF. Setting
up the database takes most of the time, so ``prepare`` fills a directory once
(database, keys, identity.json) and every start works on a copy of it.
"""

import argparse
import json
import os
import pathlib
import secrets
import sqlite3
import sys
import typing
import uuid

from lab.embedded import process

# name: (project, roles). 'admin' is made by keystone's own bootstrap.
USERS = {
    'demo': ('demo', ('member',)),
    'alice': ('demo', ('member',)),
    'nova': ('service', ('admin', 'service')),
    'placement': ('service', ('admin', 'service')),
    'aodh': ('service', ('admin', 'service')),
    'ceilometer': ('service', ('admin', 'service')),
    'nova-ha': ('service', ('admin', 'service')),
}
SERVICES = {
    'identity': 'keystone',
    'compute': 'nova',
    'placement': 'placement',
    'alarming': 'aodh',
    'image': 'glance',
}
REGION = 'RegionOne'

CONFIG = """\
[DEFAULT]
# keystone-manage and the API log to stderr, which the parent redirects.
use_stderr = true
[database]
connection = sqlite:///{data}/keystone.sqlite
[fernet_tokens]
key_repository = {data}/fernet-keys
[fernet_receipts]
key_repository = {data}/fernet-keys
[credential]
key_repository = {data}/credential-keys
[cache]
backend = oslo_cache.dict
[identity]
# A login costs 4 ms instead of 250 ms; nothing here is worth guarding.
password_hash_rounds = 4
[oslo_policy]
enforce_scope = true
"""


def write_config(data: pathlib.Path) -> pathlib.Path:
    """Write keystone.conf for a data directory."""
    path = data / 'keystone.conf'
    path.write_text(CONFIG.format(data=data))
    return path


def prepare(data: pathlib.Path) -> None:
    """Fill an empty directory with a bootstrapped keystone."""
    from keystone.common import fernet_utils
    from keystone.server import configure

    data.mkdir(parents=True, exist_ok=True)
    configure(config_files=[str(write_config(data))])
    for name, group in (
        ('fernet-keys', 'fernet_tokens'),
        ('credential-keys', 'credential'),
    ):
        keys = fernet_utils.FernetUtils(str(data / name), 3, group)
        keys.create_key_directory()
        keys.initialize_key_repository()

    # The ports are known at start: set_endpoints().
    endpoints = {kind: f'http://placeholder/{kind}' for kind in SERVICES}
    (data / 'identity.json').write_text(
        json.dumps(fill(USERS, SERVICES, endpoints))
    )


def fill(
    accounts: dict[str, tuple[str, tuple[str, ...]]],
    services: dict[str, str],
    endpoints: dict[str, str],
) -> dict[str, dict[str, typing.Any]]:
    """Fill an empty database of the configured keystone.

    :param accounts: like USERS
    :param services: like SERVICES
    :param endpoints: URL by type of service
    :returns: the projects (ids by name) and users (as in cloud.json)
    """
    from keystone.cmd import bootstrap
    from keystone.common import provider_api
    from keystone.common.sql import upgrades

    upgrades.offline_sync_database_to_version()
    users: dict[str, dict[str, str]] = {}
    admin = bootstrap.Bootstrapper()
    admin.admin_username = 'admin'
    admin.admin_password = secrets.token_hex(12)
    admin.admin_role_name = 'admin'
    admin.project_name = 'admin'
    admin.region_id = REGION
    admin.bootstrap()
    users['admin'] = {
        'password': admin.admin_password,
        'project': 'admin',
        'user_id': admin.admin_user_id,
    }
    projects = {'admin': admin.project_id}
    _create_users(provider_api.ProviderAPIs, accounts, projects, users)
    _create_catalog(provider_api.ProviderAPIs, services, endpoints)
    return {'projects': projects, 'users': users}


def _create_users(
    providers: typing.Any,
    accounts: dict[str, tuple[str, tuple[str, ...]]],
    projects: dict[str, str],
    users: dict[str, dict[str, str]],
) -> None:
    for name in sorted({project for project, _ in accounts.values()}):
        projects[name] = uuid.uuid4().hex
        providers.resource_api.create_project(
            projects[name],
            {
                'id': projects[name],
                'name': name,
                'domain_id': 'default',
                'enabled': True,
            },
        )
    roles = {
        role['name']: role['id'] for role in providers.role_api.list_roles()
    }
    for name, (project, granted) in accounts.items():
        password = secrets.token_hex(12)
        user = providers.identity_api.create_user(
            {
                'name': name,
                'domain_id': 'default',
                'enabled': True,
                'password': password,
            }
        )
        for role in granted:
            providers.assignment_api.add_role_to_user_and_project(
                user['id'], projects[project], roles[role]
            )
        users[name] = {
            'password': password,
            'project': project,
            'user_id': user['id'],
        }
    # The operator's user is an admin in the services' project as well.
    providers.assignment_api.add_role_to_user_and_project(
        users['admin']['user_id'], projects['service'], roles['admin']
    )


def _create_catalog(
    providers: typing.Any, services: dict[str, str], endpoints: dict[str, str]
) -> None:
    for kind, name in services.items():
        service = uuid.uuid4().hex
        providers.catalog_api.create_service(
            service,
            {'id': service, 'type': kind, 'name': name, 'enabled': True},
        )
        for interface in ('public', 'internal', 'admin'):
            endpoint = uuid.uuid4().hex
            providers.catalog_api.create_endpoint(
                endpoint,
                {
                    'id': endpoint,
                    'interface': interface,
                    'service_id': service,
                    'region_id': REGION,
                    'url': endpoints[kind],
                    'enabled': True,
                },
            )


def set_endpoints(data: pathlib.Path, urls: dict[str, str]) -> None:
    """Write the URLs of this start into the copied database.

    Done in SQL: over the API it would cost a running keystone and a second.
    """
    connection = sqlite3.connect(data / 'keystone.sqlite')
    with connection:
        for kind, url in urls.items():
            connection.execute(
                'UPDATE endpoint SET url = ? WHERE service_id IN '
                '(SELECT id FROM service WHERE type = ?)',
                (url, kind),
            )
    connection.close()


def run(plan: dict[str, typing.Any]) -> None:
    """Serve keystone until SIGTERM."""
    data = pathlib.Path(plan['keystone']['data_dir'])
    set_endpoints(
        data,
        {
            'identity': plan['keystone']['url'],
            'compute': plan['nova']['url'],
            'placement': plan['placement']['url'],
            'alarming': plan['telemetry']['aodh_url'],
            'image': plan['image']['url'],
        },
    )
    os.environ['OS_KEYSTONE_CONFIG_FILES'] = str(write_config(data))
    from keystone.wsgi import api

    process.serve(api.application, plan['keystone']['port'])
    process.wait_for_the_end()


def main() -> None:
    """Prepare a directory, or serve the one that the plan names."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--prepare', type=pathlib.Path)
    known, rest = parser.parse_known_args()
    # Keystone's CONF would parse our options as its own.
    del sys.argv[1:]
    if known.prepare:
        prepare(known.prepare.resolve())
    else:
        run(process.read_plan(rest))


if __name__ == '__main__':
    main()
