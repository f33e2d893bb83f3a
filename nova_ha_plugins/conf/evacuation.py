# SPDX-License-Identifier: Apache-2.0

"""Options of the evacuation: how many at once, how often again."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'evacuation'

evacuation_group = cfg.OptGroup(GROUP, title='Pace of evacuations')

evacuation_opts = [
    cfg.IntOpt(
        'max_per_destination',
        default=8,
        min=1,
        help="""
Evacuations that may be open on one destination at once. Smaller when images
are large and disks are slow. Not larger than max_open.
""",
    ),
    cfg.IntOpt(
        'max_open',
        default=32,
        min=1,
        help="""
Evacuations that may be open in the whole cloud at once. Servers beyond it wait
in the order of their ha:priority.
""",
    ),
    cfg.IntOpt(
        'max_attempts',
        default=3,
        min=1,
        help="""
Evacuations that are asked for one server before it is parked with the reason
of the last failure. Retries happen only where nova chose no destination.
""",
    ),
    cfg.FloatOpt(
        'state_wait',
        default=60.0,
        min=0.0,
        help="""
Seconds for which a server waits that nova was moving (live migration, cold
migration, resize) when its host died. Nova may end that by itself; before, the
server may run on the other host and is not evacuated. Afterwards it is parked
and looked at every half minute; waiting longer only keeps the incident in the
phase evacuating.
""",
    ),
    cfg.FloatOpt(
        'retry_delay',
        default=15.0,
        min=0.0,
        help="""
Seconds before a server is tried again. Gives the scheduler time to see the
room that other evacuations left.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, evacuation_group, evacuation_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(evacuation_group, evacuation_opts)]
