# SPDX-License-Identifier: Apache-2.0

"""Options of the database that every part of nova-ha-plugins shares."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'nova_ha_database'

database_group = cfg.OptGroup(
    GROUP,
    title='Store of nova-ha-plugins',
    help="""
Where heartbeats, facts, incidents and the arm state live. The same database
must be named in nova-ha.conf and in every host file that loads one of our
plugins: ceilometer.conf, aodh.conf and nova.conf. Its clock is the only clock
that decisions are made by.
""",
)

database_opts = [
    cfg.StrOpt(
        'connection',
        secret=True,
        help="""
SQLAlchemy URL of the database. Nothing of nova-ha-plugins works without it:
plugins say so in the log of their host and the engine refuses to start. Use
``mysql+pymysql://user:password@host/nova_ha?charset=utf8mb4`` or
``postgresql+psycopg2://user:password@host/nova_ha`` in production; SQLite
(``sqlite:////var/lib/nova-ha/nova-ha.sqlite``) is for one machine only, and
every service that names it must be able to write to the file and its
directory. Create the schema with ``nova-ha-manage db sync``.
""",
    ),
    cfg.StrOpt(
        'connection_parameters',
        default='',
        help="""
Parameters that are appended to the connection URL, as
``param1=value1&param2=value2``. Touch it for TLS to the database.
""",
    ),
    cfg.StrOpt(
        'mysql_sql_mode',
        default='TRADITIONAL',
        help="""
SQL mode of MySQL sessions. The default refuses data that does not fit
instead of cutting it; leave it alone.
""",
    ),
    cfg.IntOpt(
        'mysql_wsrep_sync_wait',
        min=0,
        max=15,
        help="""
For Galera: value of wsrep_sync_wait on new connections. Set it to 1 when
services write to different nodes, so that a reader sees what another node
has just committed. Unset leaves the server's own value.
""",
    ),
    cfg.IntOpt(
        'connection_recycle_time',
        default=3600,
        min=1,
        help="""
Seconds after which a pooled connection is replaced. Must be smaller than the
idle timeout of the database server and of every load balancer in between.
""",
    ),
    cfg.IntOpt(
        'max_pool_size',
        default=5,
        min=1,
        help="""
Connections that one process keeps open. One thread uses one; a few are
enough. Not used for SQLite.
""",
    ),
    cfg.IntOpt(
        'max_overflow',
        default=20,
        min=0,
        help="""
Connections that one process may open beyond max_pool_size for a moment. Not
used for SQLite.
""",
    ),
    cfg.IntOpt(
        'pool_timeout',
        default=10,
        min=1,
        help="""
Seconds that a thread waits for a free connection of the pool before the call
fails. The engine then tries again in its next round. Not used for SQLite.
""",
    ),
    cfg.IntOpt(
        'busy_timeout',
        default=10,
        min=1,
        help="""
Seconds that a writer waits for another process to finish with a SQLite file.
Used for SQLite only.
""",
    ),
    cfg.IntOpt(
        'db_max_retries',
        default=3,
        min=1,
        help="""
How often a transaction is repeated after a deadlock, a lost connection or a
collision with another writer before the call fails. Keep it small: the
engine's next round is the better retry, and a notifier must not block the
service it lives in.
""",
    ),
    cfg.FloatOpt(
        'db_retry_interval',
        default=0.1,
        min=0.0,
        help="""
Seconds before the first repetition of a transaction; doubled each time, up to
db_max_retry_interval.
""",
    ),
    cfg.FloatOpt(
        'db_max_retry_interval',
        default=2.0,
        min=0.0,
        help="""
Longest pause between two repetitions of a transaction, in seconds. Not
smaller than db_retry_interval.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, database_group, database_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(database_group, database_opts)]
