# SPDX-License-Identifier: Apache-2.0

"""Versioned objects of a host: its newest heartbeat and its record."""

from oslo_versionedobjects import fields

from nova_ha_plugins.objects import base
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values


@base.register(views.Beat)
class HaBeat(base.HaObject):
    """The newest heartbeat of a host."""

    # Version 1.0: Initial version
    VERSION = '1.0'

    fields = {
        'host': fields.StringField(),
        'service_uuid': fields.StringField(),
        'boot_id': fields.StringField(),
        'sequence': fields.IntegerField(),
        'system_uuid': fields.StringField(),
        'age': fields.FloatField(),
    }


@base.register(values.HostRecord)
class HaHostRecord(base.HaObject):
    """What is known of a host while it lives."""

    # Version 1.0: Initial version
    VERSION = '1.0'

    fields = {
        'host': fields.StringField(),
        'service_uuid': fields.StringField(),
        'system_uuid': fields.StringField(),
        'bmc_uuid': fields.StringField(),
        'map_state': fields.StringField(),
        'map_text': fields.StringField(),
        'verified_at': fields.FloatField(),
        'zone': fields.StringField(),
        'address': fields.StringField(),
    }
