# SPDX-License-Identifier: Apache-2.0

"""An engine stands still, another one takes over, the old one goes on.

It learns of that from the first save that the store refuses, so it causes no
side effect after it. What nobody can take back is a call between a saved
intent and its effect: an engine that stands still exactly there makes it when
it goes on. Those points are left out, and named in the documentation.
"""

from nova_ha_plugins.store import values
from tests.scenarios import language
from tests.scenarios import tell

_LONGER = 60
STORIES = (
    'device-slow',
    'host-hangs',
    'refused-once',
    'stopped-after-failure',
    'storm-released',
)


class TakeOverTest(tell.QuietTest):
    """Two engines: the older one does nothing any more."""

    def _take_over(self, name: str) -> None:
        story = language.load(name)
        alone = language.play(story, longer=_LONGER)
        labels = [label for at, label in alone.labels if at < story.until]
        seen = set()
        for point, label in enumerate(labels, 1):
            following = ''.join(labels[point : point + 1])
            intent = label.startswith('before Act') or (
                label.startswith('after')
                and following.startswith('before Act')
            )
            if intent or label in seen:
                continue
            seen.add(label)
            what = f'{name}, standing still {label}'
            with self.subTest(what), tell.what_happened(what):
                sim = language.play(story, longer=_LONGER, pause_at=point)
                self.assertEqual(alone.final(), sim.final())

    def test_engine_that_lost_the_lease_has_no_side_effect(self) -> None:
        story = language.load('host-hangs')
        story.events = []
        sim = language.play(story)
        old = sim.engine
        assert old is not None
        sim.start_engine()
        sim.world.hang('h1')
        sim.world.advance(10.0)
        sim.alarm('h1')

        with self.assertRaises(values.LeaseLost):
            old.round()

        self.assertEqual([], sim.acts)
        self.assertEqual((), sim.store.open_incidents())


def _test_of(name: str):  # type: ignore[no-untyped-def]
    def test(self: TakeOverTest) -> None:
        self._take_over(name)

    return test


for _name in STORIES:
    setattr(TakeOverTest, f'test_{_name.replace("-", "_")}', _test_of(_name))
