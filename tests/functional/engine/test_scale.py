# SPDX-License-Identifier: Apache-2.0

"""Five hundred servers on one host; and what the doctor says beforehand.

====  =====================================================================
Row   Test
====  =====================================================================
F41   test_all_are_listed_*, test_caps_*, test_rounds_*
F49   DoctorTest: hosts that nobody protects are named
F44   test_doctor_*: before anything fails
====  =====================================================================
"""

import collections
import subprocess
import sys
import time

from tests.functional.engine import bench
from tests.functional.engine import faults

HOST = 'cmp-1'
SERVERS = 500
CAPS = {'max_per_destination': 12, 'max_open': 12}


class ScaleTest(bench.Case):
    """One host with five hundred servers dies; nova begins with the first."""

    HOSTS = 8
    CHANGES = {'evacuation': CAPS}

    @classmethod
    def prepare(cls):
        cls.servers = [
            cls.cloud.add_server(HOST, f'server-{number}')
            for number in range(SERVERS)
        ]
        cls.most_open = cls.most_on_one = 0
        for server in cls.servers:
            # What is open stays open: the caps are reached.
            cls.cloud.outcomes[server] = ['stuck']
            cls.cloud.script.always(
                'evacuate', server, faults.after(cls.count)
            )

    @classmethod
    def count(cls):
        """Count what is open at the moment at which one more was taken."""
        opened = cls.cloud.open_evacuations()
        there = collections.Counter(
            record['dest_compute']
            for record in opened
            if record['dest_compute']
        )
        cls.most_open = max(cls.most_open, len(opened))
        cls.most_on_one = max(cls.most_on_one, *there.values(), 0)

    @classmethod
    def tell(cls):
        cls.bench.machine(HOST).hang()
        cls.latest = 0.0
        cls.bench.until('as many as may be are open', cls.enough)
        time.sleep(3)
        cls.bench.kill()
        cls.subject = cls.bench.incident_of(HOST)

    @classmethod
    def enough(cls):
        status = cls.store.engine_status()
        cls.latest = max(cls.latest, status['loop_late'])
        return sum(cls.cloud.performed.values()) >= CAPS['max_open']

    def test_all_are_listed_and_none_is_asked_for_twice(self):
        self.assertEqual(SERVERS, len(self.subject.servers))
        self.assertEqual({1}, set(self.cloud.performed.values()))

    def test_caps_hold_at_every_moment(self):
        self.assertEqual(CAPS['max_open'], self.most_open)

    def test_rounds_are_not_late(self):
        # From then on the engine would not believe its own eyes.
        late = self.bench.conf.gates.loop_late_max
        self.assertLess(self.latest, late)
        self.assertNotIn('Monitoring is blind', self.bench.log())


class DoctorTest(bench.Case):
    """A host was added, and nobody told the engine's operator."""

    HOSTS = 4
    ALL_VERIFIED = False

    @classmethod
    def prepare(cls):
        cls.bench.write_map({'cmp-2': None})
        cls.bench.machine('cmp-3').beating = False
        cls.bench.machine('cmp-4').identity = cls.bench.machine(
            'cmp-1'
        ).system_uuid

    @classmethod
    def tell(cls):
        done = subprocess.run(
            [
                sys.executable,
                '-m',
                'nova_ha_plugins.cmd.manage',
                '--config-file',
                str(cls.bench.conf_file),
                'doctor',
            ],
            cwd=bench.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        cls.code, cls.found = done.returncode, done.stdout

    def line(self, *words):
        return [
            line
            for line in self.found.splitlines()
            if line.startswith('TO DO') and all(w in line for w in words)
        ]

    def test_doctor_says_that_something_is_to_be_done(self):
        self.assertEqual(1, self.code, self.found)

    def test_doctor_names_every_host_that_is_not_protected(self):
        for words in (
            ("'cmp-2'", 'not in the fencing map', 'not protected'),
            ("'cmp-3'", 'sends no heartbeat'),
            ("'cmp-4'", 'not proven to be its own', "host 'cmp-1'"),
        ):
            with self.subTest(words[0]):
                self.assertEqual(1, len(self.line(*words)), self.found)

    def test_doctor_names_a_nova_api_without_our_resource(self):
        self.assertEqual(1, len(self.line("filter 'instance_ha'")), self.found)

    def test_doctor_calls_a_protected_host_protected(self):
        self.assertEqual([], self.line("Host 'cmp-1'"))
        self.assertEqual([], self.line("host 'cmp-1' is not"))
