# SPDX-License-Identifier: Apache-2.0

"""Each brake: when it holds, what it says, and in which order they stand."""

import dataclasses
import unittest

import hypothesis
from hypothesis import strategies as st

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples

ServerState = incident.ServerState
Sign = incident.Sign
Verdict = incident.Verdict

LIMITS = gates.Limits()


def past(name, ago=10.0, domain='az1'):
    return gates.PastFence(name, domain, examples.NOW - ago)


def with_own(**changes):
    """Return a cloud in which something is special about our host."""
    cloud = examples.fleet()
    return dataclasses.replace(
        cloud,
        hosts=tuple(
            dataclasses.replace(host, **changes)
            if host.host == examples.HOST
            else host
            for host in cloud.hosts
        ),
    )


def silent(count, of):
    cloud = examples.fleet(of)
    return dataclasses.replace(
        cloud,
        hosts=tuple(
            dataclasses.replace(host, silent=index < count)
            for index, host in enumerate(cloud.hosts)
        ),
    )


# Signs of the channels that make a verdict.
SAYING = {
    Verdict.ALIVE: {'heartbeat': Sign.ALIVE},
    Verdict.DEGRADED: {'probe': Sign.ALIVE},
    Verdict.ISOLATED: {'storage': Sign.ALIVE},
    Verdict.DEAD: {},
    Verdict.UNKNOWN: {'probe': Sign.UNKNOWN},
}


def hold(
    subject=None, verdict=Verdict.DEAD, probes=2, fleet=None, limits=LIMITS
):
    return gates.hold(
        subject or examples.make(),
        examples.readings(**SAYING[verdict]),
        probes,
        fleet or examples.fleet(),
        limits,
    )


# What holds the host, one situation per code (two for blindness).
HOLDS = {
    'engine-late': {'fleet': examples.fleet(loop_late=11.0)},
    'not-ours': {'fleet': with_own(foreign=True)},
    'evidence-unknown': {'verdict': Verdict.UNKNOWN},
    'degraded': {'verdict': Verdict.DEGRADED},
    'management-lost': {'verdict': Verdict.ISOLATED},
    'answered-lately': {
        'subject': examples.make(answered_at=examples.NOW - 5.0)
    },
    'corroborating': {'probes': 1},
    'warm-up': {'fleet': examples.fleet(watching=12.0)},
    'nothing-protected': {'subject': examples.make(servers=())},
    'not-mapped': {'fleet': with_own(mapped=False, map_text='no entry')},
    'storm': {'fleet': examples.fleet(fences=(past('cmp-2'),))},
    'disarmed': {
        'fleet': examples.fleet(
            armed=False, arm_text='disarmed by installation: new'
        )
    },
}
# Codes whose sentence must tell the operator what to do: the others pass by
# themselves.
ASKS = {
    'not-ours': 'clear it',
    'evidence-unknown': 'Check the channels',
    'degraded': 'check its telemetry',
    'management-lost': 'repair the network',
    'engine-late': 'Check load',
    'not-mapped': 'Correct the fencing map',
    'storm': f'openstack ha release {examples.HOST}',
    'disarmed': 'openstack ha arm',
}


class EachGateTest(unittest.TestCase):
    def test_a_dead_mapped_host_of_an_armed_cloud_passes(self):
        self.assertIsNone(hold())

    def test_each_situation_is_held_with_its_code(self):
        for code, situation in HOLDS.items():
            with self.subTest(code=code):
                self.assertEqual(code, hold(**situation).code)

    def test_each_sentence_says_what_to_do(self):
        for code, words in ASKS.items():
            with self.subTest(code=code):
                self.assertIn(words, hold(**HOLDS[code]).reason)

    def test_sentences_about_one_host_name_it(self):
        for code in set(HOLDS) - {'engine-late', 'warm-up'}:
            with self.subTest(code=code):
                self.assertIn(examples.HOST, hold(**HOLDS[code]).reason)

    def test_every_sentence_names_the_host(self):
        blind = {'monitoring-blind': {'fleet': examples.fleet(blind=True)}}
        for code, situation in (HOLDS | blind).items():
            self.assertIn(examples.HOST, hold(**situation).reason, code)

    def test_each_tells_when_to_look_again(self):
        for code, situation in HOLDS.items():
            with self.subTest(code=code):
                after = hold(**situation).after

                self.assertGreaterEqual(after, 0.0)
                self.assertLessEqual(after, 10.0)

    def test_sentences_end_and_carry_figures_not_placeholders(self):
        for code, situation in HOLDS.items():
            with self.subTest(code=code):
                reason = hold(**situation).reason

                self.assertNotRegex(reason, r'[{}]|None')


