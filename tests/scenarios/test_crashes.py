# SPDX-License-Identifier: Apache-2.0

"""The engine may be killed at any step: the world ends the same."""

from tests.scenarios import crashes
from tests.scenarios import language
from tests.scenarios import tell

# A story this long is killed at its first steps only.
_LONG = 500
_FEW = 6
# And one with many servers at some of its steps, all over it.
_MANY = 40


class CrashTest(tell.QuietTest):
    """One test for each story, killed twice at each kind of step in it."""

    def _kill(self, name: str) -> None:
        killed = crashes.Killed(language.load(name))
        points = killed.points(per_label=2)
        if killed.story.until >= _LONG:
            points = points[:_FEW]
        for point in points[:: max(1, len(points) // _MANY)]:
            label = f'{name}, killed {killed.labels[point - 1]}'
            with self.subTest(label), tell.what_happened(label):
                self.assertEqual([], killed.differences(point))


def _test_of(name: str):  # type: ignore[no-untyped-def]
    def test(self: CrashTest) -> None:
        self._kill(name)

    return test


for _name in language.names():
    setattr(CrashTest, f'test_{_name.replace("-", "_")}', _test_of(_name))
