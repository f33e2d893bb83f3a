# SPDX-License-Identifier: Apache-2.0

"""Options of what is asked of libvirt on a hypervisor."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'nova_ha_libvirt'

nova_ha_libvirt_group = cfg.OptGroup(
    GROUP,
    title='Libvirt and its servers',
    help="""
Belongs in the file of the agent of the namespace ``ha_host``. Libvirt is asked
by processes of their own, which are killed when it hangs; what it tells by
itself is sent as events ``instance.ha.*`` at once. Needs python3-libvirt; the
agent only reads, so any user will do, except for agent_ping.
""",
)

nova_ha_libvirt_opts: list[cfg.Opt] = [
    cfg.StrOpt(
        'uri',
        default='',
        help="""
How libvirt is reached. Empty: [DEFAULT] libvirt_uri of ceilometer, and where
that is empty as well ``qemu:///system``. Touch it only where nova itself has
another [libvirt] connection_uri.
""",
    ),
    cfg.FloatOpt(
        'deadline',
        default=4.0,
        min=0.1,
        help="""
Seconds within which libvirt must say its version and the state of every
server. After them ``hypervisor.libvirt.up`` is 0. Shorter than the interval of
``hypervisor.libvirt.*`` in polling_ha_host.yaml.
""",
    ),
    cfg.FloatOpt(
        'servers_deadline',
        default=20.0,
        min=0.1,
        help="""
Seconds for all that is asked of the servers of a host in one cycle of
``instance.*`` in polling_ha_host.yaml; shorter than its interval. Those whose
disks and agents were not asked in time come first in the next cycle.
""",
    ),
    cfg.FloatOpt(
        'monitor_deadline',
        default=2.0,
        min=0.1,
        help="""
Seconds within which the QEMU of one server must say how its disks are. One
that does not is not asked again before libvirt says that its monitor is free,
because each question that waits takes a thread of libvirt. With agent_ping two
seconds more.
""",
    ),
    cfg.BoolOpt(
        'agent_ping',
        default=False,
        help="""
Whether the guest agents of servers are pinged and ``instance.agent.ping`` is
published. It tells a guest that hangs from one that runs, at the price of one
call into each guest per cycle, and it needs a connection to libvirt that may
write: put the user of the agent into the group ``libvirt``, which is as good
as root. Whether an agent is connected is published without.
""",
    ),
    cfg.FloatOpt(
        'event_interval',
        default=1.0,
        min=0.0,
        help="""
Seconds between two events of one kind of one server; what happens meanwhile is
sent as one event that carries the newest and how many it stands for. The first
is always sent at once. A guest can make events as fast as it likes, so 0 lets
it fill your message bus.
""",
    ),
    cfg.IntOpt(
        'event_queue',
        default=1000,
        min=1,
        help="""
Events that are kept while the message bus is away. When there are more, the
oldest is dropped and the log says how many were.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, nova_ha_libvirt_group, nova_ha_libvirt_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(nova_ha_libvirt_group, nova_ha_libvirt_opts)]
