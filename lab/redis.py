# SPDX-License-Identifier: Apache-2.0
"""Redis, if the heartbeats are kept there: one server, nothing on disk."""

import socket

from lab import plan as planning
from lab import processes

NAME = 'redis'

# Without snapshots: a Redis that ends forgets, as one without a disk does.
_CONFIG = """\
bind {address}
port {port}
requirepass {password}
save ""
appendonly no
dir {directory}
"""


def service(plan: planning.Plan) -> processes.Service:
    """Write the configuration of the server and return its service."""
    path = plan.write(
        NAME,
        'redis.conf',
        text=_CONFIG.format(
            address=planning.CONTROLLER,
            port=planning.PORTS[NAME],
            password=plan.passwords[NAME],
            directory=plan.path(NAME),
        ),
    )
    return processes.Service(
        NAME, ('redis-server', str(path)), ready=_answers, timeout=60.0
    )


def _answers() -> bool:
    """Say whether it speaks: it refuses who does not log in."""
    with socket.create_connection(
        (planning.CONTROLLER, planning.PORTS[NAME]), timeout=5
    ) as connection:
        connection.sendall(b'PING\r\n')
        return connection.recv(1) in b'-+'
