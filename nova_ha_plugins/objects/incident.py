# SPDX-License-Identifier: Apache-2.0

"""Versioned objects of an incident, as it is stored and shown."""

import typing

from oslo_utils import versionutils
from oslo_versionedobjects import fields

from nova_ha_plugins.objects import base
from nova_ha_plugins.recovery import incident


@base.register(incident.Reading)
class HaReading(base.HaObject):
    """What one channel said of a host."""

    # Version 1.0: Initial version
    VERSION = '1.0'

    fields = {
        'channel': fields.StringField(),
        'sign': base.enum_field(incident.Sign),
        'at': fields.FloatField(),
        'age': fields.FloatField(nullable=True),
        'text': fields.StringField(),
    }


@base.register(incident.FenceRecord)
class HaFenceRecord(base.HaObject):
    """The proof that a host is off, or the intent to make it so."""

    # Version 1.0: Initial version
    # Version 1.1: evidence class 'self-fence-window-elapsed'; networks,
    # off_mark
    VERSION = '1.1'

    fields = {
        'state': base.enum_field(incident.FenceState),
        'epoch': fields.IntegerField(),
        'attempt': fields.IntegerField(),
        'intended_at': fields.FloatField(),
        'calls': fields.IntegerField(),
        'called_at': fields.FloatField(nullable=True),
        'power': base.enum_field(incident.Power),
        'confirmed_at': fields.FloatField(nullable=True),
        'evidence_class': base.enum_field(incident.FenceClass, nullable=True),
        'driver': fields.StringField(),
        'by': fields.StringField(),
        'raw': fields.StringField(),
        'system_uuid': fields.StringField(),
        'beat_mark': fields.ListOfStringsField(nullable=True),
        'off_mark': fields.ListOfStringsField(nullable=True),
        'networks': fields.ListOfStringsField(),
    }

    def obj_make_compatible(
        self, primitive: dict[str, typing.Any], target_version: str
    ) -> None:
        """Say it in the words of an older release."""
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 1):
            primitive.pop('networks', None)
            primitive.pop('off_mark', None)
            found = primitive.get('evidence_class')
            if found == incident.FenceClass.SELF_FENCE_WINDOW.value:
                # An older release knows no such proof.
                primitive['evidence_class'] = None
                primitive['state'] = incident.FenceState.VOID.value


@base.register(incident.Server)
class HaServer(base.HaObject):
    """One server that lived on the failed host."""

    # Version 1.0: Initial version
    # Version 1.1: task_state, locked, tags, reset, restored, since
    VERSION = '1.1'

    fields = {
        'uuid': fields.StringField(),
        'name': fields.StringField(),
        'project_id': fields.StringField(),
        'vm_state': fields.StringField(),
        'task_state': fields.StringField(),
        'locked': fields.BooleanField(),
        'tags': fields.Field(fields.List(fields.List(fields.String()))),
        'priority': fields.IntegerField(),
        'protected': fields.BooleanField(),
        'state': base.enum_field(incident.ServerState),
        'code': fields.StringField(),
        'reason': fields.StringField(),
        'attempts': fields.IntegerField(),
        'waits': fields.IntegerField(),
        'baseline': fields.StringField(nullable=True),
        'migration_uuid': fields.StringField(nullable=True),
        'destination': fields.StringField(nullable=True),
        'intended_at': fields.FloatField(nullable=True),
        'answered': fields.BooleanField(),
        'finished_at': fields.FloatField(nullable=True),
        'retry_at': fields.FloatField(nullable=True),
        'reset': base.enum_field(incident.StepState),
        'restored': base.enum_field(incident.StepState),
        'since': fields.FloatField(nullable=True),
    }

    def obj_make_compatible(
        self, primitive: dict[str, typing.Any], target_version: str
    ) -> None:
        """Say it in the words of an older release."""
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 1):
            for name in (
                'task_state',
                'locked',
                'tags',
                'reset',
                'restored',
                'since',
            ):
                primitive.pop(name, None)


@base.register(incident.Move)
class HaMove(base.HaObject):
    """One server that leaves a living host by live migration."""

    # Version 1.0: Initial version
    VERSION = '1.0'

    fields = {
        'uuid': fields.StringField(),
        'name': fields.StringField(),
        'priority': fields.IntegerField(),
        'state': base.enum_field(incident.MoveState),
        'code': fields.StringField(),
        'reason': fields.StringField(),
        'attempts': fields.IntegerField(),
        'baseline': fields.StringField(nullable=True),
        'migration_uuid': fields.StringField(nullable=True),
        'destination': fields.StringField(nullable=True),
        'intended_at': fields.FloatField(nullable=True),
        'answered': fields.BooleanField(),
        'retry_at': fields.FloatField(nullable=True),
    }


