# SPDX-License-Identifier: Apache-2.0
"""The plan of an embedded cloud, cloud.json, and the files that go with it.

Its fields are described in :mod:`lab.embedded.cloud`.
"""

import datetime
import hashlib
import importlib.metadata
import ipaddress
import json
import os
import pathlib
import random
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import typing
import uuid

import bcrypt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
import yaml

Plan = dict[str, typing.Any]

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGION = 'RegionOne'
BMC_USER = 'fence'

# What of ours may lie in a directory from the time before.
OURS = ('keystone', 'nova', 'telemetry', 'bmc', 'hosts', 'log')


def default_cache() -> pathlib.Path:
    """Return where prepared keystones are kept."""
    base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    return pathlib.Path(base, 'nova-ha-plugins')


def child_environment() -> dict[str, str]:
    """Return the environment of the processes.

    Without OS_*: the fixtures of nova take OS_DEBUG, OS_STDERR_CAPTURE and
    others from a test runner, keystone its files. Without proxies: all of it
    is on loopback.
    """
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith('OS_') and not key.lower().endswith('_proxy')
    }


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on.

    From below the range of outgoing connections: a port of that range can be
    taken between now and the start of its process.
    """
    found: list[int] = []
    candidates = random.sample(range(20000, 32000), 2000)
    for port in candidates:
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f'No {count} free ports between 20000 and 32000')


def write_secret(path: pathlib.Path, text: str) -> str:
    """Write a file that only we can read; returns its name."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


def prepared_keystone(cache: pathlib.Path) -> pathlib.Path:
    """Return a directory with a bootstrapped keystone, made when missing."""
    source = ROOT / 'lab' / 'embedded' / 'keystone.py'
    key = hashlib.sha256(source.read_bytes())
    key.update(importlib.metadata.version('keystone').encode())
    key.update(sys.version.encode())
    ready = cache / f'keystone-{key.hexdigest()[:12]}'
    if ready.exists():
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    making = cache / f'{ready.name}.{os.getpid()}'
    making.mkdir(mode=0o700)
    made = subprocess.run(
        [sys.executable, '-m', 'lab.embedded.keystone', '--prepare', making],
        cwd=ROOT,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode:
        shutil.rmtree(making)
        raise RuntimeError(f'Keystone could not be set up:\n{made.stdout}')
    try:
        making.rename(ready)
    except OSError:
        # Somebody else was faster; theirs is as good.
        shutil.rmtree(making)
    return ready


def clear(directory: pathlib.Path) -> None:
    """Remove what an earlier cloud has left in the directory."""
    for name in OURS:
        shutil.rmtree(directory / name, ignore_errors=True)
    for path in directory.glob('nova-ha.sqlite*'):
        path.unlink()


def make(
    directory: pathlib.Path,
    hosts: int,
    keystone: pathlib.Path,
    changes: dict[str, dict[str, typing.Any]],
) -> Plan:
    """Return the plan of a new cloud; the directory holds all its files.

    :param keystone: a prepared keystone
    :param changes: settings by section, over those that are chosen here
    """
    for name in OURS:
        (directory / name).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory / 'keystone')
    shutil.copytree(keystone, directory / 'keystone')
    identity = json.loads((keystone / 'identity.json').read_text())
    ports = iter(free_ports(8 + hosts))
    plan: Plan = {
        'directory': str(directory),
        'log_dir': str(directory / 'log'),
        'region': REGION,
        'keystone': {
            **_place(next(ports), '/v3'),
            'data_dir': str(directory / 'keystone'),
        },
        'nova': {
            **_place(next(ports), '/v2.1'),
            **_place(next(ports), prefix='control_'),
            'spawn_seconds': 1.0,
            'report_interval': 2,
            'service_down_time': 10,
        },
        'placement': _place(next(ports)),
        'image': _place(next(ports)),
        'telemetry': {
            **_place(next(ports), prefix='control_'),
            **_place(next(ports), prefix='aodh_'),
            'enabled': True,
            'heartbeat_interval': 1.0,
            'watch_interval': 1.0,
            'heartbeat_timeout': 3.0,
            'warm_up': 3.0,
            'settings': {},
        },
        'bmc': _make_bmc(directory / 'bmc', next(ports)),
        'store_connection': f'sqlite:///{directory}/nova-ha.sqlite',
        'ha_project_id': identity['projects']['admin'],
        **identity,
        'hosts': [
            _make_host(directory / 'hosts', f'cmp-{number + 1}', next(ports))
            for number in range(hosts)
        ],
    }
    for section, values in changes.items():
        plan[section].update(values)
    return plan


