# SPDX-License-Identifier: Apache-2.0

"""What the doctor knows of evacuations: are they shown, followed, told."""

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.engine import doors

_CHECK = 'evacuations'


def check(failure: doors.DoorError | None, version: str) -> finding.Finding:
    """Whether every evacuation can be followed through nova's API.

    :param failure: of the try to list them, None when it went well.
    :param version: of our own resource that the engine needs.
    """
    if failure is None:
        return finding.ok(_CHECK, f'nova-api shows them, version {version}')
    status = failure.status if isinstance(failure, doors.Refused) else 0
    if status == 404:
        return finding.action(
            _CHECK,
            "nova-api has no resource 'os-evacuations': nobody sees how far "
            'an evacuation is, and a server can be evacuated twice at once; '
            "put the filter 'instance_ha' into api-paste.ini of every "
            'nova-api and restart it',
        )
    if status == 406:
        return finding.action(
            _CHECK,
            'nova-api has an older release of nova-ha-plugins: expected '
            f"version {version} of 'instance-ha', so nothing is estimated "
            'or told; upgrade it beside every nova-api and restart that',
        )
    return finding.action(_CHECK, f'Cannot be checked: {failure}')


def following(follow: bool, notify: bool, has_bus: bool) -> finding.Finding:
    """Whether somebody follows evacuations, and is heard."""
    check = 'notifications'
    if not follow:
        return finding.note(
            check,
            'not sent, and no times are estimated: [progress] follow is off',
        )
    if not notify:
        return finding.note(check, 'not sent: [progress] notify is off')
    if not has_bus:
        return finding.note(
            check,
            'not sent: [DEFAULT] transport_url is not set in nova-ha.conf',
        )
    return finding.ok(check, 'of evacuations are sent by the acting engine')
