# SPDX-License-Identifier: Apache-2.0

"""Options of what the engine tells Prometheus."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'metrics'

metrics_group = cfg.OptGroup(GROUP, title='Service levels for Prometheus')

metrics_opts = [
    cfg.StrOpt(
        'address',
        default='127.0.0.1',
        help="""
Address on which the engine answers Prometheus. There is no password and no
encryption: names of hosts are not told, but numbers are. Take an address that
only the network of your monitoring reaches.
""",
    ),
    cfg.PortOpt(
        'port',
        default=0,
        help="""
Port of the same, for example 9748; 0, the default, opens none. Set it on every
controller: an engine that only watches tells that the acting one is dead.
""",
    ),
    cfg.FloatOpt(
        'interval',
        default=5.0,
        min=0.5,
        help="""
Seconds between two looks at the store for what is told of hosts and incidents.
Not larger than Prometheus' scrape_interval. One look reads every heartbeat:
about 0.1 CPU-seconds for 10,000 hosts.
""",
    ),
    cfg.FloatOpt(
        'census_interval',
        default=900.0,
        min=0.0,
        help="""
Seconds in which the acting engine asks nova once for the servers of each
host, one host after the other, to count how many are protected and why the
others are not. Two calls per host and interval; 0 asks for none and leaves
these counts out.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, metrics_group, metrics_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(metrics_group, metrics_opts)]
