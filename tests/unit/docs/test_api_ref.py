# SPDX-License-Identifier: Apache-2.0

"""The API reference names every field, parameter, word and rule."""

import pathlib
import unittest

from nova_ha_plugins.api import policies
from nova_ha_plugins.api import response_schemas
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import progress

SOURCE = pathlib.Path(__file__, '../../../../api-ref/source').resolve()


class EvacuationsPageTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.page = (SOURCE / 'evacuations.rst').read_text()

    def assert_named(self, *words):
        missing = [word for word in words if f'``{word}``' not in self.page]
        self.assertEqual([], missing)

    def test_every_field_of_an_answer_is_explained(self):
        newest = response_schemas.EVACUATION[versions.PROGRESS]
        summary = response_schemas.SUMMARY[versions.PROGRESS]
        summary = summary['properties']['evacuations_summary']['properties']

        self.assert_named(
            *newest['properties']['evacuation']['properties'],
            *summary['hosts']['items']['properties'],
            'cells_down',
            'evacuations_links',
        )

    def test_every_field_and_parameter_of_a_request_is_explained(self):
        report = schemas.PROGRESS['properties']['progress']['properties']

        self.assert_named(
            *schemas.EVACUATIONS_QUERY['properties'],
            *schemas.SUMMARY_QUERY['properties'],
            *report,
        )

    def test_every_word_is_explained(self):
        self.assert_named(
            *map(str, progress.State),
            *map(str, progress.Phase),
            *map(str, progress.Reason),
            *map(str, progress.Storage),
            *map(str, progress.Boot),
        )

    def test_every_rule_about_evacuations_is_named(self):
        self.assert_named(
            *(
                rule.name
                for rule in policies.list_rules()
                if ':evacuations:' in rule.name
            )
        )


class VersionsTest(unittest.TestCase):
    def test_the_newest_version_is_the_one_that_is_described(self):
        text = (SOURCE / 'index.rst').read_text()

        self.assertIn(f'   * - {versions.MAXIMUM}\n', text)
        self.assertIn(f'``latest`` is {versions.MAXIMUM}.', text)
        page = SOURCE.parents[1] / 'doc' / 'source' / 'api' / 'index.rst'
        self.assertIn(f'The newest is {versions.MAXIMUM};', page.read_text())


if __name__ == '__main__':
    unittest.main()
