# SPDX-License-Identifier: Apache-2.0

"""Databases for tests: a SQLite file each, or a fresh one of a real server."""

from collections.abc import Callable
import pathlib
import tempfile
import unittest
import uuid

from oslo_config import cfg
import sqlalchemy as sa

from nova_ha_plugins.conf import config
from nova_ha_plugins.store import api
from nova_ha_plugins.store import schema
from tests import servers


def configuration(url: str) -> cfg.ConfigOpts:
    conf = config.load([], [])
    conf.set_override('connection', url, 'nova_ha_database')
    return conf


class OfClass:
    """Stands for a test case where all tests of a class share a database."""

    def __init__(self, case: type[unittest.TestCase]) -> None:
        self.addCleanup = case.addClassCleanup

    def skipTest(self, reason: str) -> None:
        raise unittest.SkipTest(reason)


class Sqlite:
    """One file in a directory of its own."""

    def make_url(self, test: unittest.TestCase | OfClass) -> str:
        directory = tempfile.TemporaryDirectory()
        test.addCleanup(directory.cleanup)
        return f'sqlite:///{pathlib.Path(directory.name)}/store.sqlite'


class Server:
    """One new database of a server, dropped after the test."""

    def __init__(self, name: str, find: Callable[[], str]) -> None:
        self._name = name
        self._find = find

    def make_url(self, test: unittest.TestCase | OfClass) -> str:
        given = self._find()
        if not given:
            test.skipTest(f'No {self._name}: tools/env --lab installs it')
        name = f'nova_ha_test_{uuid.uuid4().hex}'
        server = sa.create_engine(given, isolation_level='AUTOCOMMIT')
        test.addCleanup(server.dispose)
        with server.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE {name}')
        test.addCleanup(_drop, server, name)
        url = server.url.set(database=name)
        return url.render_as_string(hide_password=False)


def _drop(server: sa.Engine, name: str) -> None:
    force = ' WITH (FORCE)' if server.dialect.name == 'postgresql' else ''
    with server.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE {name}{force}')


SQLITE = Sqlite()
POSTGRESQL = Server('PostgreSQL', servers.postgresql)
MYSQL = Server('MariaDB', servers.mariadb)


class StoreTestCase(unittest.TestCase):
    """A test with a store; subclasses name the database."""

    DATABASE = SQLITE

    def setUp(self) -> None:
        super().setUp()
        self.url = self.DATABASE.make_url(self)
        self.conf = configuration(self.url)
        schema.sync(self.conf)
        self.store = self.open_store()

    def open_store(self) -> api.Store:
        """Another store on the same database."""
        store = api.open_store(self.conf)
        self.addCleanup(store._db.engine.dispose)
        return store

    def execute(self, statement: sa.Executable) -> None:
        """Change the database behind the store's back."""
        self.store._db.write(lambda connection: connection.execute(statement))
