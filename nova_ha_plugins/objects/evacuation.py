# SPDX-License-Identifier: Apache-2.0

"""Versioned object of an evacuation, as notifications carry it."""

import typing

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from nova_ha_plugins.objects import base
from nova_ha_plugins.recovery import views

_SINCE_1_1 = (
    'eta_p90_seconds',
    'eta_samples',
    'explanation',
    'storage',
    'boot_source',
    'size_class',
    'ahead',
    'phase_started_at',
)


@base.register(views.Evacuation)
class HaEvacuation(base.HaObject):
    """One evacuation of nova, with what was found out about it."""

    # Version 1.0: Initial version, what version 1.1 of the API shows
    # Version 1.1: What version 1.2 of the API shows
    VERSION = '1.1'

    fields = {
        'uuid': fields.StringField(),
        'server_uuid': fields.StringField(),
        'status': fields.StringField(),
        'state': fields.StringField(),
        'phase': fields.StringField(),
        'created_at': fields.FloatField(),
        'source_compute': fields.StringField(nullable=True),
        'dest_compute': fields.StringField(nullable=True),
        'progress': fields.IntegerField(nullable=True),
        'stalled': fields.BooleanField(),
        'reason': fields.StringField(nullable=True),
        'source_cleaned': fields.BooleanField(),
        'disk_total_bytes': fields.IntegerField(nullable=True),
        'disk_processed_bytes': fields.IntegerField(nullable=True),
        'disk_remaining_bytes': fields.IntegerField(nullable=True),
        'volumes_total': fields.IntegerField(nullable=True),
        'volumes_done': fields.IntegerField(nullable=True),
        'eta_seconds': fields.IntegerField(nullable=True),
        'updated_at': fields.FloatField(nullable=True),
        'started_at': fields.FloatField(nullable=True),
        'finished_at': fields.FloatField(nullable=True),
        'project_id': fields.StringField(nullable=True),
        'eta_p90_seconds': fields.IntegerField(nullable=True),
        'eta_samples': fields.IntegerField(nullable=True),
        'explanation': fields.StringField(nullable=True),
        'storage': fields.StringField(),
        'boot_source': fields.StringField(nullable=True),
        'size_class': fields.StringField(),
        'ahead': fields.IntegerField(nullable=True),
        'phase_started_at': fields.FloatField(nullable=True),
    }

    def obj_make_compatible(
        self, primitive: dict[str, typing.Any], target_version: str
    ) -> None:
        """Leave out what an older release does not know."""
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 1):
            for name in _SINCE_1_1:
                primitive.pop(name, None)
