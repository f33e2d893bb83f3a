# SPDX-License-Identifier: Apache-2.0

"""What ``openstack ha meters create`` does to a gnocchi, and leaves alone."""

import copy
import types
import unittest
from unittest import mock

from keystoneauth1 import exceptions as ks_exceptions
from osc_lib import exceptions

from nova_ha_plugins.client import meters
from tests.unit.client import answers

POLICY = {
    'name': 'p',
    'back_window': 0,
    'aggregation_methods': ['last', 'max'],
    'definition': [
        {'granularity': '5 seconds', 'timespan': '2 hours'},
        {'granularity': '1 minute', 'timespan': '7 days'},
    ],
}
# The same as gnocchi gives it.
KEPT = {
    'name': 'p',
    'back_window': 0,
    'aggregation_methods': ['max', 'last'],
    'definition': [
        {'granularity': '0:01:00', 'timespan': '7 days, 0:00:00', 'points': 1},
        {'granularity': '0:00:05', 'timespan': '2:00:00', 'points': 1440},
    ],
}
TEXT = {'type': 'string', 'required': True, 'min_length': 0, 'max_length': 255}


class TestSeconds(unittest.TestCase):
    def test_durations_of_ours_and_of_gnocchi_are_understood(self):
        for text, expected in (
            ('5 seconds', 5),
            ('1 minute', 60),
            ('90 days', 7776000),
            ('0:00:05', 5),
            ('7 days, 0:00:00', 604800),
            ('1 day, 2:03:04', 93784),
        ):
            self.assertEqual(expected, meters.seconds(text), text)
        with self.assertRaisesRegex(ValueError, "found 'a while'"):
            meters.seconds('a while')

    def test_every_duration_that_is_shipped_is_understood(self):
        for policy in meters.definitions()['archive_policies']:
            self.assertTrue(meters._granularities(policy))


class TestPolicies(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.metrics = mock.create_autospec(meters.Metrics, instance=True)

    def outcome(self, dry=False):
        return meters.policy_outcome(self.metrics, POLICY, dry)

    def test_policy_that_is_missing_is_created(self):
        self.metrics.get.return_value = None

        self.assertEqual('created', self.outcome(dry=True).result)
        self.metrics.create.assert_not_called()
        self.assertEqual('created', self.outcome().result)
        self.metrics.create.assert_called_once_with('archive_policy', POLICY)

    def test_policy_that_another_made_meanwhile_is_left(self):
        self.metrics.get.side_effect = [None, KEPT]
        self.metrics.create.return_value = False

        self.assertEqual('unchanged', self.outcome().result)

    def test_policy_that_is_ours_is_left(self):
        self.metrics.get.return_value = KEPT

        self.assertEqual('unchanged', self.outcome().result)
        self.metrics.change.assert_not_called()

    def test_values_are_kept_for_longer_and_never_for_less(self):
        found = copy.deepcopy(KEPT)
        found['definition'][0]['timespan'] = '30 days, 0:00:00'
        found['definition'][1]['timespan'] = '1:00:00'
        self.metrics.get.return_value = found

        self.assertEqual('changed', self.outcome().result)
        self.metrics.change.assert_called_once_with(
            'archive_policy/p',
            {
                'definition': [
                    {'granularity': 5, 'timespan': 7200},
                    {'granularity': 60, 'timespan': 2592000},
                ]
            },
            'application/json',
        )

    def test_policy_that_gnocchi_cannot_change_is_named(self):
        for name, value in (
            ('aggregation_methods', ['mean']),
            ('definition', KEPT['definition'][:1]),
        ):
            self.metrics.get.return_value = {**KEPT, name: value}

            outcome = self.outcome()
            self.assertEqual('differs', outcome.result)
            self.assertIn('Gnocchi cannot change that', outcome.text)
        self.metrics.change.assert_not_called()


class TestTypes(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.metrics = mock.create_autospec(meters.Metrics, instance=True)
        self.wanted = {'host': TEXT, 'extra': {**TEXT, 'required': False}}

    def outcome(self, attributes, dry=False):
        self.metrics.get.return_value = {'attributes': attributes}
        return meters.type_outcome(self.metrics, 't', self.wanted, dry)

    def test_attribute_that_is_missing_is_added(self):
        self.assertEqual('changed', self.outcome({'host': TEXT}, True).result)
        self.metrics.change.assert_not_called()

        self.assertEqual('changed', self.outcome({'host': TEXT}).result)
        path, steps, form = self.metrics.change.call_args.args
        self.assertEqual(
            [('add', '/attributes/extra')],
            [(step['op'], step['path']) for step in steps],
        )
        self.assertEqual(
            ('resource_type/t', 'application/json-patch+json'), (path, form)
        )

    def test_type_with_attributes_of_somebody_else_is_left(self):
        found = {**self.wanted, 'rack': {**TEXT, 'required': False}}

        self.assertEqual('unchanged', self.outcome(found).result)
        self.metrics.change.assert_not_called()

    def test_type_that_would_refuse_our_resources_is_named(self):
        for found in (
            {**self.wanted, 'host': {'type': 'uuid', 'required': True}},
            {**self.wanted, 'rack': TEXT},
        ):
            self.assertEqual('differs', self.outcome(found).result)
        self.metrics.change.assert_not_called()


class TestCommand(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.session = mock.Mock()
        manager = types.SimpleNamespace(
            session=self.session, interface='public', region_name='one'
        )
        app = mock.Mock(client_manager=manager)
        self.command = meters.CreateMeters(app, None)
        self.parsed = self.command.get_parser('it').parse_args([])

    def refuse(self, **answer):
        self.session.request.configure_mock(**answer)
        with self.assertRaises(exceptions.CommandError) as raised:
            self.command.take_action(self.parsed)
        return str(raised.exception)

    def test_cloud_without_gnocchi_is_told_so(self):
        text = self.refuse(side_effect=ks_exceptions.EndpointNotFound())

        self.assertIn("Expected a service of the type 'metric'", text)

    def test_user_without_the_role_is_told_which(self):
        text = self.refuse(return_value=answers.answer({}, 403))

        self.assertIn('role admin', text)

    def test_error_of_gnocchi_is_one_line(self):
        broken = answers.answer(None, 500)
        broken.text = 'a\nb'

        self.assertIn('with 500: a b. ', self.refuse(return_value=broken))

    def test_thing_that_another_made_meanwhile_is_no_error(self):
        session = mock.Mock()
        session.request.return_value = answers.answer({}, 409)

        self.assertFalse(meters.Metrics(session).create('resource_type', {}))

    def test_exit_code_is_1_where_something_differs(self):
        for result, code in (('unchanged', 0), ('differs', 1)):
            outcome = meters.Outcome('archive policy', 'p', result)
            with mock.patch.object(
                meters, 'create', autospec=True, return_value=[outcome]
            ):
                self.command.take_action(self.parsed)
            self.assertEqual(code, self.command.code)
