# SPDX-License-Identifier: Apache-2.0

"""What a heartbeat costs, from ceilometer's message to where it is kept.

Each backend in a process of its own, and the same heartbeats into a gnocchi
beside them. Counted is the processor time of the process that receives, of
the server it writes to and, for gnocchi, of its API and of metricd; not that
of the message bus.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing
from typing import Any
from urllib import parse
import uuid

from ceilometer import sample
from oslo_config import cfg
import sqlalchemy as sa

from benchmarks import receiver
from ceilometer_pollsters import heartbeat
from ceilometer_pollsters import publisher
from nova_ha_plugins.conf import opts
from nova_ha_plugins.store import schema
from tests import servers

TICKS = os.sysconf('SC_CLK_TCK')
OURS = 'nova-ha-liveness://'
# What the servers are called in /proc.
SERVERS = ('mariadbd', 'postgres', 'redis-server')
DEFINITIONS = """\
archive_policy_default: low
resources:
  - resource_type: nova_compute
    metrics: [hypervisor.heartbeat]
    attributes: {host_name: resource_metadata.host}
"""


def conf_of(directory: pathlib.Path, backend: str) -> cfg.ConfigOpts:
    """Return the configuration of a host with a store of its own."""
    path = directory / f'{backend}.conf'
    path.write_text(
        f'[nova_ha]\nliveness_backend = {backend}\n'
        '[nova_ha_database]\n'
        f'connection = sqlite:///{directory}/{backend}.sqlite\n'
    )
    conf = cfg.ConfigOpts()
    opts.register_plugin_opts(conf)
    conf(['--config-file', str(path)])
    schema.sync(conf)
    return conf


def beat(host: int, sequence: int) -> sample.Sample:
    """Return the sample that the pollster of a host makes."""
    name = f'cmp-{host:04}'
    return sample.Sample(
        name=heartbeat.METER,
        type=sample.TYPE_GAUGE,
        unit='heartbeat',
        volume=1,
        user_id=None,
        project_id=None,
        resource_id=name,
        timestamp='2026-01-01T00:00:00',
        resource_metadata={
            'host': name,
            'boot_id': f'00000000-0000-4000-8000-{host:012}',
            'sequence': sequence,
            'system_uuid': f'10000000-0000-4000-8000-{host:012}',
            'agent_pid': 1,
        },
    )


def writer(conf: cfg.ConfigOpts, hosts: int, together: int) -> Any:
    """Return a function that publishes one heartbeat of every host."""
    target = publisher.LivenessPublisher(conf, parse.urlsplit(OURS))
    sequence = 0

    def publish() -> None:
        nonlocal sequence
        sequence += 1
        for begin in range(0, hosts, together):
            target.publish_samples(
                [beat(n, sequence) for n in range(begin, begin + together)]
            )

    return publish


class Child:
    """A process that is told lines of JSON, and answers with lines."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, '-m', *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stdin = typing.cast(typing.IO[str], self._process.stdin)
        self._stdout = typing.cast(typing.IO[str], self._process.stdout)

    def __enter__(self) -> 'Child':
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def tell(self, what: object = None) -> None:
        """Say a line."""
        self._stdin.write(f'{json.dumps(what)}\n')
        self._stdin.flush()

    def hear(self) -> str:
        """Return the next line."""
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f'{self._process.args} ended too early')
        return line

    def hear_for(self, begin: str) -> str:
        """Return the next line that begins so; libraries log into it."""
        while not (line := self.hear()).startswith(begin):
            pass
        return line

    def cpu(self) -> float:
        """Return the processor seconds that it has used."""
        return spent(self._process.pid)


