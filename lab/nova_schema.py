# SPDX-License-Identifier: Apache-2.0
"""Makes nova's tables and cells: ``python -m lab.nova_schema CONFIG``.

What nova-manage would do in five processes, each of which would load all of
nova again.
"""

import os
import pathlib
import sys

from lab import database
from lab import plan as planning


def _command(plan: planning.Plan) -> list[str]:
    config = plan.write(
        'nova',
        'schema.conf',
        text=(
            '[DEFAULT]\nuse_stderr = true\n'
            f'transport_url = {plan.transport_url}\n'
            f'[database]\nconnection = {plan.database_url("nova_cell1")}\n'
            f'[api_database]\nconnection = {plan.database_url("nova_api")}\n'
        ),
    )
    return [sys.executable, '-m', 'lab.nova_schema', str(config)]


def main() -> None:
    """Fill nova's empty databases."""
    # Nova decides on its threads at its first import, and for eventlet.
    os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'
    from nova.cmd import manage

    # isort: split
    from nova import config
    from nova import objects
    from oslo_log import log

    config.parse_args(['nova-manage', '--config-file', sys.argv[1]])
    log.setup(manage.CONF, 'nova')
    objects.register_all()
    # Templates: each lab's nova.conf has its own password.
    server = '{scheme}://{username}:{password}@{hostname}:{port}'
    cells, tables = manage.CellV2Commands(), manage.DbCommands()
    for code in (
        manage.ApiDbCommands().sync(),
        cells.map_cell0(f'{server}/nova_cell0?{{query}}'),
        # Of cell0 and of this one.
        tables.sync(),
        cells.create_cell(
            'cell1', f'{server}/nova_cell1?{{query}}', f'{server}/'
        ),
    ):
        if code:
            sys.exit(code)


SCHEMA = database.Schema(
    'nova',
    ('nova_api', 'nova_cell0', 'nova_cell1'),
    _command,
    ('nova', 'oslo.db', 'SQLAlchemy', 'alembic'),
    (pathlib.Path(__file__),),
)


if __name__ == '__main__':
    main()
