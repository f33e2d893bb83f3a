# SPDX-License-Identifier: Apache-2.0

"""Which evacuations may begin now: highest priority first, within caps.

Nova does not throttle evacuations, and each one costs its destination more
than the one before. The scheduler chooses the destination only after the
call, so an evacuation whose destination is not known yet counts against
every destination: a cap can then never be passed, whatever is chosen.
"""

import collections
from collections.abc import Iterable
import dataclasses

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import waits

OPEN_STATES = frozenset(
    {incident.ServerState.REQUESTED, incident.ServerState.EVACUATING}
)


# The code of a server whose evacuation makes no progress.
SLOW = 'slow'

# The code of a batch that waits for a destination that seems to be dying.
UNSURE = 'destination-unsure'
# So long at most, once in an incident: nova calls a host that died down after
# its service_down_time, 60 s.
LONGEST_UNSURE = 60.0


def may_wait(subject: incident.Incident, now: float) -> bool:
    """Return whether a batch may still wait for a doubtful destination."""
    return not any(
        entry.code == UNSURE and not 0.0 <= now - entry.at < LONGEST_UNSURE
        for entry in subject.timeline
    )


@dataclasses.dataclass(frozen=True)
class Caps:
    """How many evacuations may be open at once."""

    max_per_destination: int = 8
    max_open: int = 32


def may_begin(
    incidents: Iterable[incident.Incident],
    caps: Caps,
    now: float,
    begun: frozenset[str] = frozenset(),
) -> tuple[tuple[str, str], ...]:
    """Return (incident uuid, server uuid) of what may be asked of nova now.

    In the order in which to ask. All open incidents share the caps.

    :param begun: servers that are being asked for right now, which the saved
        incidents may not show yet.
    """
    incidents = tuple(incidents)
    loads: collections.Counter[str] = collections.Counter()
    unplaced = slow = 0
    ready = []
    for subject in incidents:
        for server in subject.servers:
            if server.uuid in begun and server.destination is None:
                unplaced += 1
            elif server.code == SLOW:
                # Nova may have lost it, so it must not keep its destination
                # closed for ever. Slow is not over, though: all of them
                # together never pass the cap of the cloud.
                slow += 1
            elif server.state in OPEN_STATES:
                if server.destination:
                    loads[server.destination] += 1
                else:
                    unplaced += 1
            elif (
                subject.phase == incident.Phase.EVACUATING
                and server.state == incident.ServerState.READY
                and waits.is_over(server.retry_at, now)
            ):
                ready.append((subject, server))
    fullest = max(loads.values(), default=0)
    room = min(
        caps.max_open - sum(loads.values()) - unplaced - slow,
        caps.max_per_destination - fullest - unplaced,
    )
    ready.sort(key=lambda pair: (-pair[1].priority, pair[1].uuid))
    return tuple(
        (subject.uuid, server.uuid)
        for subject, server in ready[: max(room, 0)]
    )
