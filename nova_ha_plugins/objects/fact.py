# SPDX-License-Identifier: Apache-2.0

"""Versioned object of a fact, as it waits for the engine."""

from oslo_versionedobjects import fields

from nova_ha_plugins.objects import base
from nova_ha_plugins.recovery import facts


@base.register(facts.Fact)
class HaFact(base.HaObject):
    """What somebody outside told us."""

    # Version 1.0: Initial version
    VERSION = '1.0'

    fields = {
        'uuid': fields.StringField(),
        'kind': base.enum_field(facts.FactKind),
        'host': fields.StringField(),
        'service_uuid': fields.StringField(),
        'reason': fields.StringField(),
        'detail': fields.DictOfStringsField(),
        'channel': fields.StringField(),
        'trust_id': fields.StringField(),
        'alarm_id': fields.StringField(),
        'alarm_name': fields.StringField(),
        'verified': fields.BooleanField(),
        'by': fields.StringField(),
        'received_at': fields.FloatField(),
        'state': base.enum_field(facts.FactState),
        'text': fields.StringField(),
    }
