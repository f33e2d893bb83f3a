# SPDX-License-Identifier: Apache-2.0

"""The page about the progress of evacuations says what the code does."""

import json
import pathlib
import re
import unittest
from unittest import mock

from nova_ha_plugins.api import policies
from nova_ha_plugins.conf import nova_progress
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import progress
from tools import evacuation_phases
from tools import record_progress

DOC = pathlib.Path(__file__).parents[3] / 'doc' / 'source'
PAGE = DOC / 'admin' / 'progress.rst'
TABLES = DOC / 'admin' / 'evacuation-phases.inc'
PICTURE = DOC / '_static' / 'evacuation-phases.svg'


def made(kind):
    return '\n'.join(evacuation_phases.FORMATS[kind]()) + '\n'


class ProgressPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = PAGE.read_text()

    def test_tables_are_the_code(self):
        self.assertEqual(
            made('rst'),
            TABLES.read_text(),
            'tools/evacuation-phases rst > '
            'doc/source/admin/evacuation-phases.inc',
        )

    def test_picture_is_the_code(self):
        self.assertEqual(
            made('svg'),
            PICTURE.read_text(),
            'tools/evacuation-phases > '
            'doc/source/_static/evacuation-phases.svg',
        )

    def test_recording_is_drawn_as_it_was_recorded(self):
        recorded = json.loads(
            (DOC / '_static' / 'evacuation-progress.json').read_text()
        )

        self.assertEqual(
            record_progress.draw(recorded),
            (DOC / '_static' / 'evacuation-progress.svg').read_text(),
            'tools/record-progress --draw-only',
        )

    def test_figures_of_the_recording_are_on_the_page(self):
        recorded = json.loads(
            (DOC / '_static' / 'evacuation-progress.json').read_text()
        )
        words = ' '.join(self.page.split())

        for figure in (
            recorded['date'],
            f'{recorded["image_mib"]} MiB',
            f'{recorded["kib_per_second"] // 1024} MiB/s',
            f'{recorded["eta"]["median_absolute_error_s"]} s',
        ):
            self.assertIn(figure, words)

    def test_every_word_of_the_resource_is_in_the_tables(self):
        tables = TABLES.read_text()
        phases = [step.phase for step in evacuation_phases.STEPS]

        self.assertEqual(list(progress.PERCENT), phases)
        for word in (*progress.State, *phases, *progress.Reason):
            self.assertIn(f'``{word}``', tables)

    def test_every_reason_has_its_advice(self):
        advice = self.page.partition('at three in the morning')[2]
        headings = re.findall(r'^([a-z_]+)\n-+$', advice, re.MULTILINE)

        self.assertEqual(sorted(progress.Reason), sorted(headings))

    def test_every_kind_of_storage_is_explained(self):
        for storage in progress.Storage:
            self.assertIn(f'``{storage}``', self.page)

    def test_figures_and_names_are_those_of_the_code(self):
        self.assertEqual(5, estimate.MINIMUM_SAMPLES)
        self.assertIn('before five of its like', self.page)
        self.assertEqual(1800.0, progress.QUIET_SECONDS)
        self.assertIn('written nothing for half an hour', self.page)
        self.assertIn(policies.GUARD_OVERRIDE, self.page)
        self.assertIn(f'``[{nova_progress.GROUP}] guard = false``', self.page)


class PictureTest(unittest.TestCase):
    def test_phase_that_the_assessment_calls_otherwise_is_refused(self):
        step = evacuation_phases.STEPS[-1]
        wrong = evacuation_phases.Step(
            progress.Phase.CLAIMING, step.who, step.evidence, step.record
        )
        with (
            mock.patch.object(
                evacuation_phases,
                'STEPS',
                (*evacuation_phases.STEPS[:-1], wrong),
            ),
            self.assertRaisesRegex(SystemExit, 'claiming.*done'),
        ):
            evacuation_phases.assessed(wrong, counted=False)


if __name__ == '__main__':
    unittest.main()
