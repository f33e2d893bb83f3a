# SPDX-License-Identifier: Apache-2.0

"""Random faults break no law, and when they end every incident ends.

Thousands of seeds: ``tools/simulate --seeds 5000``.
"""

from tests.scenarios import language
from tests.scenarios import random_runs
from tests.scenarios import tell

SEEDS = 300


class RandomTest(tell.QuietTest):
    """Some seeds, always the same."""

    def test_random_faults_break_no_law_and_end(self) -> None:
        for seed in range(SEEDS):
            with self.subTest(seed=seed), tell.what_happened(f'seed {seed}'):
                random_runs.run(
                    random_runs.plan(seed), random_runs.crash_of(seed)
                )

    def test_a_failing_run_is_made_short(self) -> None:
        story = random_runs.plan(0)
        story.settings = {'max_per_destination': 1}
        story.events.append(language.Event(['fact', 'nonsense', 'h1'], at=1.0))

        with tell.what_happened('a poisoned seed'):
            short = random_runs.shrink(story, None)

        self.assertEqual(
            [['fact', 'nonsense', 'h1']], [e.words for e in short.events]
        )
        self.assertEqual([], short.servers)
