# SPDX-License-Identifier: Apache-2.0

"""What other things than heartbeats said of hosts.

Only adds: a process of the release before works on.
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

# A revision never changes, so it does not import the models.
_NAME = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset='utf8mb4', collation='utf8mb4_bin'),
    'mysql',
    'mariadb',
)


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        'healths',
        sa.Column('host', _NAME, nullable=False),
        sa.Column('channel', _NAME, nullable=False),
        sa.Column('ok', sa.Boolean(), nullable=False),
        sa.Column('value', sa.Double(), nullable=False),
        sa.Column('text', sa.Text(), nullable=False),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('host', 'channel', name='pk_healths'),
        mysql_engine='InnoDB',
        mysql_charset='utf8mb4',
    )
