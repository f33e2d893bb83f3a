# SPDX-License-Identifier: Apache-2.0

"""Every meter that is published here: name, unit, meaning, where it goes."""

import dataclasses
import enum
import uuid

# Resource types of gnocchi; all of them are ceilometer's.
HYPERVISOR = 'nova_compute'
SERVER = 'instance'
DISK = 'host_disk'
INTERFACE = 'host_network_interface'
# What belongs to no host but to the service as a whole.
SERVICE = 'generic'

# Of this package; never changes, or every host would be another resource.
_NAMESPACE = uuid.UUID('e11f4ea5-6208-4c1f-b998-aff1ed0cf57a')


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
    Meter(
        'hypervisor.libvirt.up',
        '1',
        HYPERVISOR,
        'ha_host',
        '1 if libvirt said its version and the state of every server within '
        'the deadline, 0 if not. Servers run on without it.',
    ),
    Meter(
        'hypervisor.libvirt.latency',
        's',
        HYPERVISOR,
        'ha_host',
        'How long that took; while there is no answer, how long it has been '
        'waited for.',
    ),
    Meter(
        'instance.state',
        'state',
        SERVER,
        'ha_host',
        "Libvirt's number of the state of a server: 1 running, 3 paused, "
        '5 shut off, 6 crashed. The word for it is in the metadata.',
    ),
    Meter(
        'instance.state.reason',
        'reason',
        SERVER,
        'ha_host',
        "Libvirt's number of the reason of that: for 3, 5 is an I/O error, "
        '6 the watchdog, 10 a panic; for 5, 3 is a crash and 6 a failure to '
        'start; for 6, 1 is a panic. The word for it is in the metadata.',
    ),
    Meter(
        'instance.disk.errors',
        'error',
        SERVER,
        'ha_host',
        'Disks of a server whose last read or write failed; in the metadata '
        'which, and whether for want of space.',
    ),
    Meter(
        'instance.agent.connected',
        '1',
        SERVER,
        'ha_host',
        "1 if the guest's agent is connected, 0 if not; nothing for a server "
        'without a channel for one.',
    ),
    Meter(
        'instance.agent.ping',
        '1',
        SERVER,
        'ha_host',
        "1 if the guest's agent answered a ping, 0 if not.",
        opt_in=True,
    ),
    Meter(
        'instance.monitor.stuck',
        's',
        SERVER,
        'ha_host',
        'How long the QEMU of a server has not answered libvirt, 0 if it '
        'does. Such a server can be neither moved nor stopped by nova.',
    ),
    Meter(
        'hypervisor.storage.up',
        '1',
        DISK,
        'ha_host',
        '1 if a probe file in the directory of instances could be read and '
        'written past all caches within the deadline, 0 if not. One per '
        'directory.',
    ),
    Meter(
        'hypervisor.storage.latency',
        's',
        DISK,
        'ha_host',
        'How long that took; while there is no answer, how long it has been '
        'waited for.',
    ),
    *(
        Meter(
            f'hypervisor.pressure.{kind}.{share}',
            '%',
            HYPERVISOR,
            'ha_host',
            f'Share of the last 10 s in which {who} waited for {what}.',
        )
        for kind, what in (
            ('cpu', 'a processor'),
            ('io', 'a disk'),
            ('memory', 'memory'),
        )
        for share, who in (('some', 'some task'), ('full', 'every task'))
    ),
    Meter(
        'hypervisor.kernel.hung_tasks',
        'task',
        HYPERVISOR,
        'ha_host',
        'Tasks that the kernel found hung since it was started.',
        Kind.CUMULATIVE,
    ),
    Meter(
        'hypervisor.memory.ce',
        'error',
        HYPERVISOR,
        'ha_host',
        'Errors of memory that were corrected (EDAC), since the kernel was '
        'started.',
        Kind.CUMULATIVE,
    ),
    Meter(
        'hypervisor.memory.ue',
        'error',
        HYPERVISOR,
        'ha_host',
        'Errors of memory that could not be corrected (EDAC), since the '
        'kernel was started. One is reason enough to empty the host.',
        Kind.CUMULATIVE,
    ),
    Meter(
        'hypervisor.nic.up',
        '1',
        INTERFACE,
        'ha_host',
        '1 if a network interface has a carrier, 0 if it had one. One per '
        'physical interface.',
    ),
    Meter(
        'hypervisor.bond.ports_up',
        'port',
        INTERFACE,
        'ha_host',
        'Ports of a bond whose link is up. One per bond.',
    ),
    Meter(
        'hypervisor.disk.smart',
        '1',
        DISK,
        'ha_host',
        "1 if a disk's own judgement of its health (SMART) is good, 0 if "
        'not. One per disk.',
        opt_in=True,
    ),
    *(
        Meter(
            f'instance_ha.recovery.{stage}',
            's',
            HYPERVISOR,
            'ha_central',
            f'Of each recovery of the host: {text}. At the time at which '
            'that ended.',
        )
        for stage, text in (
            ('detect', 'from its last heartbeat to the incident'),
            (
                'corroborate',
                'from the incident until every channel was silent for long '
                'enough',
            ),
            ('hold', 'how long gates held it'),
            ('fence', 'from the decision to the proof that it is off'),
            ('force_down', 'from that proof until nova had it forced down'),
            (
                'first_server',
                'from its last heartbeat to its first server elsewhere',
            ),
            (
                'last_server',
                'from its last heartbeat to its last server elsewhere',
            ),
        )
    ),
    Meter(
        'instance_ha.recovery.servers.recovered',
        'server',
        HYPERVISOR,
        'ha_central',
        'Servers of the host that run elsewhere at the end of a recovery.',
    ),
    Meter(
        'instance_ha.recovery.servers.parked',
        'server',
        HYPERVISOR,
        'ha_central',
        'Servers of the host that wait for an operator at the end of a '
        'recovery.',
    ),
    Meter(
        'instance_ha.recovery.false_suspicion',
        '1',
        HYPERVISOR,
        'ha_central',
        '1 when the host was suspected and lived; "count" is how often.',
    ),
    Meter(
        'instance_ha.recovery.fence_failure',
        '1',
        HYPERVISOR,
        'ha_central',
        '1 when a fence of the host was not confirmed, or not for long; '
        '"count" is how often.',
    ),
    Meter(
        'instance_ha.engine.age',
        's',
        SERVICE,
        'ha_central',
        'Time since the acting engine reported to the store.',
    ),
    Meter(
        'instance_ha.incidents.open',
        'incident',
        SERVICE,
        'ha_central',
        'Incidents that are not closed.',
    ),
    Meter(
        'instance_ha.observer.lag',
        's',
        SERVICE,
        'ha_central',
        'Time since the newest heartbeat of any host was received: how far '
        'what we see lies behind.',
    ),
    Meter(
        'instance_ha.servers.without_room',
        'server',
        SERVICE,
        'ha_central',
        'Servers of fenced hosts for which nova finds no host with room.',
    ),
    Meter(
        'instance_ha.servers.protected',
        'server',
        SERVICE,
        'ha_central',
        'Servers of the cloud that would be recovered; where [metrics] port '
        'is set, which makes the engine count them.',
    ),
    Meter(
        'instance_ha.servers.unprotected',
        'server',
        SERVICE,
        'ha_central',
        'Servers of the cloud that would not be.',
    ),
)

_BY_NAME = {meter.name: meter for meter in METERS}


def of(name: str) -> Meter:
    """Return the meter of a name."""
    return _BY_NAME[name]


# The service as a resource.
SERVICE_ID = str(uuid.uuid5(_NAMESPACE, 'service'))


def host_id(host: str, service_uuid: str = '') -> str:
    """Return the id that a host has as a resource of gnocchi.

    Always a UUID: gnocchi makes one of anything else, another one for each
    user that asks.
    """
    try:
        return str(uuid.UUID(service_uuid))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, host))


def device_id(host: str, kind: str, device: str) -> str:
    """Return the id of a part of a host, such as a disk, as a resource.

    :param kind: gnocchi's type: a disk and a network may have one name.
    """
    return str(uuid.uuid5(_NAMESPACE, f'{kind} {host} {device}'))
