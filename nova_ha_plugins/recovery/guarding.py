# SPDX-License-Identifier: Apache-2.0

"""Which evacuation of a server forbids another one.

Nova takes a second evacuation of a server while the first one goes on, and
starts the server on two hosts. So a second one has to wait for *evidence* that
the first one has ended. That it is slow, or stands still, is none: whatever
nova-compute has begun it also finishes, unless its host is off.
"""

from collections.abc import Callable
from collections.abc import Iterable

from nova_ha_plugins.recovery import progress

_OVER = frozenset({progress.State.SUCCEEDED, progress.State.FAILED})
_CLOSED = frozenset({'done', 'error', 'failed', 'cancelled'})
_ON_THE_WAY = frozenset({progress.State.QUEUED, progress.State.RUNNING})


def holding(
    found: Iterable[progress.Facts],
    was_fenced: Callable[[str, float], bool],
) -> progress.Facts | None:
    """The evacuation that forbids another one, None if there is none.

    What is older than one that succeeded is over, whatever nova's record says:
    the server has left that host by another way, and to wait any longer would
    protect nothing.

    :param found: all of one server, the newest first.
    :param was_fenced: tells whether a host was switched off, with proof, at
        that time or later; False also when nobody knows.
    """
    for facts in found:
        if progress.assess(facts).state == progress.State.SUCCEEDED:
            return None
        if is_open(facts) and not _is_cut_off(facts, was_fenced):
            return facts
    return None


def is_open(facts: progress.Facts) -> bool:
    """Whether nova's own evidence leaves room for work that goes on."""
    began = facts.rebuild is not None
    if facts.rebuild is not None and facts.rebuild.result is not None:
        # The destination has said that it is through with it.
        return False
    state = progress.assess(facts).state
    if facts.status in progress.OPEN_STATUSES:
        return state not in _OVER
    if facts.status == 'completed':
        # The source came back, and nova closed the record too early. The
        # state of the server may be what somebody set it to.
        return state in _ON_THE_WAY or (
            began and state != progress.State.SUCCEEDED
        )
    # A word that nobody knows is no evidence of an end.
    return facts.status not in _CLOSED


def _is_cut_off(
    facts: progress.Facts, was_fenced: Callable[[str, float], bool]
) -> bool:
    """Whether the host that had taken it up was switched off since.

    Since it took it up, not since nova was asked: one that waited long may be
    at work on a host that was off in the meantime, and is on again.
    """
    host = _taken_by(facts)
    if host is None:
        return False
    began = facts.rebuild.started_at if facts.rebuild is not None else None
    return was_fenced(host, max(facts.created_at, began or 0.0))


def _taken_by(facts: progress.Facts) -> str | None:
    """The host whose nova-compute has begun with it, if one has.

    An 'accepted' record may name a destination that somebody asked for, while
    the work lies in the message bus: that host takes it up when it is switched
    on again. Its event tells when it has. Many wait there for their claim, and
    their records name no host before that, nor ever if the source came back.
    """
    if facts.status != 'accepted' and facts.destination is not None:
        return facts.destination
    return facts.rebuild.host if facts.rebuild is not None else None
