# SPDX-License-Identifier: Apache-2.0

"""Options of the probes of a hypervisor: storage, networks, disks."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'nova_ha_host'

nova_ha_host_group = cfg.OptGroup(
    GROUP,
    title='Probes of a hypervisor',
    help="""
Belongs in the file of the agent of the namespace ``ha_host``, which runs on
every hypervisor beside the one that sends heartbeats. What it finds is
evidence for people: nobody is called dead for it, and nobody is kept alive.
""",
)

nova_ha_host_opts: list[cfg.Opt] = [
    cfg.ListOpt(
        'instances_paths',
        default=['/var/lib/nova/instances'],
        help="""
Directories of disks of servers that are probed, each by a process of its own:
nova's ``instances_path``, and what else is mounted for them. In each one the
directory ``.nova-ha`` must belong to the user of the agent; one file of four
kilobytes is kept there per host. A directory that was never usable is named in
the log once and not published. Empty: nothing is probed.
""",
    ),
    cfg.FloatOpt(
        'storage_deadline',
        default=4.0,
        min=0.1,
        help="""
Seconds that writing and reading a probe file may take. After them the meter
``hypervisor.storage.up`` is 0. A guest without storage pauses or loses data
after its own, much longer time-outs, so a few seconds tell in time; a shared
storage that fails over by itself may need more. Shorter than the interval of
``hypervisor.storage.*`` in polling_ha_host.yaml.
""",
    ),
    cfg.ListOpt(
        'nics',
        default=[],
        help="""
Network interfaces that are published. Empty: each physical one that has a
carrier, or had one since the agent was started. Name them where one that is
lost should be 0 after a restart of the agent as well, or where the loss of
another one does not matter.
""",
    ),
    cfg.ListOpt(
        'smart_disks',
        default=[],
        help="""
Disks whose own judgement of their health is asked for and published as
``hypervisor.disk.smart``, such as /dev/sda. Empty: none. Needs smartctl of
smartmontools, 7.0 or later, and the rights to ask.
""",
    ),
    cfg.StrOpt(
        'smart_command',
        default='smartctl',
        help="""
How smartctl is called; ``-j -H`` and the disk follow. As the user of the agent
it usually has no rights, so allow it in sudoers and say ``sudo -n smartctl``
here.
""",
    ),
    cfg.FloatOpt(
        'smart_deadline',
        default=20.0,
        min=0.1,
        help="""
Seconds that smartctl may take for a disk. After them it is killed, and nothing
is published of this disk. While one cannot be killed no other is started.
Shorter than the interval of ``hypervisor.disk.*`` in polling_ha_host.yaml.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, nova_ha_host_group, nova_ha_host_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(nova_ha_host_group, nova_ha_host_opts)]
