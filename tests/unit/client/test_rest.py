# SPDX-License-Identifier: Apache-2.0

"""The calls of the commands: pages, refusals, names."""

import types
import unittest

from keystoneauth1 import exceptions as ks_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_ha_plugins.client import rest
from tests.unit.client import answers

answer, fault = answers.answer, answers.fault


SERVER = '5d4c2f6e-0000-4000-8000-000000000001'


class Compute:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def get(self, path, params, headers=None, **words):
        self.calls.append((path, dict(params)))
        self.headers = headers
        self.words = words
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


class RestTest(unittest.TestCase):
    def test_pages_are_followed_to_the_end(self):
        compute = Compute(
            answer(
                {
                    'evacuations': [{'uuid': 'a'}, {'uuid': 'b'}],
                    'evacuations_links': [{'rel': 'next'}],
                }
            ),
            answer({'evacuations': [{'uuid': 'c'}]}),
        )

        found = rest.Client(compute).evacuations(host='cmp-1', state=None)

        self.assertEqual(['a', 'b', 'c'], [item['uuid'] for item in found])
        self.assertEqual(
            [{'host': 'cmp-1'}, {'host': 'cmp-1', 'marker': 'b'}],
            [params for _, params in compute.calls],
        )

    def test_limit_ends_the_pages(self):
        compute = Compute(
            answer(
                {
                    'evacuations': [{'uuid': 'a'}],
                    'evacuations_links': [{'rel': 'next'}],
                }
            )
        )

        found = rest.Client(compute).evacuations(limit=1)

        self.assertEqual(1, len(found))
        self.assertEqual([('/os-evacuations', {'limit': 1})], compute.calls)

    def test_missing_filter_is_named(self):
        compute = Compute(answer(None, 404))

        with self.assertRaisesRegex(
            exceptions.CommandError, "no resource '/os-instance-ha'.*paste"
        ):
            rest.Client(compute).status()

    def test_sentence_of_nova_is_passed_on(self):
        fault = {'badRequest': {'code': 400, 'message': 'Bad marker'}}

        with self.assertRaisesRegex(
            exceptions.CommandError, r'^Bad marker \(HTTP 400\)$'
        ):
            rest.Client(Compute(answer(fault, 400))).evacuations()

    def test_tenant_is_told_how_to_ask_for_servers_of_their_own(self):
        fault = {'forbidden': {'code': 403, 'message': 'Policy does not'}}

        with self.assertRaisesRegex(
            exceptions.CommandError, 'HTTP 403.*--server <server>'
        ):
            rest.Client(Compute(answer(fault, 403))).evacuations()

    def test_server_of_somebody_else_is_not_there(self):
        def find_server(name, ignore_missing, all_projects=False):
            if all_projects:
                raise sdk_exceptions.ForbiddenException('all_tenants')

        compute = types.SimpleNamespace(find_server=find_server)

        with self.assertRaisesRegex(
            exceptions.CommandError, "^There is no server 'db'$"
        ):
            rest.Client(compute).server_id('db')

    def test_each_resource_is_asked_for_by_its_version(self):
        compute = Compute(
            answer({'instance_ha': {}}), answer({'evacuations': []})
        )

        rest.Client(compute).status()
        asked = compute.headers
        rest.Client(compute).evacuations()

        self.assertEqual({'OpenStack-API-Version': 'instance-ha 1.3'}, asked)
        self.assertEqual(
            {'OpenStack-API-Version': 'instance-ha 1.2'}, compute.headers
        )

    def test_older_api_is_asked_again_without_a_version(self):
        old = fault(406, 'Version 1.2')
        compute = Compute(
            old, answer({'evacuations': []}), answer({'evacuation': {}})
        )
        client = rest.Client(compute)

        self.assertEqual([], client.evacuations())
        client.evacuation(SERVER, 'e1')

        self.assertIsNone(compute.headers)
        self.assertEqual([], compute.answers)
        compute.answers = [old]
        with self.assertRaisesRegex(rest.Older, 'summary.*older.*upgrade'):
            client.summary()

    def test_summary_is_asked_for_a_host_and_a_time(self):
        summary = {'hosts': [answers.row()], 'cells_down': 0}
        compute = Compute(answer({'evacuations_summary': summary}))

        self.assertEqual(summary, rest.Client(compute).summary('h', 't'))

        self.assertEqual(
            [
                (
                    '/os-evacuations/summary',
                    {'source_compute': 'h', 'changes-since': 't'},
                )
            ],
            compute.calls,
        )

    def test_silence_is_told_from_refusal(self):
        for found, expected in (
            (fault(503, 'The cell is down'), rest.Unanswered),
            (answer(None, 502), rest.Unanswered),
            (fault(500, 'Unexpected'), rest.Unanswered),
            (fault(429, 'Too many'), rest.Unanswered),
            (ks_exceptions.ConnectFailure('refused'), rest.Unanswered),
            (ks_exceptions.ServiceUnavailable('keystone'), rest.Unanswered),
            (fault(404, 'No server'), rest.Missing),
            (answer(None, 404), exceptions.CommandError),
            (fault(403, 'Policy'), exceptions.CommandError),
            (ks_exceptions.SSLError('expired'), exceptions.CommandError),
        ):
            with (
                self.subTest(found=found),
                self.assertRaises(exceptions.CommandError) as raised,
            ):
                rest.Client(Compute(found)).evacuations_of(SERVER)
            self.assertIs(expected, type(raised.exception))

    def test_kept_answers_of_the_sdk_are_not_wanted(self):
        compute = Compute(answer({'evacuations': []}))

        rest.Client(compute, timeout=15.0).evacuations()

        self.assertEqual({'skip_cache': True, 'timeout': 15.0}, compute.words)

    def test_few_that_ended_are_asked_for_one_by_one(self):
        compute = Compute(
            answer({'evacuation': answers.done()}), fault(404, 'No server')
        )

        found = rest.Client(compute).again(
            [answers.item(SERVER, 'e1'), answers.item(SERVER, 'e2')], 'cmp-1'
        )

        self.assertEqual([answers.done()], found)
        self.assertEqual(
            f'/servers/{SERVER}/evacuations/e2', compute.calls[-1][0]
        )

    def test_many_that_ended_are_found_on_pages(self):
        wanted = [answers.item(SERVER, f'e{n}') for n in range(12)]
        compute = Compute(
            answer(
                {
                    'evacuations': [answers.item('new', 'e99'), *wanted[:6]],
                    'evacuations_links': [{'rel': 'next'}],
                }
            ),
            answer(
                {
                    'evacuations': wanted[6:],
                    'evacuations_links': [{'rel': 'next'}],
                }
            ),
        )

        found = rest.Client(compute).again(wanted, 'cmp-1')

        self.assertEqual(wanted, found)
        self.assertEqual(
            [{'host': 'cmp-1'}, {'host': 'cmp-1', 'marker': 'e5'}],
            [params for _, params in compute.calls],
        )

    def test_name_is_looked_up_once(self):
        asked = []

        def find_server(name, ignore_missing):
            asked.append(name)
            return types.SimpleNamespace(id=SERVER)

        client = rest.Client(types.SimpleNamespace(find_server=find_server))

        self.assertEqual(
            [SERVER, SERVER], [client.server_id('db') for _ in range(2)]
        )
        self.assertEqual(['db'], asked)

    def test_names_are_unknown_while_nova_is_silent(self):
        def find_server(name, ignore_missing):
            raise sdk_exceptions.HttpException('503', http_status=503)

        client = rest.Client(types.SimpleNamespace(find_server=find_server))

        with self.assertRaises(rest.Unanswered):
            client.server_id('db')

    def test_api_that_is_older_than_the_command_is_named(self):
        fault = {'computeFault': {'code': 406, 'message': 'Version 1.1'}}

        with self.assertRaisesRegex(
            exceptions.CommandError, '^Version 1.1 .*nova-api.*older'
        ):
            rest.Client(
                Compute(answer(fault, 406), answer(fault, 406))
            ).status()

    def test_an_api_of_the_release_before_gives_a_status_as_well(self):
        fault = {'computeFault': {'code': 406, 'message': 'Version 1.3'}}
        compute = Compute(
            answer(fault, 406), answer({'instance_ha': {'engines': []}})
        )

        self.assertEqual({'engines': []}, rest.Client(compute).status())
        self.assertEqual(
            {'OpenStack-API-Version': 'instance-ha 1.1'}, compute.headers
        )

    def test_strange_answers_are_errors(self):
        for strange in (answer(None), answer(None, 502), answer([], 500)):
            with self.assertRaisesRegex(exceptions.CommandError, 'HTTP'):
                rest.Client(Compute(strange)).status()

    def test_names_cannot_leave_their_place_in_the_path(self):
        compute = Compute(answer({'incident': {}}))

        rest.Client(compute).incident('../../servers?x')

        [(path, _)] = compute.calls
        self.assertEqual(
            '/os-instance-ha/incidents/..%2F..%2Fservers%3Fx', path
        )


if __name__ == '__main__':
    unittest.main()
