# SPDX-License-Identifier: Apache-2.0

"""What follows evacuations is killed again and again; nothing stays untold."""

import collections
import datetime
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unittest

from nova_ha_plugins.conf import config
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import schema
from tests.functional.engine import faults
from tests.functional.engine import killed_follower
from tests.unit.nova import servers

LIST = 'GET /compute/v2.1/os-evacuations'
ROOT = pathlib.Path(__file__).parents[3]
COUNT = 40
KILLS = 3
PHASES = ('accepted', 'preparing', 'spawning', 'finishing')


class Evacuations:
    """Evacuations that begin one after the other and go on by the clock."""

    def __init__(self):
        self.began = time.time()

    def answer(self, handler):
        wants_open = 'status' in handler.query
        found = [
            item
            for item in map(self._item, range(COUNT))
            if item and (item['status'] != 'done') == wants_open
        ]
        handler.answer(200, {'evacuations': found})
        return True

    def _item(self, number):
        created = self.began + number * 0.1
        step = int((time.time() - created) / 0.3)
        if step < 0:
            return None
        over = step >= len(PHASES)
        ended = _text(created + 1.2) if over else None
        return {
            'uuid': f'mig-{number}',
            'server_uuid': f'vm-{number}',
            'status': 'done' if over else 'pre-migrating',
            'state': 'succeeded' if over else 'running',
            'phase': 'done' if over else PHASES[step],
            'progress': 100 if over else 25 * step,
            'created_at': _text(created),
            'updated_at': ended,
            'finished_at': ended,
            'source_compute': 'cmp-1',
            'dest_compute': 'cmp-2',
        }


def _text(at):
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()


class KilledTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = pathlib.Path(directory.name)
        self.cloud = servers.FakeCloud()
        self.addCleanup(self.cloud.close)
        self.told = path / 'told'
        self.told.touch()
        self.conf_file = path / 'nova-ha.conf'
        self.conf_file.write_text(
            '[nova_ha_database]\n'
            f'connection = sqlite:///{path}/store.sqlite\n'
            '[nova]\n'
            'auth_type = password\n'
            f'auth_url = {self.cloud.url}/v3\n'
            'username = nova-ha\npassword = x\nproject_name = service\n'
            'user_domain_id = default\nproject_domain_id = default\n'
        )
        conf = config.load((), [str(self.conf_file)])
        schema.sync(conf)
        self.store = store_api.open_store(conf)

    def lines(self):
        return self.told.read_text().splitlines()

    def follow(self):
        """Start a follower; it has told something when this returns."""
        before = len(self.lines())
        process = subprocess.Popen(
            [
                sys.executable,
                '-m',
                killed_follower.__name__,
                str(self.conf_file),
                str(self.told),
            ],
            cwd=ROOT,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        faults.until(
            'the follower tells something',
            lambda: len(self.lines()) > before,
        )
        return process

    def is_all_told(self):
        traces = self.store.evacuation_traces(
            [f'mig-{number}' for number in range(COUNT)]
        )
        return len(traces) == COUNT and not self.store.open_evacuation_traces()

    def test_each_is_told_from_start_to_end_at_least_once(self):
        self.cloud.faults[LIST] = Evacuations().answer
        chance = random.Random(7)
        for _ in range(KILLS):
            process = self.follow()
            time.sleep(chance.uniform(0.05, 0.6))
            self.assertFalse(self.is_all_told(), 'it was killed too late')
            process.kill()
            process.wait()
        self.follow()
        faults.until('all are told', self.is_all_told)

        words = collections.defaultdict(list)
        for line in self.lines():
            word, uuid = line.split()
            words[uuid].append(word)
        self.assertEqual(COUNT, len(words))
        for uuid, told in words.items():
            with self.subTest(uuid):
                self.assertEqual('start', told[0])
                self.assertEqual('end', told[-1])
                self.assertLessEqual(told.count('start'), 1 + KILLS)
                self.assertLessEqual(told.count('end'), 1 + KILLS)