def _place(port: int, path: str = '', prefix: str = '') -> dict[str, object]:
    return {
        f'{prefix}url': f'http://127.0.0.1:{port}{path}',
        f'{prefix}port': port,
    }


def _make_host(
    directory: pathlib.Path, name: str, probe_port: int
) -> dict[str, object]:
    (directory / name).mkdir()
    system_uuid = str(uuid.uuid4())
    files = {
        'system_uuid_file': directory / name / 'product_uuid',
        'boot_id_file': directory / name / 'boot_id',
    }
    files['system_uuid_file'].write_text(f'{system_uuid}\n')
    files['boot_id_file'].write_text(f'{uuid.uuid4()}\n')
    return {
        'name': name,
        'system_uuid': system_uuid,
        'probe_port': probe_port,
        **{key: str(path) for key, path in files.items()},
    }


def _make_bmc(directory: pathlib.Path, port: int) -> dict[str, object]:
    password = secrets.token_hex(12)
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    certificate, key = _make_certificate()
    return {
        'url': f'https://127.0.0.1:{port}',
        'port': port,
        'username': BMC_USER,
        'password_file': write_secret(directory / 'password', password),
        'auth_file': write_secret(
            directory / 'htpasswd', f'{BMC_USER}:{digest}\n'
        ),
        'certificate': write_secret(directory / 'bmc.crt', certificate),
        'key': write_secret(directory / 'bmc.key', key),
    }


def _make_certificate() -> tuple[str, str]:
    """Return a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, 'embedded BMC')]
    )
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )


def write_files(plan: Plan) -> None:
    """Write cloud.json, fencing.yaml, clouds.yaml and openrc."""
    directory = pathlib.Path(plan['directory'])
    write_secret(directory / 'cloud.json', json.dumps(plan, indent=1))
    write_secret(
        directory / 'fencing.yaml',
        yaml.safe_dump({'hosts': fencing_map(plan)}, sort_keys=False),
    )
    clouds = {
        name: {
            'auth': credentials(plan, name),
            'region_name': plan['region'],
        }
        for name in ('admin', 'demo', 'alice')
    }
    write_secret(directory / 'clouds.yaml', yaml.safe_dump({'clouds': clouds}))
    variables = {
        f'OS_{key.upper()}': value
        for key, value in credentials(plan, 'admin').items()
    }
    variables |= {
        'OS_REGION_NAME': plan['region'],
        'OS_IDENTITY_API_VERSION': '3',
        'OS_AUTH_TYPE': 'password',
    }
    lines = [f"export {key}='{value}'" for key, value in variables.items()]
    # The clients that know our commands, and no proxy: all is on loopback.
    lines += [
        f'export PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"',
        'export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1',
        'unset OS_CLOUD',
    ]
    write_secret(directory / 'openrc', '\n'.join(lines) + '\n')


def credentials(plan: Plan, user: str) -> dict[str, str]:
    """Return keystoneauth's ``auth`` of a user."""
    return {
        'auth_url': plan['keystone']['url'],
        'username': user,
        'password': plan['users'][user]['password'],
        'project_name': plan['users'][user]['project'],
        'user_domain_id': 'default',
        'project_domain_id': 'default',
    }


def fencing_map(plan: Plan) -> dict[str, dict[str, str]]:
    """Return the hosts of the engine's fencing map."""
    bmc = plan['bmc']
    return {
        host['name']: {
            'driver': 'redfish',
            'address': bmc['url'],
            'system': f'/redfish/v1/Systems/{host["system_uuid"]}',
            'username': bmc['username'],
            'password_file': bmc['password_file'],
            'verify': bmc['certificate'],
            'probe': f'127.0.0.1:{host["probe_port"]}',
        }
        for host in plan['hosts']
    }


def engine_conf(plan: Plan) -> dict[str, dict[str, str]]:
    """Return what of nova-ha.conf depends on this cloud, by group."""
    return {
        'nova_ha_database': {'connection': plan['store_connection']},
        'nova_ha': {
            'project_id': plan['ha_project_id'],
            'heartbeat_timeout': str(plan['telemetry']['heartbeat_timeout']),
        },
        'fencing': {'map_file': f'{plan["directory"]}/fencing.yaml'},
        'nova': {
            'auth_type': 'password',
            **credentials(plan, 'nova-ha'),
            'region_name': plan['region'],
        },
    }
