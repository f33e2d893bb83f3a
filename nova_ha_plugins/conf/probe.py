# SPDX-License-Identifier: Apache-2.0

"""Options of the probe: the second channel to a host."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'probe'

probe_group = cfg.OptGroup(GROUP, title='Second channel to a host')

probe_opts = [
    cfg.PortOpt(
        'port',
        default=22,
        help="""
TCP port of a hypervisor that the engine connects to when heartbeats stop. It
must be open from the controllers and must not depend on the message bus or on
the telemetry services: SSH, or libvirt's port.
""",
    ),
    cfg.StrOpt(
        'kind',
        default='banner',
        choices=[
            ('banner', 'The port sends something when connected to (SSH).'),
            ('connect', 'A connection that opens is enough (libvirt).'),
        ],
        help="""
What counts as a sign of life. ``banner`` also notices a kernel that still
opens connections while nothing behind it runs.
""",
    ),
    cfg.FloatOpt(
        'timeout',
        default=0.8,
        min=0.1,
        help="""
Seconds to wait for the sign of life. Several round trips of the management
network; each silent probe of a suspected host costs this much. With the
default, silent_after of them are over when half of [nova_ha] heartbeat_timeout
is, so that they cost a recovery no time.
""",
    ),
    cfg.IntOpt(
        'silent_after',
        default=3,
        min=1,
        help="""
Consecutive silent probes after which the channel says that the host is silent.
They begin when a host is suspected, before its heartbeats have been missing
for long enough. One is quicker and believes a single lost packet.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, probe_group, probe_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(probe_group, probe_opts)]
