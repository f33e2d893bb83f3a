# SPDX-License-Identifier: Apache-2.0
"""A wrong date for one process: an environment to start it with.

Those that keep time for others, and those that ask them, can also have their
clock jump while they run.
"""

import pathlib
import struct

from lab import plan as planning
from lab import preload

OFFSET = 'LAB_CLOCK_OFFSET'
JUMP = 'LAB_CLOCK_FILE'
# Services whose clock may jump: who stamps heartbeats, who reads the stamps,
# who decides.
MAY_JUMP = (
    'mariadb',
    'redis',
    'ceilometer-ha-notification',
    'ceilometer-central-1',
    'ceilometer-central-2',
    'aodh-evaluator',
    'nova-ha-engine-1',
)
_NANO = 10**9


def environment(plan: planning.Plan, seconds: float) -> dict[str, str]:
    """Return what makes a process believe to be so many seconds ahead.

    Nothing for 0: its clock is right.
    """
    if not seconds:
        return {}
    return {
        'LD_PRELOAD': str(preload.library(plan, 'clock')),
        OFFSET: f'{seconds:.3f}',
    }


def may_jump(plan: planning.Plan, service: str) -> dict[str, str]:
    """Return what lets the clock of a service jump while it runs.

    Nothing for one of which nobody asks that.
    """
    if service not in MAY_JUMP:
        return {}
    file = _file(plan, service)
    if not file.exists():
        jump(plan, service, 0.0)
    return {'LD_PRELOAD': str(preload.library(plan, 'clock')), JUMP: str(file)}


def jump(plan: planning.Plan, service: str, seconds: float) -> None:
    """Set the clock of a service that runs so many seconds ahead."""
    file = _file(plan, service)
    with file.open('r+b' if file.exists() else 'wb') as stream:
        stream.write(struct.pack('=q', round(seconds * _NANO)))


def ahead(plan: planning.Plan, service: str) -> float:
    """Return how many seconds the clock of a service is ahead."""
    try:
        (found,) = struct.unpack('=q', _file(plan, service).read_bytes())
    except FileNotFoundError:
        return 0.0
    return float(found) / _NANO


def _file(plan: planning.Plan, service: str) -> pathlib.Path:
    return plan.path('run', 'clock', service)
