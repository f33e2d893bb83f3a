# SPDX-License-Identifier: Apache-2.0

"""Another engine acts for an incident from now on."""

import typing

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import notes

Phase = incident.Phase

# Nothing was decided yet that cannot be decided again.
_UNDECIDED = frozenset({Phase.SUSPECTED, Phase.HELD})


def taken_over(
    subject: incident.Incident, event: events.TakenOver
) -> incident.Incident:
    """Return the incident as the engine that took over goes on with it.

    A fence that is not yet decided must be earned anew, by what this engine
    itself sees: what the one before counted, it may have counted before it
    stood still.
    """
    changes: dict[str, typing.Any] = {
        'engine': event.engine,
        'token': event.token,
    }
    if subject.phase in _UNDECIDED:
        changes.update(silent_probes=0, dead_since=None)
    return notes.add(
        subject,
        event.at,
        'taken-over',
        f"Engine '{event.engine}' goes on where engine '{subject.engine}' "
        f'stopped (token {event.token} after {subject.token})',
        kind=incident.Kind.NOTE,
        **changes,
    )
