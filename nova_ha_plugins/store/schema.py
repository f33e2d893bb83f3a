# SPDX-License-Identifier: Apache-2.0

"""The schema of the store: which revision it has, and how to bring it up."""

import dataclasses

from alembic import command
from alembic import config as alembic_config
from alembic import migration
from alembic import script
from oslo_config import cfg
import sqlalchemy as sa

from nova_ha_plugins.store import database

_MIGRATIONS = 'nova_ha_plugins.store:migrations'


@dataclasses.dataclass(frozen=True)
class State:
    """The revision that a database has and the one this release needs.

    :ivar current: None for an empty database.
    """

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.head


def state(conf: cfg.ConfigOpts) -> State:
    """What the database of [nova_ha_database] connection has."""
    directory = script.ScriptDirectory.from_config(_config())

    def look(connection: sa.Connection) -> str | None:
        context = migration.MigrationContext.configure(connection)
        return context.get_current_revision()

    return State(
        current=database.Database(conf).read(look),
        head=str(directory.get_current_head()),
    )


def sync(conf: cfg.ConfigOpts) -> State:
    """The state after every missing revision was applied.

    Two at once on SQLite or PostgreSQL wait for each other; on MySQL, whose
    statements about tables cannot be undone, run one at a time.
    """
    config = _config()

    def upgrade(connection: sa.Connection) -> None:
        config.attributes['connection'] = connection
        command.upgrade(config, 'head')

    database.Database(conf).write(upgrade)
    return state(conf)


def _config() -> alembic_config.Config:
    config = alembic_config.Config()
    config.set_main_option('script_location', _MIGRATIONS)
    config.set_main_option('path_separator', 'os')
    return config
