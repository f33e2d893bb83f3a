# SPDX-License-Identifier: Apache-2.0

"""Values that the tests of the recovery core begin with."""

import hypothesis

from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import views

HOST = 'cmp-1'
SYSTEM = '11111111-2222-3333-4444-555555555555'
OTHER_SYSTEM = '99999999-2222-3333-4444-555555555555'
NOW = 1000.0
MARK = ('boot-a', 7)

# A slow machine is no reason to fail, and the first text in a fresh checkout
# makes tables for seconds.
many = hypothesis.settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)

Phase = incident.Phase
Power = incident.Power
ServerState = incident.ServerState
Sign = incident.Sign


def server(uuid='vm-1', **changes):
    given = {
        'name': uuid,
        'vm_state': 'active',
        'protected': True,
        'state': ServerState.QUEUED,
        **changes,
    }
    return incident.Server(uuid=uuid, **given)


def fence(**changes):
    given = {
        'state': incident.FenceState.INTENDED,
        'epoch': 1,
        'attempt': 1,
        'intended_at': NOW,
        **changes,
    }
    return incident.FenceRecord(**given)


def valid_fence(**changes):
    given = {
        'state': incident.FenceState.VALID,
        'calls': 1,
        'called_at': NOW,
        'power': Power.OFF,
        'confirmed_at': NOW,
        'evidence_class': incident.FenceClass.CONFIRMED_OFF,
        'driver': 'redfish',
        'system_uuid': SYSTEM,
        'beat_mark': MARK,
        **changes,
    }
    return fence(**given)


def make(phase=Phase.SUSPECTED, **changes):
    """Return an incident as it may be in that phase."""
    given = {
        'uuid': 'inc-1',
        'host': HOST,
        'service_uuid': 'svc-1',
        'epoch': 1,
        'phase': phase,
        'opened_at': NOW,
        'updated_at': NOW,
        'domain': 'az1',
        'expected_system_uuid': SYSTEM,
        'servers': (server(),),
    }
    if phase in (Phase.FENCING, Phase.NEEDS_OPERATOR):
        given['fence'] = fence()
    if phase == Phase.HELD:
        given |= {'code': 'evidence-unknown', 'reason': 'unknown is not dead'}
    if phase == Phase.NEEDS_OPERATOR:
        given |= {'code': 'fence-unconfirmed', 'reason': 'not read as Off'}
    if phase in incident.CLOSED_PHASES:
        given['closed_at'] = NOW
    if phase in (
        Phase.CONTAINING,
        Phase.EVACUATING,
        Phase.RECOVERED,
        Phase.RETURNING,
        Phase.CLOSED,
    ):
        given['fence'] = valid_fence()
    if phase in (
        Phase.EVACUATING,
        Phase.RECOVERED,
        Phase.RETURNING,
        Phase.CLOSED,
    ):
        given |= {
            'forced_down': incident.StepState.DONE,
            'disabled': incident.StepState.DONE,
            'listed': True,
        }
    return incident.Incident(**(given | changes))


def readings(
    heartbeat=Sign.SILENT, probe=Sign.SILENT, nova=Sign.SILENT, **networks
):
    return (
        incident.Reading(evidence.HEARTBEAT, heartbeat, NOW, 9.5),
        incident.Reading(evidence.PROBE, probe, NOW),
        *(
            incident.Reading(evidence.channel_of(network), sign, NOW)
            for network, sign in networks.items()
        ),
        incident.Reading(evidence.NOVA, nova, NOW),
    )


def assessed(
    at=NOW,
    hold=None,
    silent_probes=3,
    management_lost=evidence.Response.ALERT,
    **signs,
):
    return events.Assessed(
        at, readings(**signs), silent_probes, hold, management_lost
    )


def power(state, system=SYSTEM, at=NOW + 1, mark=MARK):
    return events.PowerRead(
        at, 'redfish', views.PowerReading(state, system, f'raw {state}'), mark
    )


def view(uuid='vm-1', **changes):
    given = {
        'name': uuid,
        'project_id': 'p',
        'host': HOST,
        'vm_state': 'active',
        'task_state': None,
        'metadata': {},
        **changes,
    }
    return views.ServerView(uuid=uuid, **given)


def record(status, uuid='mig-1', destination=None, server_uuid='vm-1'):
    return views.MigrationView(
        uuid=uuid,
        server_uuid=server_uuid,
        source_compute=HOST,
        dest_compute=destination,
        status=status,
        created_at='2026-01-01T00:00:00',
    )


def domain(name='az1', hosts=10, silent=1, **changes):
    return gates.Domain(name, hosts, silent, **changes)


def scene(hosts=10, **changes):
    """Return a cloud of hosts of az1 in which only HOST is silent."""
    given = {
        'now': NOW,
        'armed': True,
        'arm_text': 'armed by alice: ready',
        'watching': 3600.0,
        'hosts': hosts,
        'silent': 1,
        'newest_silence': 3.0,
        'domains': (domain(hosts=hosts),),
        **changes,
    }
    return gates.Scene(**given)


def case(subject=None, probes=3, limits=None, found=None, **changes):
    """Return what the gates are asked with; signs of channels by name."""
    signs = {
        name: changes.pop(name)
        for name in ('heartbeat', 'probe', 'nova', 'storage')
        if name in changes
    }
    suspect = gates.suspect_of(
        subject or make(), readings(**signs), probes, NOW, found
    )
    return gates.Case(suspect, scene(**changes), limits or gates.Limits())


def assess(subject, **more):
    """Return the incident after the gates were asked, as the engine does."""
    asked = case(subject, **more)
    return machine.step(
        subject,
        events.Assessed(
            asked.scene.now,
            asked.suspect.readings,
            asked.suspect.silent_probes,
            gates.hold(asked),
            asked.limits.management_lost,
            asked,
        ),
    )
