# SPDX-License-Identifier: Apache-2.0

"""Many hosts at once: how many may be fenced, how fast, and who goes first."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import gates
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples

HOST = examples.HOST
NOW = examples.NOW
# Only the limits that a test is about.
PLAIN = gates.Limits(storm_interval=0.0, storm_cooldown=0.0)


def past(name, ago=10.0, domain='az1'):
    return gates.PastFence(name, domain, NOW - ago)


def hold(subject=None, limits=PLAIN, **more):
    return gates.hold(examples.case(subject, limits=limits, **more))


def code(*args, **more):
    found = hold(*args, **more)
    return found and found.code


def limits(**changes):
    return dataclasses.replace(PLAIN, **changes)


class ShareTest(unittest.TestCase):
    def test_one_fence_is_enough_in_a_cloud_of_ten(self):
        self.assertIsNone(hold(hosts=10))

        found = hold(hosts=10, fences=(past('cmp-2'),))

        self.assertEqual('storm', found.code)
        self.assertIn('1 of 10 hosts of the cloud', found.reason)
        self.assertIn('at the earliest in 590 s', found.reason)

    def test_ten_percent_of_thirty_hosts_are_three(self):
        fences = (past('cmp-2'), past('cmp-3'), past('cmp-4'))

        self.assertIsNone(hold(hosts=30, fences=fences[:2]))
        self.assertEqual('storm', code(hosts=30, fences=fences))

    def test_fences_count_cumulatively_not_at_once(self):
        staggered = tuple(past(f'cmp-{n}', ago=n * 150.0) for n in (2, 3, 4))

        # The one of 600 s ago has just left the window.
        self.assertIsNone(hold(hosts=30, fences=staggered))
        self.assertEqual(
            'storm', code(hosts=30, fences=staggered, now=NOW - 0.1)
        )

    def test_it_says_when_there_will_be_room(self):
        # Of 30 hosts 3 may be: two of the four must leave the window first.
        fences = tuple(past(f'cmp-{n}', ago=n * 100.0) for n in (2, 3, 4, 5))

        self.assertIn(
            'at the earliest in 200 s', hold(hosts=30, fences=fences).reason
        )

    def test_one_domain_may_be_full_while_the_cloud_is_not(self):
        domains = (
            examples.domain(hosts=10),
            examples.domain('az2', hosts=30, silent=0),
        )

        def found(fence):
            return hold(hosts=40, domains=domains, fences=(fence,))

        self.assertEqual('storm', found(past('cmp-2')).code)
        self.assertIn(
            "1 of 10 hosts of failure domain 'az1'",
            found(past('cmp-2')).reason,
        )
        self.assertIsNone(found(past('cmp-20', domain='az2')))

    def test_the_cloud_may_be_full_while_the_domain_is_not(self):
        found = hold(
            domains=(examples.domain(hosts=2),),
            fences=(past('cmp-2', domain='az2'),),
        )

        self.assertEqual('storm', found.code)
        self.assertIn('the cloud', found.reason)

    def test_many_fences_of_one_host_count_once(self):
        self.assertIsNone(
            hold(hosts=20, fences=(past('cmp-2'), past('cmp-2', 50)))
        )

    def test_the_newest_fence_of_a_host_is_the_one_that_counts(self):
        fences = (past('cmp-2', 10.0), past('cmp-2', 700.0))

        self.assertEqual('storm', code(fences=fences))
        self.assertEqual('storm', code(fences=fences[::-1]))

    def test_its_own_earlier_fence_does_not_count_against_a_host(self):
        self.assertIsNone(hold(fences=(past(HOST),)))

    def test_a_fence_of_a_time_to_come_counts(self):
        # The clock of the store went back meanwhile.
        self.assertEqual('storm', code(fences=(past('cmp-2', ago=-300.0),)))

    def test_a_release_lets_one_incident_pass_all_of_them(self):
        storm = {
            'fences': (past('cmp-2', 1.0), past('cmp-3', 2.0)),
            'domains': (
                examples.domain(
                    silent=9, waiting=gates.Waiter('cmp-4', NOW - 50.0)
                ),
            ),
            'limits': gates.Limits(),
        }

        self.assertIsNone(hold(examples.make(released=True), **storm))
        self.assertEqual('storm', code(**storm))

    @examples.many
    @hypothesis.given(
        st.integers(1, 60),
        st.integers(0, 4),
        st.floats(0.0, 1.0),
        st.lists(st.floats(-50.0, 1200.0), max_size=70),
    )
    def test_never_more_than_the_limit_pass_in_one_window(
        self, count, most, share, agos
    ):
        fences = tuple(
            past(f'other-{index}', ago) for index, ago in enumerate(agos)
        )
        recent = sum(ago < 600.0 for ago in agos)

        found = hold(
            hosts=count,
            fences=fences,
            limits=limits(storm_max_hosts=most, storm_max_share=share),
        )

        if found is None:
            allowed = max(most, int(share * count))
            self.assertLessEqual(recent + 1, allowed)
        else:
            self.assertEqual('storm', found.code)


class DomainsTest(unittest.TestCase):
    FENCES = (past('b-1', domain='az2'), past('c-1', domain='az3'))
    ROOM = limits(storm_max_hosts=5)

    def test_a_third_failure_domain_is_held(self):
        found = hold(fences=self.FENCES, limits=self.ROOM)

        self.assertEqual('storm-domains', found.code)
        self.assertIn("2 others ('az2', 'az3')", found.reason)
        self.assertIn(f'openstack ha release {HOST}', found.reason)

    def test_one_that_is_concerned_already_is_not(self):
        fences = (past('a-1'), past('c-1', domain='az3'))

        self.assertIsNone(hold(fences=fences, limits=self.ROOM))

    def test_fences_that_left_the_window_do_not_count(self):
        fences = (self.FENCES[0], past('c-1', 601.0, 'az3'))

        self.assertIsNone(hold(fences=fences, limits=self.ROOM))

    def test_zero_means_no_cap(self):
        room = dataclasses.replace(self.ROOM, storm_max_domains=0)

        self.assertIsNone(hold(fences=self.FENCES, limits=room))


class RateTest(unittest.TestCase):
    LIMITS = limits(storm_max_hosts=5, storm_interval=10.0)

    def test_the_next_one_in_a_domain_waits_for_the_interval(self):
        found = hold(fences=(past('cmp-2', 9.0),), limits=self.LIMITS)

        self.assertEqual('storm-rate', found.code)
        self.assertIn("failure domain 'az1' was fenced 9 s ago", found.reason)
        self.assertEqual(1.0, found.after)
        self.assertIsNone(
            hold(fences=(past('cmp-2', 10.0),), limits=self.LIMITS)
        )

    def test_another_domain_does_not_wait(self):
        fences = (past('b-1', 1.0, 'az2'),)

        self.assertIsNone(hold(fences=fences, limits=self.LIMITS))

    def test_the_newest_fence_counts(self):
        fences = (past('cmp-2', 1.0), past('cmp-3', 300.0))

        self.assertEqual('storm-rate', code(fences=fences, limits=self.LIMITS))


class CooldownTest(unittest.TestCase):
    LIMITS = limits(storm_cooldown=60.0)

    def found(self, silent, last, limits=LIMITS, hosts=10, **more):
        return hold(
            domains=(examples.domain(hosts=hosts, silent=silent),),
            newest_silence=last,
            limits=limits,
            hosts=hosts,
            **more,
        )

    def test_two_silent_hosts_where_one_may_be_fenced_wait(self):
        found = self.found(2, 15.0)

        self.assertEqual('storm-cooldown', found.code)
        self.assertIn('2 of 10 hosts of the cloud fell silent', found.reason)
        self.assertIn('and the last one did 15 s ago', found.reason)

    def test_it_ends_so_long_after_the_last_host_fell_silent(self):
        self.assertEqual('storm-cooldown', self.found(3, 59.0).code)
        self.assertEqual(1.0, self.found(3, 59.0).after)
        self.assertIsNone(self.found(3, 60.0))

    def test_as_many_as_may_be_fenced_are_no_storm(self):
        self.assertIsNone(self.found(1, 1.0))
        self.assertIsNone(self.found(3, 1.0, hosts=30))

    def test_what_was_fenced_already_is_counted_with_the_silent_ones(self):
        room = dataclasses.replace(self.LIMITS, storm_max_hosts=2)

        self.assertIsNone(self.found(1, 1.0, room, fences=(past('cmp-2'),)))
        self.assertEqual(
            'storm-cooldown',
            self.found(2, 1.0, room, fences=(past('cmp-2'),)).code,
        )

    def test_a_domain_may_be_in_a_storm_while_the_cloud_is_not(self):
        found = hold(
            hosts=40,
            domains=(
                examples.domain(hosts=10, silent=2),
                examples.domain('az2', hosts=30, silent=0),
            ),
            newest_silence=1.0,
            limits=self.LIMITS,
        )

        self.assertEqual('storm-cooldown', found.code)
        self.assertIn("of failure domain 'az1' fell silent", found.reason)


class TurnTest(unittest.TestCase):
    def found(self, *domains, limits=PLAIN, **more):
        return hold(hosts=10, domains=domains, limits=limits, **more)

    def test_who_waits_longer_goes_first(self):
        found = self.found(
            examples.domain(waiting=gates.Waiter('cmp-2', NOW - 50.0))
        )

        self.assertEqual('storm-turn', found.code)
        self.assertIn("Host 'cmp-2' waits longer", found.reason)
        self.assertEqual(1.0, found.after)

    def test_so_does_one_of_another_domain_that_has_room(self):
        other = examples.domain('az2', waiting=gates.Waiter('b-1', NOW - 50.0))

        self.assertEqual(
            'storm-turn', self.found(examples.domain(), other).code
        )

    def test_one_whose_own_domain_is_full_keeps_nobody_waiting(self):
        other = examples.domain('az2', waiting=gates.Waiter('b-1', NOW - 50.0))
        room = limits(storm_max_share=0.3, storm_max_hosts=1)

        found = hold(
            hosts=30,
            domains=(
                examples.domain(hosts=20),
                dataclasses.replace(other, hosts=3),
            ),
            fences=(past('b-2', domain='az2'),),
            limits=room,
        )

        self.assertIsNone(found)

    def test_one_whose_domain_is_beyond_the_cap_keeps_nobody_waiting(self):
        found = hold(
            hosts=30,
            domains=(
                examples.domain(hosts=10),
                examples.domain(
                    'az2',
                    hosts=10,
                    waiting=gates.Waiter('b-1', NOW - 50.0),
                ),
            ),
            fences=(past('a-2'),),
            limits=limits(
                storm_max_share=0.3, storm_max_hosts=5, storm_max_domains=1
            ),
        )

        self.assertIsNone(found)


if __name__ == '__main__':
    unittest.main()
