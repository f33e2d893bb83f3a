# SPDX-License-Identifier: Apache-2.0

"""The embedded demo as a test: the whole path, once as it is and once with
the engine killed on the way."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class DemoTest(unittest.TestCase):
    """Runs what the README gives, without making its environment again."""

    def run_demo(self, *arguments: str) -> tuple[dict, list[dict]]:
        done = subprocess.run(
            [sys.executable, '-m', 'lab.demo', '--json', *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                'PYTHONPATH': str(ROOT),
                'PYTHONWARNINGS': 'ignore',
            },
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        lines = [
            json.loads(line)
            for line in done.stdout.splitlines()
            if line.startswith('{')
        ]
        summary, events = lines[-1], lines[:-1]
        self.assertTrue(summary['ok'], done.stdout[-6000:] + done.stderr)
        self.assertEqual(0, done.returncode)
        return summary, events

    def test_ha_servers_come_back_and_the_others_stay(self):
        summary, events = self.run_demo('--servers', '4')

        self.assertEqual(4, summary['servers_recovered'])
        self.assertEqual(0, summary['servers_lost'])
        self.assertEqual(2, summary['servers_left'])
        self.assertTrue(summary['host_returned'])
        codes = [e['code'] for e in events if e['kind'] == 'timeline']
        for earlier, later in (
            ('suspected', 'corroborated'),
            ('corroborated', 'fencing'),
            ('fencing', 'power-off'),
            ('power-off', 'fenced'),
            ('fenced', 'forced-down'),
            ('forced-down', 'evacuate'),
            ('evacuate', 'recovered'),
            ('recovered', 'un-forced'),
            ('un-forced', 'closed'),
        ):
            self.assertLess(codes.index(earlier), codes.index(later))
        self.check_evacuations(events, 4)
        # The server with priority 1000 is asked for first.
        first = next(e['text'] for e in events if e.get('code') == 'evacuate')
        self.assertIn("'db-1'", first)

    def check_evacuations(self, events, number):
        """Each was told phase by phase, up to 100 % on another host."""
        told = {}
        for event in events:
            if event['kind'] == 'evacuation':
                told.setdefault(event['uuid'], []).append(event)
        self.assertEqual(number, len(told))
        for items in told.values():
            percents = [item['progress'] for item in items]
            self.assertEqual(sorted(percents), percents)
            self.assertEqual(percents.index(100), len(percents) - 1)
            last = items[-1]
            self.assertEqual(
                ('succeeded', 'done', None),
                (last['state'], last['phase'], last['reason']),
            )
            self.assertNotIn(
                last['dest_compute'], (None, last['source_compute'])
            )

    def test_an_engine_killed_between_intent_and_answer_changes_nothing(self):
        summary, events = self.run_demo(
            '--servers', '4', '--crash-engine', 'evacuate'
        )

        self.assertEqual(4, summary['servers_recovered'])
        self.assertTrue(any(e.get('code') == 'crash' for e in events))
        # Nobody is evacuated twice: nova's record says whether the call was
        # taken before the engine was killed. If not, it is asked again.
        evacuations = {}
        for event in events:
            if event['kind'] == 'evacuation':
                evacuations.setdefault(event['server_uuid'], set()).add(
                    event['uuid']
                )
        self.assertEqual(4, len(evacuations))
        for found in evacuations.values():
            self.assertEqual(1, len(found), evacuations)


if __name__ == '__main__':
    unittest.main()
