# SPDX-License-Identifier: Apache-2.0

"""The Grafana dashboard, its picture, and the alerts of Prometheus."""

import json
import re
import shutil
import subprocess
import unittest
from xml.etree import ElementTree

import yaml

from nova_ha_plugins.engine import metrics
from nova_ha_plugins.engine import situation
from tests.unit.engine import test_metrics
from tools import render_dashboard

ROOT = render_dashboard.ROOT
RULES = ROOT / 'etc' / 'nova-ha' / 'prometheus-rules.yaml'
RULES_TEST = ROOT / 'tests' / 'unit' / 'tools' / 'prometheus-rules-test.yaml'
PAGE = ROOT / 'doc' / 'source' / 'admin' / 'service-levels.rst'


def told():
    """Return the names of all series that an engine tells."""
    found = metrics.Metrics()
    reader = situation.Reader(
        test_metrics.Store(), test_metrics.Liveness(), test_metrics.LIMITS
    )
    reader.turn()
    found.show(reader)
    return {
        sample.name
        for family in found.registry.collect()
        for sample in family.samples
    } | {family.name for family in found.registry.collect()}


def named(text):
    return set(re.findall(r'\bnova_ha_\w+', text))


def rules():
    groups = yaml.safe_load(RULES.read_text())['groups']
    return [rule for group in groups for rule in group['rules']]


class DashboardTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.dashboard = render_dashboard.load()

    def test_every_query_asks_for_what_an_engine_tells(self):
        names = named(' '.join(render_dashboard.queries(self.dashboard)))

        self.assertGreater(len(names), 15)
        self.assertEqual(set(), names - told())

    def test_recorded_answers_are_those_of_its_queries(self):
        recorded = json.loads(render_dashboard.RECORDED.read_text())

        self.assertEqual([], render_dashboard.empty(self.dashboard, recorded))
        self.assertEqual(
            set(render_dashboard.queries(self.dashboard)),
            set(recorded['answers']),
        )

    def test_picture_is_drawn_from_the_recorded_answers(self):
        recorded = json.loads(render_dashboard.RECORDED.read_text())

        self.assertEqual(
            render_dashboard.PICTURE.read_text(),
            render_dashboard.draw(self.dashboard, recorded),
            'Run tools/render-dashboard',
        )

    def test_every_panel_has_a_place_and_says_what_it_is(self):
        taken = set()
        for panel in self.dashboard['panels']:
            grid = panel['gridPos']
            cells = {
                (grid['x'] + x, grid['y'] + y)
                for x in range(grid['w'])
                for y in range(grid['h'])
            }
            self.assertFalse(cells & taken, panel['title'])
            self.assertLessEqual(grid['x'] + grid['w'], 24)
            self.assertTrue(panel['description'].endswith('.'))
            taken |= cells

    def test_a_panel_without_answers_shows(self):
        empty = {'seconds': 60.0, 'answers': {}}

        drawn = render_dashboard.draw(self.dashboard, empty)

        panels = len(self.dashboard['panels'])
        self.assertEqual(panels, drawn.count('No data'))
        self.assertEqual(
            set(render_dashboard.queries(self.dashboard)),
            set(render_dashboard.empty(self.dashboard, empty)),
        )

    def test_text_of_others_cannot_break_the_picture(self):
        query = 'max by (heartbeat) (nova_ha_hosts)'
        series = {'metric': {'heartbeat': '</svg>&<b>'}, 'values': [[1, 2]]}

        drawn = render_dashboard.draw(
            self.dashboard, {'seconds': 60.0, 'answers': {query: [series]}}
        )

        ElementTree.fromstring(drawn)

    def test_a_gap_is_not_bridged(self):
        runs = list(
            render_dashboard._runs([(0, 1), (1, 1), (5, 1), (6, 1)], 1)
        )

        self.assertEqual([[(0, 1), (1, 1)], [(5, 1), (6, 1)]], runs)


class RulesTest(unittest.TestCase):
    def test_every_alert_asks_for_what_an_engine_tells(self):
        for rule in rules():
            names = named(rule['expr'])
            self.assertTrue(names, rule['alert'])
            self.assertEqual(set(), names - told(), rule['alert'])

    def test_every_alert_is_explained_in_the_page(self):
        page = PAGE.read_text()

        self.assertEqual(
            [],
            [r['alert'] for r in rules() if f'``{r["alert"]}``' not in page],
        )

    def test_every_series_is_explained_in_the_page(self):
        page = PAGE.read_text()
        families = {
            re.sub(r'_(bucket|count|sum|created|total)$', '', name)
            for name in told()
        }

        self.assertEqual(
            [], sorted(name for name in families if name not in page)
        )
        self.assertEqual(
            set(),
            {
                name
                for name in named(page) - {'nova_ha_database'}
                if name not in told() and name not in families
            },
        )

    def test_alerts_fire_when_they_should_and_in_time(self):
        promtool = shutil.which('promtool')
        if promtool is None:
            self.skipTest('No promtool: apt-get install prometheus')

        done = subprocess.run(
            [promtool, 'test', 'rules', str(RULES_TEST)],
            capture_output=True,
            text=True,
        )

        self.assertEqual(0, done.returncode, done.stdout + done.stderr)


if __name__ == '__main__':
    unittest.main()
