# SPDX-License-Identifier: Apache-2.0

"""How many evacuations may be open at once, and which come first."""

import collections
import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import pacing
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples

Phase = incident.Phase
ServerState = incident.ServerState

CAPS = pacing.Caps(max_per_destination=2, max_open=5)
DESTINATIONS = ('d1', 'd2', 'd3')


def waiting(*servers, uuid='inc-1', phase=Phase.EVACUATING):
    return examples.make(phase, uuid=uuid, host=f'h-{uuid}', servers=servers)


def ready(uuid, priority=500, **changes):
    return examples.server(
        uuid, state=ServerState.READY, priority=priority, **changes
    )


def going(uuid, destination=None):
    state = ServerState.EVACUATING if destination else ServerState.REQUESTED
    return examples.server(uuid, state=state, destination=destination)


def uuids(found):
    return [server for _, server in found]


class OrderTest(unittest.TestCase):
    def test_higher_priority_comes_first_across_incidents(self):
        one = waiting(ready('a', 1), ready('b', 1000), uuid='one')
        two = waiting(ready('c', 999), ready('d', 500), uuid='two')

        found = pacing.may_begin((one, two), pacing.Caps(), examples.NOW)

        self.assertEqual(
            (('one', 'b'), ('two', 'c'), ('two', 'd'), ('one', 'a')), found
        )

    def test_equal_priority_is_ordered_by_uuid_every_time(self):
        subject = waiting(ready('z'), ready('a'), ready('m'))

        found = pacing.may_begin((subject,), pacing.Caps(), examples.NOW)

        self.assertEqual(['a', 'm', 'z'], uuids(found))

    def test_when_room_is_scarce_the_low_priority_waits(self):
        subject = waiting(ready('low', 1), ready('mid'), ready('top', 1000))

        found = pacing.may_begin((subject,), CAPS, examples.NOW)

        self.assertEqual(['top', 'mid'], uuids(found))


class CapTest(unittest.TestCase):
    def may(self, *subjects, begun=frozenset()):
        return uuids(pacing.may_begin(subjects, CAPS, examples.NOW, begun))

    def test_an_idle_cloud_begins_what_one_destination_may_take(self):
        # The scheduler may put all of them on one host.
        subject = waiting(*(ready(f'r{n}') for n in range(9)))

        self.assertEqual(2, len(self.may(subject)))

    def test_unknown_destinations_count_against_every_destination(self):
        subject = waiting(going('g1'), ready('r1'), ready('r2'))

        self.assertEqual(['r1'], self.may(subject))

    def test_a_full_destination_stops_all_because_it_may_be_chosen(self):
        subject = waiting(going('g1', 'd1'), going('g2', 'd1'), ready('r1'))

        self.assertEqual([], self.may(subject))

    def test_the_cap_over_all_destinations_holds(self):
        subject = waiting(
            going('g1', 'd1'),
            going('g2', 'd2'),
            going('g3', 'd3'),
            going('g4', 'd4'),
            ready('r1'),
            ready('r2'),
        )

        self.assertEqual(['r1'], self.may(subject))

    def test_other_incidents_share_the_caps(self):
        one = waiting(going('g1'), going('g2'), uuid='one')
        two = waiting(ready('r1'), uuid='two')

        self.assertEqual([], self.may(one, two))

    def test_evacuations_under_way_count_also_while_the_fence_is_void(self):
        one = waiting(
            going('g1'), going('g2'), uuid='one', phase=Phase.FENCING
        )
        two = waiting(ready('r1'), uuid='two')

        self.assertEqual([], self.may(one, two))

    def test_what_is_being_asked_right_now_counts_before_it_is_saved(self):
        subject = waiting(ready('r1'), ready('r2'), ready('r3'))

        found = self.may(subject, begun=frozenset({'r1', 'r2'}))

        self.assertEqual([], found)

    def test_what_is_being_asked_right_now_is_not_asked_again(self):
        subject = waiting(ready('r1', 1000), ready('r2'))

        self.assertEqual(['r2'], self.may(subject, begun=frozenset({'r1'})))

    def test_what_nobody_has_taken_for_long_blocks_its_peers_no_more(self):
        stuck = examples.server(
            's', state=ServerState.EVACUATING, code=pacing.SLOW
        )
        other = dataclasses.replace(stuck, uuid='t')
        subject = waiting(stuck, other, ready('r1'), ready('r2'))

        self.assertEqual(['r1', 'r2'], self.may(subject))

    def test_slow_evacuations_never_pass_the_cap_of_the_cloud(self):
        slow = examples.server(
            's',
            state=ServerState.EVACUATING,
            destination='d1',
            code=pacing.SLOW,
        )
        subject = waiting(
            *(dataclasses.replace(slow, uuid=f's{n}') for n in range(3)),
            ready('r1'),
            ready('r2'),
        )
        caps = pacing.Caps(max_per_destination=2, max_open=4)

        found = pacing.may_begin((subject,), caps, examples.NOW)

        self.assertEqual(['r1'], [server for _, server in found])

    def test_arrived_servers_hold_no_room(self):
        subject = waiting(
            examples.server(
                's', state=ServerState.RESTORING, destination='d1'
            ),
            examples.server(
                't', state=ServerState.RECOVERED, destination='d1'
            ),
            ready('r1'),
            ready('r2'),
        )

        self.assertEqual(['r1', 'r2'], self.may(subject))


