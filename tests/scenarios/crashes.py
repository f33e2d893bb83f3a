# SPDX-License-Identifier: Apache-2.0

"""Kill the engine at each step of a story: the end must be the same.

``python -m tests.scenarios.crashes [STORY...]`` does it at every single step.

A crash loses only what is in memory, so 'before a step' is the same as 'after
the step before it'; ``points`` leaves those out unless asked for all.
"""

import collections
import logging
import sys

from tests.scenarios import invariants
from tests.scenarios import language

# An engine that starts waits for its warm-up, a call whose answer is not
# known for half a minute and for its retry, at most five minutes: then the
# same must be true.
LONGER = 420


class Killed:
    """One story, its end without a crash, and its points.

    :ivar engines: so many are there; none for one that starts again.
    """

    def __init__(self, story: language.Story, engines: int = 0) -> None:
        self.story = story
        self.engines = engines
        calm = language.play(story, longer=LONGER, engines=engines)
        self.end = calm.final()
        self.labels = [label for at, label in calm.labels if at < story.until]

    def points(self, per_label: int | None = 1) -> list[int]:
        """Return the points to crash at, numbered from 1.

        :param per_label: how many of the steps that bear the same name, None
            for all, those before a step included.
        """
        seen: collections.Counter[str] = collections.Counter()
        found = []
        for point, label in enumerate(self.labels, 1):
            seen[label] += 1
            if per_label is None:
                found.append(point)
            elif label.startswith('after') and seen[label] <= per_label:
                found.append(point)
        return found

    def side_effects(self) -> list[int]:
        """Return the points right before and right after a side effect."""
        return [
            point
            for point, label in enumerate(self.labels, 1)
            if label.startswith(('before Act', 'after Act'))
        ]

    def differences(self, point: int) -> list[str]:
        """Return what is not the same when the engine is killed there.

        :raises Violation: the law was broken on the way.
        """
        sim = language.play(
            self.story,
            point,
            LONGER,
            lambda sim: sim.final() == self.end,
            engines=self.engines,
        )
        if sim.crashes != 1:
            return [f'killed {sim.crashes} times']
        if self.story.racing:
            return []
        end = sim.final()
        return [
            f'{name}: {self.end[name]} without the crash, {end.get(name)} '
            f'after it at point {point}, {self.labels[point - 1]}'
            for name in self.end
            if self.end[name] != end.get(name)
        ]


def main(names: list[str]) -> int:
    """Kill at every step; return 1 if an end was not the same."""
    logging.disable(logging.CRITICAL)
    runs = wrong = 0
    for name in names or language.names():
        killed = Killed(language.load(name))
        for point in killed.points(per_label=None):
            runs += 1
            try:
                found = killed.differences(point)
            except invariants.Violation as error:
                found = [str(error)]
            for line in found:
                sys.stdout.write(f'{name}: {line}\n')
            wrong += bool(found)
    sys.stdout.write(f'{runs} crashes, {wrong} with another end\n')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
