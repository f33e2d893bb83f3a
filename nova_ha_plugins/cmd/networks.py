# SPDX-License-Identifier: Apache-2.0

"""What the doctor says of the networks over which a host is probed."""

from collections.abc import Sequence

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident

CHECK = 'networks'


def check(
    host: str,
    readings: Sequence[incident.Reading],
    management_lost: str,
) -> list[finding.Finding]:
    """Whether a living host answers on each network that is probed.

    :param readings: of its probes, the management network first.
    :param management_lost: [networks] management.
    """
    found = []
    for reading in readings:
        network = evidence.network_of(reading.channel)
        key = 'probe'
        if network != evidence.MANAGEMENT:
            key = f'networks.{network}'
        if reading.sign == incident.Sign.SILENT:
            found.append(
                finding.action(
                    CHECK,
                    f'Host {host!r} beats and does not answer on network '
                    f'{network!r}: {reading.text}; this channel cannot keep '
                    f'it from being called dead: correct {key!r} in the '
                    'fencing map, [probe] port and kind, or the way there',
                )
            )
        elif reading.sign == incident.Sign.UNKNOWN:
            found.append(
                finding.action(
                    CHECK,
                    f'Network {network!r} of host {host!r} cannot be probed: '
                    f'{reading.text}; while that is so the host is never '
                    f'called dead: correct {key!r} in the fencing map or the '
                    'way there',
                )
            )
    if management_lost != evidence.Response.ALERT and len(readings) == 1:
        found.append(
            finding.note(
                CHECK,
                f'Host {host!r} has no networks in the fencing map: whether '
                'its management network is lost cannot be told from its '
                f'death, so [networks] management = {management_lost} '
                'means nothing for it',
            )
        )
    if not found:
        names = ', '.join(evidence.network_of(r.channel) for r in readings)
        found.append(finding.ok(CHECK, f'Host {host!r} answers on: {names}'))
    return found