class WhoMayBeginTest(unittest.TestCase):
    def may(self, *servers, phase=Phase.EVACUATING):
        return pacing.may_begin(
            (waiting(*servers, phase=phase),), CAPS, examples.NOW
        )

    def test_nothing_begins_in_any_other_phase(self):
        for phase in Phase:
            if phase != Phase.EVACUATING:
                with self.subTest(phase=phase):
                    self.assertEqual((), self.may(ready('r1'), phase=phase))

    def test_only_ready_servers_begin(self):
        for state in ServerState:
            if state != ServerState.READY:
                with self.subTest(state=state):
                    self.assertEqual(
                        (), self.may(examples.server(state=state))
                    )

    def test_a_retry_waits_for_its_time(self):
        early = ready('r1', retry_at=examples.NOW + 0.1)
        due = ready('r2', retry_at=examples.NOW)

        self.assertEqual((('inc-1', 'r2'),), self.may(early, due))

    def test_nothing_to_do_is_nothing(self):
        self.assertEqual((), pacing.may_begin((), CAPS, examples.NOW))


SERVERS = st.lists(
    st.tuples(
        st.sampled_from(ServerState),
        st.integers(1, 1000),
        st.sampled_from((None, *DESTINATIONS)),
    ),
    max_size=12,
)
SITUATIONS = st.lists(
    st.tuples(st.sampled_from(Phase), SERVERS), min_size=1, max_size=4
)


def build(situation):
    built = []
    for number, (phase, servers) in enumerate(situation):
        built.append(
            waiting(
                *(
                    examples.server(
                        f'{number}-{index}',
                        state=state,
                        priority=priority,
                        # A destination is known only once nova named it.
                        destination=destination
                        if state == ServerState.EVACUATING
                        else None,
                    )
                    for index, (state, priority, destination) in enumerate(
                        servers
                    )
                ),
                uuid=f'i{number}',
                phase=phase,
            )
        )
    return built


def open_now(subjects):
    """Return the destinations, None where unknown, of what is under way."""
    return [
        server.destination
        for subject in subjects
        for server in subject.servers
        if server.state in pacing.OPEN_STATES
    ]


class AnySituationTest(unittest.TestCase):
    @examples.many
    @hypothesis.given(
        SITUATIONS, st.integers(1, 4), st.integers(1, 8), st.data()
    )
    def test_no_choice_of_the_scheduler_passes_a_cap(
        self, situation, per_destination, in_all, data
    ):
        subjects = build(situation)
        caps = pacing.Caps(per_destination, in_all)

        found = pacing.may_begin(subjects, caps, examples.NOW)

        # Whatever the scheduler does with the unknown ones, old and new.
        unknown = open_now(subjects).count(None) + len(found)
        chosen = data.draw(
            st.lists(
                st.sampled_from(DESTINATIONS),
                min_size=unknown,
                max_size=unknown,
            )
        )
        known = [d for d in open_now(subjects) if d is not None]
        load = collections.Counter([*known, *chosen])
        before = collections.Counter(known)
        if found:
            self.assertLessEqual(load.total(), in_all)
            self.assertLessEqual(max(load.values()), per_destination)
        self.assertLessEqual(
            len(found),
            max(0, in_all - before.total()),
        )

    @examples.many
    @hypothesis.given(SITUATIONS)
    def test_what_begins_is_never_less_urgent_than_what_waits(self, situation):
        subjects = build(situation)
        priority = {
            server.uuid: server.priority
            for subject in subjects
            if subject.phase == Phase.EVACUATING
            for server in subject.servers
            if server.state == ServerState.READY
        }

        found = uuids(pacing.may_begin(subjects, CAPS, examples.NOW))

        left = [priority[uuid] for uuid in priority if uuid not in found]
        begun = [priority[uuid] for uuid in found]
        self.assertEqual(sorted(begun, reverse=True), begun)
        if begun and left:
            self.assertGreaterEqual(begun[-1], max(left))

    @examples.many
    @hypothesis.given(SITUATIONS)
    def test_asking_in_rounds_never_passes_a_cap_and_uses_the_room(
        self, situation
    ):
        subjects = build(situation)
        found = pacing.may_begin(subjects, CAPS, examples.NOW)
        asked = [
            dataclasses.replace(
                subject,
                servers=tuple(
                    dataclasses.replace(s, state=ServerState.REQUESTED)
                    if (subject.uuid, s.uuid) in found
                    else s
                    for s in subject.servers
                ),
            )
            for subject in subjects
        ]

        again = pacing.may_begin(asked, CAPS, examples.NOW)

        self.assertEqual((), again)
