# SPDX-License-Identifier: Apache-2.0

"""What happens to a server, as an event of ceilometer.

From what libvirt tells, and from two looks at the servers between which
nobody listened.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import datetime
from typing import Any

from ceilometer_pollsters import telling
from nova_ha_plugins import printable

PREFIX = 'instance.ha.'
LONGEST = 255

# Somebody has to look; the others are for the record.
URGENT = frozenset({'crashed', 'ioerror', 'watchdog', 'memory_failure'})

_CRASHES = frozenset({('stopped', 'crashed'), ('stopped', 'failed')})

_SENTENCES = {
    'lifecycle': 'is {name}: {detail}',
    'crashed': 'has crashed: {detail}',
    'watchdog': 'hangs, its watchdog has expired; action: {detail}',
    'ioerror': 'has an I/O error: {name}; action: {detail}',
    'agent': 'has its guest agent {name}: {detail}',
    'memory_failure': 'met a failure of memory of the {name}; '
    'action: {detail}',
}

# (state, reason) as a look finds it: what has happened, in libvirt's words
# for events.
_FOUND = {
    'running': 'started',
    'blocked': 'started',
    'paused': 'suspended',
    'shutoff': 'stopped',
}

States = Mapping[str, tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a server beside its id."""

    display_name: str = ''
    project_id: str = ''


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Who tells: the host, and the project that the events belong to.

    :ivar tenant_id: aodh shows an event to the alarms of this project only.
        It is the operator's, never the server's: hosts are not for users.
    """

    host: str
    tenant_id: str

    def event(
        self, told: Mapping[str, Any], known: Known = Known()
    ) -> telling.Event | None:
        """Return the event for what was told, None for what is unknown."""
        kind = _word(told, 'event')
        if kind not in _SENTENCES:
            return None
        server, name = _word(told, 'id'), _word(told, 'name')
        detail, device = _word(told, 'detail'), _word(told, 'device')
        if kind == 'lifecycle' and (
            name == 'crashed' or (name, detail) in _CRASHES
        ):
            kind = 'crashed'
        at = told.get('at')
        sentence = _SENTENCES[kind].format(name=name, detail=detail)
        if device:
            sentence += f"; disk '{device}'"
        if told.get('missed'):
            sentence += '; found late, libvirt was away when it happened'
        payload = {
            'tenant_id': self.tenant_id,
            'instance_id': server,
            'host': self.host,
            'name': name,
            'detail': detail,
            'device': device,
            'missed': bool(told.get('missed')),
            'reason': f"Server '{server}' on host '{self.host}' {sentence}",
            'display_name': known.display_name,
            'server_project_id': known.project_id,
            'occurred_at': _time(at) if isinstance(at, int | float) else '',
        }
        return telling.Event(
            (kind, server, device),
            f'{PREFIX}{kind}',
            payload,
            urgent=kind in URGENT,
        )


def missed(
    before: States, after: States, at: float
) -> Iterator[dict[str, Any]]:
    """What has happened between two looks, as if libvirt had told it."""
    for server, (state, reason) in after.items():
        if before.get(server) in (None, (state, reason)):
            continue
        event = 'lifecycle'
        name = _FOUND.get(state, state)
        detail = reason
        if state == 'paused' and reason in ('ioerror', 'watchdog'):
            event = reason
            name = 'unknown' if reason == 'ioerror' else 'expired'
            detail = 'pause'
        yield {
            'event': event,
            'id': server,
            'name': name,
            'detail': detail,
            'at': at,
            'missed': True,
        }


def _word(told: Mapping[str, Any], key: str) -> str:
    return printable.line(str(told.get(key, '')), LONGEST)


def _time(seconds: float) -> str:
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.isoformat(timespec='milliseconds')
