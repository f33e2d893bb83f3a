# SPDX-License-Identifier: Apache-2.0

"""What is told arrives as a notification, or whoever tells it knows."""

import threading
import unittest
from unittest import mock

import oslo_messaging

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import bus
from nova_ha_plugins.objects import base
from nova_ha_plugins.recovery import views
from tests.unit.engine import following as outside


def configuration(url):
    conf = config.load([], [])
    oslo_messaging.get_notification_transport(conf)
    if url:
        conf.set_override('transport_url', url)
    conf.set_override('project_id', 'the-service-project', 'nova_ha')
    return conf


class Ear:
    """An endpoint that keeps what it gets."""

    def __init__(self):
        self.came = threading.Semaphore(0)
        self.heard = []

    def info(self, ctxt, publisher, event_type, payload, metadata):
        self.heard.append(('info', ctxt, publisher, event_type, payload))
        self.came.release()

    def error(self, ctxt, publisher, event_type, payload, metadata):
        self.heard.append(('error', ctxt, publisher, event_type, payload))
        self.came.release()


class BusTest(unittest.TestCase):
    def listen(self, conf, exchange):
        ear = Ear()
        listener = oslo_messaging.get_notification_listener(
            oslo_messaging.get_notification_transport(conf),
            [oslo_messaging.Target(topic='notifications', exchange=exchange)],
            [ear],
            executor='threading',
        )
        listener.start()
        self.addCleanup(listener.wait)
        self.addCleanup(listener.stop)
        return ear

    def test_notifications_arrive_where_ceilometer_listens(self):
        conf = configuration('fake://')
        ear = self.listen(conf, 'nova')
        sender = bus.Bus(conf, 'ctl-1')
        subject = outside.an_evacuation(progress=62, eta_seconds=7)
        for word in ('start', 'progress', 'end', 'error'):
            sender.tell(word, subject)
        for _ in range(4):
            self.assertTrue(ear.came.acquire(timeout=30.0))

        # The queues of two priorities are not in one order.
        heard = {item[3].rpartition('.')[2]: item for item in ear.heard}
        self.assertEqual(
            {'start': 'info', 'progress': 'info', 'end': 'info'}
            | {'error': 'error'},
            {word: item[0] for word, item in heard.items()},
        )
        _, ctxt, publisher, event_type, payload = heard['progress']
        self.assertEqual('the-service-project', ctxt['project_id'])
        self.assertEqual('nova-ha-engine:ctl-1', publisher)
        self.assertEqual('instance_ha.evacuation.progress', event_type)
        self.assertEqual(
            subject, base.HaObject.obj_from_primitive(payload).to_core()
        )

    def test_bus_that_is_away_is_an_error_at_once(self):
        sender = bus.Bus(configuration('rabbit://a:b@127.0.0.1:1/'), 'ctl-1')
        self.addCleanup(sender.close)

        with self.assertRaisesRegex(Exception, 'refused'):
            sender.tell('start', outside.an_evacuation())

    def test_nobody_waits_for_a_bus_that_is_away(self):
        sender = bus.Bus(configuration('fake://'), 'ctl-1')
        with mock.patch.object(
            sender._transport, '_send_notification', autospec=True
        ) as send:
            sender.tell('start', outside.an_evacuation())

        self.assertEqual(0, send.call_args.kwargs['retry'])

    def test_it_is_known_whether_somebody_named_a_bus(self):
        self.assertFalse(bus.is_named(configuration('')))
        self.assertTrue(bus.is_named(configuration('fake://')))
        self.assertTrue(bus.is_named(configuration('nonsense')))

    def test_payload_says_which_version_it_has(self):
        payload = bus.payload_of(
            views.Evacuation('m', 'v', 'done', 'succeeded', 'done', 1.0)
        )

        self.assertEqual(
            ('HaEvacuation', 'nova_ha'),
            (
                payload['nova_ha_object.name'],
                payload['nova_ha_object.namespace'],
            ),
        )
        self.assertEqual('m', payload['nova_ha_object.data']['uuid'])
