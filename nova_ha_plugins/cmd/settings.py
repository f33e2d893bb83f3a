# SPDX-License-Identifier: Apache-2.0

"""The doctor's look at what several files have to say alike."""

from oslo_config import cfg

from nova_ha_plugins.cmd import finding

# Copied from the samples of ceilometer_pollsters; where a controller has
# none of them, ours may have been merged into ceilometer's own file.
CENTRAL = '/etc/ceilometer/ceilometer-ha-central.conf'
RECEIVER = '/etc/ceilometer/ceilometer-ha-notification.conf'
MERGED = '/etc/ceilometer/ceilometer.conf'


def same_liveness(
    ours: cfg.ConfigOpts, theirs: cfg.ConfigOpts, path: str
) -> list[finding.Finding]:
    """Whether a service's plugins keep heartbeats where the engine reads.

    :param theirs: the file at ``path``; its URL is never shown.
    """
    differing = [
        name
        for name in ('liveness_backend', 'liveness_url')
        if ours.nova_ha[name] != theirs.nova_ha[name]
    ]
    if not differing:
        return []
    return [
        finding.action(
            'liveness',
            f'Option [nova_ha] {" and ".join(differing)} of {path} and of '
            'nova-ha.conf differ: heartbeats are written where somebody does '
            'not look for them; make both the same in every file',
        )
    ]


def same_timeout(
    ours: cfg.ConfigOpts, theirs: cfg.ConfigOpts, path: str
) -> list[finding.Finding]:
    """Whether watcher, alarms and engine call a host down together."""
    return [
        finding.note(
            'timeouts',
            f'Option [nova_ha] {name} is {theirs.nova_ha[name]:g} in {path} '
            f'and {ours.nova_ha[name]:g} in nova-ha.conf: one of them calls a '
            'host down before the other one does; make it the same in every '
            'file',
        )
        for name in ('heartbeat_timeout', 'reconnect_max')
        if theirs.nova_ha[name] != ours.nova_ha[name]
    ]
