# SPDX-License-Identifier: Apache-2.0

"""Options of the coordination between several engines."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'coordination'

coordination_group = cfg.OptGroup(
    GROUP, title='Coordination of several engines'
)

coordination_opts: list[cfg.Opt] = [
    cfg.StrOpt(
        'backend_url',
        secret=True,
        help="""
URL of the tooz backend by which engines notice that one of them is gone, for
example ``mysql://nova_ha:secret@db.example.org/nova_ha``,
``postgresql://...``, ``etcd3+http://...`` or ``redis://...``. The same for
every engine. Needed for more than one engine: without it a second engine
refuses to start. Not needed for one.

It is about speed only: that two engines never act at the same time rests on
the lease in [nova_ha_database]. With mysql and postgresql a killed engine is
noticed at once; with etcd and redis after their own timeout (an option of the
URL). Without an answer of the backend a take-over waits for [engine]
lease_ttl, and nothing else changes.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, coordination_group, coordination_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(coordination_group, coordination_opts)]
