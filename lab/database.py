# SPDX-License-Identifier: Apache-2.0
"""MariaDB, and the databases of all services in it.

Making the tables takes longer than all the rest of a lab. So it is done once
for a set of versions: what the services' own commands have made is kept in a
cache, as the files of a database server that was shut down, and every later
lab begins with a copy. Nothing in it belongs to one lab: passwords are set
by an SQL file at each start of the server.
"""

import collections.abc
import concurrent.futures
import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import socket
import subprocess
import sys

from lab import plan as planning
from lab import processes

NAME = 'mariadb'
# To be raised when a copy of before cannot be used any more.
FORMAT = 1
# So many states of the databases stay in the cache.
KEPT = 5
# Seconds for the tables of one service; the slowest takes half a minute on
# a quiet machine.
PATIENCE = 600.0

Command = collections.abc.Callable[[planning.Plan], list[str]]
Statements = collections.abc.Callable[[planning.Plan], list[str]]


@dataclasses.dataclass(frozen=True)
class Schema:
    """How the databases of a service are made.

    :ivar databases: their names.
    :ivar command: returns the command that makes the tables; it runs in the
        lab's network namespace, in an empty database. It writes nothing that
        depends on the lab, except into ``database_directory``.
    :ivar distributions: Python packages on whose versions the result depends.
    :ivar sources: files and directories of ours on which it depends.
    :ivar depends_on: whatever else it depends on.
    :ivar statements: SQL for every start of the server, for what does depend
        on the lab.
    """

    name: str
    databases: tuple[str, ...]
    command: Command
    distributions: tuple[str, ...]
    sources: tuple[pathlib.Path, ...] = ()
    depends_on: str = ''
    statements: Statements = lambda plan: []


_schemas: dict[str, Schema] = {}


def schema(one: Schema) -> None:
    """Have a database made in every lab; rooms say so at their import."""
    _schemas[one.name] = one


def directory(plan: planning.Plan) -> pathlib.Path:
    """Return the directory that is kept in the cache as a whole."""
    return plan.directory / 'database'


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path.rglob('*.py')) if path.is_dir() else [path]


