# SPDX-License-Identifier: Apache-2.0

"""The assessment of what a real nova wrote, run by run.

``tests/functional/nova/test_runs.py`` made the recordings and asserted of each
what must come of it; here the same is asked without a nova.
"""

import dataclasses
import itertools
import unittest

from nova_ha_plugins.recovery import progress
from tests.unit.recovery import recordings

ORDER = [phase for phase in progress.Phase if phase in progress.PERCENT]


def newest_of(run, told):
    """Give what was told of each newest record in turn."""
    for turn in recordings.turns(run.looks):
        yield [(run.looks[index], told[index][0]) for index in turn]


class RecordedTest(unittest.TestCase):
    """Every recorded run, from its first look to its last one."""

    def setUp(self):
        self.runs = []
        for name in recordings.names():
            run = recordings.read(name)
            told = [
                [progress.assess(facts) for facts in reversed(look.facts)]
                for look in run.looks
            ]
            self.runs.append((run, told))

    def test_every_row_of_the_tables_is_there(self):
        self.assertEqual(25, len(self.runs))

    def test_ends_as_nova_did(self):
        for run, told in self.runs:
            with self.subTest(run.name, about=run.about):
                if run.end:
                    self.assertEqual(
                        run.end,
                        tuple(
                            (str(item.state), item.reason and str(item.reason))
                            for item in told[-1]
                        ),
                    )

    def test_phases_are_those_that_were_seen_on_the_run(self):
        for run, told in self.runs:
            with self.subTest(run.name, about=run.about):
                *_, last = newest_of(run, told)
                phases = [
                    str(phase)
                    for phase, _ in itertools.groupby(
                        item.phase for _, item in last
                    )
                ]
                self.assertEqual(list(run.phases), phases)

    def test_percent_of_the_newest_record_never_goes_back(self):
        for run, told in self.runs:
            with self.subTest(run.name, about=run.about):
                for found in newest_of(run, told):
                    percents = [
                        item.progress
                        for _, item in found
                        if item.progress is not None
                    ]
                    self.assertEqual(sorted(percents), percents)

    def test_hundred_percent_only_where_the_server_is(self):
        for run, told in self.runs:
            with self.subTest(run.name, about=run.about):
                for found in newest_of(run, told):
                    for look, item in found:
                        if item.progress == 100:
                            self.assertTrue(look.there, look)
                        self.assertEqual(
                            item.progress == 100,
                            item.state is progress.State.SUCCEEDED,
                        )

    def test_phase_goes_forward_until_the_end(self):
        for run, told in self.runs:
            with self.subTest(run.name, about=run.about):
                for found in newest_of(run, told):
                    numbers = [
                        ORDER.index(item.phase)
                        for _, item in found
                        if item.phase in ORDER
                    ]
                    self.assertEqual(sorted(numbers), numbers)

    def test_who_looks_later_is_told_the_same_end(self):
        for run, told in self.runs:
            with self.subTest(run.name, about=run.about):
                later = [
                    progress.assess(dataclasses.replace(facts, now=1e6))
                    for facts in reversed(run.looks[-1].facts)
                ]
                self.assertEqual(
                    [item.state for item in told[-1]],
                    [item.state for item in later],
                )


if __name__ == '__main__':
    unittest.main()
