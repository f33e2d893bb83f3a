# SPDX-License-Identifier: Apache-2.0

"""A connection to the store's database: engine, clock, transactions."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import typing

from oslo_config import cfg
from oslo_db import api as db_api
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import engines
import sqlalchemy as sa
import tenacity

from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.store import values

Result = typing.TypeVar('Result')

# The database server's clock in seconds since 1970, with fractions. Each is
# free of the session's time zone: UNIX_TIMESTAMP(NOW(6)) repeats an hour when
# daylight saving ends.
_CLOCKS = {
    'sqlite': "((julianday('now') - 2440587.5) * 86400.0)",
    'mysql': (
        "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
        ' / 1000000.0)'
    ),
    'postgresql': '(extract(epoch from clock_timestamp()))',
}
_CLOCKS['mariadb'] = _CLOCKS['mysql']


# Seconds in which a client with an open transaction must say something. Ours
# take milliseconds; but a process that is stopped in the middle of one would
# keep the row of the lease locked, and no engine could take over from it.
IDLE_LIMIT = 4


class Database:
    """The engine of one database, and transactions on it.

    Nothing is connected before the first transaction, so that a plugin can be
    loaded while the database is away.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        database_conf.register_opts(conf)
        options = conf[database_conf.GROUP]
        self.engine = _make_engine(options)
        self.clock: sa.ColumnElement[float] = sa.cast(
            sa.literal_column(_CLOCKS[self.engine.dialect.name]), sa.Double
        )
        self._retry = db_api.wrap_db_retry(
            max_retries=options.db_max_retries,
            retry_interval=options.db_retry_interval,
            inc_retry_interval=True,
            max_retry_interval=options.db_max_retry_interval,
            retry_on_deadlock=True,
            retry_on_disconnect=True,
            exception_checker=_may_pass,
        )

    def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """What work returns, in a transaction that only reads."""
        return self._run(work, writes=False)

    def write(self, work: Callable[[sa.Connection], Result]) -> Result:
        """What work returns, once its transaction is committed.

        Work may run more than once: after a deadlock or a lost connection it
        begins again with nothing of the first attempt left, or, when only the
        answer to the commit was lost, with all of it there.
        """
        return self._run(work, writes=True)

    def now(self, connection: sa.Connection) -> float:
        """The server's clock."""
        return float(connection.execute(sa.select(self.clock)).scalar_one())

    def _run(
        self, work: Callable[[sa.Connection], Result], writes: bool
    ) -> Result:
        def once() -> Result:
            with self._transaction(writes) as connection:
                return work(connection)

        try:
            return typing.cast(Result, self._retry(once)())
        except (db_exception.DBError, sa.exc.ProgrammingError) as error:
            if not _missing_table(error):
                raise
            raise values.SchemaOutdated(
                f'Database of [{database_conf.GROUP}] connection lacks a '
                "table of this release: run 'nova-ha-manage db sync'"
            ) from error

    @contextlib.contextmanager
    def _transaction(self, writes: bool) -> Iterator[sa.Connection]:
        # A writer of SQLite takes its lock at once: one that begins as a
        # reader and writes later fails without waiting when another was
        # first. The mark keeps oslo.db from sending its own BEGIN.
        locks = writes and self.engine.dialect.name == 'sqlite'
        with self.engine.connect() as connection:
            if locks:
                connection.info['in_transaction'] = True
            with connection.begin():
                if locks:
                    connection.exec_driver_sql('BEGIN IMMEDIATE')
                yield connection


def _missing_table(error: Exception) -> bool:
    # oslo.db names the table for SQLite only: MySQL's 1146 it leaves alone,
    # and PostgreSQL calls a table a relation.
    return isinstance(error, db_exception.DBNonExistentTable) or any(
        clue in str(error)
        for clue in ('(1146, ', 'psycopg2.errors.UndefinedTable')
    )


def _may_pass(error: Exception) -> bool:
    # Another process held the SQLite file for longer than busy_timeout.
    return isinstance(
        error, db_exception.DBError
    ) and 'database is locked' in str(error)


def _make_engine(options: cfg.ConfigOpts.GroupAttr) -> sa.Engine:
    if not options.connection:
        raise values.NotConfigured(
            f'Option [{database_conf.GROUP}] connection is not set: '
            'name the database of nova-ha-plugins in this file'
        )
    is_sqlite = options.connection.startswith('sqlite')
    pool = {
        'max_pool_size': options.max_pool_size,
        'max_overflow': options.max_overflow,
        'pool_timeout': options.pool_timeout,
    }
    engine: sa.Engine = engines.create_engine(
        options.connection,
        connection_parameters=options.connection_parameters,
        mysql_sql_mode=options.mysql_sql_mode,
        mysql_wsrep_sync_wait=options.mysql_wsrep_sync_wait,
        connection_recycle_time=options.connection_recycle_time,
        # Do not connect yet: a plugin must load while the database is away.
        max_retries=0,
        # Connections to a SQLite file are not pooled.
        **({} if is_sqlite else pool),
    )
    if is_sqlite:
        _prepare_sqlite(engine, options.busy_timeout)
    else:
        _end_silent_transactions(engine)
    return engine


def _end_silent_transactions(engine: sa.Engine) -> None:
    """Have the server end a transaction that its client has left open."""
    postgresql = engine.dialect.name == 'postgresql'

    def connected(dbapi_connection: typing.Any, _record: object) -> None:
        with contextlib.closing(dbapi_connection.cursor()) as cursor:
            if postgresql:
                cursor.execute(
                    'SET SESSION idle_in_transaction_session_timeout = '
                    f"'{IDLE_LIMIT}s'"
                )
            else:
                try:
                    cursor.execute(
                        f'SET SESSION idle_transaction_timeout = {IDLE_LIMIT}'
                    )
                # MariaDB alone has it. MySQL ends every idle connection; the
                # pool looks at one before it is used.
                except dbapi_connection.OperationalError:
                    cursor.execute(f'SET SESSION wait_timeout = {IDLE_LIMIT}')
        dbapi_connection.commit()

    sa.event.listen(engine, 'connect', connected)


def _prepare_sqlite(engine: sa.Engine, busy_timeout: int) -> None:
    """Let several processes share the file: readers never wait (WAL)."""

    # A file is turned to WAL once, by its first connection; whoever comes at
    # that moment is refused at once, because SQLite's own busy_timeout does
    # not cover this statement.
    @tenacity.retry(
        retry=tenacity.retry_if_exception_message(match='.*is locked'),
        stop=tenacity.stop_after_delay(busy_timeout),
        wait=tenacity.wait_random(0.01, 0.05),
        reraise=True,
    )
    def to_wal(dbapi_connection: typing.Any) -> None:
        dbapi_connection.execute('PRAGMA journal_mode = WAL')

    def connected(dbapi_connection: typing.Any, _record: object) -> None:
        dbapi_connection.execute(f'PRAGMA busy_timeout = {busy_timeout}000')
        to_wal(dbapi_connection)

    sa.event.listen(engine, 'connect', connected)
