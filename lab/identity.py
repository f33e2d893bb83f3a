# SPDX-License-Identifier: Apache-2.0
"""Keystone as a service, and how others log in to it.

The ids of users and projects come out of the cache of databases and are the
same in many labs; keys and passwords are this lab's own.
"""

import json
import pathlib
import typing

from lab import keystone_schema
from lab import plan as planning
from lab import processes
from lab import wsgi

NAME = 'keystone'
_PATH = keystone_schema.PATHS[NAME]

# What [DEFAULT] of every service begins with. One of keystone's caches has a
# driver that is not installed, which would be an error in each log.
DEFAULTS = """\
use_stderr = true
default_log_levels = amqp=WARN,keystoneauth=WARN,keystonemiddleware=WARN,\
neutronclient=ERROR,oslo.messaging=INFO,oslo_messaging=INFO,sqlalchemy=WARN,\
stevedore=CRITICAL,urllib3=WARN
"""

CONFIG = """\
[DEFAULT]
{defaults}[database]
connection = {database}
{keys}[cache]
backend = oslo_cache.dict
[identity]
password_hash_rounds = {rounds}
# What bcrypt takes; with more there is a warning at each login.
max_password_length = 72
[oslo_policy]
enforce_scope = true
"""


def write_config(plan: planning.Plan) -> pathlib.Path:
    """Write keystone.conf and return its path."""
    return plan.write(
        NAME,
        'keystone.conf',
        text=CONFIG.format(
            database=plan.database_url('keystone'),
            keys=keystone_schema.write_keys(plan),
            defaults=DEFAULTS,
            rounds=keystone_schema.ROUNDS,
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
    return json.loads(keystone_schema.identity_file(plan).read_text())


def project_id(plan: planning.Plan, name: str) -> str:
    return ids(plan)['projects'][name]


def credentials(plan: planning.Plan, user: str) -> dict[str, str]:
    """Return keystoneauth's ``auth`` of a user."""
    project = 'admin' if user == 'admin' else keystone_schema.USERS[user][0]
    return {
        'auth_url': plan.url(NAME, _PATH),
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
        f'www_authenticate_uri = {plan.url(NAME, _PATH)}\n'
        'service_token_roles = service\n'
        'service_token_roles_required = true\n'
    )
