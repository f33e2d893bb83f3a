# SPDX-License-Identifier: Apache-2.0

"""What an alarm of aodh says, made into one fact.

The words come from whoever made the alarm or the event, so nothing is taken
over unchecked: a host name has to look like one, everything else is cut to a
length and freed of control characters. Only the state ``alarm`` suspects a
host; ``insufficient data`` never does, it merely wakes the engine up.

Hosts are named in one of two forms: by the event behind an event alarm, or in
the list of an alarm of our own type (``evaluator``).
"""

import re
from typing import Any
import uuid

from nova_ha_plugins import printable
from nova_ha_plugins.recovery import facts

ALARM = 'alarm'
# What an alarm of our own type calls itself in its reason data.
TYPE = 'hypervisor_heartbeat'
# Of our own events this one accuses. The others name a host as well, and one
# that is merely degraded must not be taken for dead because somebody gave
# their alarm this action.
EVENT_DOWN = 'compute.host.down'
_OURS = ('compute.host.', 'instance.ha.', 'instance_ha.')

# nova limits services.host to 255 characters; a host name has no others.
HOST = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,254}')
LONGEST = 255
# More than this fall at once in no cloud of which monitoring still sees.
MOST = 1000

# Aodh repeats an alarm with new ids every time; ours is made from what makes
# it the same, so that a repetition that still waits is stored once.
_FACTS = uuid.UUID('6f0a6d0c-5f0e-4b5e-9d39-2f6ed1b5a4d7')


class BadHost(ValueError):
    """A host was named, but not by anything that can be a host's name."""


def clean(value: Any) -> str:
    """Return a value as text that may be stored and logged."""
    if not isinstance(value, str | int | float):
        return ''
    return printable.line(str(value), LONGEST)


def check_host(value: Any) -> str:
    """Return a host's name.

    :raises BadHost: it cannot be one; the text does not repeat it.
    """
    if not isinstance(value, str) or not HOST.fullmatch(value):
        raise BadHost(
            'The host should be named by 1 to 255 letters, digits, dots, '
            'dashes and underscores, and is not'
        )
    return value


def _listed(event: Any) -> list[tuple[str, Any]]:
    """Return the traits of aodh's event, which come as [name, type, value].

    What has another form is left out.
    """
    listed = event.get('traits') if isinstance(event, dict) else None
    if not isinstance(listed, list):
        return []
    return [
        (item[0], item[2])
        for item in listed
        if isinstance(item, list | tuple)
        and len(item) == 3
        and isinstance(item[0], str)
    ]


def traits(event: Any) -> dict[str, Any]:
    """Return the traits of an event by name."""
    return dict(_listed(event))


def _items(reason_data: Any) -> list[dict[str, Any]]:
    """Return what an alarm of our own type says of each of its hosts."""
    if not isinstance(reason_data, dict) or reason_data.get('type') != TYPE:
        return []
    listed = reason_data.get('hosts')
    if not isinstance(listed, list):
        return []
    return [item for item in listed[:MOST] if isinstance(item, dict)]


def _accused(event: dict[str, Any]) -> list[Any]:
    """Return every name that an event gives to the host it accuses."""
    kind = event.get('event_type')
    if kind != EVENT_DOWN and str(kind).startswith(_OURS):
        return []
    return [value for name, value in _listed(event) if name == 'host']


def suspected_hosts(current: Any, reason_data: Any) -> tuple[str, ...]:
    """Return the hosts that an alarm accuses, none of them twice.

    :raises BadHost: something is named that is no host.
    """
    if current != ALARM or not isinstance(reason_data, dict):
        return ()
    hosts = [item.get('host') for item in _items(reason_data)]
    event = reason_data.get('event')
    if isinstance(event, dict):
        named = _accused(event)
        if any(host != named[0] for host in named):
            raise BadHost(
                'The event should name one host, and names different ones'
            )
        hosts += named[:1]
    return tuple(
        dict.fromkeys(
            check_host(host) for host in hosts if host not in (None, '')
        )
    )


def _told(reason_data: Any, host: str) -> dict[str, Any]:
    """Return what an alarm says of one host: traits, or its item."""
    for item in _items(reason_data):
        if item.get('host') == host:
            return item
    event = reason_data.get('event') if isinstance(reason_data, dict) else None
    return traits(event)


def make_fact(
    host: str,
    body: dict[str, Any],
    *,
    channel: str,
    trust_id: str = '',
    verified: bool = False,
    by: str = '',
) -> facts.Fact:
    """Return the fact that an alarm reports; the same when it repeats.

    :param host: the suspected host, '' for a mere wake-up.
    :param body: the alarm as aodh's own REST notifier would send it.
    """
    data = body.get('reason_data')
    event = data.get('event') if isinstance(data, dict) else None
    found = _told(data, host)
    event = event if isinstance(event, dict) else {}
    detail = {
        'severity': body.get('severity'),
        'previous': body.get('previous'),
        'current': body.get('current'),
        'event_type': event.get('event_type'),
        'event_id': event.get('message_id'),
        'silent_for': found.get('silent_for'),
    }
    kind = facts.FactKind.HOST_DOWN if host else facts.FactKind.WAKE_UP
    alarm_id = clean(body.get('alarm_id'))[:64]
    trust_id, by = clean(trust_id)[:64], clean(by)
    same = '\n'.join((channel, by, trust_id, alarm_id, kind, host))
    return facts.Fact(
        uuid=str(uuid.uuid5(_FACTS, same)),
        kind=kind,
        host=host,
        service_uuid=clean(found.get('service_uuid'))[:36] if host else '',
        reason=clean(found.get('reason') or body.get('reason')),
        detail={
            key: text
            for key, value in detail.items()
            if (text := clean(value))
        },
        channel=channel,
        trust_id=trust_id,
        alarm_id=alarm_id,
        alarm_name=clean(body.get('alarm_name')),
        verified=verified,
        by=by,
    )