class ObserverTest(unittest.TestCase):
    def test_more_than_half_of_the_hosts_silent_is_blindness(self):
        self.assertIsNone(hold(fleet=silent(5, of=10)))

        found = hold(fleet=silent(6, of=10))

        self.assertEqual('monitoring-blind', found.code)
        self.assertIn('6 of 10 hosts', found.reason)
        self.assertIn(f'openstack ha release {examples.HOST}', found.reason)

    def test_one_silent_host_is_never_a_mass(self):
        self.assertIsNone(hold(fleet=silent(1, of=1)))
        self.assertIsNone(hold(fleet=silent(1, of=2)))

    def test_a_blind_detector_holds_everything(self):
        found = hold(fleet=examples.fleet(blind=True))

        self.assertEqual('monitoring-blind', found.code)
        self.assertIn('Check message bus and telemetry', found.reason)

    def test_a_release_vouches_for_a_mass_but_not_for_a_late_engine(self):
        subject = examples.make(released=True)

        self.assertIsNone(hold(subject, fleet=silent(9, of=10)))
        self.assertIsNone(hold(subject, fleet=examples.fleet(blind=True)))
        self.assertEqual(
            'engine-late',
            hold(subject, fleet=examples.fleet(loop_late=11.0)).code,
        )

    def test_lateness_is_held_from_the_limit_on(self):
        self.assertIsNone(hold(fleet=examples.fleet(loop_late=10.0)))
        found = hold(fleet=examples.fleet(loop_late=10.1))

        self.assertEqual('engine-late', found.code)

    def test_warm_up_ends_when_it_said_it_would(self):
        found = hold(fleet=examples.fleet(watching=58.0))

        self.assertEqual(2.0, found.after)
        self.assertIsNone(hold(fleet=examples.fleet(watching=60.0)))


class EvidenceGateTest(unittest.TestCase):
    def test_no_verdict_but_dead_ever_passes(self):
        for verdict in Verdict:
            for released in (False, True):
                with self.subTest(verdict=verdict, released=released):
                    if verdict in (Verdict.DEAD, Verdict.ALIVE):
                        continue
                    subject = examples.make(released=released)

                    self.assertIsNotNone(hold(subject, verdict))

    def test_a_lost_management_network_passes_where_policy_says_fence(self):
        limits = dataclasses.replace(
            LIMITS, management_lost=evidence.Response.FENCE
        )

        self.assertIsNone(hold(verdict=Verdict.ISOLATED, limits=limits))
        self.assertEqual(
            'corroborating',
            hold(verdict=Verdict.ISOLATED, probes=1, limits=limits).code,
        )
        for code, situation in HOLDS.items():
            if 'verdict' in situation or 'probes' in situation:
                continue
            found = hold(
                **situation | {'verdict': Verdict.ISOLATED, 'limits': limits}
            )
            self.assertEqual(code, found.code)

    def test_the_policy_to_fence_changes_nothing_for_other_verdicts(self):
        limits = dataclasses.replace(
            LIMITS, management_lost=evidence.Response.FENCE
        )
        for verdict, code in (
            (Verdict.DEGRADED, 'degraded'),
            (Verdict.UNKNOWN, 'evidence-unknown'),
        ):
            self.assertEqual(code, hold(verdict=verdict, limits=limits).code)

    def test_a_lost_management_network_names_channels_and_policy(self):
        found = hold(verdict=Verdict.ISOLATED)

        self.assertIn("answers on network 'storage'", found.reason)
        self.assertIn('probe silent, probe:storage alive', found.reason)
        self.assertIn('[gates] management_lost = alert', found.reason)

    def test_a_channel_that_answered_must_be_silent_for_longer(self):
        def found(ago):
            return hold(examples.make(answered_at=examples.NOW - ago))

        self.assertEqual('answered-lately', found(29.9).code)
        self.assertIn('30 s', found(29.9).reason)
        self.assertIsNone(found(30.0))

    def test_silent_probes_are_counted(self):
        limits = dataclasses.replace(LIMITS, silent_after=3)

        found = hold(probes=2, limits=limits)

        self.assertEqual('corroborating', found.code)
        self.assertIn('2 of 3 probes', found.reason)
        self.assertEqual(0.0, found.after)
        self.assertIsNone(hold(probes=3, limits=limits))


