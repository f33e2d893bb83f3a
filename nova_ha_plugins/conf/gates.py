# SPDX-License-Identifier: Apache-2.0

"""Options of the gates that hold a fence back."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'gates'

gates_group = cfg.OptGroup(
    GROUP,
    title='Gates before a fence',
    help="""
What is held by a gate says so in ``openstack ha incident show`` and waits for
``openstack ha release``.
""",
)

gates_opts = [
    cfg.IntOpt(
        'storm_max_hosts',
        default=1,
        min=1,
        help="""
Hosts that may be fenced within storm_window however small the cloud is. The
larger of this and storm_max_share counts, for a failure domain (the
availability zone) and for the whole cloud.
""",
    ),
    cfg.FloatOpt(
        'storm_max_share',
        default=0.10,
        min=0.0,
        max=1.0,
        help="""
Share of the hosts of a failure domain, and of the cloud, that may be fenced
within storm_window. More at once is rarely many dead hosts; it is a network.
""",
    ),
    cfg.FloatOpt(
        'storm_window',
        default=600.0,
        min=1.0,
        help="""
Seconds over which fences are counted. Make it longer than a recovery takes,
so that a cascade is seen as one.
""",
    ),
    cfg.FloatOpt(
        'healthy_delay',
        default=60.0,
        min=0.0,
        help="""
Seconds for which a host that is back must send heartbeats before forced_down
is cleared and nova may use it again. Long enough to see a host that fails
again soon after it booted.
""",
    ),
    cfg.IntOpt(
        'storm_max_domains',
        default=2,
        min=0,
        help="""
Failure domains (availability zones) in which hosts may be fenced within
storm_window; hosts of a further one are held. Failures in several domains at
once are more likely one of the network between them. 0 for no such cap, where
the zones are many and small.
""",
    ),
    cfg.FloatOpt(
        'storm_interval',
        default=10.0,
        min=0.0,
        max=600.0,
        help="""
Seconds between two fences in one failure domain, so that a person, or the
next look at the heartbeats, can notice a cascade while it runs. 0 for none.
""",
    ),
    cfg.FloatOpt(
        'storm_cooldown',
        default=60.0,
        min=0.0,
        max=600.0,
        help="""
When more hosts fell silent within storm_window than may be fenced in it,
nothing new is fenced before no further host fell silent for this many seconds.
Then those that are still silent go on, one after the other, as far as
storm_max_hosts and storm_max_share allow. As long as a switch or a router of
yours takes to come back by itself.
""",
    ),
    cfg.FloatOpt(
        'kdump_wait',
        default=0.0,
        min=0.0,
        max=600.0,
        help="""
Seconds for which a host must have been dead before it is switched off, so that
a kernel that crashed can write its dump. Its servers wait as long. 0 where no
dump is written; else somewhat more than the largest dump takes.
""",
    ),
    cfg.IntOpt(
        'flap_limit',
        default=3,
        min=0,
        help="""
Failures of one host within an hour that make it flapping. It is still fenced
and its servers are recovered; when it comes back its compute service stays
disabled until ``openstack ha release``. 0 for never.
""",
    ),
    cfg.FloatOpt(
        'loop_late_max',
        default=10.0,
        min=1.0,
        help="""
When a round of the engine is later than this many seconds, the engine itself
is slow and its view of others is not believed: nothing new is fenced in that
round. Several times [engine] interval.
""",
    ),
    cfg.FloatOpt(
        'blind_share',
        default=0.5,
        min=0.01,
        max=1.0,
        help="""
When more than this share of all hosts is silent at once, monitoring is taken
to be blind and nothing new is fenced.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, gates_group, gates_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(gates_group, gates_opts)]
