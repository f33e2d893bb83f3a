# SPDX-License-Identifier: Apache-2.0

"""How long the state machine waits for the world."""

import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long the machine waits, in seconds.

    :ivar fence_timeout: after this without a reading of Off an operator is
        asked; the engine goes on reading.
    :ivar fence_repeat: a host that still reads On is asked again after this.
    :ivar intent_ttl: a decision to fence that is older than this when the
        device is first asked is made anew.
    :ivar unanswered_quiet: how long an evacuate call without an answer is
        left alone before nova's records decide that it never arrived.
    :ivar retry_delay: pause before a failed evacuation is tried again.
    :ivar max_attempts: evacuations of one server before it is parked.
    :ivar state_wait: how long a server is waited for that nova, or its owner,
        was moving; then it is parked, and looked at from time to time.
    :ivar healthy_delay: how long a host that is back sends heartbeats before
        nova may use it again.
    """

    fence_timeout: float = 60.0
    fence_repeat: float = 15.0
    intent_ttl: float = 20.0
    unanswered_quiet: float = 30.0
    retry_delay: float = 15.0
    max_attempts: int = 3
    state_wait: float = 60.0
    healthy_delay: float = 60.0


DEFAULT: typing.Final = Patience()

# No pause is longer than this. One that seems to be was begun before the
# clock of the store went back, and is over.
LONGEST: typing.Final = 600.0


def is_over(until: float | None, now: float) -> bool:
    """Return whether a pause has ended; None is no pause."""
    return until is None or until <= now or until > now + LONGEST
