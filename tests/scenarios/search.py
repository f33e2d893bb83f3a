# SPDX-License-Identifier: Apache-2.0

"""hypothesis decides by chance what happens, and makes a failure short.

The stories are those of ``random_runs``; but what chance decides in them comes
from hypothesis, which keeps to what comes close to a failure and then leaves
out of it all that it does not need. ``tools/simulate --search 500``.
"""

import time

import hypothesis
from hypothesis import errors
from hypothesis import strategies

from tests.scenarios import language
from tests.scenarios import random_runs


class _Enough(BaseException):
    """It was made short for long enough."""


def plans() -> strategies.SearchStrategy[language.Story]:
    """Stories of a random cloud with random faults, a swarm of kinds each."""
    return strategies.randoms(use_true_random=False).map(
        lambda chance: random_runs.plan_of(chance, 'search')
    )


def settings(examples: int, same: bool) -> hypothesis.settings:
    """How long to look.

    :param same: look at the same stories each time.
    """
    return hypothesis.settings(
        max_examples=examples,
        derandomize=same,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def failing(
    examples: int, same: bool = False, seconds: float = 60.0
) -> language.Story | None:
    """The shortest story found in which something goes wrong, if any.

    :param seconds: for which it is made shorter, at most.
    """
    failed: list[language.Story] = []
    until = [float('inf')]

    def fails(story: language.Story) -> bool:
        if time.monotonic() > until[0]:
            raise _Enough
        if random_runs.why(story) is None:
            return False
        if not failed:
            until[0] = time.monotonic() + seconds
        failed.append(story)
        return True

    try:
        hypothesis.find(plans(), fails, settings=settings(examples, same))
    except (errors.NoSuchExample, _Enough):
        pass
    return min(failed, key=lambda story: len(story.events), default=None)
