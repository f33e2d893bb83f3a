# SPDX-License-Identifier: Apache-2.0

"""Whose context nova-compute reads images with."""

import unittest

from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_context import fixture
import oslo_messaging
from oslo_messaging.notify import notifier

from nova_ha_plugins.compute import records


class Listening(oslo_messaging.notify.Driver):
    """A driver that asks for the context when it is notified."""

    def notify(self, ctxt, message, priority, retry):
        self.found = records.current_context()


class ContextTest(unittest.TestCase):
    def setUp(self):
        store = fixture.ClearRequestContext()
        store.setUp()
        self.addCleanup(store.cleanUp)
        conf = cfg.ConfigOpts()
        conf([])
        transport = oslo_messaging.get_notification_transport(conf, 'fake://')
        self.addCleanup(transport.cleanup)
        self.notifier = notifier.Notifier(
            transport, 'compute.host2', driver='noop'
        )
        self.driver = Listening(conf, ['topic'], transport)
        for extension in self.notifier._driver_mgr:
            extension.obj = self.driver

    def rebuild(self, context):
        """Stand for nova-compute: it has a context and notifies."""
        self.notifier.info(context, 'compute.instance.rebuild.start', {})

    def test_the_token_is_found_that_the_notification_has_lost(self):
        context = oslo_context.RequestContext(auth_token='secret')

        self.rebuild(context)

        # The one that is current by now has none.
        self.assertIsNone(oslo_context.get_current().auth_token)
        self.assertIs(context, self.driver.found)

    def test_a_request_without_a_token_has_the_current_context(self):
        self.rebuild(oslo_context.RequestContext(request_id='req-1'))

        self.assertEqual('req-1', self.driver.found.request_id)
