# SPDX-License-Identifier: Apache-2.0

"""Whose loss a silence on one network is, and what the policy makes of it."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import networks

ALIVE, SILENT, UNKNOWN = (
    incident.Sign.ALIVE,
    incident.Sign.SILENT,
    incident.Sign.UNKNOWN,
)
Cause = networks.Cause
Response = evidence.Response
RULES = networks.Rules(
    responses=(
        ('management', Response.FENCE),
        ('storage', Response.FENCE),
        ('tenant', Response.MIGRATE),
    ),
    interval=10.0,
    lost_after=30.0,
    together=60.0,
)


def tracks(signs, network='storage', step=10.0):
    """Tracks of hosts from one letter for each look: a, s or u."""
    kept = {}
    for host, letters in signs.items():
        for number, letter in enumerate(letters):
            if letter == ' ':
                continue
            sign = {'a': ALIVE, 's': SILENT, 'u': UNKNOWN}[letter]
            kept[host] = networks.track(
                kept.get(host), host, network, sign, number * step, RULES.gap
            )
    return list(kept.values())


def judge(signs, now, living=None, off=(), rules=RULES):
    found = networks.judge(
        tracks(signs), living or list(signs), off, now, rules
    )
    return {loss.host: loss for loss in found.losses}


class JudgeTest(unittest.TestCase):
    def test_unbroken_silence_of_one_host_is_its_loss(self):
        (loss,) = judge({'h1': 'asssss', 'h2': 'aaaaaa'}, 50.0).values()

        self.assertEqual(Cause.HOST, loss.cause)
        self.assertEqual(40.0, loss.seconds)
        self.assertEqual(('h2',), loss.others)

    def test_a_break_of_our_own_leg_between_looks_is_allowed_for(self):
        # It may have begun the silence, and the others noticed nothing.
        self.assertEqual({}, judge({'h1': 'assss', 'h2': 'aaaaa'}, 40.0))

    def test_silence_that_is_too_short_is_nothing(self):
        self.assertEqual({}, judge({'h1': 'aasss', 'h2': 'aaaaa'}, 40.0))

    def test_one_answer_begins_the_silence_anew(self):
        self.assertEqual({}, judge({'h1': 'asssass', 'h2': 'a' * 7}, 60.0))

    def test_a_look_that_could_not_be_made_begins_it_anew(self):
        self.assertEqual({}, judge({'h1': 'asssuss', 'h2': 'a' * 7}, 60.0))

    def test_looks_that_were_missed_are_no_silence(self):
        self.assertEqual({}, judge({'h1': 'as     s', 'h2': 'a' * 8}, 70.0))

    def test_a_silence_that_nobody_looked_at_lately_is_old(self):
        self.assertEqual({}, judge({'h1': 'assss', 'h2': 'a' * 12}, 110.0))

    def test_when_nobody_answers_nobody_is_accused(self):
        found = judge({'h1': 'assss', 'h2': 'assss'}, 40.0)

        self.assertEqual(
            {Cause.OWN_REACH}, {loss.cause for loss in found.values()}
        )

    def test_without_anybody_to_compare_with_nobody_is_accused(self):
        (loss,) = judge({'h1': 'assss'}, 40.0).values()

        self.assertEqual(Cause.OWN_REACH, loss.cause)

    def test_an_answer_from_before_the_silence_proves_nothing(self):
        (loss,) = judge({'h1': 'assss', 'h2': 'a    '}, 40.0).values()

        self.assertEqual(Cause.OWN_REACH, loss.cause)

    def test_hosts_that_fall_silent_together_are_an_outage(self):
        found = judge({'h1': 'assss', 'h2': 'aasss', 'h3': 'aaaaa'}, 50.0)

        self.assertEqual(Cause.OUTAGE, found['h1'].cause)
        self.assertEqual(('h2',), found['h1'].others)

    def test_a_loss_long_ago_does_not_excuse_the_next_one(self):
        found = judge(
            {'h1': 'a' + 's' * 20, 'h2': 'a' * 16 + 's' * 5, 'h3': 'a' * 21},
            200.0,
        )

        self.assertEqual(Cause.HOST, found['h2'].cause)

    def test_a_fenced_host_is_no_outage(self):
        found = judge(
            {'h1': 'asssss', 'h2': 'asssss', 'h3': 'aaaaaa'}, 50.0, off=['h2']
        )

        self.assertEqual(['h1'], list(found))
        self.assertEqual(Cause.HOST, found['h1'].cause)

    def test_a_host_that_is_not_heard_is_not_judged(self):
        found = judge({'h1': 'assss', 'h2': 'aaaaa'}, 40.0, living=['h2'])

        self.assertEqual({}, found)

    def test_silence_while_our_own_leg_was_cut_does_not_count(self):
        # Nobody was heard until the fifth look.
        found = judge({'h1': 'asssssss', 'h2': 'asssaaaa'}, 70.0)
        later = judge({'h1': 'asssssss', 'h2': 'asssaaaa'}, 80.0)

        self.assertEqual({}, found)
        self.assertEqual(40.0, later['h1'].seconds)

    def test_two_turns_of_the_look_are_the_least(self):
        hasty = dataclasses.replace(RULES, lost_after=1.0)

        self.assertEqual(
            {}, judge({'h1': 'ass', 'h2': 'aaa'}, 20.0, rules=hasty)
        )

    def test_what_never_answered_is_known(self):
        (loss,) = judge({'h1': 'sssss', 'h2': 'aaaaa'}, 40.0).values()

        self.assertFalse(loss.heard)


def loss(network='storage', **changes):
    given = networks.Loss('h1', network, 42.0, Cause.HOST, ('h2',))
    return dataclasses.replace(given, **changes)


def answer(losses, signs=None, rules=RULES):
    found = {each.network: each for each in losses}
    if signs is None:
        signs = dict.fromkeys(found, SILENT)
    return networks.answer('h1', found, signs, rules, 'ctl-1')


class AnswerTest(unittest.TestCase):
    def test_the_policy_of_the_network_decides(self):
        self.assertEqual(Response.FENCE, answer([loss()]).response)
        self.assertEqual(Response.MIGRATE, answer([loss('tenant')]).response)
        self.assertEqual(Response.ALERT, answer([loss('backup')]).response)

    def test_evidence_and_policy_are_named(self):
        text = answer([loss()]).text

        for word in (
            "'storage'",
            '42 s',
            "'h2'",
            '[networks] storage = fence',
        ):
            self.assertIn(word, text)

    def test_the_strongest_policy_wins_and_all_losses_are_named(self):
        found = answer([loss('tenant'), loss()])

        self.assertEqual(Response.FENCE, found.response)
        self.assertEqual(('storage', 'tenant'), found.lost)
        self.assertEqual(('storage',), found.acting)

    def test_an_answer_at_the_last_moment_ends_it(self):
        self.assertIsNone(answer([loss()], {'storage': ALIVE}))

    def test_unknown_at_the_last_moment_does_nothing_and_ends_nothing(self):
        found = answer([loss()], {'storage': UNKNOWN})

        self.assertEqual(Response.ALERT, found.response)
        self.assertEqual('storage-lost', found.code)

    def test_what_another_engine_saw_is_no_reason_to_act(self):
        found = networks.answer(
            'h1', {'storage': None}, {'storage': SILENT}, RULES, 'ctl-1'
        )

        self.assertEqual(Response.ALERT, found.response)

    def test_outage_and_own_leg_stop_every_policy(self):
        for cause in (Cause.OUTAGE, Cause.OWN_REACH):
            with self.subTest(cause):
                found = answer([loss('tenant', cause=cause), loss()])

                self.assertEqual(Response.ALERT, found.response)
                self.assertEqual(cause, found.code)

    def test_a_host_that_is_heard_never_lost_its_management_network(self):
        found = answer([loss('management')])

        self.assertEqual(Response.ALERT, found.response)
        self.assertEqual('management-one-way', found.code)

    def test_a_network_that_never_answered_is_never_acted_on(self):
        found = answer([loss(heard=False)])

        self.assertEqual(Response.ALERT, found.response)
        self.assertIn('fencing map', found.text)

    def test_each_network_has_a_code(self):
        for name, code in (
            ('storage', 'storage-lost'),
            ('tenant', 'tenant-lost'),
            ('backup', 'network-lost'),
        ):
            rules = networks.Rules()
            self.assertEqual(code, answer([loss(name)], rules=rules).code)
