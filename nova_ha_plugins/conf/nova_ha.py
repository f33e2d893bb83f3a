# SPDX-License-Identifier: Apache-2.0

"""Options that the engine shares with our plugins in other services."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'nova_ha'

nova_ha_group = cfg.OptGroup(
    GROUP,
    title='Identity and heartbeat of hosts',
    help="""
Read by the engine from nova-ha.conf and by our plugins from ceilometer.conf,
aodh.conf and nova.conf. ``nova-ha-manage doctor`` says where two files
disagree with the cloud.
""",
)

nova_ha_opts = [
    cfg.StrOpt(
        'project_id',
        default='',
        help="""
Id of the project that owns the event alarm. Aodh compares it with the project
of each event, so a wrong or empty value means that the alarm never fires: no
error appears anywhere. Take it from ``openstack project show service -f value
-c id`` and create the alarm in that project.
""",
    ),
    cfg.StrOpt(
        'host',
        help="""
What nova-compute on this machine calls itself (``openstack compute service
list``). Heartbeats carry this name. Unset uses the [DEFAULT] host of the file
it is read from, which is right where nova.conf and ceilometer.conf agree.
""",
    ),
    cfg.StrOpt(
        'system_uuid_file',
        default='/sys/class/dmi/id/product_uuid',
        help="""
File with the identity of this machine's hardware. Heartbeats carry it, and a
BMC counts for this host only if it reports the same. The default is readable
by root only: either let the service that polls read it (a udev rule, a
tmpfiles.d copy) or name a copy here. Without it the host is not protected.
""",
    ),
    cfg.StrOpt(
        'boot_id_file',
        default='/proc/sys/kernel/random/boot_id',
        help="""
File with an id that is new after each boot. Tells a late heartbeat of the
last boot from one of this boot. Touch it only in a lab.
""",
    ),
    cfg.FloatOpt(
        'heartbeat_timeout',
        default=5.0,
        min=1.0,
        help="""
Seconds without a heartbeat after which a host is silent and the event
compute.host.down is sent. From half of this time on it is suspected and other
channels are asked, and when most of the hosts are late, monitoring calls
itself blind: so make it more than twice the interval of the heartbeat source
in polling.yaml, two and a half times is good. All channels must be silent
before anything is fenced, so a small value costs attention, not servers. What
other values give: ``tools/simulate --detector``.
""",
    ),
    cfg.FloatOpt(
        'reemit_interval',
        default=10.0,
        min=1.0,
        help="""
Seconds after which the event of a host that is still silent is sent again, so
that one lost message delays a recovery by no more than this. Larger than
heartbeat_timeout.
""",
    ),
    cfg.FloatOpt(
        'mass_silence_share',
        default=0.5,
        min=0.01,
        max=1.0,
        help="""
When at least two hosts, and more than this share of those that were not down
before, fall silent at once, the fault is taken to be ours (bus, collector,
clock): no event is sent and the log says so. With two hosts or one nothing
distinguishes the two, so a cloud needs three to be watched well.
""",
    ),
    cfg.FloatOpt(
        'reconnect_max',
        default=30.0,
        min=0.0,
        help="""
Longest pause in seconds that a polling agent makes between two attempts to
reach the message bus: ``[oslo_messaging_rabbit] rabbit_interval_max`` of the
hypervisors' ceilometer.conf. After a stall of the bus nobody is called down
for as long as the stall lasted, at most this, plus heartbeat_timeout. Lower it
together with rabbit_interval_max, for which 2 is a good value.
""",
    ),
    cfg.FloatOpt(
        'watch_interval',
        default=1.0,
        min=0.2,
        help="""
Seconds between two looks of a watcher at the heartbeats, half of which a dead
host stays unnoticed longer on average. Independent of the interval at which
polling.yaml publishes the watcher's meters. A look that comes three of these
late, and half of heartbeat_timeout, counts as a stall of the watcher itself,
after which nobody is called down for a while.
""",
    ),
    cfg.StrOpt(
        'watcher_name',
        default='',
        help="""
What the watcher of this controller is called in the store. Watchers of one
cloud need different names, the same after a restart; the first by name of
those that see is the one that sends events. Empty uses the [DEFAULT] host of
ceilometer.conf, which is right unless two central agents share a machine.
""",
    ),
    cfg.FloatOpt(
        'health_timeout',
        default=180.0,
        min=1.0,
        help="""
Seconds after which a probe on a hypervisor that was heard before and is heard
no more makes its host degraded, in comparison with the same probe of other
hosts. At least three times the longest interval of polling_ha_host.yaml. No
host is called down for it.
""",
    ),
    cfg.FloatOpt(
        'degraded_interval',
        default=60.0,
        min=1.0,
        help="""
Seconds after which the event compute.host.degraded is sent again for a host
whose heartbeats come while something on it is wrong. A new trouble is told at
once.
""",
    ),
    cfg.StrOpt(
        'liveness_backend',
        default='sql',
        help="""
Where the newest heartbeat of each host is kept; a name of the entry points
``nova_ha.liveness``, the same in every file. ``sql`` uses [nova_ha_database]
connection and needs nothing else. ``redis`` uses [nova_ha] liveness_url: take
it where the database should not hear of every heartbeat. ``memory`` lives in
one process and is for tests.
""",
    ),
    cfg.StrOpt(
        'liveness_url',
        default='',
        secret=True,
        help="""
Redis of liveness_backend ``redis``: ``redis://:password@host:6379/0``, with
``rediss://`` over TLS, ``unix:///path`` for a socket; parameters of the redis
client may follow, such as ``?socket_timeout=2``. Its clock is the one that
silence is measured by. A number after the slash keeps two clouds apart. Not
used by other backends.
""",
    ),
    cfg.StrOpt(
        'heartbeat_signatures',
        default='off',
        choices=[
            ('off', 'signatures are not looked at'),
            ('accept', 'a wrong signature is refused, a missing one is not'),
            ('require', 'only what is signed by its host is a heartbeat'),
        ],
        help="""
What ``nova-ha-liveness://`` asks of a heartbeat. The message bus does not say
who has sent a message, so without ``require`` whoever may write to it can keep
a dead host alive in our eyes. Begin with ``accept``, give each host its key,
and change to ``require`` once ``nova-ha-manage doctor`` finds every host
signed. Needs heartbeat_masters_file where the publisher runs.
""",
    ),
    cfg.StrOpt(
        'heartbeat_key_file',
        default='',
        help="""
On a hypervisor: file with the key that its heartbeats are signed with, made by
``nova-ha-manage heartbeat-key HOST``. Readable by the service that polls, and
by nobody else. It is read anew when it changes. Empty signs nothing.
""",
    ),
    cfg.StrOpt(
        'heartbeat_masters_file',
        default='',
        help="""
On the controllers, never on a hypervisor: file with one ``ID SECRET`` per
line, of which the keys of all hosts are derived. New keys are made with the
first line, heartbeats signed with any of them count; so a new line is put on
top, every host gets its new key, and the old line is taken out. The file is
read anew when it changes.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, nova_ha_group, nova_ha_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(nova_ha_group, nova_ha_opts)]
