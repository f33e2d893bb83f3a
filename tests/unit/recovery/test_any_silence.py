# SPDX-License-Identifier: Apache-2.0

"""What holds of the detector whatever is heard, and whenever it looks."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import views
from tests import patience  # noqa: F401 - no deadline

RULES = detector.Rules(
    timeout=6.0, reemit_interval=10.0, mass_silence_share=0.5, late_after=3.0
)
INTERVAL = 2.0

beats = st.lists(
    st.builds(
        views.Beat,
        host=st.sampled_from([f'cmp-{n}' for n in range(8)]),
        service_uuid=st.just(''),
        boot_id=st.just('boot'),
        sequence=st.integers(0, 3),
        system_uuid=st.just(''),
        age=st.floats(-2, 2000),
    ),
    unique_by=lambda beat: beat.host,
    max_size=8,
)
healths = st.lists(
    st.builds(
        views.HostHealth,
        host=st.sampled_from(['', 'cmp-0', 'cmp-1', 'cmp-7', 'gone']),
        channel=st.sampled_from(
            ['libvirt', 'storage:/a', 'told:down', 'watcher:ctl', ':']
        ),
        ok=st.booleans(),
        value=st.just(0.0),
        text=st.text(max_size=5),
        age=st.floats(0, 1e6),
    ),
    max_size=10,
)
states = st.builds(
    detector.State,
    began_at=st.floats(0, 100),
    blind_since=st.none() | st.floats(0, 100),
    hold_until=st.floats(0, 120),
    announced=st.dictionaries(
        st.sampled_from(['cmp-0', 'cmp-1', 'cmp-7']), st.floats(0, 100)
    ),
    looked_at=st.none() | st.floats(90, 100),
)


class OneLookTest(unittest.TestCase):
    @hypothesis.given(states, beats, healths, st.randoms())
    def test_the_order_of_what_is_read_changes_nothing(
        self, state, heard, said, chance
    ):
        look = detector.look(state, heard, 101.0, RULES, said)
        chance.shuffle(heard)
        chance.shuffle(said)

        again = detector.look(state, heard, 101.0, RULES, said)
        self.assertEqual(look.hosts, again.hosts)
        self.assertEqual(look.announcements, again.announcements)
        self.assertEqual(look.sight, again.sight)

    @hypothesis.given(states, beats, healths)
    def test_health_neither_kills_nor_saves_nor_blinds(
        self, state, heard, said
    ):
        def kept(look):
            return look.sight, [
                dataclasses.replace(host, degraded=()) for host in look.hosts
            ]

        self.assertEqual(
            kept(detector.look(state, heard, 101.0, RULES)),
            kept(detector.look(state, heard, 101.0, RULES, said)),
        )

    @hypothesis.given(states, beats, st.floats(104, 1e6))
    def test_a_look_that_comes_late_convicts_nobody(self, state, heard, at):
        hypothesis.assume(state.looked_at is not None)
        look = detector.look(state, heard, at, RULES)

        self.assertNotIn(
            detector.Liveness.DOWN, [host.verdict for host in look.hosts]
        )


@dataclasses.dataclass(frozen=True)
class Stall:
    """Nothing arrives for a while; then each host comes back in its time.

    :ivar delays: how long each host needs, as a part of what it may need.
    """

    began: float
    lasted: float
    delays: tuple[float, ...]

    def is_heard(self, number, at):
        longest = min(self.lasted, RULES.reconnect_max)
        back = self.began + self.lasted + self.delays[number] * longest
        return not self.began <= at < back


stalls = st.builds(
    Stall,
    began=st.floats(20, 30),
    # In between a stall is too short to be noticed, and long enough for who
    # needs as long again to come back to be called down: probes are asked.
    lasted=st.floats(0.1, 1.4) | st.floats(4.5, 120),
    delays=st.lists(st.floats(0, 1), min_size=9, max_size=9).map(tuple),
)


class StallTest(unittest.TestCase):
    def downs(self, stall, paused=False, dead=(), until=230):
        """Return the hosts that were called down, and when first."""
        heard = dict.fromkeys(range(9), 0.0)
        state, found = detector.begin(0.0), {}
        for at in range(until):
            for number in heard:
                due = at - (at - number / 9 * INTERVAL) % INTERVAL
                alive = number not in dead or due < stall.began
                if due >= 0 and alive and stall.is_heard(number, due):
                    heard[number] = max(heard[number], due)
            asleep = stall.began <= at < stall.began + stall.lasted
            if paused and asleep:
                continue
            look = detector.look(
                state,
                [
                    views.Beat(f'cmp-{n}', '', 'boot', int(when * 9), '', age)
                    for n, when in heard.items()
                    if (age := at - when) >= 0
                ],
                float(at),
                RULES,
            )
            state = look.state
            for host in look.hosts:
                if host.verdict == detector.Liveness.DOWN:
                    found.setdefault(int(host.host[4:]), at)
        return found

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stalls)
    def test_a_stall_of_the_pipe_kills_nobody(self, stall):
        self.assertEqual({}, self.downs(stall))

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stalls)
    def test_a_stall_of_pipe_and_watcher_kills_nobody(self, stall):
        self.assertEqual({}, self.downs(stall, paused=True))

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stalls, st.booleans())
    def test_who_dies_in_a_stall_is_found_within_its_hold_off(
        self, stall, paused
    ):
        found = self.downs(stall, paused, dead={3})

        self.assertEqual({3}, set(found))
        over = stall.began + stall.lasted
        # The last reporter is back, then one more hold-off at most.
        self.assertLess(
            found[3], over + 2 * RULES.reconnect_max + 2 * RULES.timeout + 6
        )
