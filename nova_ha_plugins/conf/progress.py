# SPDX-License-Identifier: Apache-2.0

"""Options of the part of the engine that follows every evacuation."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'progress'

progress_group = cfg.OptGroup(
    GROUP,
    title='Following of evacuations',
    help="""
The acting engine looks at every evacuation of nova, whoever asked for it, and
remembers how long each part of it took. Times until the end are estimated from
that. Fencing and recovery do not need any of it.
""",
)

progress_opts = [
    cfg.BoolOpt(
        'follow',
        default=True,
        help="""
Whether the acting engine follows nova's evacuations. It asks nova's API, so
the filter ``instance_ha`` must be in api-paste.ini of nova-api. Without it
evacuations are shown all the same, but nobody knows how long they will take,
and no notification is sent.
""",
    ),
    cfg.FloatOpt(
        'interval',
        default=1.0,
        min=0.1,
        help="""
Seconds between two looks while evacuations are under way. Phases that are
shorter are not seen, and count with the one before. When nova needs long to
answer the next look comes later by itself, so that it is asked for a tenth of
the time at most. Not larger than idle_interval.
""",
    ),
    cfg.FloatOpt(
        'idle_interval',
        default=10.0,
        min=1.0,
        help="""
Seconds between two looks while no evacuation is under way, and after nova did
not answer. It is also how late the first notification of an evacuation can be
that somebody else started.
""",
    ),
    cfg.BoolOpt(
        'notify',
        default=True,
        help="""
Whether ``instance_ha.evacuation.start``, ``progress``, ``end`` and ``error``
are sent as notifications. They go to the bus of [DEFAULT] transport_url, or of
[oslo_messaging_notifications] transport_url if that is set; where neither is,
nothing is sent. A bus that is away holds up nothing: what could not be sent is
sent later, at least once.
""",
    ),
    cfg.StrOpt(
        'exchange',
        default='nova',
        help="""
Exchange of the bus to which notifications are sent. One of ceilometer's
[notification] notification_control_exchanges, or nobody hears them.
""",
    ),
    cfg.IntOpt(
        'keep_days',
        default=180,
        min=1,
        help="""
Days after which an evacuation that ended is forgotten. Estimates are made from
the last 200 of each kind, so a cloud that evacuates often can keep less.
``nova-ha-manage db purge`` removes what is older than its own --days as well.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, progress_group, progress_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(progress_group, progress_opts)]
