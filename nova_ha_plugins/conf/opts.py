# SPDX-License-Identifier: Apache-2.0

"""Every option by the file it belongs in: the engine's, or a host's."""

import itertools

from oslo_config import cfg

from nova_ha_plugins.conf import coordination
from nova_ha_plugins.conf import database
from nova_ha_plugins.conf import engine
from nova_ha_plugins.conf import evacuation
from nova_ha_plugins.conf import fencing
from nova_ha_plugins.conf import gates
from nova_ha_plugins.conf import metrics
from nova_ha_plugins.conf import networks
from nova_ha_plugins.conf import nova
from nova_ha_plugins.conf import nova_ha
from nova_ha_plugins.conf import nova_ha_host
from nova_ha_plugins.conf import nova_ha_libvirt
from nova_ha_plugins.conf import nova_progress
from nova_ha_plugins.conf import probe
from nova_ha_plugins.conf import progress
from nova_ha_plugins.conf import webhook

Listed = list[tuple[cfg.OptGroup, list[cfg.Opt]]]

_PLUGIN_GROUPS = (nova_ha, database)
# Of the agent that looks at a hypervisor; nobody else reads them.
_HOST_GROUPS = (nova_ha_host, nova_ha_libvirt)
_ENGINE_GROUPS = (
    engine,
    coordination,
    gates,
    fencing,
    probe,
    networks,
    evacuation,
    progress,
    nova,
    webhook,
    metrics,
)


def list_opts() -> Listed:
    """The options of nova-ha.conf, for the sample generator."""
    return list(
        itertools.chain.from_iterable(
            group.list_opts() for group in (*_PLUGIN_GROUPS, *_ENGINE_GROUPS)
        )
    )


def list_plugin_opts() -> Listed:
    """The options of ceilometer.conf, aodh.conf and nova.conf."""
    return list(
        itertools.chain.from_iterable(
            group.list_opts() for group in _PLUGIN_GROUPS
        )
    )


def list_host_opts() -> Listed:
    """The options of the namespace ``ha_host``, on every hypervisor."""
    return list(
        itertools.chain.from_iterable(
            group.list_opts() for group in _HOST_GROUPS
        )
    )


def list_nova_opts() -> Listed:
    """The options that nova.conf has beside those of every host's file."""
    return nova_progress.list_opts()


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make every option of nova-ha.conf known to a configuration."""
    for group in (*_PLUGIN_GROUPS, *_ENGINE_GROUPS):
        group.register_opts(conf)


def register_plugin_opts(conf: cfg.ConfigOpts) -> None:
    """Make [nova_ha] and [nova_ha_database] known to a host's configuration.

    Safe to call more than once on the same configuration.
    """
    for group in _PLUGIN_GROUPS:
        group.register_opts(conf)
