# SPDX-License-Identifier: Apache-2.0

"""Whether the engine would act on a failure that happened now, and why."""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import enum

from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes

# Phases in which something was begun that a disarm lets end. Not those of a
# host that comes back: that may take days, and no server waits for it.
IN_FLIGHT = frozenset(
    {
        incident.Phase.MIGRATING,
        incident.Phase.FENCING,
        incident.Phase.NEEDS_OPERATOR,
        incident.Phase.CONTAINING,
        incident.Phase.EVACUATING,
    }
)


class ArmState(enum.StrEnum):
    """What would happen to a host that dies now.

    ARMED: it is fenced, when every gate is open.
    STANDBY: it could not be fenced; somebody has to look before one dies.
    DISARMING: nothing new begins, what was begun goes on.
    DISARMED: nothing happens; the engine observes.
    """

    ARMED = 'armed'
    STANDBY = 'standby'
    DISARMING = 'disarming'
    DISARMED = 'disarmed'


@dataclasses.dataclass(frozen=True)
class Arm:
    """The state, and a sentence that says why it is this one."""

    state: ArmState
    reason: str


def fenceable(
    hosts: Mapping[str, bool], failed: Collection[str]
) -> tuple[int, int]:
    """Return how many hosts count, and how many of them can be fenced.

    The device of a host that failed is not read any more to see whether it is
    the right one: what was known of it before says nothing of today.

    :param hosts: whether the device of each was proven to be its own.
    """
    living = {
        host: usable for host, usable in hosts.items() if host not in failed
    }
    counted = living or hosts
    return len(counted), sum(counted.values())


def look(
    wanted_armed: bool,
    until: float | None,
    in_flight: int,
    fencing_known: int,
    fencing_usable: int,
) -> Arm:
    """Return what arming really means at this moment.

    :param until: when what is wanted turns into its opposite.
    :param in_flight: incidents in which something was begun.
    :param fencing_known: hosts of the cloud.
    :param fencing_usable: those whose power device answered lately and proved
        to be their own.
    """
    ends = '' if until is None else f' until {brakes.clock(until)}'
    if not wanted_armed:
        return _disarmed(in_flight, ends)
    if fencing_usable > 0 and 2 * fencing_usable >= fencing_known:
        return Arm(
            ArmState.ARMED,
            f'Armed{ends}: {fencing_usable} of {fencing_known} hosts can be '
            'fenced',
        )
    return Arm(
        ArmState.STANDBY,
        f'Armed{ends}, but fencing is unavailable: the power devices of '
        f'{fencing_usable} of {fencing_known} hosts answer and are proven to '
        'be their own, and half of them should be. Check the network of the '
        'devices and the fencing map now, before a host dies: openstack ha '
        'host list',
    )


def _disarmed(in_flight: int, ends: str) -> Arm:
    if not in_flight:
        return Arm(
            ArmState.DISARMED,
            f'Disarmed{ends}: nothing is fenced, migrated or evacuated',
        )
    return Arm(
        ArmState.DISARMING,
        f'Disarmed{ends}: nothing new begins, and '
        f'{notes.count(in_flight, "incident")} that began before '
        f'{"goes" if in_flight == 1 else "go"} on to the end: openstack ha '
        'incident list --open',
    )
