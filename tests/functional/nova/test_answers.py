# SPDX-License-Identifier: Apache-2.0

"""Answers are held to the schema of the version that was asked for."""

import types
import unittest

# Before every other module of nova: it patches the process, or decides not to.
import nova.tests.functional  # noqa: F401

from oslo_config import fixture as config_fixture

from nova_ha_plugins.api import answers
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import response_schemas

ONE = {
    'type': 'object',
    'properties': {'items': {'items': {'type': 'string'}}},
}
TWO = {**ONE, 'required': ['cells_down']}


class Controller:
    def __init__(self, answer):
        self.answer = answer

    @answers.schema({'1.0': ONE, '1.2': TWO})
    def index(self, req):
        return self.answer


class AnswersTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.config = config_fixture.Config(compat.CONF)
        self.config.setUp()
        self.addCleanup(self.config.cleanUp)

    def ask(self, answer, version='1.0', validation='error'):
        self.config.config(response_validation=validation, group='api')
        headers = {'OpenStack-API-Version': f'instance-ha {version}'}
        return Controller(answer).index(types.SimpleNamespace(headers=headers))

    def test_wrong_answer_is_an_error_where_nova_wants_it(self):
        wrong = {'items': ['a', 7]}

        with self.assertRaisesRegex(answers.WrongAnswerError, 'items.1.*7'):
            self.ask(wrong)

    def test_wrong_answer_is_logged_and_given_where_nova_warns(self):
        wrong = {'items': [7, 'a']}

        with self.assertLogs(answers.LOG, 'WARNING') as logged:
            self.assertIs(wrong, self.ask(wrong, validation='warn'))

        self.assertIn("at 'items.0': 7", logged.output[0])

    def test_where_nova_warns_one_item_of_a_list_is_looked_at(self):
        with self.assertNoLogs(answers.LOG):
            self.ask({'items': ['a', 7]}, validation='warn')

    def test_nobody_looks_where_nova_ignores(self):
        with self.assertNoLogs(answers.LOG):
            self.ask({'items': [7]}, validation='ignore')

    def test_schema_is_that_of_the_newest_version_before_the_one_asked(self):
        self.ask({'items': []}, '1.1')
        self.ask({'items': [], 'cells_down': 0}, '1.2')

        with self.assertRaisesRegex(answers.WrongAnswerError, 'cells_down'):
            self.ask({'items': []}, '1.2')


class SchemasTest(unittest.TestCase):
    def test_versions_before_have_no_field_of_a_later_one(self):
        first, second = (
            response_schemas.EVACUATION[version]['properties']['evacuation']
            for version in ('1.0', '1.2')
        )

        self.assertEqual(
            {
                'eta_p90_seconds',
                'eta_samples',
                'explanation',
                'storage',
                'boot_source',
                'size_class',
                'ahead',
                'phase_started_at',
            },
            set(second['required']) - set(first['required']),
        )
        for schema in (first, second):
            self.assertFalse(schema['additionalProperties'])
            self.assertEqual(
                set(schema['properties']), set(schema['required'])
            )

    def test_nothing_to_copy_is_a_good_answer(self):
        schema = response_schemas.EVACUATION['1.2']
        fields = schema['properties']['evacuation']['properties']

        for name in fields:
            if name.endswith('_bytes'):
                validator = compat.answer_validator(fields[name])
                self.assertTrue(validator.is_valid(0), name)
                self.assertTrue(validator.is_valid(None), name)
                self.assertFalse(validator.is_valid(-1), name)


if __name__ == '__main__':
    unittest.main()
