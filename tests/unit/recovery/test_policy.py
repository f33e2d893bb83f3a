# SPDX-License-Identifier: Apache-2.0

"""Which servers ask for recovery, and what is said of the others."""

import unittest

import hypothesis
from hypothesis import strategies as st
from oslo_utils import strutils

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import policy
from tests import patience  # noqa: F401 - no deadline
from tests.unit.recovery import examples

ServerState = incident.ServerState

KEYS = st.one_of(
    st.sampled_from(
        [
            'ha:policy',
            'ha:priority',
            'HA_Enabled',
            'HA:Policy',
            'not_ha:policy',
            'ha_enabled',
        ]
    ),
    st.text(max_size=20),
)
VALUES = st.one_of(
    st.sampled_from(['evacuate', 'none', 'true', 'False', '0', '1000', '٣']),
    st.text(max_size=300),
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=6)
DEFAULTS = st.sampled_from(['evacuate', 'none'])


class PolicyKeyTest(unittest.TestCase):
    def check(self, metadata, protected, code, default='none'):
        found = policy.choose(metadata, default)

        self.assertEqual((protected, code), (found.protected, found.code))
        self.assertTrue(found.reason)
        return found

    def test_evacuate_asks_for_recovery(self):
        self.check({'ha:policy': 'evacuate'}, True, 'policy-evacuate')

    def test_none_opts_out_even_where_the_default_is_evacuate(self):
        self.check({'ha:policy': 'none'}, False, 'policy-none', 'evacuate')

    def test_untagged_server_follows_the_default(self):
        self.check({}, False, 'untagged', 'none')
        self.check({}, True, 'default-evacuate', 'evacuate')

    def test_keys_are_exact(self):
        for key in (
            'HA:Policy',
            'ha:Policy',
            'not_ha:policy',
            'ha:policy ',
            'ha_policy',
            'ha_enabled',
            'HA_ENABLED',
            'x_HA_Enabled',
        ):
            with self.subTest(key=key):
                self.check({key: 'evacuate'}, False, 'untagged')
                self.check({key: 'true'}, False, 'untagged')

    def test_values_are_exact(self):
        for value in ('Evacuate', ' evacuate', 'true', '', 'evacuate\n'):
            with self.subTest(value=value):
                found = self.check(
                    {'ha:policy': value}, False, 'policy-invalid', 'evacuate'
                )

                shown = value.replace('\n', ' ')
                self.assertIn(f"'{shown}'", found.reason)
                self.assertTrue(found.reason.isprintable())
                self.assertIn('expected evacuate or none', found.reason)

    def test_an_endless_value_is_quoted_only_in_part(self):
        found = policy.choose({'ha:policy': 'x' * 5000})

        self.assertLess(len(found.reason), 200)


class MasakariAliasTest(unittest.TestCase):
    def test_words_are_the_ones_that_masakari_reads(self):
        for word in strutils.TRUE_STRINGS:
            for spelling in (word, word.upper(), f' {word} '):
                found = policy.choose({'HA_Enabled': spelling})

                self.assertEqual('masakari-enabled', found.code)
                self.assertTrue(found.protected)
        for word in strutils.FALSE_STRINGS:
            found = policy.choose({'HA_Enabled': word}, 'evacuate')

            self.assertEqual('masakari-disabled', found.code)
            self.assertFalse(found.protected)

    def test_our_own_key_wins_over_the_alias(self):
        out = policy.choose({'ha:policy': 'none', 'HA_Enabled': 'true'})
        into = policy.choose({'ha:policy': 'evacuate', 'HA_Enabled': 'no'})
        wrong = policy.choose({'ha:policy': 'maybe', 'HA_Enabled': 'true'})

        self.assertEqual('policy-none', out.code)
        self.assertEqual('policy-evacuate', into.code)
        self.assertEqual('policy-invalid', wrong.code)
        self.assertFalse(wrong.protected)

    def test_a_word_that_masakari_takes_for_no_is_left_alone_with_a_reason(
        self,
    ):
        for default in ('none', 'evacuate'):
            found = policy.choose({'HA_Enabled': 'perhaps'}, default)

            self.assertEqual('masakari-invalid', found.code)
            self.assertFalse(found.protected)
            self.assertIn("HA_Enabled is 'perhaps'", found.reason)


