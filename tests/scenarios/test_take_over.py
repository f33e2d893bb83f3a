# SPDX-License-Identifier: Apache-2.0

"""An engine stands still or dies, another one takes over.

It learns of that from the first save or permit that the store refuses, and
nova refuses its old token, so it causes no side effect after it. What nobody
can take back is a power off between the last look at the lease and the
device: an engine that stands still exactly there makes it when it goes on.
That point is left out, and named in the documentation.
"""

from nova_ha_plugins.store import values
from tests.scenarios import crashes
from tests.scenarios import language
from tests.scenarios import simulation
from tests.scenarios import tell

_LONGER = 90
STORIES = (
    'device-slow',
    'host-hangs',
    'refused-once',
    'stopped-after-failure',
    'storm-released',
)


class TakeOverTest(tell.QuietTest):
    """Two engines: the older one does nothing any more."""

    def _take_over(self, name: str, engines: int) -> None:
        story = language.load(name)
        alone = language.play(story, longer=_LONGER)
        labels = [
            label
            for at, label in language.play(story, engines=engines).labels
            if at < story.until
        ]
        seen = set()
        for point, label in enumerate(labels, 1):
            if label.startswith(simulation.WINDOW) or label in seen:
                continue
            seen.add(label)
            what = f'{name}, standing still {label}'
            with self.subTest(what), tell.what_happened(what):
                sim = language.play(
                    story, longer=_LONGER, pause_at=point, engines=engines
                )
                self.assertEqual(alone.final(), sim.final())

    def _killed(self, name: str) -> None:
        story = language.load(name)
        killed = crashes.Killed(story, engines=3)
        for point in killed.side_effects():
            what = f'{name}, killed {killed.labels[point - 1]}'
            with self.subTest(what), tell.what_happened(what):
                self.assertEqual([], killed.differences(point))

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


def _tests_of(name: str):  # type: ignore[no-untyped-def]
    def one(self: TakeOverTest) -> None:
        self._take_over(name, 0)

    def three(self: TakeOverTest) -> None:
        self._take_over(name, 3)

    def killed(self: TakeOverTest) -> None:
        self._killed(name)

    return one, three, killed


for _name in STORIES:
    _story = _name.replace('-', '_')
    _one, _three, _killed = _tests_of(_name)
    setattr(TakeOverTest, f'test_{_story}_beside_a_new_engine', _one)
    setattr(TakeOverTest, f'test_{_story}_beside_two_that_watch', _three)
    setattr(TakeOverTest, f'test_{_story}_killed_beside_two', _killed)
