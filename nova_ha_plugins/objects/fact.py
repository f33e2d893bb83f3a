# SPDX-License-Identifier: Apache-2.0

"""Versioned object of a fact, as it waits for the engine."""

import typing

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from nova_ha_plugins.objects import base
from nova_ha_plugins.recovery import facts


@base.register(facts.Fact)
class HaFact(base.HaObject):
    """What somebody outside told us."""

    # Version 1.0: Initial version
    # Version 1.1: state 'unconfirmed'
    VERSION = '1.1'

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

    def obj_make_compatible(
        self, primitive: dict[str, typing.Any], target_version: str
    ) -> None:
        """Say it in the words of an older release."""
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 1):
            if primitive.get('state') == facts.FactState.UNCONFIRMED.value:
                # There nobody may act on it either.
                primitive['state'] = facts.FactState.REJECTED.value