def spent(pid: int) -> float:
    """Return the processor seconds of a process and its dead children."""
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    fields = text.rpartition(')')[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def spent_by_servers() -> float:
    """Return the processor seconds of the servers that this process began."""
    parents, names = {}, {}
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            head, _, tail = path.read_text().rpartition(')')
        except OSError:
            continue
        pid = int(path.parent.name)
        parents[pid] = int(tail.split()[1])
        names[pid] = head.partition('(')[2]

    def is_ours(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == os.getpid():
                return True
        return False

    total = 0.0
    for pid, name in names.items():
        if name in SERVERS and is_ours(pid):
            total += spent(pid)
    return total


def fresh(url: str) -> str:
    """Return the URL of a new database of a server."""
    engine = sa.create_engine(url, isolation_level='AUTOCOMMIT')
    name = f'bench_{uuid.uuid4().hex[:12]}'
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE {name}')
    engine.dispose()
    return engine.url.set(database=name).render_as_string(hide_password=False)


def plain(url: str) -> str:
    """Return a URL as gnocchi knows it."""
    return url.replace('postgresql+psycopg2', 'postgresql')


def targets(names: list[str], directory: pathlib.Path) -> dict[str, Any]:
    """Return the options of each backend whose server is here."""
    database = 'nova_ha_database'
    made: dict[str, Any] = {}
    for name, find in (
        ('mariadb', servers.mariadb),
        ('postgresql', servers.postgresql),
    ):
        if name in names and (url := find()):
            made[name] = {database: {'connection': fresh(url)}}
    if 'redis' in names and (url := servers.redis()):
        made['redis'] = {
            'nova_ha': {'liveness_backend': 'redis', 'liveness_url': url}
        }
    if 'memory' in names:
        made['memory'] = {'nova_ha': {'liveness_backend': 'memory'}}
    if 'sqlite' in names:
        url = f'sqlite:///{directory}/store.sqlite'
        made['sqlite'] = {database: {'connection': url}}
    if 'mariadb' in made:
        masters = directory / 'masters'
        key = receiver.MASTER
        masters.write_text(f'{key.id} {key.secret.decode()}\n')
        made['mariadb, signed'] = {
            database: {'connection': fresh(servers.mariadb())},
            'nova_ha': {
                'heartbeat_signatures': 'require',
                'heartbeat_masters_file': str(masters),
            },
        }
    return made


def measure(told: dict[str, Any], api: Child | None = None) -> dict[str, Any]:
    """Return what one receiver said of itself, and what its server took."""
    with Child('benchmarks.receiver') as child:
        child.tell(told)
        child.hear_for('measure')
        server, before = spent_by_servers(), api.cpu() if api else 0.0
        child.tell()
        result: dict[str, Any] = json.loads(child.hear_for('{'))
        beats = told['hosts'] * told['rounds']
        result['server'] = (spent_by_servers() - server) * 1000 / beats
        if api:
            result['api'] = (api.cpu() - before) * 1000 / beats
        child.tell()
    return result


def into_gnocchi(told: dict[str, Any], directory: pathlib.Path) -> Any:
    """Return the same for gnocchi, None where there is no database."""
    # Gnocchi's many tables take a minute to make on MariaDB.
    url = servers.postgresql() or servers.mariadb()
    if not url:
        return None
    path = directory / 'resources.yaml'
    path.write_text(DEFINITIONS)
    with Child('benchmarks.gnocchi_api', plain(fresh(url))) as api:
        endpoint = json.loads(api.hear_for('"'))
        told = {
            **told,
            'publisher': (
                'gnocchi://?enable_filter_project=false&'
                f'resources_definition_file={path}'
            ),
            'options': {
                'service_credentials': {
                    'auth_type': 'gnocchi-basic',
                    'user': 'admin',
                    'endpoint': endpoint,
                }
            },
        }
        found = measure(told, api)
        server = spent_by_servers()
        api.tell()
        # The first round is among them; it costs metricd no less.
        beats = told['hosts'] * (told['rounds'] + 1)
        found['metricd'] = json.loads(api.hear()) * 1000 / beats
        found['server'] += (spent_by_servers() - server) * 1000 / beats
    return found


def show(name: str, found: dict[str, Any]) -> float:
    """Print a line, and return all CPU-seconds per 1,000 heartbeats."""
    parts = [found['cpu'], found.get('api', 0.0), found.get('metricd', 0.0)]
    total = float(sum(parts) + found['server'])
    print(
        f'{name:16}{parts[0]:9.3f}{parts[1] + parts[2]:13.3f}'
        f'{found["server"]:9.3f}{total:8.3f}{found["rate"]:9.0f}'
        f'{found["cpu"] * found["rate"] / 1000:7.2f}'
        f'{total * found["rate"] / 1000:7.2f}{found["rss_mb"]:8.0f}',
        flush=True,
    )
    return total


def main() -> None:
    """Print CPU-seconds per 1,000 heartbeats of every backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hosts', type=int, default=3000)
    parser.add_argument('--interval', type=float, default=2.0)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--gnocchi-hosts', type=int, default=200)
    parser.add_argument(
        '--backends',
        nargs='*',
        default=['mariadb', 'postgresql', 'redis', 'memory'],
    )
    args = parser.parse_args()
    print(
        f'{args.hosts} hosts at {args.interval:g} s, one message each. '
        'CPU-seconds per 1,000 heartbeats;\ncores are those at this rate.'
    )
    print(
        f'{"":16}{"receiver":>9}{"api+metricd":>13}{"server":>9}{"all":>8}'
        f'{"per s":>9}{"cores":>7}{"all":>7}{"RSS MB":>8}'
    )
    told = {
        'hosts': args.hosts,
        'interval': args.interval,
        'rounds': args.rounds,
        'publisher': OURS,
    }
    totals = {}
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        for backend, options in targets(args.backends, directory).items():
            signed = backend.endswith('signed')
            found = measure({**told, 'options': options, 'signed': signed})
            if found['stored'] not in (args.hosts, 0):
                raise RuntimeError(f'{backend} stored {found["stored"]} hosts')
            totals[backend] = show(backend, found)
        if args.gnocchi_hosts:
            told |= {'hosts': args.gnocchi_hosts, 'interval': 0, 'rounds': 2}
            found = into_gnocchi({**told, 'signed': False}, directory)
            if found:
                most = show('gnocchi', found)
                for backend, total in totals.items():
                    print(f'gnocchi / {backend}: {most / total:.0f}')


if __name__ == '__main__':
    main()
