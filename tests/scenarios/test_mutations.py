# SPDX-License-Identifier: Apache-2.0

"""Each planted bug is found, and by a law rather than by a fault."""

import re

from tests.scenarios import expectations
from tests.scenarios import language
from tests.scenarios import mutations
from tests.scenarios import tell


class MutationTest(tell.QuietTest):
    """One test for each bug."""

    def _find(self, name: str) -> None:
        mutation = mutations.by_name(name)

        found = mutations.find(mutation)

        self.assertTrue(found, f'Nobody noticed that {mutation.text}')
        self.assertRegex(found, re.compile('^[SL][0-9]+ in '), mutation.text)

    def test_who_is_asked_first_is_a_story_that_is_well_without_the_bug(
        self,
    ) -> None:
        for mutation in mutations.ALL:
            for name in mutation.stories:
                with self.subTest(name), tell.what_happened(name):
                    story = language.load(name)
                    wrong = expectations.failures(language.play(story), story)
                    self.assertEqual([], wrong)

    def test_nothing_is_found_where_nothing_was_planted(self) -> None:
        harmless = mutations.Mutation(
            'harmless',
            'nothing',
            mutations._instead(mutations.pacing, 'may_begin', lambda f: f),
            ('caps',),
        )
        self.addCleanup(setattr, mutations, 'SEEDS', mutations.SEEDS)
        mutations.SEEDS = 3

        self.assertEqual('', mutations.find(harmless))


def _test_of(name: str):  # type: ignore[no-untyped-def]
    def test(self: MutationTest) -> None:
        self._find(name)

    return test


for _name in (each.name for each in mutations.ALL):
    setattr(MutationTest, f'test_{_name.replace("-", "_")}', _test_of(_name))
