# SPDX-License-Identifier: Apache-2.0

"""Options of what is done about a host that lost one of its networks."""

import typing

from oslo_config import cfg
from oslo_config import types

from nova_ha_plugins.conf import groups

GROUP = 'networks'

networks_group = cfg.OptGroup(
    GROUP,
    title='Loss of one network',
    help="""
What is done about a host that runs on and lost one network, per network. The
networks are those of the fencing map (its key ``networks``), and
``management``, the one of its key ``probe``. See the page "Networks" of the
administration guide.
""",
)

_ALERT = (
    'alert',
    'The incident is held and says so; it ends by itself when the host '
    'answers there again.',
)
_MIGRATE = (
    'migrate',
    'The compute service is disabled and the servers that ask for recovery '
    'leave by live migration; it is enabled again when the network is back.',
)
_FENCE = (
    'fence',
    'The host goes on like a dead one, through every gate: it is switched '
    'off, read back as off, and evacuated, although it lives.',
)

# The responses that a network may have, by the option's name.
RESPONSES: typing.Final = ('alert', 'migrate', 'fence')

networks_opts = [
    cfg.StrOpt(
        'management',
        default='alert',
        choices=[_ALERT, _FENCE],
        deprecated_name='management_lost',
        deprecated_group='gates',
        help="""
What is done about a host whose heartbeats and whose probe over the management
network are silent while it answers on another network of the fencing map. Its
servers probably run and are reachable; with ``fence`` they are interrupted,
because nova cannot manage them any more. A host that answers the probe of the
management network, or sends heartbeats, is never fenced for it.
""",
    ),
    cfg.StrOpt(
        'storage',
        default='alert',
        choices=[_ALERT, _MIGRATE, _FENCE],
        help="""
What is done about a host that sends heartbeats and is silent on the network
'storage' of the fencing map for lost_after, while other hosts answer there.
``migrate`` is worth it only if the storage of the servers does not need that
network to be read.
""",
    ),
    cfg.StrOpt(
        'tenant',
        default='alert',
        choices=[_ALERT, _MIGRATE, _FENCE],
        help="""
The same for the network 'tenant'. The servers run and nobody reaches them.
""",
    ),
    cfg.Opt(
        'others',
        type=types.Dict(value_type=types.String(choices=list(RESPONSES))),
        default={},
        help="""
The same for networks with other names in the fencing map:
``backup:alert,ceph:fence``. A network that is not named here is ``alert``.
""",
    ),
    cfg.FloatOpt(
        'interval',
        default=10.0,
        min=0.0,
        help="""
Seconds in which each network of each living host is asked once, with
connections spread over that time. 0 asks only suspected hosts: then the loss
of a network is noticed only of a host whose heartbeats stop.
""",
    ),
    cfg.FloatOpt(
        'lost_after',
        default=30.0,
        min=1.0,
        help="""
Seconds of unbroken silence on a network after which it counts as lost, never
less than twice the interval. One answer begins them anew.
""",
    ),
    cfg.FloatOpt(
        'together',
        default=300.0,
        min=0.0,
        help="""
Hosts that fell silent on one network within so many seconds of each other did
so together: it is the network, not the hosts, and nothing is done to them.
""",
    ),
    cfg.IntOpt(
        'max_migrations',
        default=2,
        min=1,
        help="""
Live migrations that the engine may have open at once, over all hosts.
""",
    ),
    cfg.IntOpt(
        'connections',
        default=32,
        min=1,
        max=512,
        help="""
Connections of the look at living hosts that may be open at once, each in a
thread of its own. A host that answers needs one for a few milliseconds, a
silent one for [probe] timeout.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, networks_group, networks_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(networks_group, networks_opts)]
