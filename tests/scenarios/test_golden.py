# SPDX-License-Identifier: Apache-2.0

"""The telling stories happen second by second as their timelines say."""

from tests.scenarios import golden
from tests.scenarios import tell


class GoldenTest(tell.QuietTest):
    """One test for each timeline."""

    maxDiff = None

    def _compare(self, name: str) -> None:
        expected = golden.path(name).read_text()

        found = golden.told(name)

        self.assertMultiLineEqual(
            expected,
            found,
            f'If this is what you want: tools/simulate --golden {name}',
        )

    def test_there_are_enough_of_them(self) -> None:
        self.assertGreaterEqual(len(golden.names()), 25)

    def test_a_timeline_is_the_same_each_time(self) -> None:
        name = golden.names()[0]

        self.assertEqual(golden.told(name), golden.told(name))


def _test_of(name: str):  # type: ignore[no-untyped-def]
    def test(self: GoldenTest) -> None:
        self._compare(name)

    return test


for _name in golden.names():
    setattr(GoldenTest, f'test_{_name.replace("-", "_")}', _test_of(_name))
