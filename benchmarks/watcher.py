# SPDX-License-Identifier: Apache-2.0

"""What one round of a watcher costs, by the size of the cloud and its store.

A round is what happens every [nova_ha] watch_interval: the heartbeats are
read, and what is said of hosts where that is due, every host is judged, and
the watcher leaves word of its look. Heartbeats of all hosts are in time. The
rest of the probes' rows is read every few rounds; its share is in the median
only where it is read each time, so the mean is shown beside it.

Each size has a process of its own, so that the memory is its own.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import logging
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

from ceilometer import opts as ceilometer_opts
from ceilometer.polling import manager as polling
from oslo_config import cfg
import sqlalchemy as sa

from ceilometer_pollsters import discovery
from ceilometer_pollsters import liveness as meters
from ceilometer_pollsters import watching
from nova_ha_plugins.conf import opts
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import schema
from nova_ha_plugins.store import values
from tests import servers

BACKENDS = ('memory', 'sqlite', 'mariadb', 'postgresql', 'redis')
SIZES = (100, 1000, 10000)
# What a hypervisor says of itself beside its heartbeat.
PROBES = ('libvirt', 'storage:/var/lib/nova/instances', 'agent')
ROUNDS = 30
_TICKS = os.sysconf('SC_CLK_TCK')


@contextlib.contextmanager
def store_of(backend: str) -> Iterator[cfg.ConfigOpts | None]:
    """Give the configuration of an empty store, None where there is none."""
    with tempfile.TemporaryDirectory() as directory:
        conf = cfg.ConfigOpts()
        conf.register_opts(polling.POLLING_OPTS, group='polling')
        conf.register_opts(
            [one for one in ceilometer_opts.OPTS if one.name == 'host']
        )
        opts.register_plugin_opts(conf)
        conf([], default_config_files=[])
        conf.set_override('host', 'controller')
        conf.set_override('project_id', 'ha', 'nova_ha')
        # Nobody beats meanwhile.
        conf.set_override('heartbeat_timeout', 1e6, 'nova_ha')
        conf.set_override('health_timeout', 1e6, 'nova_ha')
        url = f'sqlite:///{pathlib.Path(directory)}/store.sqlite'
        if backend in ('memory', 'redis'):
            conf.set_override('liveness_backend', backend, 'nova_ha')
        if backend == 'redis':
            found = servers.redis()
            conf.set_override('liveness_url', found, 'nova_ha')
        elif backend in ('mariadb', 'postgresql'):
            found = getattr(servers, backend)()
            url = _database(found) if found else ''
        else:
            found = 'here'
        conf.set_override('connection', url, 'nova_ha_database')
        if not found:
            yield None
            return
        schema.sync(conf)
        yield conf


def _database(server: str) -> str:
    engine = sa.create_engine(server, isolation_level='AUTOCOMMIT')
    with engine.connect() as connection:
        connection.exec_driver_sql('CREATE DATABASE nova_ha_watched')
    engine.dispose()
    made = sa.engine.make_url(server).set(database='nova_ha_watched')
    return made.render_as_string(hide_password=False)


def fill(store: liveness.Liveness, hosts: int) -> None:
    """Let every host beat once and say that all is well."""
    names = [f'cmp-{number:05}' for number in range(hosts)]
    for begin in range(0, hosts, 500):
        part = names[begin : begin + 500]
        store.beats(
            values.Heard(
                host=name,
                boot_id='00000000-0000-4000-8000-000000000000',
                sequence=1,
                system_uuid='10000000-0000-4000-8000-000000000000',
                service_uuid='20000000-0000-4000-8000-000000000000',
            )
            for name in part
        )
        store.healths(
            values.Health(name, channel, True, 1.0)
            for name in part
            for channel in PROBES
        )


def watcher_of(
    conf: cfg.ConfigOpts, store: liveness.Liveness
) -> watching.Watcher:
    """Return a watcher that tells nobody."""
    return watching.Watcher(conf, store, mock.Mock())


def published(
    conf: cfg.ConfigOpts, watcher: watching.Watcher
) -> Callable[[], int]:
    """Return a function that makes the samples of both meters."""
    pollsters = [
        meters.LivenessAgePollster(conf),
        meters.LivenessUpPollster(conf),
    ]

    def publish() -> int:
        with mock.patch.object(
            meters.watching, 'watcher_of', autospec=True, return_value=watcher
        ):
            return sum(
                len(list(each.get_samples(None, {}, [discovery.FLEET])))
                for each in pollsters
            )

    return publish


def _cpu_of_servers() -> float:
    """Return the processor time of the servers that we have started."""
    parents, spent = {}, {}
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            words = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        pid = int(path.parent.name)
        parents[pid] = int(words[1])
        spent[pid] = (int(words[11]) + int(words[12])) / _TICKS
    ours, total = {os.getpid()}, 0.0
    for _ in parents:
        more = {pid for pid, up in parents.items() if up in ours} - ours
        if not more:
            break
        ours |= more
        total += sum(spent[pid] for pid in more)
    return total


def measure(backend: str, hosts: int) -> dict[str, object] | None:
    """Return the figures of one size, None where the store is missing."""
    with store_of(backend) as conf:
        if conf is None:
            return None
        store = liveness.open_liveness(conf)
        fill(store, hosts)
        watcher = watcher_of(conf, store)
        for _ in range(3):
            watcher.look()
        walls, began, theirs = [], time.process_time(), _cpu_of_servers()
        for _ in range(ROUNDS):
            start = time.monotonic()
            watcher.look()
            walls.append(time.monotonic() - start)
            # As it would: what is due is counted in real time.
            time.sleep(max(0.0, 0.2 - walls[-1]))
        spent = time.process_time() - began
        spent_there = _cpu_of_servers() - theirs
        publish = published(conf, watcher)
        start = time.process_time()
        count = publish()
        samples = time.process_time() - start
        if len(watcher.seen()) != hosts or count < hosts:
            raise RuntimeError(
                f'{len(watcher.seen())} of {hosts} hosts were seen and '
                f'{count} samples made'
            )
        return {
            'backend': backend,
            'hosts': hosts,
            'wall_ms': statistics.median(walls) * 1000,
            'worst_ms': max(walls) * 1000,
            'cpu_ms': spent * 1000 / ROUNDS,
            'server_cpu_ms': spent_there * 1000 / ROUNDS,
            'samples_cpu_ms': samples * 1000,
            'rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / 1024,
        }


def main() -> None:
    """Print a line per store and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hosts', type=int, nargs='+', default=SIZES)
    parser.add_argument(
        '--backend', nargs='+', choices=BACKENDS, default=BACKENDS
    )
    parser.add_argument(
        '--one', action='store_true', help='one size of one store, as JSON'
    )
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    if given.one:
        print(json.dumps(measure(given.backend[0], given.hosts[0])))
        return
    print(
        f'{"store":>10} {"hosts":>6} {"wall ms":>8} {"worst":>7} '
        f'{"CPU ms":>7} {"server":>7} {"samples":>8} {"RSS MB":>7}'
    )
    for backend in given.backend:
        for hosts in given.hosts:
            argv = [sys.executable, '-m', 'benchmarks.watcher', '--one']
            argv += ['--backend', backend, '--hosts', str(hosts)]
            done = subprocess.run(  # noqa: S603 - our own words
                argv, check=True, stdout=subprocess.PIPE
            )
            found = json.loads(done.stdout.splitlines()[-1])
            if found is None:
                print(f'{backend:>10} is not installed here')
                break
            print(
                f'{backend:>10} {hosts:6} {found["wall_ms"]:8.1f} '
                f'{found["worst_ms"]:7.1f} {found["cpu_ms"]:7.1f} '
                f'{found["server_cpu_ms"]:7.1f} '
                f'{found["samples_cpu_ms"]:8.1f} {found["rss_mb"]:7.0f}',
                flush=True,
            )


if __name__ == '__main__':
    main()
