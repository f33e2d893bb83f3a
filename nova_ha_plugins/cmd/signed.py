# SPDX-License-Identifier: Apache-2.0

"""Check of nova-ha-manage doctor: whether hosts sign their heartbeats."""

from collections.abc import Iterable

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.recovery import views

_CHECK = 'signatures'
# As the publisher writes them, see ceilometer_pollsters.admission.
_CHANNEL = 'signature'
_MOST_HOSTS = 5
# Seconds after which a word on it is of a host that is not heard any more.
_FRESH = 180.0


def check(healths: Iterable[views.HostHealth]) -> list[finding.Finding]:
    """What the receiver of heartbeats found of their signatures."""
    rows = [
        row for row in healths if row.channel == _CHANNEL and row.age < _FRESH
    ]
    if not rows:
        return [
            finding.note(
                _CHECK,
                'nobody looks at signatures of heartbeats: who may write to '
                'the message bus can keep a dead host alive in our eyes. '
                'Set [nova_ha] heartbeat_signatures to accept where '
                'nova-ha-liveness:// runs, and give each host its key',
            )
        ]
    found = [
        finding.action(
            _CHECK,
            f"host '{row.host}': {row.text}, {row.age:.0f}s ago. Either its "
            'key is of another host or secret, or somebody forges heartbeats',
        )
        for row in rows
        if not row.ok
    ]
    found += _some(
        [row.host for row in rows if row.ok and row.value == 0],
        'do not sign with a known key and would be refused by '
        'heartbeat_signatures = require: give them theirs by nova-ha-manage '
        'heartbeat-key',
    )
    found += _some(
        [row.host for row in rows if row.ok and 0 < row.value < 1],
        'sign with an old key: give them new ones by nova-ha-manage '
        'heartbeat-key before the old master secret is taken out',
    )
    return found or [
        finding.ok(_CHECK, f'{len(rows)} hosts sign with their newest key')
    ]


def _some(hosts: list[str], text: str) -> list[finding.Finding]:
    if not hosts:
        return []
    names = ', '.join(f"'{host}'" for host in sorted(hosts)[:_MOST_HOSTS])
    more = len(hosts) - _MOST_HOSTS
    if more > 0:
        names += f' and {more} more'
    return [finding.note(_CHECK, f'hosts {names} {text}')]
