# SPDX-License-Identifier: Apache-2.0

"""Three real engine processes on one real database.

Nova, keystone and the BMCs are those of tests.functional.engine. Each engine
reaches the database, and the coordination in it, through a proxy of its own.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid

import sqlalchemy as sa

from tests.functional.engine import bench
from tests.functional.engine import faults
from tests.functional.engines import proxy
from tests import servers

WRITES = frozenset(
    {'force-down', 'disable', 'un-force', 'enable', 'evacuate', 'os-stop'}
)
TTL = 4.0

QUICK = {
    'engine': {
        'lease_ttl': TTL,
        'take_over_quiet': 1,
        # Eight processes on two cores: a commit takes its time.
        'call_deadline': 2,
    },
    # A device that still reads On is told again after 15 s.
    'fencing': {'timeout': 60, 'call_timeout': 3},
    'nova': {'timeout': 6},
}


class Database:
    """A new database of a private server, and its URLs."""

    def __init__(self, kind):
        given = {
            'mariadb': servers.mariadb,
            'postgresql': servers.postgresql,
        }[kind]()
        self.kind = kind
        self.server = given and sa.create_engine(
            given, isolation_level='AUTOCOMMIT'
        )
        self.name = f'nova_ha_fleet_{uuid.uuid4().hex[:12]}'

    @property
    def port(self):
        return self.server.url.port

    def create(self):
        with self.server.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE {self.name}')

    def drop(self):
        force = ' WITH (FORCE)' if self.kind == 'postgresql' else ''
        with self.server.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE {self.name}{force}')
        self.server.dispose()

    def store_url(self, port):
        url = self.server.url.set(database=self.name, port=port)
        return url.render_as_string(hide_password=False)

    def tooz_url(self, port):
        url = self.server.url
        who = url.username + (f':{url.password}' if url.password else '')
        if self.kind == 'postgresql':
            return f'postgresql://{who}@127.0.0.1:{port}?dbname={self.name}'
        return f'mysql://{who}@127.0.0.1:{port}/{self.name}'


@dataclasses.dataclass
class Engine:
    """One engine: process, configuration, log, and its way to the database.

    :ivar code: how it ended when it ended by itself.
    """

    name: str
    conf_file: pathlib.Path
    log_file: pathlib.Path
    way: proxy.Proxy
    process: subprocess.Popen | None = None

    def start(self):
        command = [
            sys.executable,
            '-m',
            'lab.embedded.process',
            str(os.getpid()),
            'nova_ha_plugins.cmd.engine',
            '--config-file',
            str(self.conf_file),
        ]
        with open(self.log_file, 'ab') as log:
            self.process = subprocess.Popen(
                command,
                cwd=bench.ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ask it to end and return when it has; with its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def log(self):
        return self.log_file.read_text(errors='replace')


class Fleet(bench.Bench):
    """One cloud with several engines, of which one acts."""

    def __init__(self, database, hosts=3, engines=3, changes=()):
        self.database = database
        self.engines = {}
        self._changes = dict(changes)
        database.create()
        super().__init__(hosts, changes)
        self.store_gone = threading.Event()
        for number in range(1, engines + 1):
            self.add_engine(f'ctl-{number}')

    def write_conf(self, changes=()):
        port = self.database.port
        super().write_conf(self._layers(port, changes))

    def _layers(self, port, changes, **more):
        layers = {group: dict(options) for group, options in QUICK.items()}
        layers['nova_ha_database'] = {
            'connection': self.database.store_url(port),
        }
        layers['coordination'] = {'backend_url': self.database.tooz_url(port)}
        for group, options in dict(changes).items():
            layers.setdefault(group, {}).update(options)
        for group, options in more.items():
            layers.setdefault(group, {}).update(options)
        return layers

    def add_engine(self, name, **changes):
        """Return a new engine, not yet started."""
        way = proxy.Proxy(self.database.port)
        own = self.conf_file
        self.conf_file = self.directory / f'{name}.conf'
        layers = self._layers(way.port, self._changes, **changes)
        layers['engine']['host'] = name
        # The coordination is told apart by its address: the same for all.
        url = self.database.tooz_url(way.port)
        layers['coordination'].setdefault('backend_url', url)
        bench.Bench.write_conf(self, layers)
        engine = Engine(
            name, self.conf_file, self.directory / f'{name}.log', way
        )
        self.conf_file = own
        self.engines[name] = engine
        return engine

    def close(self):
        for engine in self.engines.values():
            if engine.process is not None:
                engine.kill()
            engine.way.close()
        super().close()
        self.store._db.engine.dispose()
        self.database.drop()

    def log(self):
        return '\n'.join(
            f'--- {engine.name}\n' + '\n'.join(engine.log().splitlines()[-25:])
            for engine in self.engines.values()
            if engine.log_file.exists()
        )

    def told(self):
        text = super().told().split('\n')
        return '\n'.join([*text[:200], self.log()])

    # --- who acts ---------------------------------------------------------

    def start_all(self):
        """Start all engines; return when each is warm and one is ready."""
        for engine in self.engines.values():
            engine.start()
        self.until('an engine is ready', self._is_ready)
        self.until(
            'every engine is warm',
            lambda: len(self.warm()) == len(self.engines),
        )

    def _is_ready(self):
        status = self.store.engine_status()
        records = self.store.host_records()
        return (
            status.get('age', 99) < 5
            and status.get('watching', 0) >= bench.TIMEOUT
            and all(record.verified_at for record in records)
            and len(records) == len(self.racks.machines)
        )

    def living(self):
        """Return the rows of the engines that report, by controller."""
        return {
            state.name.partition(':')[0]: state
            for state in self.store.engines()
            if state.age < 2.5
        }

    def warm(self):
        return [name for name, s in self.living().items() if s.told['warm']]

    def acting(self):
        """Return the engine that has the lease."""
        owner = self.store.lease_state().owner
        return self.engines.get(owner.partition(':')[0])

    def until_taken_over(self, token):
        """Return the seconds until the lease has a higher token."""
        began = time.monotonic()
        faults.until(
            lambda: f'somebody takes over\n{self.told()}',
            lambda: (
                self.store.lease_state().token > token
                and self.store.lease_state().owner
            ),
        )
        return time.monotonic() - began

    # --- what arrived -----------------------------------------------------

    def writes(self):
        """Return the calls that change something, as they arrived."""
        with self.cloud.lock:
            return [one for one in self.cloud.calls if one.kind in WRITES]