class PriorityTest(unittest.TestCase):
    def test_bounds_are_one_and_a_thousand(self):
        for text, number in (('1', 1), ('500', 500), ('1000', 1000)):
            found = policy.choose({'ha:priority': text})

            self.assertEqual((number, ''), (found.priority, found.warning))

    def test_none_given_is_five_hundred_without_a_warning(self):
        found = policy.choose({})

        self.assertEqual((500, ''), (found.priority, found.warning))

    def test_anything_else_counts_as_five_hundred_and_is_reported(self):
        for text in (
            '0',
            '1001',
            '-1',
            '+5',
            '1.5',
            '',
            ' 7',
            'high',
            '1e3',
            '٣',
            '²',
            '9' * 4400,
        ):
            with self.subTest(text=text[:20]):
                found = policy.choose({'ha:priority': text})

                self.assertEqual(500, found.priority)
                self.assertIn(f"ha:priority is '{text[:40]}'", found.warning)
                self.assertIn(
                    'expected a number from 1 to 1000', found.warning
                )
                self.assertIn('counts as 500', found.warning)

    def test_the_warning_reaches_the_reason_of_the_server(self):
        view = examples.view(
            metadata={'ha:policy': 'evacuate', 'ha:priority': 'max'}
        )

        found = policy.admit(view)

        self.assertEqual(ServerState.QUEUED, found.state)
        self.assertIn("ha:priority is 'max'", found.reason)


class AdmitTest(unittest.TestCase):
    def admit(self, **changes):
        given = {'metadata': {'ha:policy': 'evacuate'}, **changes}
        return policy.admit(examples.view(**given))

    def test_active_and_stopped_servers_are_queued(self):
        for vm_state in ('active', 'stopped'):
            found = self.admit(vm_state=vm_state)

            self.assertEqual(ServerState.QUEUED, found.state)
            self.assertEqual(vm_state, found.vm_state)

    def test_a_server_that_did_not_ask_is_left_with_its_reason(self):
        found = self.admit(metadata={})

        self.assertEqual(ServerState.LEFT, found.state)
        self.assertFalse(found.protected)
        self.assertIn('no ha:policy', found.reason)

    def test_a_server_that_is_being_deleted_is_left(self):
        for changes in (
            {'task_state': 'deleting'},
            {'task_state': 'soft-deleting'},
            {'vm_state': 'soft-delete'},
            {'vm_state': 'deleted'},
        ):
            with self.subTest(**changes):
                found = self.admit(**changes)

                self.assertEqual(ServerState.LEFT, found.state)
                self.assertEqual('being-deleted', found.code)

    def test_lock_and_stale_task_state_do_not_exclude(self):
        for task_state in ('rebooting', 'image_snapshot', 'rebuilding'):
            found = self.admit(locked=True, task_state=task_state)

            self.assertEqual(ServerState.QUEUED, found.state)

    def test_a_state_that_cannot_be_put_back_is_parked_with_a_reason(self):
        for vm_state in (
            'error',
            'suspended',
            'rescued',
            'resized',
            'building',
            'shelved',
        ):
            with self.subTest(vm_state=vm_state):
                found = self.admit(vm_state=vm_state)

                self.assertEqual(ServerState.PARKED, found.state)
                self.assertTrue(found.protected)
                self.assertIn(vm_state, found.reason)

    def test_who_it_is_is_kept(self):
        found = self.admit(
            uuid='vm-9',
            name='db',
            project_id='acme',
            metadata={'ha:policy': 'evacuate', 'ha:priority': '900'},
        )

        self.assertEqual(
            ('vm-9', 'db', 'acme', 900),
            (found.uuid, found.name, found.project_id, found.priority),
        )


class AnyMetadataTest(unittest.TestCase):
    @examples.many
    @hypothesis.given(METADATA, DEFAULTS)
    def test_any_metadata_gives_a_choice_with_a_reason(
        self, metadata, default
    ):
        found = policy.choose(metadata, default)

        self.assertIn(found.priority, range(1, 1001))
        self.assertTrue(found.code)
        self.assertTrue(found.reason)

    @examples.many
    @hypothesis.given(
        METADATA, VALUES.filter(lambda text: text != 'evacuate'), DEFAULTS
    )
    def test_an_unknown_value_never_evacuates(self, metadata, text, default):
        found = policy.choose(metadata | {'ha:policy': text}, default)

        self.assertFalse(found.protected)

    @examples.many
    @hypothesis.given(METADATA, DEFAULTS)
    def test_other_keys_change_nothing(self, metadata, default):
        ours = {
            key: value
            for key, value in metadata.items()
            if key in ('ha:policy', 'ha:priority', 'HA_Enabled')
        }

        self.assertEqual(
            policy.choose(ours, default), policy.choose(metadata, default)
        )

    @examples.many
    @hypothesis.given(
        METADATA,
        DEFAULTS,
        st.sampled_from(['active', 'stopped', 'error', 'paused', 'deleted']),
    )
    def test_only_a_protected_server_is_ever_queued(
        self, metadata, default, vm_state
    ):
        view = examples.view(metadata=metadata, vm_state=vm_state)

        found = policy.admit(view, default)

        if found.state == ServerState.QUEUED:
            self.assertTrue(found.protected)
            self.assertIn(vm_state, ('active', 'stopped', 'paused'))
        else:
            self.assertIn(found.state, (ServerState.LEFT, ServerState.PARKED))
