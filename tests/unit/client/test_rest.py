# SPDX-License-Identifier: Apache-2.0

"""The calls of the commands: pages, refusals, names."""

import types
import unittest

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_ha_plugins.client import rest


def answer(body, status=200):
    def read():
        if body is None:
            raise ValueError('no JSON')
        return body

    return types.SimpleNamespace(status_code=status, json=read)


class Compute:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def get(self, path, params, headers=None):
        self.calls.append((path, params))
        self.headers = headers
        return self.answers.pop(0)


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

    def test_operators_ask_for_our_version_and_tenants_for_none(self):
        compute = Compute(
            answer({'instance_ha': {}}), answer({'evacuations': []})
        )

        rest.Client(compute).status()
        asked = compute.headers
        rest.Client(compute).evacuations()

        self.assertEqual({'OpenStack-API-Version': 'instance-ha 1.1'}, asked)
        self.assertIsNone(compute.headers)

    def test_api_that_is_older_than_the_command_is_named(self):
        fault = {'computeFault': {'code': 406, 'message': 'Version 1.1'}}

        with self.assertRaisesRegex(
            exceptions.CommandError, '^Version 1.1 .*nova-api.*older'
        ):
            rest.Client(Compute(answer(fault, 406))).status()

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
