# SPDX-License-Identifier: Apache-2.0

"""What was seen of evacuations, and turns at asking nova for one.

Only adds: a process of the release before works on.
"""

import typing

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0003'
down_revision = '0002'
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
    """Add two tables."""
    op.create_table(
        'evacuations',
        sa.Column('uuid', sa.String(length=64), nullable=False),
        sa.Column('server_uuid', sa.String(length=64), nullable=False),
        sa.Column('source', _NAME, nullable=False),
        sa.Column('state', sa.String(length=32), nullable=False),
        sa.Column('followed', sa.Boolean(), nullable=False),
        sa.Column('boot', sa.String(length=32), nullable=False),
        sa.Column('storage', sa.String(length=32), nullable=False),
        sa.Column('size', sa.String(length=64), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('finished_at', sa.Double(), nullable=True),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.Column('document', _DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint('uuid', name='pk_evacuations'),
        **_TABLE,
    )
    op.create_index('ix_evacuations_followed', 'evacuations', ['followed'])
    op.create_index('ix_evacuations_seen_at', 'evacuations', ['seen_at'])
    op.create_index(
        'ix_evacuations_state_boot_storage_size_finished_at',
        'evacuations',
        ['state', 'boot', 'storage', 'size', 'finished_at'],
    )
    op.create_table(
        'turns',
        sa.Column('name', _NAME, nullable=False),
        sa.Column('token', sa.String(length=64), nullable=False),
        sa.Column('ttl', sa.Double(), nullable=False),
        sa.Column('taken_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('name', name='pk_turns'),
        **_TABLE,
    )
