# SPDX-License-Identifier: Apache-2.0
"""Files with which an ordinary root shell uses a lab.

Nothing of a lab listens in the machine's own network namespace, so each
client is a wrapper that enters the lab's.
"""

import pathlib
import shlex

import yaml

from lab import broker
from lab import engine
from lab import identity
from lab import nova
from lab import plan as planning
from lab import processes

USERS = ('admin', 'demo', 'alice')
CLIENTS = ('openstack', 'nova', 'gnocchi')


def write(plan: planning.Plan) -> None:
    """Write clouds.yaml, openrc and bin/."""
    clouds = {
        user: {
            'auth': identity.credentials(plan, user),
            'region_name': planning.REGION,
        }
        for user in USERS
    }
    text = yaml.safe_dump({'clouds': clouds}, sort_keys=False)
    config = plan.write('clouds.yaml', text=text)
    _write_openrc(plan, config)
    for name in CLIENTS:
        _write_wrapper(plan, name, processes.program(name))
    for name, path, environment in (
        (
            'nova-manage',
            nova.directory(plan) / 'nova.conf',
            {'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'},
        ),
        ('nova-ha-manage', engine.conf_file(plan), {}),
    ):
        program = f'{processes.program(name)} --config-file {path}'
        _write_wrapper(plan, name, program, environment)
    _write_wrapper(
        plan,
        'rabbitmqctl',
        '/usr/lib/rabbitmq/bin/rabbitmqctl',
        broker.environment(plan),
    )
    _write_wrapper(plan, 'lab-shell', '${SHELL:-/bin/sh}')


def _write_openrc(plan: planning.Plan, config: pathlib.Path) -> None:
    variables = {
        f'OS_{name.upper()}': value
        for name, value in identity.credentials(plan, 'admin').items()
    }
    variables |= {
        'OS_REGION_NAME': planning.REGION,
        'OS_IDENTITY_API_VERSION': '3',
        'OS_AUTH_TYPE': 'password',
        'OS_CLIENT_CONFIG_FILE': str(config),
        'NO_PROXY': '*',
        'no_proxy': '*',
    }
    lines = [
        f'export {name}={shlex.quote(value)}'
        for name, value in variables.items()
    ]
    # Another user: openstack --os-cloud demo ...
    lines += [
        'unset OS_CLOUD',
        f'export PATH={shlex.quote(str(plan.directory / "bin"))}:"$PATH"',
    ]
    plan.write('openrc', text='\n'.join(lines) + '\n')


def _write_wrapper(
    plan: planning.Plan,
    name: str,
    program: str,
    environment: dict[str, str] | None = None,
) -> None:
    variables = ''.join(
        f'{key}={shlex.quote(value)} '
        for key, value in (environment or {}).items()
    )
    enter = f'nsenter --net=/run/netns/{plan.namespace}'
    lines = [
        '#!/bin/sh',
        f'{variables}exec {enter} -- {program} "$@"',
    ]
    path = plan.write('bin', name, text='\n'.join(lines) + '\n')
    path.chmod(0o700)
