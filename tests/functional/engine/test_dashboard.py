# SPDX-License-Identifier: Apache-2.0

"""The Grafana dashboard shows what happens, in every panel.

Where Prometheus is installed, a real one scrapes the real engine while hosts
fail. Elsewhere its recorded answers are read (tools/render-dashboard
--record), and what only a living one can say is skipped.
"""

import json
from xml.etree import ElementTree

import testtools

from nova_ha_plugins.recovery import levels
from tests.functional.engine import scraped
from tools import render_dashboard

Stage = levels.Stage

_STAGES = {
    'detect': Stage.DETECT,
    'corroborate': Stage.CORROBORATE,
    'fence': Stage.FENCE,
    'force_down': Stage.FORCE_DOWN,
    'first_server': Stage.FIRST_SERVER,
    'last_server': Stage.LAST_SERVER,
}


class DashboardTest(testtools.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dashboard = render_dashboard.load()
        cls.scene = None
        if scraped.PROMETHEUS is None:
            print(
                'Prometheus is not installed: its recorded answers are read '
                f'from {render_dashboard.RECORDED.name}'
            )
            text = render_dashboard.RECORDED.read_text()
            cls.answers = json.loads(text)
            return
        cls.scene = scraped.Scene(hosts=8)
        cls.addClassCleanup(cls.scene.close)
        scraped.tell(cls.scene)
        cls.answers = scraped.measure(cls.scene, cls.dashboard)
        # The engine ends, which only Prometheus can say.
        cls.store = cls.scene.bench.store
        cls.counted = {
            name: cls.scene.prometheus.value(f'sum(nova_ha_{name})')
            for name in (
                *(f'{stage}_seconds_count' for stage in _STAGES),
                *(f'{stage}_seconds_sum' for stage in _STAGES),
                'incidents_total',
                'servers_ended_total',
                'false_suspicions_total',
                'fence_failures_total',
            )
        }
        cls.found = [
            cls.store.incident(each.uuid) for each in cls.store.incidents()
        ]
        cls.scene.bench.kill()
        cls.scene.until('absent(nova_ha_engine_acting)', lambda gone: gone)

    def _alive(self):
        if self.scene is None:
            self.skipTest('No Prometheus: apt-get install prometheus')

    def test_every_panel_has_something_to_show(self):
        self.assertEqual(
            [], render_dashboard.empty(self.dashboard, self.answers)
        )

    def test_it_can_be_drawn(self):
        drawn = render_dashboard.draw(self.dashboard, self.answers)

        ElementTree.fromstring(drawn)
        self.assertNotIn('No data', drawn)

    def test_prometheus_counts_what_the_store_keeps(self):
        """Gnocchi is told from the store: both have to say the same."""
        self._alive()
        kept = {}
        for subject in self.found:
            for each in levels.reached(subject):
                kept.setdefault(each.stage, []).append(each.seconds)

        for name, stage in _STAGES.items():
            seconds = kept.get(stage, [])
            with self.subTest(stage=name):
                self.assertEqual(
                    len(seconds), self.counted[f'{name}_seconds_count']
                )
                self.assertAlmostEqual(
                    sum(seconds),
                    self.counted[f'{name}_seconds_sum'],
                    places=3,
                )
        self.assertEqual(len(self.found), self.counted['incidents_total'])

    def test_what_was_in_vain_is_counted(self):
        self._alive()

        self.assertEqual(1, self.counted['false_suspicions_total'])
        self.assertEqual(1, self.counted['fence_failures_total'])
        self.assertEqual(scraped.SERVERS, self.counted['servers_ended_total'])

    def test_no_law_was_broken(self):
        self._alive()

        self.assertEqual([], self.scene.bench.cloud.violations)
        self.assertEqual([], self.scene.bench.racks.violations)
        self.assertNotIn('Traceback', self.scene.bench.log())
