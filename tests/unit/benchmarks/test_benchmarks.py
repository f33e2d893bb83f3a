# SPDX-License-Identifier: Apache-2.0

"""The benchmarks run; what they measure is not judged here."""

import pathlib
import tempfile
import unittest

from benchmarks import decisions
from benchmarks import heartbeats
from benchmarks import pairs
from benchmarks import watcher
from nova_ha_plugins.store import liveness


class BenchmarkTest(unittest.TestCase):
    def test_decisions_are_made_about_every_host(self):
        decisions.a_round(100, 2, 5)()

        silent = [b for b in decisions.beats(100) if b.age > 6]
        self.assertEqual(2, len(silent))

    def test_heartbeats_really_arrive(self):
        with tempfile.TemporaryDirectory() as name:
            conf = heartbeats.conf_of(pathlib.Path(name), 'sql')
            heartbeats.writer(conf, hosts=6, together=2)()

            found = liveness.open_liveness(conf).read()

        self.assertEqual(6, len(found))

    def test_a_watcher_really_looks_at_every_host(self):
        with watcher.store_of('memory') as conf:
            store = liveness.open_liveness(conf)
            watcher.fill(store, 6)
            subject = watcher.watcher_of(conf, store)
            subject.look()

            self.assertEqual(12, watcher.published(conf, subject)())
            self.assertEqual(6 * 3 + 1, len(store.read_healths()))

    def test_a_ratio_is_of_pairs(self):
        calls = []

        pairs.compare(
            lambda: calls.append('a'), lambda: sum(range(20000)), rounds=3
        )

        self.assertEqual(4, len(calls))


if __name__ == '__main__':
    unittest.main()