class ProtectedTest(unittest.TestCase):
    def test_a_host_without_protected_servers_is_reported_not_fenced(self):
        servers = (
            examples.server('a', state=ServerState.LEFT, protected=False),
            examples.server('b', state=ServerState.PARKED),
        )

        found = hold(examples.make(servers=servers, released=True))

        self.assertEqual('nothing-protected', found.code)
        self.assertIn('2 servers in all', found.reason)
        self.assertIn('reported, not fenced', found.reason)

    def test_servers_on_their_way_to_the_host_make_it_worth_a_fence(self):
        subject = examples.make(servers=())

        self.assertIsNone(hold(subject, fleet=with_own(incoming=1)))

        elsewhere = examples.fleet()
        other = dataclasses.replace(elsewhere.hosts[3], incoming=1)
        hosts = (*elsewhere.hosts[:3], other, *elsewhere.hosts[4:])
        found = hold(subject, fleet=examples.fleet(hosts=hosts))
        self.assertEqual('nothing-protected', found.code)

    def test_an_unknown_host_is_not_mapped(self):
        found = hold(examples.make(host='stranger'))

        self.assertEqual('not-mapped', found.code)
        self.assertIn("'stranger'", found.reason)

    def test_what_is_wrong_with_the_map_is_repeated(self):
        found = hold(fleet=with_own(mapped=False, map_text='BMC says it is X'))

        self.assertIn('BMC says it is X', found.reason)


class StormTest(unittest.TestCase):
    def test_one_fence_is_enough_in_a_cloud_of_ten(self):
        self.assertIsNone(hold(fleet=examples.fleet(10)))

        found = hold(fleet=examples.fleet(10, fences=(past('cmp-2'),)))

        self.assertEqual('storm', found.code)
        self.assertIn('1 of 10 hosts of the cloud', found.reason)

    def test_ten_percent_of_thirty_hosts_are_three(self):
        def cloud(*fences):
            return examples.fleet(30, fences=fences)

        two, three = past('cmp-2'), past('cmp-3')

        self.assertIsNone(hold(fleet=cloud(two, three)))
        self.assertEqual(
            'storm', hold(fleet=cloud(two, three, past('cmp-4'))).code
        )

    def test_fences_count_cumulatively_not_at_once(self):
        staggered = tuple(past(f'cmp-{n}', ago=n * 150.0) for n in (2, 3, 4))
        cloud = examples.fleet(30, fences=staggered)

        # The one of 600 s ago has just left the window.
        self.assertIsNone(hold(fleet=cloud))
        later = dataclasses.replace(cloud, now=examples.NOW - 0.1)
        self.assertEqual('storm', hold(fleet=later).code)

    def test_one_domain_may_be_full_while_the_cloud_is_not(self):
        hosts = tuple(
            examples.host_state(f'cmp-{n}', domain='az1' if n <= 10 else 'az2')
            for n in range(1, 41)
        )
        cloud = examples.fleet(hosts=hosts, fences=(past('cmp-2'),))
        elsewhere = examples.fleet(
            hosts=hosts, fences=(past('cmp-20', domain='az2'),)
        )

        found = hold(fleet=cloud)

        self.assertEqual('storm', found.code)
        self.assertIn("1 of 10 hosts of failure domain 'az1'", found.reason)
        self.assertIsNone(hold(fleet=elsewhere))

    def test_the_cloud_may_be_full_while_the_domain_is_not(self):
        hosts = tuple(
            examples.host_state(f'cmp-{n}', domain=f'az{n % 5}')
            for n in range(1, 11)
        )
        cloud = examples.fleet(
            hosts=hosts, fences=(past('cmp-2', domain='az2'),)
        )

        found = hold(examples.make(domain='az1'), fleet=cloud)

        self.assertEqual('storm', found.code)
        self.assertIn('the cloud', found.reason)

    def test_many_fences_of_one_host_count_once(self):
        cloud = examples.fleet(20, fences=(past('cmp-2'), past('cmp-2', 50)))

        self.assertIsNone(hold(fleet=cloud))

    def test_its_own_earlier_fence_does_not_count_against_a_host(self):
        cloud = examples.fleet(10, fences=(past(examples.HOST),))

        self.assertIsNone(hold(fleet=cloud))

    def test_a_release_lets_one_incident_pass(self):
        cloud = examples.fleet(10, fences=(past('cmp-2'), past('cmp-3')))

        self.assertIsNone(hold(examples.make(released=True), fleet=cloud))
        self.assertEqual('storm', hold(fleet=cloud).code)

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
        limits = gates.Limits(storm_max_hosts=most, storm_max_share=share)
        fences = tuple(
            past(f'other-{index}', ago) for index, ago in enumerate(agos)
        )
        cloud = examples.fleet(count, fences=fences)
        recent = sum(ago < 600.0 for ago in agos)

        found = hold(fleet=cloud, limits=limits)

        if found is None:
            allowed = max(most, int(share * count))
            self.assertLessEqual(recent + 1, allowed)
        else:
            self.assertIn(found.code, ('storm',))


