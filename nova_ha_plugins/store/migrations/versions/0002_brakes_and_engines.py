# SPDX-License-Identifier: Apache-2.0

"""Brakes, several engines, and an arm state that ends by itself.

Only adds: a process of the release before works on.
"""

import typing

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0002'
down_revision = '0001'
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
    """Add two tables and one column."""
    op.add_column('arm_history', sa.Column('ends_at', sa.Double()))
    op.create_table(
        'brakes',
        sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
        sa.Column('kind', sa.String(length=32), nullable=False),
        sa.Column('name', _NAME, nullable=False),
        sa.Column('open_mark', sa.Integer(), nullable=True),
        sa.Column('zone', _NAME, nullable=False),
        sa.Column('ends_at', sa.Double(), nullable=True),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('set_by', sa.String(length=255), nullable=False),
        sa.Column('set_at', sa.Double(), nullable=False),
        sa.Column('unset_at', sa.Double(), nullable=True),
        sa.Column('unset_by', sa.String(length=255), nullable=False),
        sa.Column('unset_reason', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_brakes'),
        sa.UniqueConstraint(
            'kind',
            'name',
            'open_mark',
            name='uniq_brakes0kind0name0open_mark',
        ),
        **_TABLE,
    )
    op.create_table(
        'engines',
        sa.Column('name', _NAME, nullable=False),
        sa.Column('ttl', sa.Double(), nullable=False),
        sa.Column('reported_at', sa.Double(), nullable=False),
        sa.Column('document', _DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint('name', name='pk_engines'),
        **_TABLE,
    )
