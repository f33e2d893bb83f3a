# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ: one node, with everything of it in the lab's directory.

The machine's own RabbitMQ is not touched: another home, another cookie, and
names and ports in the lab's network namespace.
"""

import base64
import hashlib
import json
import secrets
import socket

from lab import plan as planning
from lab import processes

NAME = 'rabbitmq'
_BIN = '/usr/lib/rabbitmq/bin'
# Messages of nova's versioned notifications, which nobody reads.
_KEEP = 5000

_CONFIG = """\
listeners.tcp.1 = {address}:{port}
loopback_users = none
load_definitions = {definitions}
# How much memory and disk a machine has says nothing about a lab.
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = info
log.file = false
# A host without power never says that it has gone.
heartbeat = 15
"""


def _hashed(password: str) -> str:
    """Return RabbitMQ's hash of a password."""
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def _definitions(password: str) -> str:
    everything = {'configure': '.*', 'write': '.*', 'read': '.*'}
    return json.dumps(
        {
            'vhosts': [{'name': '/'}],
            'users': [
                {
                    'name': 'lab',
                    'password_hash': _hashed(password),
                    'hashing_algorithm': 'rabbit_password_hashing_sha256',
                    'tags': 'administrator',
                }
            ],
            'permissions': [{'user': 'lab', 'vhost': '/', **everything}],
            'policies': [
                {
                    'name': 'unread',
                    'vhost': '/',
                    'pattern': r'^versioned_notifications\.',
                    'apply-to': 'queues',
                    'definition': {'max-length': _KEEP},
                }
            ],
        }
    )


def environment(plan: planning.Plan) -> dict[str, str]:
    """Return what RabbitMQ's programs need to find this node."""
    home = plan.path('rabbitmq', 'home')
    return {
        'HOME': str(home),
        # Not the machine's name, which nobody in there could resolve.
        'RABBITMQ_NODENAME': 'lab@localhost',
        'RABBITMQ_BASE': str(home),
        'RABBITMQ_MNESIA_BASE': str(home / 'mnesia'),
        'RABBITMQ_LOG_BASE': str(home / 'log'),
        'RABBITMQ_LOGS': '-',
        'RABBITMQ_CONFIG_FILE': str(home / 'rabbitmq'),
        'RABBITMQ_CONF_ENV_FILE': str(home / 'none'),
        'RABBITMQ_ENABLED_PLUGINS_FILE': str(home / 'enabled_plugins'),
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': (
            '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none '
            '-kernel inet_dist_use_interface {127,0,0,1}'
        ),
        'RABBITMQ_CTL_ERL_ARGS': '+S 1:1 +sbwt none',
        # Replaces the shell that would otherwise wait for it.
        'RABBITMQ_ALLOW_INPUT': 'true',
        'ERL_EPMD_ADDRESS': '127.0.0.1',
    }


def service(plan: planning.Plan) -> processes.Service:
    """Write the configuration of the broker and return its service."""
    definitions = plan.write(
        'rabbitmq',
        'home',
        'definitions.json',
        text=_definitions(plan.passwords['broker']),
    )
    plan.write(
        'rabbitmq',
        'home',
        'rabbitmq.conf',
        text=_CONFIG.format(
            address=planning.CONTROLLER,
            port=planning.PORTS[NAME],
            definitions=definitions,
        ),
    )
    plan.write('rabbitmq', 'home', 'enabled_plugins', text='[].\n')
    return processes.Service(
        NAME,
        (f'{_BIN}/rabbitmq-server', '-noinput'),
        environment(plan),
        _answers,
    )


def _answers() -> bool:
    """Say whether it greets: AMQP's header, answered by a method frame."""
    with socket.create_connection(
        (planning.CONTROLLER, planning.PORTS[NAME]), timeout=5
    ) as connection:
        connection.sendall(b'AMQP\x00\x00\x09\x01')
        return connection.recv(1) == b'\x01'