@base.register(incident.Entry)
class HaTimelineEntry(base.HaObject):
    """One line of the timeline."""

    # Version 1.0: Initial version
    # Version 1.1: kind, input
    VERSION = '1.1'

    fields = {
        'seq': fields.IntegerField(),
        'at': fields.FloatField(),
        'code': fields.StringField(),
        'text': fields.StringField(),
        'kind': base.enum_field(incident.Kind),
        'input': fields.StringField(),
    }

    def obj_make_compatible(
        self, primitive: dict[str, typing.Any], target_version: str
    ) -> None:
        """Say it in the words of an older release."""
        super().obj_make_compatible(primitive, target_version)
        if versionutils.convert_version_to_tuple(target_version) < (1, 1):
            primitive.pop('kind', None)
            primitive.pop('input', None)


@base.register(incident.Incident)
class HaIncident(base.HaObject):
    """One failure of one host."""

    # Version 1.0: Initial version
    # Version 1.1: verdict 'isolated'; answered_at
    # Version 1.2: phase 'migrating'; verdict 'suspected';
    # dead_since, beating_since, networks_lost, networks_heard, moves,
    # quarantined, token, engine, reviewed_at
    VERSION = '1.2'

    fields = {
        'uuid': fields.StringField(),
        'host': fields.StringField(),
        'service_uuid': fields.StringField(),
        'epoch': fields.IntegerField(),
        'phase': base.enum_field(incident.Phase),
        'opened_at': fields.FloatField(),
        'updated_at': fields.FloatField(),
        'code': fields.StringField(),
        'reason': fields.StringField(),
        'next_look_at': fields.FloatField(nullable=True),
        'domain': fields.StringField(),
        'expected_system_uuid': fields.StringField(),
        'silent_probes': fields.IntegerField(),
        'answered_at': fields.FloatField(nullable=True),
        'verdict': base.enum_field(incident.Verdict),
        'readings': fields.ListOfObjectsField('HaReading'),
        'dead_since': fields.FloatField(nullable=True),
        'beating_since': fields.FloatField(nullable=True),
        'networks_lost': fields.ListOfStringsField(),
        'networks_heard': fields.ListOfStringsField(),
        'moves': fields.ListOfObjectsField('HaMove'),
        'quarantined': fields.BooleanField(),
        'token': fields.IntegerField(),
        'engine': fields.StringField(),
        'released': fields.BooleanField(),
        'return_released': fields.BooleanField(),
        'reviewed_at': fields.FloatField(nullable=True),
        'fence': fields.ObjectField('HaFenceRecord', nullable=True),
        'forced_down': base.enum_field(incident.StepState),
        'disabled': base.enum_field(incident.StepState),
        'unforced': base.enum_field(incident.StepState),
        'enabled': base.enum_field(incident.StepState),
        'listed': fields.BooleanField(),
        'servers': fields.ListOfObjectsField('HaServer'),
        'timeline': fields.ListOfObjectsField('HaTimelineEntry'),
        'outcome': fields.StringField(),
        'closed_at': fields.FloatField(nullable=True),
        'generation': fields.IntegerField(),
    }
    obj_relationships = {
        'readings': [('1.0', '1.0'), ('1.1', '1.0'), ('1.2', '1.0')],
        'fence': [('1.0', '1.0'), ('1.1', '1.0'), ('1.2', '1.1')],
        'moves': [('1.2', '1.0')],
        'servers': [('1.0', '1.0'), ('1.1', '1.0'), ('1.2', '1.1')],
        'timeline': [('1.0', '1.0'), ('1.1', '1.0'), ('1.2', '1.1')],
    }

    def obj_make_compatible(
        self, primitive: dict[str, typing.Any], target_version: str
    ) -> None:
        """Say it in the words of an older release."""
        super().obj_make_compatible(primitive, target_version)
        target = versionutils.convert_version_to_tuple(target_version)
        if target < (1, 2):
            for name in (
                'dead_since',
                'beating_since',
                'networks_lost',
                'networks_heard',
                'moves',
                'quarantined',
                'token',
                'engine',
                'reviewed_at',
            ):
                primitive.pop(name, None)
            if primitive.get('phase') == incident.Phase.MIGRATING.value:
                # There too the host lives and nothing is fenced.
                primitive['phase'] = incident.Phase.HELD.value
            if primitive.get('verdict') == incident.Verdict.SUSPECTED.value:
                primitive['verdict'] = incident.Verdict.UNKNOWN.value
        if target < (1, 1):
            primitive.pop('answered_at', None)
            if primitive.get('verdict') == incident.Verdict.ISOLATED.value:
                # There too nothing is fenced, and a channel is to be looked
                # at.
                primitive['verdict'] = incident.Verdict.DEGRADED.value