def key() -> str:
    """Return what the content of the databases depends on, as a digest."""
    found = hashlib.sha256(f'{sys.version} {FORMAT} {_SIZES}'.encode())
    found.update(_run(['mariadbd', '--version']).encode())
    for name in sorted(_schemas):
        one = _schemas[name]
        found.update(f'{name} {one.databases} {one.depends_on}'.encode())
        for distribution in one.distributions:
            version = importlib.metadata.version(distribution)
            found.update(f'{distribution} {version}'.encode())
        for source in one.sources:
            for path in _files(source):
                found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _run(argv: list[str]) -> str:
    done = subprocess.run(
        argv,
        env=processes.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise planning.LabError(
            f"'{' '.join(argv)}' failed with {done.returncode}:\n"
            f'{_end(done.stdout)}'
        )
    return done.stdout


def _end(text: str) -> str:
    return '\n'.join(text.splitlines()[-15:])


def _quoted(text: str) -> str:
    return "'" + text.replace('\\', '\\\\').replace("'", "''") + "'"


class Database:
    """The database server of a lab."""

    def __init__(
        self,
        plan: planning.Plan,
        running: processes.Processes,
        cache: pathlib.Path,
    ) -> None:
        self._plan = plan
        self._processes = running
        self._cached = cache / f'databases-{key()}'

    @property
    def is_cached(self) -> bool:
        return self._cached.is_dir()

    def up(self) -> None:
        """Return when the databases of all services are there."""
        place = directory(self._plan)
        if self.is_cached and not place.exists():
            _copy(self._cached, place)
        if (place / 'complete').exists():
            self._start(self._statements())
            return
        # Also what an interrupted attempt has left.
        self._processes.stop(NAME)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        self._install()
        self._start([])
        self._make_tables()
        # Files can be copied when nobody writes them.
        self._processes.stop(NAME, patience=60.0)
        (place / 'complete').touch()
        _copy(place, self._cached)
        _forget(self._cached)
        self._start(self._statements())

    def _install(self) -> None:
        """Make the server's own tables."""
        _run(
            [
                'mariadb-install-db',
                '--no-defaults',
                '--user=root',
                f'--datadir={directory(self._plan)}/data',
                '--auth-root-authentication-method=normal',
                '--skip-test-db',
                '--skip-name-resolve',
                *_SIZES,
            ]
        )

    def _start(self, statements: list[str]) -> None:
        user, password = "'lab'@'%'", _quoted(self._plan.passwords['database'])
        names = [name for one in _schemas.values() for name in one.databases]
        first = self._plan.write(
            'run',
            'mariadb.sql',
            text=''.join(
                f'{line};\n'
                for line in (
                    *(
                        f'CREATE DATABASE IF NOT EXISTS `{name}` '
                        'CHARACTER SET utf8mb4'
                        for name in names
                    ),
                    f'CREATE OR REPLACE USER {user} IDENTIFIED BY {password}',
                    f'GRANT ALL ON *.* TO {user}',
                    *statements,
                )
            ),
        )
        data = directory(self._plan) / 'data'
        self._processes.start_all(
            [
                processes.Service(
                    NAME,
                    (
                        '/usr/sbin/mariadbd',
                        '--no-defaults',
                        '--user=root',
                        f'--datadir={data}',
                        # Below datadir: a path of any length will do.
                        '--socket=mariadb.sock',
                        f'--pid-file={data}/mariadb.pid',
                        f'--bind-address={planning.CONTROLLER}',
                        f'--port={planning.PORTS[NAME]}',
                        f'--init-file={first}',
                        *_SIZES,
                        *_SETTINGS,
                    ),
                    ready=_answers,
                )
            ]
        )

    def _statements(self) -> list[str]:
        return [
            line
            for one in _schemas.values()
            for line in one.statements(self._plan)
        ]

    def _make_tables(self) -> None:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(self._make, _schemas.values()))

    def _make(self, one: Schema) -> None:
        log = self._plan.log(f'schema-{one.name}')
        with log.open('ab') as stream:
            try:
                code = subprocess.run(
                    processes.inside(
                        self._plan.namespace, *one.command(self._plan)
                    ),
                    cwd=self._plan.directory,
                    env=processes.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    timeout=PATIENCE,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                # Some of them try for ever to reach a database.
                reason = f'no end after {PATIENCE:.0f} s'
            else:
                reason = f'exit code {code}' if code else ''
        if reason:
            text = log.read_text(errors='replace')
            raise planning.LabError(
                f'The tables of {one.name} could not be made ({reason}). '
                f'The end of {log}:\n{_end(text)}'
            )


# What data files are made with; a server must be started with the same.
_SIZES = (
    '--innodb-log-file-size=16M',
    '--innodb-data-file-path=ibdata1:12M:autoextend',
    '--innodb-undo-tablespaces=0',
)
_SETTINGS = (
    '--skip-name-resolve',
    '--skip-log-bin',
    '--character-set-server=utf8mb4',
    '--max-connections=1000',
    '--innodb-buffer-pool-size=96M',
    '--key-buffer-size=1M',
    '--aria-pagecache-buffer-size=4M',
    '--performance-schema=OFF',
    '--table-open-cache=400',
    # Commits survive the end of the process; the machine's is of no interest.
    '--innodb-flush-log-at-trx-commit=2',
    '--innodb-doublewrite=OFF',
    '--innodb-buffer-pool-dump-at-shutdown=OFF',
    '--innodb-buffer-pool-load-at-startup=OFF',
)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a directory, at once or not at all; who is first, wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    copying = target.with_name(f'{target.name}.{os.getpid()}')
    _run(['cp', '-a', '--sparse=always', f'{source}', f'{copying}'])
    try:
        copying.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(copying)


def _forget(newest: pathlib.Path) -> None:
    """Remove what the cache holds for versions of long ago."""
    found = sorted(
        newest.parent.glob('databases-*'),
        key=lambda path: path.stat().st_mtime,
    )
    for path in found[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def _answers() -> bool:
    """Say whether it greets; it does so after the SQL of its start."""
    with socket.create_connection(
        (planning.CONTROLLER, planning.PORTS[NAME]), timeout=5
    ) as connection:
        return bool(connection.recv(1))
