# SPDX-License-Identifier: Apache-2.0

"""hypothesis searches on its own, and makes short what it finds."""

import hypothesis

from tests.scenarios import language
from tests.scenarios import mutations
from tests.scenarios import random_runs
from tests.scenarios import search
from tests.scenarios import tell


class SearchTest(tell.QuietTest):
    """Stories that hypothesis makes."""

    @search.settings(examples=40, same=True)
    @hypothesis.given(search.plans())
    def test_no_law_is_broken(self, story: language.Story) -> None:
        self.assertIsNone(random_runs.why(story))

    def test_a_planted_bug_is_found_and_made_short(self) -> None:
        with mutations.by_name('everybody').plant():
            story = search.failing(60, same=True, seconds=15.0)

        self.assertIsNotNone(story)
        assert story is not None
        self.assertLessEqual(len(story.events), 8)
