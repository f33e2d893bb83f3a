# SPDX-License-Identifier: Apache-2.0
"""Engines have machines of their own, and what they ask for is noted."""

import io
import json
import pathlib
import tempfile
import unittest

from lab import calls
from lab import engine
from lab import faults
from lab import hosts
from lab import plan as planning
from lab import processes


class PlanTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def test_no_engine_has_the_address_of_a_host_or_of_the_controller(self):
        plan = planning.make(self.directory, 1, 0, 'shared', 3)
        every = [
            planning.Engine(n + 1).address()
            for n in range(planning.MOST_ENGINES)
        ]

        taken = {*every, plan.hosts[0].address(), planning.CONTROLLER}

        self.assertEqual(planning.MOST_ENGINES + 2, len(taken))

    def test_names_of_cards_are_not_too_long_for_the_kernel(self):
        most = planning.Engine(planning.MOST_ENGINES)

        self.assertLessEqual(len(f'tenant-{most.cable}'), 15)

    def test_lab_that_was_made_before_there_were_more_has_one_engine(self):
        planning.make(self.directory, 1, 0, 'shared', 3)
        path = self.directory / 'lab.json'
        document = json.loads(path.read_text())
        del document['engines']
        path.write_text(json.dumps(document))

        self.assertEqual(1, planning.load(self.directory).engines)

    def test_more_engines_than_there_are_addresses_are_refused(self):
        for number in (0, planning.MOST_ENGINES + 1):
            with self.assertRaisesRegex(planning.LabError, f'not {number}'):
                planning.check_size(1, 0, number)

    def test_each_engine_has_its_own_name_and_all_have_one_file(self):
        plan = planning.make(self.directory, 1, 0, 'shared', 2)
        running = processes.Processes(plan)

        one, other = (
            engine.service(plan, running, each)
            for each in engine.engines(plan)
        )

        self.assertEqual(one.argv, other.argv)
        self.assertNotEqual(one.namespace, other.namespace)
        self.assertEqual('nova-ha-engine-2', other.hostname)

    def test_engine_that_never_was_cannot_be_cut_off(self):
        plan = planning.make(self.directory, 1, 0, 'shared')
        broken = faults.Faults(
            plan, processes.Processes(plan), hosts.Hosts(plan)
        )

        for name, why in (
            ('nova-ha-engine-2', 'never started'),
            ('nova-api', "no engine 'nova-api'"),
        ):
            with self.assertRaisesRegex(planning.LabError, why):
                broken.cause('database:cut', name)

        self.assertEqual([], broken.active())


class NotedTest(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.plan = planning.make(pathlib.Path(directory), 1, 0, 'shared')
        self.read = b''
        self.app = calls.Noted(self.answer, calls.path(self.plan))

    def answer(self, environ, start_response):
        self.read = environ['wsgi.input'].read()
        start_response('202 Accepted', [])
        return [b'']

    def ask(self, method, body=b'', app=None):
        environ = {
            'REQUEST_METHOD': method,
            'REMOTE_ADDR': '10.99.0.3',
            'PATH_INFO': '/servers/1/action',
            'CONTENT_LENGTH': str(len(body)),
            'wsgi.input': io.BytesIO(body),
        }
        (app or self.app)(environ, lambda status, headers: None)

    def test_note_says_who_asked_for_what_and_the_answer(self):
        self.ask('POST', b'{"evacuate": {}}')

        (noted,) = calls.read(self.plan)
        self.assertEqual('10.99.0.3', noted.client)
        self.assertEqual('evacuate', noted.what)
        self.assertEqual(202, noted.status)
        self.assertEqual(b'{"evacuate": {}}', self.read)

    def test_call_of_a_bmc_says_what_was_done_to_the_power(self):
        self.ask('POST', b'{"ResetType": "ForceOff"}')

        self.assertEqual('ForceOff', calls.read(self.plan)[0].what)

    def test_who_only_looks_is_not_noted(self):
        self.ask('GET')

        self.assertEqual([], calls.read(self.plan))

    def test_body_that_is_no_document_is_handed_on_as_it_is(self):
        for body in (b'\xff\x00', b'[1]', b''):
            self.ask('PUT', body)

            self.assertEqual(body, self.read)
            self.assertEqual('', calls.read(self.plan)[-1].what)

    def test_call_that_got_no_answer_is_noted_with_none(self):
        def hang(environ, start_response):
            raise ConnectionAbortedError

        with self.assertRaises(ConnectionAbortedError):
            self.ask('POST', app=calls.Noted(hang, calls.path(self.plan)))

        self.assertEqual(0, calls.read(self.plan)[0].status)


if __name__ == '__main__':
    unittest.main()
