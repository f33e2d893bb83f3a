# SPDX-License-Identifier: Apache-2.0

"""What follows evacuations, beside a test, and what it told and remembers."""

import oslo_messaging

from nova_ha_plugins.engine import following
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import schema


class Follower:
    """Follows the nova of a configuration until the test is over.

    :ivar told: (word, uuid of the server) of each notification.
    """

    def __init__(self, test, conf):
        self.told = []
        schema.sync(conf)
        self.store = store_api.open_store(conf)
        transport = oslo_messaging.get_notification_transport(conf, 'fake://')
        conf.set_override('transport_url', 'fake://')
        conf.set_override('interval', 0.2, 'progress')
        conf.set_override('idle_interval', 1.0, 'progress')
        listener = oslo_messaging.get_notification_listener(
            transport,
            [oslo_messaging.Target(topic='notifications', exchange='nova')],
            [self],
            executor='threading',
        )
        listener.start()
        test.addCleanup(listener.wait)
        test.addCleanup(listener.stop)
        lease = self.store.take_lease('the test', 3600.0)
        follows = following.Following(conf, lease, 'ctl-1')
        test.addCleanup(follows.stop)

    def info(self, ctxt, publisher, event_type, payload, metadata):
        data = payload['nova_ha_object.data']
        word = event_type.rpartition('.')[2]
        self.told.append((word, data['server_uuid']))

    error = info

    def words(self, server):
        """Return what was told of a server."""
        return [word for word, whose in self.told if whose == server]
