# SPDX-License-Identifier: Apache-2.0

"""The first schema."""

import typing

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

# A revision never changes, so it does not import the models.
_NAME = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset='utf8mb4', collation='utf8mb4_bin'),
    'mysql',
    'mariadb',
)
_DOCUMENT = sa.Text().with_variant(
    mysql.LONGTEXT(charset='utf8mb4'), 'mysql', 'mariadb'
)
_TABLE: dict[str, typing.Any] = {
    'mysql_engine': 'InnoDB',
    'mysql_charset': 'utf8mb4',
}


def upgrade() -> None:
    """Create every table."""
    _create_host_tables()
    _create_incident_tables()
    _create_engine_tables()


def _create_host_tables() -> None:
    op.create_table(
        'heartbeats',
        sa.Column('host', _NAME, nullable=False),
        sa.Column('service_uuid', sa.String(length=64), nullable=False),
        sa.Column('boot_id', sa.String(length=64), nullable=False),
        sa.Column('past_boots', sa.Text(), nullable=False),
        sa.Column('sequence', sa.BigInteger(), nullable=False),
        sa.Column('system_uuid', sa.String(length=64), nullable=False),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('host', name='pk_heartbeats'),
        **_TABLE,
    )
    op.create_table(
        'hosts',
        sa.Column('host', _NAME, nullable=False),
        sa.Column('document', _DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint('host', name='pk_hosts'),
        **_TABLE,
    )
    op.create_table(
        'epochs',
        sa.Column('host', _NAME, nullable=False),
        sa.Column('epoch', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('host', name='pk_epochs'),
        **_TABLE,
    )


def _create_incident_tables() -> None:
    op.create_table(
        'incidents',
        sa.Column('uuid', sa.String(length=64), nullable=False),
        sa.Column('host', _NAME, nullable=False),
        sa.Column('epoch', sa.BigInteger(), nullable=False),
        sa.Column('phase', sa.String(length=32), nullable=False),
        sa.Column('open_key', _NAME, nullable=True),
        sa.Column('opened_at', sa.Double(), nullable=False),
        sa.Column('closed_at', sa.Double(), nullable=True),
        sa.Column('generation', sa.BigInteger(), nullable=False),
        sa.Column('document', _DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint('uuid', name='pk_incidents'),
        sa.UniqueConstraint('host', 'epoch', name='uniq_incidents0host0epoch'),
        sa.UniqueConstraint('open_key', name='uniq_incidents0open_key'),
        **_TABLE,
    )
    op.create_index(
        'ix_incidents_closed_at', 'incidents', ['closed_at'], unique=False
    )
    op.create_index(
        'ix_incidents_opened_at', 'incidents', ['opened_at'], unique=False
    )
    op.create_table(
        'facts',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('uuid', sa.String(length=64), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('received_at', sa.Double(), nullable=False),
        sa.Column('document', _DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_facts'),
        sa.UniqueConstraint('uuid', name='uniq_facts0uuid'),
        **_TABLE,
    )
    op.create_index(
        'ix_facts_state_id', 'facts', ['state', 'id'], unique=False
    )


def _create_engine_tables() -> None:
    op.create_table(
        'leases',
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('token', sa.BigInteger(), nullable=False),
        sa.Column('owner', sa.String(length=255), nullable=False),
        sa.Column('ttl', sa.Double(), nullable=False),
        sa.Column('renewed_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('name', name='pk_leases'),
        **_TABLE,
    )
    op.create_table(
        'arm_history',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('armed', sa.Boolean(), nullable=False),
        sa.Column('set_by', sa.String(length=255), nullable=False),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('set_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_arm_history'),
        **_TABLE,
    )
    op.create_table(
        'engine_status',
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('reported_at', sa.Double(), nullable=False),
        sa.Column('document', _DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint('name', name='pk_engine_status'),
        **_TABLE,
    )
