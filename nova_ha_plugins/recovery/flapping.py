# SPDX-License-Identifier: Apache-2.0

"""A host that fails again and again: recovered each time, then kept out."""

from collections.abc import Iterable

from nova_ha_plugins.recovery import incident

# Failures are counted over the last hour.
WINDOW = 3600.0

# What an incident says that was no failure of its host: nobody believed it,
# or it was the observer who could not see.
_NO_FAILURE = frozenset(
    {
        'suspected',
        'cancelled',
        'taken-over',
        'reassess',
        'released',
        'release-ignored',
        'release-over',
        'attest-refused',
        'held:engine-late',
        'held:evidence-unknown',
        'held:maintenance',
        'held:management-one-way',
        'held:monitoring-blind',
        'held:network-outage',
        'held:newer-release',
        'held:nova-unreachable',
        'held:own-reach',
    }
)


def recent(incidents: Iterable[incident.Incident], now: float) -> int:
    """Return how many of a host's incidents were failures lately.

    Cancelled ones count when the host itself was found silent or degraded;
    open ones always.
    """
    return sum(
        now - each.opened_at < WINDOW
        and (
            each.phase != incident.Phase.CANCELLED
            or any(entry.code not in _NO_FAILURE for entry in each.timeline)
        )
        for each in incidents
    )


def is_flapping(failures: int, limit: int) -> bool:
    """Return whether a host failed too often to be let back by itself."""
    return 0 < limit <= failures


def told(host: str, failures: int) -> str:
    """Return the sentence for the timeline."""
    return (
        f"Host '{host}' failed {failures} times within an hour: its servers "
        'are recovered, but when it comes back its service stays disabled '
        f'until somebody looked at it: openstack ha release {host}'
    )