class ObserveOnlyTest(unittest.TestCase):
    DISARMED = HOLDS['disarmed']['fleet']

    def test_it_says_what_it_would_do_and_who_disarmed_it(self):
        servers = (
            examples.server('a'),
            examples.server('b'),
            examples.server('c', state=ServerState.LEFT, protected=False),
        )

        found = hold(examples.make(servers=servers), fleet=self.DISARMED)

        self.assertIn('disarmed by installation', found.reason)
        self.assertIn(
            f"would now fence '{examples.HOST}' and evacuate 2 servers",
            found.reason,
        )

    def test_it_never_says_so_of_what_an_armed_engine_would_not_do(self):
        for code, situation in HOLDS.items():
            if code == 'disarmed':
                continue
            with self.subTest(code=code):
                fleet = situation.get('fleet', examples.fleet())
                observing = situation | {
                    'fleet': dataclasses.replace(fleet, armed=False)
                }

                self.assertEqual(code, hold(**observing).code)

    def test_a_release_does_not_arm(self):
        subject = examples.make(released=True)

        found = hold(subject, fleet=self.DISARMED)

        self.assertEqual('disarmed', found.code)


class OrderTest(unittest.TestCase):
    def test_the_observer_is_asked_first_and_the_arm_state_last(self):
        # Everything is wrong at once; then one thing after the other is put
        # right, and the next gate speaks.
        order = []
        situation = {
            'subject': examples.make(servers=(), answered_at=examples.NOW),
            'verdict': Verdict.DEGRADED,
            'probes': 0,
            'fleet': dataclasses.replace(
                with_own(foreign=True, mapped=False),
                armed=False,
                watching=1.0,
                loop_late=99.0,
                blind=True,
                fences=(past('cmp-2'),),
            ),
        }
        healed = {
            'monitoring-blind': ('fleet', {'blind': False}),
            'engine-late': ('fleet', {'loop_late': 0.0}),
            'not-ours': ('own', {'foreign': False}),
            'degraded': ('verdict', Verdict.ISOLATED),
            'corroborating': ('probes', 2),
            'management-lost': ('verdict', Verdict.DEAD),
            'answered-lately': (
                'subject',
                examples.make(servers=()),
            ),
            'warm-up': ('fleet', {'watching': 99.0}),
            'nothing-protected': ('subject', examples.make()),
            'not-mapped': ('own', {'mapped': True}),
            'storm': ('fleet', {'fences': ()}),
            'disarmed': ('fleet', {'armed': True}),
        }
        while (found := hold(**situation)) is not None:
            self.assertNotIn(found.code, order)
            order.append(found.code)
            what, change = healed[found.code]
            if what == 'fleet':
                situation['fleet'] = dataclasses.replace(
                    situation['fleet'], **change
                )
            elif what == 'own':
                situation['fleet'] = dataclasses.replace(
                    situation['fleet'],
                    hosts=tuple(
                        dataclasses.replace(host, **change)
                        if host.host == examples.HOST
                        else host
                        for host in situation['fleet'].hosts
                    ),
                )
            else:
                situation[what] = change

        self.assertEqual(list(healed), order)
