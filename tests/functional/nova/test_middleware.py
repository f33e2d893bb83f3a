# SPDX-License-Identifier: Apache-2.0

"""The filter by itself, around an application that is not nova."""

import unittest

# Before every other module of nova.
import nova.tests.functional  # noqa: F401
import webob

from nova_ha_plugins.api import middleware


class MiddlewareTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.passed = []
        self.bodies = []

        def application(environ, start_response):
            self.passed.append(environ['PATH_INFO'])
            self.bodies.append(environ['wsgi.input'].read())
            return webob.Response('nova')(environ, start_response)

        self.filter = middleware.filter_factory({})(application)

    def test_what_is_not_ours_goes_on_untouched(self):
        paths = ['/', '/servers', '/servers/1/migrations', '/os-evacuations/']
        paths.append('/servers/a/b/evacuations')

        for path in paths:
            answer = webob.Request.blank(path).get_response(self.filter)
            self.assertEqual('nova', answer.text, path)

        self.assertEqual(paths, self.passed)

    def test_bodies_that_the_guard_looked_at_arrive_whole(self):
        path = '/servers/1/action'
        bodies = [b'{"reboot": {}}', b'{"a": "evacuate"}', b'evacuate[', b'']
        bodies.append(b'{"rebuild": "%s"}' % (b'\\u0065' * 20_000))

        for body in bodies:
            request = webob.Request.blank(path, method='POST', body=body)
            self.assertEqual('nova', request.get_response(self.filter).text)

        self.assertEqual(bodies, self.bodies)

    def test_evacuation_is_refused_where_the_guard_knows_nobody(self):
        request = webob.Request.blank(
            '/servers/1/action', method='POST', body=b'{"evacuate": {}}'
        )

        answer = request.get_response(self.filter)

        self.assertEqual(500, answer.status_int)
        self.assertIn('after keystonecontext', answer.text)
        self.assertEqual([], self.passed)

    def test_wrong_place_in_the_pipeline_is_named(self):
        request = webob.Request.blank('/os-evacuations')

        answer = request.get_response(self.filter)

        self.assertEqual(500, answer.status_int)
        self.assertIn('after keystonecontext', answer.text)
        self.assertEqual([], self.passed)
