# SPDX-License-Identifier: Apache-2.0

"""What must happen happens in time, however much stays broken for ever."""

from nova_ha_plugins.engine import intake
from tests.scenarios import liveness
from tests.scenarios import tell

SEEDS = 60


class LivenessTest(tell.QuietTest):
    """Some seeds, always the same, and that they can fail."""

    def test_everything_that_is_owed_comes_within_its_bound(self) -> None:
        for seed in range(SEEDS):
            with self.subTest(seed=seed), tell.what_happened(f'seed {seed}'):
                self.assertIsNone(liveness.why(seed))

    def test_an_engine_that_waits_for_alarms_alone_is_found(self) -> None:
        self.addCleanup(
            setattr, intake.Intake, 'find_lost', intake.Intake.find_lost
        )
        intake.Intake.find_lost = lambda self: None  # type: ignore

        wrong = [liveness.why(seed) for seed in range(20)]

        self.assertTrue(any(w and 'L' in w for w in wrong), wrong)
