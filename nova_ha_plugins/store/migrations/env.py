# SPDX-License-Identifier: Apache-2.0

"""How alembic reaches the database: over the connection it is given."""

from alembic import context

from nova_ha_plugins.store import models

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=models.metadata,
    # SQLite cannot alter a column; alembic then copies the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
