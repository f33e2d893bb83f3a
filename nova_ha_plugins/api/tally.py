# SPDX-License-Identifier: Apache-2.0

"""What became of the servers of each host, in numbers that add up.

Of each server the newest evacuation from the host counts, so that one which
was tried three times is one server.
"""

import collections
from collections import abc
import datetime
import math
import typing

from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import progress

if typing.TYPE_CHECKING:
    from nova_ha_plugins.api import told

OPEN = frozenset({progress.State.QUEUED, progress.State.RUNNING})

# Nova was not asked to evacuate it, or has no record of that yet.
_TO_BE_ASKED = frozenset(
    {
        incident.ServerState.QUEUED,
        incident.ServerState.READY,
        incident.ServerState.REQUESTED,
    }
)


def planned_of(
    subjects: abc.Iterable[incident.Incident],
) -> dict[str, frozenset[str]]:
    """Give the servers that are going to be evacuated, by their host."""
    return {
        subject.host: frozenset(
            server.uuid
            for server in subject.servers
            if server.state in _TO_BE_ASKED
        )
        for subject in subjects
    }


def hosts(
    evacuations: abc.Iterable['told.Told'],
    planned: abc.Mapping[str, frozenset[str]] | None,
    typical: estimate.Estimate | None = None,
) -> list[dict[str, typing.Any]]:
    """Give one row for each host that has evacuations, or will have some.

    :param evacuations: newest first.
    :param planned: servers to be evacuated, None if nobody knows.
    :param typical: how long an evacuation takes of which nothing is known.
    """
    newest: dict[str, dict[str, told.Told]] = collections.defaultdict(dict)
    for each in evacuations:
        servers = newest[each.record.source_compute or '']
        servers.setdefault(each.record.instance_uuid, each)
    for host, to_come in (planned or {}).items():
        if to_come:
            newest.setdefault(host, {})
    return [
        _host(
            host, list(found.values()), _to_come(host, found, planned), typical
        )
        for host, found in sorted(newest.items())
    ]


def _to_come(
    host: str,
    found: abc.Mapping[str, object],
    planned: abc.Mapping[str, frozenset[str]] | None,
) -> int | None:
    if planned is None:
        return None
    return len(planned.get(host, frozenset()) - found.keys())


def _host(
    host: str,
    servers: abc.Sequence['told.Told'],
    planned: int | None,
    typical: estimate.Estimate | None,
) -> dict[str, typing.Any]:
    counts = collections.Counter(each.found.state for each in servers)
    to_come = planned or 0
    left = _left(servers, to_come, typical)
    return {
        'source_compute': host,
        'total': len(servers),
        'planned': planned,
        'states': {state.value: counts[state] for state in progress.State},
        'stalled': sum(each.found.stalled for each in servers),
        'progress': _percent(servers, to_come),
        'eta_seconds': None if left is None else math.ceil(left.p50),
        'eta_p90_seconds': None if left is None else math.ceil(left.p90),
        'eta_samples': None if left is None else left.samples,
        'started_at': min(
            (each.record.created_at for each in servers), default=None
        ),
        'finished_at': None if to_come else _finished_at(servers),
    }


def _percent(servers: abc.Sequence['told.Told'], to_come: int) -> int:
    """Of all servers together; what failed or is to come has done nothing."""
    done = 0
    for each in servers:
        if each.found.state is progress.State.SUCCEEDED:
            done += 100
        elif each.found.state in OPEN:
            done += each.found.progress or 0
    return done // (len(servers) + to_come)


def _left(
    servers: abc.Sequence['told.Told'],
    to_come: int,
    typical: estimate.Estimate | None,
) -> estimate.Estimate | None:
    """Give how long it takes until the last server is done.

    Those to come are taken to come as many at a time as there are now.
    """
    under_way = [each for each in servers if each.found.state in OPEN]
    known = [each.left for each in under_way if each.left is not None]
    if not known or len(known) < len(under_way):
        return None
    turns = math.ceil(to_come / len(under_way))
    if turns and typical is None:
        return None
    each_turn = typical or known[0]
    samples = min(left.samples for left in known)
    return estimate.Estimate(
        p50=max(left.p50 for left in known) + turns * each_turn.p50,
        p90=max(left.p90 for left in known) + turns * each_turn.p90,
        samples=min(samples, each_turn.samples) if turns else samples,
    )


def _finished_at(
    servers: abc.Sequence['told.Told'],
) -> datetime.datetime | None:
    """When the last server was done with, None while one is not."""
    if any(
        each.found.state in (*OPEN, progress.State.UNKNOWN) for each in servers
    ):
        return None
    times = [each.finished_at for each in servers]
    last = max((at for at in times if at is not None), default=None)
    if last is None:
        return None
    return datetime.datetime.fromtimestamp(last, datetime.UTC)
