# SPDX-License-Identifier: Apache-2.0

"""Private database servers for tests: one of a kind per process.

Started when the first test asks, in a directory of its own, stopped at the
end. Where the binaries are not installed (tools/env --lab does it) there is
none, and its tests are skipped. A server of one's own can be named by
NOVA_HA_TEST_MYSQL or NOVA_HA_TEST_POSTGRESQL: the URL of a user who may create
databases.

Redis is one of them, but cannot be named: its tests empty it.
"""

import atexit
import ctypes
import functools
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE = 60.0
# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _die_with_parent():
    """Have the kernel end this process when the tests are killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as connection:
        connection.bind(('127.0.0.1', 0))
        return connection.getsockname()[1]


def find(name, *places):
    """Return the path of a program, '' if it is not installed."""
    found = shutil.which(name)
    for pattern in places:
        found = found or next(iter(sorted(glob.glob(pattern))[-1:]), None)
    return found or ''


class Server:
    """A database server that lives as long as the process that started it."""

    def __init__(self, prefix):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
        self.port = free_port()
        self.process = None
        # The process that a test runner forks must not stop it.
        self._owner = os.getpid()

    def spawn(self, argv, **more):
        log = (self.directory / 'log').open('ab')
        with log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **more,
            )
        atexit.register(self.stop)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.directory / 'log').read_text(errors='replace')
                self.stop()
                raise RuntimeError(f'{argv[0]} did not start:\n{said[-3000:]}')
            time.sleep(0.05)

    def stop(self):
        if self._owner != os.getpid():
            return
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Mariadb(Server):
    """MariaDB; its superuser is 'test'."""

    def __init__(self, daemon, installer):
        super().__init__('nova-ha-mariadb-')
        data = self.directory / 'data'
        self.url = f'mysql+pymysql://test:test@127.0.0.1:{self.port}/'
        done = subprocess.run(
            [
                installer,
                '--no-defaults',
                f'--datadir={data}',
                '--auth-root-authentication-method=normal',
                '--skip-test-db',
                '--skip-name-resolve',
                *(['--user=root'] if not os.getuid() else []),
            ],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(
                f'{installer} ended with {done.returncode}: '
                f'{done.stdout[-2000:]}'
            )
        first = self.directory / 'first.sql'
        first.write_text(
            "CREATE OR REPLACE USER 'test'@'%' IDENTIFIED BY 'test';\n"
            "GRANT ALL ON *.* TO 'test'@'%';\n"
        )
        self.spawn(
            [
                daemon,
                '--no-defaults',
                f'--datadir={data}',
                # A path of any length will do.
                '--socket=mariadb.sock',
                f'--pid-file={data}/mariadb.pid',
                '--bind-address=127.0.0.1',
                f'--port={self.port}',
                f'--init-file={first}',
                '--skip-name-resolve',
                '--skip-log-bin',
                '--character-set-server=utf8mb4',
                '--max-connections=400',
                '--innodb-buffer-pool-size=64M',
                '--innodb-flush-log-at-trx-commit=2',
                *(['--user=root'] if not os.getuid() else []),
            ]
        )

    def answers(self):
        # It greets after the SQL of its start.
        try:
            with socket.create_connection(
                ('127.0.0.1', self.port), timeout=5
            ) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False


class Postgresql(Server):
    """PostgreSQL; its superuser is 'test', whom it trusts."""

    def __init__(self, directory):
        super().__init__('nova-ha-postgresql-')
        self.url = f'postgresql+psycopg2://test@127.0.0.1:{self.port}/postgres'
        data = self.directory / 'data'
        more = {}
        if not os.getuid():
            # It refuses to run as root.
            user = next(
                found
                for found in pwd.getpwall()
                if found.pw_name in ('postgres', 'nobody')
            )
            more = {'user': user.pw_uid, 'group': user.pw_gid}
            shutil.chown(self.directory, user.pw_uid, user.pw_gid)
        subprocess.run(
            [
                f'{directory}/initdb',
                f'--pgdata={data}',
                '--username=test',
                '--auth=trust',
                '--encoding=UTF8',
                '--no-locale',
                '--no-sync',
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
            **more,
        )
        self._ready = [
            f'{directory}/pg_isready',
            '--quiet',
            '--host=127.0.0.1',
            f'--port={self.port}',
            '--username=test',
            '--dbname=postgres',
        ]
        self.spawn(
            [
                f'{directory}/postgres',
                '-D',
                f'{data}',
                '-c',
                'listen_addresses=127.0.0.1',
                '-c',
                f'port={self.port}',
                '-c',
                f'unix_socket_directories={self.directory}',
                '-c',
                'fsync=off',
                '-c',
                'max_connections=300',
            ],
            cwd=self.directory,
            **more,
        )

    def answers(self):
        return not subprocess.run(self._ready, check=False).returncode


class Redis(Server):
    """Redis; it keeps nothing, and anybody may enter."""

    def __init__(self, daemon):
        super().__init__('nova-ha-redis-')
        self.url = f'redis://127.0.0.1:{self.port}/0'
        self.spawn(
            [
                daemon,
                '--bind',
                '127.0.0.1',
                '--port',
                f'{self.port}',
                '--save',
                '',
                '--dir',
                f'{self.directory}',
            ]
        )

    def answers(self):
        try:
            with socket.create_connection(
                ('127.0.0.1', self.port), timeout=5
            ) as connection:
                connection.sendall(b'PING\r\n')
                return connection.recv(5) == b'+PONG'
        except OSError:
            return False


@functools.cache
def redis():
    """Return the URL of a Redis, '' where there is none."""
    daemon = find('redis-server', '/usr/bin/redis-server')
    return Redis(daemon).url if daemon else ''


@functools.cache
def mariadb():
    """Return the URL of a MariaDB, '' where there is none."""
    given = os.environ.get('NOVA_HA_TEST_MYSQL', '')
    daemon = find('mariadbd', '/usr/sbin/mariadbd')
    installer = find('mariadb-install-db')
    if given or not (daemon and installer):
        return given
    return Mariadb(daemon, installer).url


@functools.cache
def postgresql():
    """Return the URL of a PostgreSQL, '' where there is none."""
    given = os.environ.get('NOVA_HA_TEST_POSTGRESQL', '')
    daemon = find('postgres', '/usr/lib/postgresql/*/bin/postgres')
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        return given
    if given or not daemon:
        return given
    return Postgresql(pathlib.Path(daemon).resolve().parent).url
