# SPDX-License-Identifier: Apache-2.0

"""Every story ends as its ``expect`` says, and breaks no law on the way."""

from tests.scenarios import expectations
from tests.scenarios import language
from tests.scenarios import tell


class StoryTest(tell.QuietTest):
    """One test for each folder."""

    def _play(self, name: str) -> None:
        with tell.what_happened(name):
            story = language.load(name)
            wrong = expectations.failures(language.play(story), story)
            self.assertEqual([], wrong, '\n' + '\n'.join(wrong))

    def test_a_third_of_the_stories_ends_with_nothing_fenced(self) -> None:
        stories = [language.load(name) for name in language.names()]
        quiet = [s for s in stories if ['nothing', 'fenced'] in s.expect]

        self.assertGreaterEqual(len(quiet) * 3, len(stories))

    def test_a_story_tells_what_breaks_and_what_we_owe(self) -> None:
        for name in language.names():
            lines = (language.HERE / name / 'README').read_text().splitlines()

            self.assertEqual(2, len(lines), name)


def _test_of(name: str):  # type: ignore[no-untyped-def]
    def test(self: StoryTest) -> None:
        self._play(name)

    return test


for _name in language.names():
    setattr(StoryTest, f'test_{_name.replace("-", "_")}', _test_of(_name))
