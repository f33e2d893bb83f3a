# SPDX-License-Identifier: Apache-2.0

"""What is told of evacuations becomes events in ceilometer's converter."""

import dataclasses
import pathlib
import unittest
from unittest import mock

from ceilometer.event import converter
from ceilometer.event import models
from ceilometer import service
import oslo_messaging
from stevedore import extension

import ceilometer_pollsters.data
from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import bus
from nova_ha_plugins.recovery import views
from tests.unit.engine import following as outside

DATA = pathlib.Path(ceilometer_pollsters.data.__file__).parent


class Sent:
    """A transport that keeps what it is given."""

    def __init__(self):
        self.messages = []

    def _send_notification(self, target, ctxt, message, version, retry):
        self.messages.append((target, ctxt, message))


def told(word, subject):
    """Return what ceilometer's agent gets when something is told."""
    conf = config.load([], [])
    conf.set_override('project_id', 'service-project', 'nova_ha')
    sent = Sent()
    # Registers the options that it would use.
    oslo_messaging.get_notification_transport(conf, 'fake://')
    with mock.patch.object(
        oslo_messaging,
        'get_notification_transport',
        autospec=True,
        return_value=sent,
    ):
        bus.Bus(conf, 'ctl-1').tell(word, subject)
    ((_, ctxt, message),) = sent.messages
    return message['priority'].lower(), {
        'ctxt': ctxt,
        'publisher_id': message['publisher_id'],
        'event_type': message['event_type'],
        'payload': message['payload'],
        'metadata': {
            'message_id': message['message_id'],
            'timestamp': message['timestamp'],
        },
    }


class EventTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        conf = service.prepare_service([], [])
        conf.set_override(
            'definitions_cfg_file',
            str(DATA / 'event_definitions.yaml'),
            'event',
        )
        cls.converter = converter.setup_events(
            conf,
            extension.ExtensionManager('ceilometer.event.trait_plugin'),
        )

    def event(self, word, **fields):
        subject = outside.an_evacuation(**fields)
        found = self.converter.to_event(*told(word, subject))
        return found, {trait.name: trait for trait in found.traits}

    def test_event_has_the_traits_of_the_evacuation(self):
        event, traits = self.event(
            'progress',
            progress=62,
            eta_seconds=40,
            phase='spawning',
            disk_total_bytes=2**30,
        )

        self.assertEqual('instance_ha.evacuation.progress', event.event_type)
        wanted = {
            'evacuation_id': 'mig-1',
            'resource_id': 'vm-of-mig-1',
            'phase': 'spawning',
            'source_host': 'cmp-1',
            'host': 'cmp-2',
            'progress': 62,
            'eta_seconds': 40,
            'disk_total_bytes': 2**30,
            'created_at': outside.BEGAN,
            'service': 'nova-ha-engine:ctl-1',
            # By it aodh finds the alarms that it is for.
            'project_id': 'service-project',
            'tenant_id': 'service-project',
        }
        self.assertEqual(wanted, {name: traits[name].value for name in wanted})
        self.assertEqual(models.Trait.INT_TYPE, traits['progress'].dtype)

    def test_what_is_not_known_is_no_trait(self):
        _, traits = self.event('start', dest_compute=None, progress=None)

        self.assertNotIn('host', traits)
        self.assertNotIn('progress', traits)

    def test_an_error_says_why(self):
        event, traits = self.event(
            'error',
            state='failed',
            reason='no_valid_host',
            explanation='No host has room',
        )

        self.assertEqual('instance_ha.evacuation.error', event.event_type)
        self.assertEqual('no_valid_host', traits['reason'].value)
        self.assertEqual('No host has room', traits['explanation'].value)

    def test_every_trait_is_of_a_field_that_there_is(self):
        fields = {field.name for field in dataclasses.fields(views.Evacuation)}
        text = (DATA / 'event_definitions.yaml').read_text()
        named = {
            line.rpartition("'nova_ha_object.data'.")[2]
            for line in text.splitlines()
            if "fields: payload.'nova_ha_object.data'." in line
        }

        self.assertGreater(len(named), 10)
        self.assertEqual(set(), named - fields)
