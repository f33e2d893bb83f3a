# SPDX-License-Identifier: Apache-2.0

"""Options of the engine's loop."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'engine'

engine_group = cfg.OptGroup(GROUP, title='Loop of nova-ha-engine')

engine_opts = [
    cfg.StrOpt(
        'host',
        default='',
        sample_default='<host name of this machine>',
        help="""
What this engine's machine is called in the lease and in ``openstack ha
status``. Different on each controller; the host name is right unless several
of them have the same one.
""",
    ),
    cfg.FloatOpt(
        'interval',
        default=1.0,
        min=0.1,
        help="""
Seconds between two rounds. Each round reads liveness, facts and nova and takes
every open incident one step further. Larger values make a recovery slower,
smaller ones load nova's API.
""",
    ),
    cfg.FloatOpt(
        'warm_up',
        default=60.0,
        min=0.0,
        help="""
Seconds after start or take-over in which no *new* host is fenced, because what
looks silent may only not have been heard yet. An incident whose fence is on
record goes on at once. Not smaller than [nova_ha] heartbeat_timeout.
""",
    ),
    cfg.FloatOpt(
        'lease_ttl',
        default=15.0,
        min=1.0,
        help="""
Seconds after which another engine may take over when this one has not renewed
its lease. Larger than [fencing] call_timeout and call_deadline together, so
that an engine that stood still for so long has no call to a power device left
to make. One that was killed is noticed sooner, by [coordination] backend_url.
""",
    ),
    cfg.FloatOpt(
        'call_deadline',
        default=2.0,
        min=0.1,
        help="""
Seconds that may pass between the moment before an intent is saved and the call
that it announces. Later nothing is called and everything is read again: an
engine that stood still in between may have lost its lease. Larger only where
the database needs this long for one commit, and always far smaller than
lease_ttl.
""",
    ),
    cfg.FloatOpt(
        'take_over_quiet',
        default=10.0,
        min=0.0,
        help="""
Seconds after a take-over from an engine that did not give its lease back in
which no *new* host is fenced, because that engine's last call to a power
device may still be under way. Not smaller than [fencing] call_timeout. An
incident whose fence is on record goes on at once.
""",
    ),
    cfg.IntOpt(
        'fence_workers',
        default=4,
        min=1,
        help="""
Threads that talk to power devices, so that one dead BMC does not delay the
next. One per host that may be fenced at the same time is enough.
""",
    ),
    cfg.StrOpt(
        'default_policy',
        default='none',
        choices=[
            ('none', 'Servers without ha:policy are left where they are.'),
            ('evacuate', 'Servers without ha:policy are evacuated.'),
        ],
        help="""
What happens to a server that carries no ha:policy. Begin with ``none`` and tag
the servers that may run twice for nobody: an evacuated server loses what was
only in memory or on a local disk.
""",
    ),
    cfg.FloatOpt(
        'unanswered_quiet',
        default=30.0,
        min=1.0,
        help="""
Seconds for which a call that got no answer is left alone before nova's own
record decides whether it happened. Larger than the longest time that nova's
API takes to answer (its load balancer's timeout).
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, engine_group, engine_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(engine_group, engine_opts)]
