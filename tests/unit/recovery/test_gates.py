# SPDX-License-Identifier: Apache-2.0

"""Each gate: when it holds, what it says, and in which order they stand."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from tests.unit.recovery import examples

ServerState = incident.ServerState
Sign = incident.Sign
Verdict = incident.Verdict

LIMITS = gates.Limits()
HOST = examples.HOST
NOW = examples.NOW
DISARMED = {'armed': False, 'arm_text': 'disarmed by installation: new'}

# Signs of the channels that make a verdict.
SAYING = {
    Verdict.ALIVE: {'heartbeat': Sign.ALIVE},
    Verdict.DEGRADED: {'probe': Sign.ALIVE},
    Verdict.ISOLATED: {'storage': Sign.ALIVE},
    Verdict.DEAD: {},
    Verdict.UNKNOWN: {'probe': Sign.UNKNOWN},
}


def hold(subject=None, verdict=Verdict.DEAD, **more):
    return gates.hold(examples.case(subject, **SAYING[verdict], **more))


def with_limits(**changes):
    return dataclasses.replace(LIMITS, **changes)


def own(**changes):
    return gates.Own(**changes)


def fence(name, ago=10.0, domain='az1'):
    return gates.PastFence(name, domain, NOW - ago)


def maintenance(**changes):
    given = {'until': NOW + 60.0, 'reason': 'new disk', 'by': 'otto'}
    return gates.Brake('maintenance', HOST, **(given | changes))


def pause(**changes):
    given = {'reason': 'upgrade of nova', 'by': 'otto'}
    return gates.Brake('pause', 'upgrade', **(given | changes))


# What holds the host, one situation per code.
HOLDS = {
    'newer-release': {'newer_release': True},
    'monitoring-blind': {'blind': True},
    'engine-late': {'loop_late': 11.0},
    'nova-unreachable': {'services_age': 31.0},
    'maintenance': {'brakes': (maintenance(),)},
    'not-ours': {'own': own(foreign=True)},
    'evidence-unknown': {'verdict': Verdict.UNKNOWN},
    'degraded': {'verdict': Verdict.DEGRADED},
    'management-lost': {'verdict': Verdict.ISOLATED},
    'answered-lately': {'subject': examples.make(answered_at=NOW - 5.0)},
    'corroborating': {'probes': 1},
    'warm-up': {'watching': 12.0},
    'take-over': {'since_take_over': 3.0},
    'nothing-protected': {'subject': examples.make(servers=())},
    'not-mapped': {'own': own(mapped=False, map_text='no entry')},
    'kdump-wait': {'limits': with_limits(kdump_wait=90.0)},
    'paused': {'brakes': (pause(),)},
    'storm': {'fences': (fence('cmp-2'),)},
    'disarmed': DISARMED,
}
# Codes whose sentence must tell the operator what to do: the others pass by
# themselves.
ASKS = {
    'newer-release': 'Upgrade this engine',
    'monitoring-blind': 'Check message bus and telemetry',
    'maintenance': f'openstack ha maintenance unset {HOST}',
    'not-ours': 'clear it',
    'evidence-unknown': 'Check the channels',
    'degraded': 'check its telemetry',
    'management-lost': 'repair the network',
    'engine-late': 'Check load',
    'not-mapped': 'Correct the fencing map',
    'paused': 'openstack ha pause unset upgrade',
    'storm': f'openstack ha release {HOST}',
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

    def test_every_sentence_names_the_host(self):
        for code, situation in HOLDS.items():
            with self.subTest(code=code):
                self.assertIn(HOST, hold(**situation).reason)

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

    def test_what_was_found_before_the_gates_comes_first(self):
        found = gates.Hold('own-reach', 'the own leg is cut')

        self.assertEqual(found, hold(found=found, blind=True))


class ObserverTest(unittest.TestCase):
    def test_more_than_half_of_the_hosts_silent_is_blindness(self):
        self.assertIsNone(hold(silent=5))

        found = hold(silent=6)

        self.assertEqual('monitoring-blind', found.code)
        self.assertIn('6 of 10 hosts', found.reason)
        self.assertIn(f'openstack ha release {HOST}', found.reason)

    def test_one_silent_host_is_never_a_mass(self):
        self.assertIsNone(hold(hosts=1))
        self.assertIsNone(hold(hosts=2))

    def test_a_release_vouches_for_a_mass_but_not_for_a_late_engine(self):
        subject = examples.make(released=True)

        self.assertIsNone(hold(subject, silent=9))
        self.assertIsNone(hold(subject, blind=True))
        self.assertEqual('engine-late', hold(subject, loop_late=11.0).code)

    def test_lateness_is_held_from_the_limit_on(self):
        self.assertIsNone(hold(loop_late=10.0))
        self.assertEqual('engine-late', hold(loop_late=10.1).code)

    def test_an_old_list_of_services_may_hide_who_else_recovers(self):
        self.assertIsNone(hold(services_age=30.0))

        found = hold(services_age=45.0)

        self.assertEqual('nova-unreachable', found.code)
        self.assertIn('45 s ago', found.reason)

    def test_warm_up_ends_when_it_said_it_would(self):
        self.assertEqual(2.0, hold(watching=58.0).after)
        self.assertIsNone(hold(watching=60.0))

    def test_the_quiet_after_a_take_over_ends_when_it_said_it_would(self):
        self.assertEqual(2.0, hold(since_take_over=8.0).after)
        self.assertIsNone(hold(since_take_over=10.0))
        self.assertIsNone(hold(since_take_over=None))

    def test_a_release_does_not_shorten_warm_up_or_take_over(self):
        subject = examples.make(released=True)

        self.assertEqual('warm-up', hold(subject, watching=1.0).code)
        self.assertEqual('take-over', hold(subject, since_take_over=1.0).code)


class EvidenceGateTest(unittest.TestCase):
    def test_no_verdict_but_dead_ever_passes(self):
        for verdict in SAYING:
            for released in (False, True):
                if verdict in (Verdict.DEAD, Verdict.ALIVE):
                    continue
                with self.subTest(verdict=verdict, released=released):
                    subject = examples.make(released=released)

                    self.assertIsNotNone(hold(subject, verdict))

    def test_waiting_makes_nothing_of_an_unknown_channel(self):
        long_ago = examples.make(opened_at=0.0, dead_since=0.0, released=True)

        for verdict in (Verdict.UNKNOWN, Verdict.DEGRADED, Verdict.ISOLATED):
            for now in (NOW, NOW + 1e4, NOW + 1e7):
                found = hold(long_ago, verdict, probes=99, now=now)
                self.assertIsNotNone(found, (verdict, now))

    def test_a_lost_management_network_passes_where_policy_says_fence(self):
        limits = with_limits(management_lost=evidence.Response.FENCE)

        self.assertIsNone(hold(verdict=Verdict.ISOLATED, limits=limits))
        self.assertEqual(
            'corroborating',
            hold(verdict=Verdict.ISOLATED, probes=1, limits=limits).code,
        )
        for code, situation in HOLDS.items():
            if {'verdict', 'probes', 'limits'} & set(situation):
                continue
            found = hold(
                **situation | {'verdict': Verdict.ISOLATED, 'limits': limits}
            )
            self.assertEqual(code, found.code)

    def test_the_policy_to_fence_changes_nothing_for_other_verdicts(self):
        limits = with_limits(management_lost=evidence.Response.FENCE)
        for verdict, code in (
            (Verdict.DEGRADED, 'degraded'),
            (Verdict.UNKNOWN, 'evidence-unknown'),
        ):
            self.assertEqual(code, hold(verdict=verdict, limits=limits).code)

    def test_a_lost_management_network_names_channels_and_policy(self):
        found = hold(verdict=Verdict.ISOLATED)

        self.assertIn("answers on network 'storage'", found.reason)
        self.assertIn('probe silent, probe:storage alive', found.reason)
        self.assertIn(' = alert)', found.reason)

    def test_a_channel_that_answered_must_be_silent_for_longer(self):
        def found(ago):
            return hold(examples.make(answered_at=NOW - ago))

        self.assertEqual('answered-lately', found(29.9).code)
        self.assertIn('30 s', found(29.9).reason)
        self.assertIsNone(found(30.0))

    def test_silent_probes_are_counted(self):
        limits = with_limits(silent_after=3)

        found = hold(probes=2, limits=limits)

        self.assertEqual('corroborating', found.code)
        self.assertIn('2 of 3 probes', found.reason)
        self.assertEqual(0.0, found.after)
        self.assertIsNone(hold(probes=3, limits=limits))


class LivingHostTest(unittest.TestCase):
    """A host that lost a network, whose policy brought the evidence."""

    def found(self, **changes):
        case = examples.case(heartbeat=Sign.ALIVE, probes=0, **changes)
        suspect = dataclasses.replace(case.suspect, networks=('storage',))
        return gates.hold(dataclasses.replace(case, suspect=suspect))

    def test_it_passes_although_its_heartbeats_come(self):
        self.assertIsNone(self.found())

    def test_every_gate_but_the_evidence_of_death_holds_its_fence(self):
        for code, situation in HOLDS.items():
            if {'verdict', 'probes', 'limits'} & set(situation) or (
                code == 'answered-lately'
            ):
                continue
            with self.subTest(code=code):
                self.assertEqual(code, self.found(**situation).code)

    def test_it_writes_no_crash_dump(self):
        self.assertIsNone(self.found(limits=with_limits(kdump_wait=90.0)))


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

        self.assertIsNone(hold(subject, own=own(incoming=1)))

    def test_an_unknown_host_is_not_mapped(self):
        found = hold(examples.make(host='stranger'), own=own(known=False))

        self.assertEqual('not-mapped', found.code)
        self.assertIn("'stranger'", found.reason)

    def test_what_is_wrong_with_the_map_is_repeated(self):
        found = hold(own=own(mapped=False, map_text='BMC says it is X'))

        self.assertIn('BMC says it is X', found.reason)


class KdumpTest(unittest.TestCase):
    WAIT = with_limits(kdump_wait=90.0)

    def found(self, ago, **more):
        subject = examples.make(dead_since=NOW - ago)
        return hold(subject, limits=self.WAIT, **more)

    def test_it_waits_from_when_the_host_was_first_judged_dead(self):
        found = self.found(89.0)

        self.assertEqual('kdump-wait', found.code)
        self.assertEqual(1.0, found.after)
        self.assertIn('90 s ([gates] kdump_wait)', found.reason)
        self.assertIsNone(self.found(90.0))

    def test_what_is_dead_only_now_waits_the_whole_time(self):
        self.assertEqual('kdump-wait', hold(limits=self.WAIT).code)

    def test_when_it_is_over_the_question_is_open_not_answered(self):
        subject = examples.make(dead_since=NOW - 500.0)

        found = hold(subject, Verdict.DEGRADED, limits=self.WAIT)

        self.assertEqual('degraded', found.code)

    def test_a_release_does_not_cut_a_dump_short(self):
        found = hold(examples.make(released=True), limits=self.WAIT)

        self.assertEqual('kdump-wait', found.code)


class ObserveOnlyTest(unittest.TestCase):
    def test_it_says_what_it_would_do_and_who_disarmed_it(self):
        servers = (
            examples.server('a'),
            examples.server('b'),
            examples.server('c', state=ServerState.LEFT, protected=False),
        )

        found = hold(examples.make(servers=servers), **DISARMED)

        self.assertIn('disarmed by installation', found.reason)
        self.assertIn(
            f"would now fence '{HOST}' and evacuate 2 servers", found.reason
        )

    def test_it_never_says_so_of_what_an_armed_engine_would_not_do(self):
        for code, situation in HOLDS.items():
            with self.subTest(code=code):
                observing = situation | {'armed': False}

                self.assertEqual(code, hold(**observing).code)

    def test_a_release_does_not_arm(self):
        found = hold(examples.make(released=True), **DISARMED)

        self.assertEqual('disarmed', found.code)


class OrderTest(unittest.TestCase):
    def test_the_observer_is_asked_first_and_the_arm_state_last(self):
        # Everything is wrong at once; then one thing after the other is put
        # right, and the next gate speaks.
        wrong = {
            'subject': examples.make(servers=(), answered_at=NOW),
            'verdict': Verdict.DEGRADED,
            'probes': 0,
            'limits': with_limits(kdump_wait=90.0),
            'own': own(foreign=True, mapped=False),
            'armed': False,
            'watching': 1.0,
            'since_take_over': 1.0,
            'services_age': 99.0,
            'newer_release': True,
            'loop_late': 99.0,
            'blind': True,
            'brakes': (pause(), maintenance()),
            'fences': (fence('cmp-2'),),
        }
        healed = (
            ('newer-release', {'newer_release': False}),
            ('monitoring-blind', {'blind': False}),
            ('engine-late', {'loop_late': 0.0}),
            ('nova-unreachable', {'services_age': 0.0}),
            ('maintenance', {'brakes': (pause(),)}),
            ('not-ours', {'own': own(mapped=False)}),
            ('degraded', {'verdict': Verdict.ISOLATED}),
            ('corroborating', {'probes': 3}),
            ('management-lost', {'verdict': Verdict.DEAD}),
            ('answered-lately', {'subject': examples.make(servers=())}),
            ('warm-up', {'watching': 3600.0}),
            ('take-over', {'since_take_over': None}),
            ('nothing-protected', {'subject': examples.make()}),
            ('not-mapped', {'own': own()}),
            ('kdump-wait', {'limits': LIMITS}),
            ('paused', {'brakes': ()}),
            ('storm', {'fences': ()}),
            ('disarmed', {'armed': True}),
        )

        for code, change in healed:
            self.assertEqual(code, hold(**wrong).code)
            wrong |= change
        self.assertIsNone(hold(**wrong))
        self.assertEqual(
            set(HOLDS) - {'evidence-unknown'}, {code for code, _ in healed}
        )


if __name__ == '__main__':
    unittest.main()
