# SPDX-License-Identifier: Apache-2.0

"""Every meter that is published here: name, unit, meaning, where it goes."""

import dataclasses
import enum

HYPERVISOR = 'nova_compute'
SERVER = 'instance'


class Kind(enum.StrEnum):
    """How a value relates to the one before; ceilometer's words."""

    GAUGE = 'gauge'
    CUMULATIVE = 'cumulative'


@dataclasses.dataclass(frozen=True)
class Meter:
    """One meter.

    :ivar resource: gnocchi's type of what is measured.
    :ivar namespace: the polling namespace whose agents publish it.
    :ivar text: what the value says, for the operator's table.
    :ivar opt_in: published only if an option asks for it.
    """

    name: str
    unit: str
    resource: str
    namespace: str
    text: str
    kind: Kind = Kind.GAUGE
    opt_in: bool = False


METERS: tuple[Meter, ...] = (
    Meter(
        'hypervisor.heartbeat',
        'heartbeat',
        HYPERVISOR,
        'ha',
        'Always 1: the host was alive when it was sent. Goes into the store '
        'of heartbeats, never into gnocchi.',
    ),
    Meter(
        'hypervisor.liveness.age',
        's',
        HYPERVISOR,
        'ha_central',
        'Time since a heartbeat of the host was received.',
    ),
    Meter(
        'hypervisor.liveness.up',
        '1',
        HYPERVISOR,
        'ha_central',
        '1 while heartbeats come, 0 once the host is called down; nothing '
        'while that is not known.',
    ),
)
