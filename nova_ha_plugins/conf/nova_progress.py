# SPDX-License-Identifier: Apache-2.0

"""Options of our parts inside nova-api and nova-compute."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'nova_ha_progress'

nova_progress_group = cfg.OptGroup(
    GROUP,
    title='Evacuations in nova-api and nova-compute',
    help="""
Belongs in nova.conf. ``guard`` is read by nova-api, where the filter
``instance_ha`` is in api-paste.ini; the rest by nova-compute, where
``nova_ha_progress`` is one of the drivers in
[oslo_messaging_notifications] driver.
""",
)

nova_progress_opts: list[cfg.Opt] = [
    cfg.BoolOpt(
        'guard',
        default=True,
        help="""
Whether nova-api answers 409 to the evacuation of a server that has one under
way. Nova itself accepts the second one and starts the server on two hosts.
Touch it only to get one server going that the guard holds back by mistake; the
rule ``os_compute_api:instance-ha:evacuations:guard:override`` does that for
some callers and leaves the guard to the others. nova-api reads it when it
starts.
""",
    ),
    cfg.FloatOpt(
        'sample_interval',
        default=1.0,
        min=0.1,
        help="""
Seconds between two looks of nova-compute at the files that an evacuation
copies. Each look that finds a change costs one call to nova-conductor per
evacuation under way on this host. Raise it where many large images are copied
at once and nova-conductor is short of threads; nobody sees less than a second.
""",
    ),
    cfg.BoolOpt(
        'mirror_progress',
        default=True,
        help="""
Whether nova-compute also writes the percentage into the ``progress`` of the
server, where ``openstack server show`` and ``server evacuate --wait`` show it:
at most once a second, and only after one percent more. Turn it off where
another tool reads that field as the progress of a live migration only.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, nova_progress_group, nova_progress_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(nova_progress_group, nova_progress_opts)]
