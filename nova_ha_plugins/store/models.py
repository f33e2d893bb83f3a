# SPDX-License-Identifier: Apache-2.0

"""The tables of the store.

What is searched or compared has a column; the rest of an incident, a fact or
a host is one versioned document. No table refers to one of nova's.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData(
    naming_convention={
        'pk': 'pk_%(table_name)s',
        'uq': 'uniq_%(table_name)s0%(column_0_N_name)s',
        'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
    }
)


def _name() -> sa.types.TypeEngine[str]:
    # Host names are compared byte by byte everywhere, as nova does.
    return sa.String(255).with_variant(
        mysql.VARCHAR(255, charset='utf8mb4', collation='utf8mb4_bin'),
        'mysql',
        'mariadb',
    )


def _document() -> sa.types.TypeEngine[str]:
    # MySQL's TEXT ends at 64 KiB, which 40 servers fill.
    return sa.Text().with_variant(
        mysql.LONGTEXT(charset='utf8mb4'), 'mysql', 'mariadb'
    )


heartbeats = sa.Table(
    'heartbeats',
    metadata,
    sa.Column('host', _name(), primary_key=True),
    sa.Column('service_uuid', sa.String(64), nullable=False),
    sa.Column('boot_id', sa.String(64), nullable=False),
    sa.Column('past_boots', sa.Text, nullable=False),
    sa.Column('sequence', sa.BigInteger, nullable=False),
    sa.Column('system_uuid', sa.String(64), nullable=False),
    sa.Column('seen_at', sa.Double, nullable=False),
)

healths = sa.Table(
    'healths',
    metadata,
    sa.Column('host', _name(), primary_key=True),
    sa.Column('channel', _name(), primary_key=True),
    sa.Column('ok', sa.Boolean, nullable=False),
    sa.Column('value', sa.Double, nullable=False),
    sa.Column('text', sa.Text, nullable=False),
    sa.Column('seen_at', sa.Double, nullable=False),
)

incidents = sa.Table(
    'incidents',
    metadata,
    sa.Column('uuid', sa.String(64), primary_key=True),
    sa.Column('host', _name(), nullable=False),
    sa.Column('epoch', sa.BigInteger, nullable=False),
    sa.Column('phase', sa.String(32), nullable=False),
    # The host while the incident is open, NULL afterwards: a unique key does
    # not count NULLs, so that the database itself allows one open incident.
    sa.Column('open_key', _name(), nullable=True),
    sa.Column('opened_at', sa.Double, nullable=False),
    sa.Column('closed_at', sa.Double, nullable=True),
    sa.Column('generation', sa.BigInteger, nullable=False),
    sa.Column('document', _document(), nullable=False),
    sa.UniqueConstraint('open_key', name='uniq_incidents0open_key'),
    sa.UniqueConstraint('host', 'epoch', name='uniq_incidents0host0epoch'),
    sa.Index('ix_incidents_opened_at', 'opened_at'),
    sa.Index('ix_incidents_closed_at', 'closed_at'),
)

epochs = sa.Table(
    'epochs',
    metadata,
    sa.Column('host', _name(), primary_key=True),
    sa.Column('epoch', sa.BigInteger, nullable=False),
)

facts = sa.Table(
    'facts',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True, autoincrement=True),
    sa.Column('uuid', sa.String(64), nullable=False),
    sa.Column('state', sa.String(16), nullable=False),
    sa.Column('received_at', sa.Double, nullable=False),
    sa.Column('document', _document(), nullable=False),
    sa.UniqueConstraint('uuid', name='uniq_facts0uuid'),
    sa.Index('ix_facts_state_id', 'state', 'id'),
)

leases = sa.Table(
    'leases',
    metadata,
    sa.Column('name', sa.String(64), primary_key=True),
    sa.Column('token', sa.BigInteger, nullable=False),
    sa.Column('owner', sa.String(255), nullable=False),
    sa.Column('ttl', sa.Double, nullable=False),
    sa.Column('renewed_at', sa.Double, nullable=False),
)

arm_history = sa.Table(
    'arm_history',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True, autoincrement=True),
    sa.Column('armed', sa.Boolean, nullable=False),
    sa.Column('set_by', sa.String(255), nullable=False),
    sa.Column('reason', sa.Text, nullable=False),
    sa.Column('set_at', sa.Double, nullable=False),
    # When the opposite begins by itself; NULL for never.
    sa.Column('ends_at', sa.Double, nullable=True),
)

brakes = sa.Table(
    'brakes',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True, autoincrement=True),
    sa.Column('kind', sa.String(32), nullable=False),
    sa.Column('name', _name(), nullable=False),
    # 1 until somebody takes the brake off or sets it anew, NULL afterwards:
    # one brake of a name, and its whole history, in one table.
    sa.Column('open_mark', sa.Integer, nullable=True),
    sa.Column('zone', _name(), nullable=False),
    sa.Column('ends_at', sa.Double, nullable=True),
    sa.Column('reason', sa.Text, nullable=False),
    sa.Column('set_by', sa.String(255), nullable=False),
    sa.Column('set_at', sa.Double, nullable=False),
    sa.Column('unset_at', sa.Double, nullable=True),
    sa.Column('unset_by', sa.String(255), nullable=False),
    sa.Column('unset_reason', sa.Text, nullable=False),
    sa.UniqueConstraint(
        'kind', 'name', 'open_mark', name='uniq_brakes0kind0name0open_mark'
    ),
)

hosts = sa.Table(
    'hosts',
    metadata,
    sa.Column('host', _name(), primary_key=True),
    sa.Column('document', _document(), nullable=False),
)

engine_status = sa.Table(
    'engine_status',
    metadata,
    sa.Column('name', sa.String(64), primary_key=True),
    sa.Column('reported_at', sa.Double, nullable=False),
    sa.Column('document', _document(), nullable=False),
)

engines = sa.Table(
    'engines',
    metadata,
    sa.Column('name', _name(), primary_key=True),
    sa.Column('ttl', sa.Double, nullable=False),
    sa.Column('reported_at', sa.Double, nullable=False),
    sa.Column('document', _document(), nullable=False),
)

evacuations = sa.Table(
    'evacuations',
    metadata,
    sa.Column('uuid', sa.String(64), primary_key=True),
    sa.Column('server_uuid', sa.String(64), nullable=False),
    sa.Column('source', _name(), nullable=False),
    sa.Column('state', sa.String(32), nullable=False),
    # Whether somebody still has to look at it, or to be told of its end.
    sa.Column('followed', sa.Boolean, nullable=False),
    sa.Column('boot', sa.String(32), nullable=False),
    sa.Column('storage', sa.String(32), nullable=False),
    sa.Column('size', sa.String(64), nullable=False),
    # Two times on nova's clock, and one on the store's.
    sa.Column('created_at', sa.Double, nullable=False),
    sa.Column('finished_at', sa.Double, nullable=True),
    sa.Column('seen_at', sa.Double, nullable=False),
    sa.Column('document', _document(), nullable=False),
    sa.Index('ix_evacuations_followed', 'followed'),
    sa.Index('ix_evacuations_seen_at', 'seen_at'),
    sa.Index(
        'ix_evacuations_state_boot_storage_size_finished_at',
        'state',
        'boot',
        'storage',
        'size',
        'finished_at',
    ),
)

turns = sa.Table(
    'turns',
    metadata,
    sa.Column('name', _name(), primary_key=True),
    sa.Column('token', sa.String(64), nullable=False),
    sa.Column('ttl', sa.Double, nullable=False),
    sa.Column('taken_at', sa.Double, nullable=False),
)
