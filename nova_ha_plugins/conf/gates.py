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
    cfg.StrOpt(
        'management_lost',
        default='alert',
        choices=[
            (
                'alert',
                'The incident is held with the code management-lost; nothing '
                'is fenced, and the servers of the host run on.',
            ),
            (
                'fence',
                'The host goes on like a dead one, through every other gate: '
                'it is switched off, read back as off, and evacuated.',
            ),
        ],
        help="""
What is done about a host whose heartbeats and whose probe over the management
network are silent while it answers on another network of the fencing map (its
key ``networks``). Its servers probably run and are reachable; with ``fence``
they are interrupted, because nova cannot manage them any more. A host that
answers the probe of the management network is never fenced.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, gates_group, gates_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(gates_group, gates_opts)]
