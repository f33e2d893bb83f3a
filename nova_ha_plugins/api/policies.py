# SPDX-License-Identifier: Apache-2.0

"""Who may see evacuations and incidents, and who may arm, brake, attest.

The rules live in nova's policy file, beside nova's own: an operator overrides
them there. ``rule:context_is_admin`` and the other checks are nova's.
"""

from oslo_policy import policy

_ADMIN = 'rule:context_is_admin'
_READER = 'rule:project_reader_or_admin'
_SERVICE = 'rule:service_or_admin'
_NOBODY = '!'

_ROOT = 'os_compute_api:instance-ha:'

EVACUATIONS_INDEX = _ROOT + 'evacuations:index'
EVACUATIONS_SHOW = _ROOT + 'evacuations:show'
EVACUATIONS_SHOW_HOST = _ROOT + 'evacuations:show:host'
EVACUATIONS_SUMMARY = _ROOT + 'evacuations:summary'
EVACUATIONS_REPORT = _ROOT + 'evacuations:report'
GUARD_OVERRIDE = _ROOT + 'evacuations:guard:override'
STATUS_SHOW = _ROOT + 'status:show'
INCIDENTS_INDEX = _ROOT + 'incidents:index'
INCIDENTS_SHOW = _ROOT + 'incidents:show'
ARM = _ROOT + 'arm'
DISARM = _ROOT + 'disarm'
MAINTENANCE = _ROOT + 'maintenance'
PAUSE = _ROOT + 'pause'
BRAKES_INDEX = _ROOT + 'brakes:index'
HISTORY_INDEX = _ROOT + 'history:index'
RELEASE = _ROOT + 'incidents:release'
ATTEST = _ROOT + 'incidents:attest'

_evacuation_rules = [
    policy.DocumentedRuleDefault(
        name=EVACUATIONS_INDEX,
        check_str=_ADMIN,
        description='List evacuations of all servers of all projects.',
        operations=[{'method': 'GET', 'path': '/os-evacuations'}],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=EVACUATIONS_SHOW,
        check_str=_READER,
        description='List and show the evacuations of one server.',
        operations=[
            {'method': 'GET', 'path': '/servers/{server_id}/evacuations'},
            {
                'method': 'GET',
                'path': '/servers/{server_id}/evacuations/{evacuation_id}',
            },
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=EVACUATIONS_SHOW_HOST,
        check_str=_ADMIN,
        description=(
            'See host names and who asked for the evacuation. Without it '
            'these fields of an evacuation are null.'
        ),
        operations=[
            {'method': 'GET', 'path': '/servers/{server_id}/evacuations'},
            {
                'method': 'GET',
                'path': '/servers/{server_id}/evacuations/{evacuation_id}',
            },
            {'method': 'GET', 'path': '/os-evacuations'},
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=EVACUATIONS_SUMMARY,
        check_str=_ADMIN,
        description=(
            'Count the evacuations from each host by state. The rule '
            "'show:host' is needed too: the answer names hosts."
        ),
        operations=[{'method': 'GET', 'path': '/os-evacuations/summary'}],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=EVACUATIONS_REPORT,
        check_str=_SERVICE,
        description=(
            'Say how many bytes of an evacuation are copied. Meant for '
            'software on the destination, where nova-compute does not do it.'
        ),
        operations=[
            {
                'method': 'PUT',
                'path': '/servers/{server_id}/evacuations/{evacuation_id}'
                '/progress',
            }
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=GUARD_OVERRIDE,
        check_str=_NOBODY,
        description=(
            'Evacuate a server although an evacuation of it is still open. '
            'Whoever may do this can let the same server run twice.'
        ),
        operations=[
            {
                'method': 'POST',
                'path': '/servers/{server_id}/action (evacuate)',
            }
        ],
        scope_types=['project'],
    ),
]

_recovery_rules = [
    policy.DocumentedRuleDefault(
        name=STATUS_SHOW,
        check_str=_ADMIN,
        description='Show whether the engine is armed, alive and protecting.',
        operations=[{'method': 'GET', 'path': '/os-instance-ha'}],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=ARM,
        check_str=_ADMIN,
        description='Let the engine fence and evacuate.',
        operations=[
            {'method': 'POST', 'path': '/os-instance-ha/action (arm)'}
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=DISARM,
        check_str=_ADMIN,
        description='Let the engine only observe and record.',
        operations=[
            {'method': 'POST', 'path': '/os-instance-ha/action (disarm)'}
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=MAINTENANCE,
        check_str=_ADMIN,
        description=(
            'Begin and end the maintenance of a host, which is not fenced '
            'meanwhile.'
        ),
        operations=[
            {'method': 'POST', 'path': '/os-instance-ha/maintenance'},
            {'method': 'DELETE', 'path': '/os-instance-ha/maintenance/{host}'},
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=PAUSE,
        check_str=_ADMIN,
        description=(
            'Begin and end a pause, in which nothing new is fenced or '
            'evacuated in an availability zone or in the whole cloud.'
        ),
        operations=[
            {'method': 'POST', 'path': '/os-instance-ha/pauses'},
            {'method': 'DELETE', 'path': '/os-instance-ha/pauses/{name}'},
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=BRAKES_INDEX,
        check_str=_ADMIN,
        description='List hosts in maintenance, and pauses.',
        operations=[
            {'method': 'GET', 'path': '/os-instance-ha/maintenance'},
            {'method': 'GET', 'path': '/os-instance-ha/pauses'},
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=HISTORY_INDEX,
        check_str=_ADMIN,
        description=(
            'List who armed and disarmed, set and ended maintenance and '
            'pauses, and why.'
        ),
        operations=[{'method': 'GET', 'path': '/os-instance-ha/history'}],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=INCIDENTS_INDEX,
        check_str=_ADMIN,
        description='List failures of hosts.',
        operations=[{'method': 'GET', 'path': '/os-instance-ha/incidents'}],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=INCIDENTS_SHOW,
        check_str=_ADMIN,
        description='Show a failure of a host with evidence and timeline.',
        operations=[
            {
                'method': 'GET',
                'path': '/os-instance-ha/incidents/{incident_id}',
            }
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=RELEASE,
        check_str=_ADMIN,
        description='Let an incident that is held go on.',
        operations=[
            {
                'method': 'POST',
                'path': '/os-instance-ha/incidents/{incident_id}/action '
                '(release)',
            }
        ],
        scope_types=['project'],
    ),
    policy.DocumentedRuleDefault(
        name=ATTEST,
        check_str=_ADMIN,
        description=(
            'Attest that a host is switched off, where no fencing device can '
            'say so, and confirm it. Whoever may do this can let the same '
            'server run twice.'
        ),
        operations=[
            {
                'method': 'POST',
                'path': '/os-instance-ha/incidents/{incident_id}/action '
                '(attest)',
            },
            {
                'method': 'POST',
                'path': '/os-instance-ha/facts/{fact_id}/action (confirm)',
            },
        ],
        scope_types=['project'],
    ),
]


def list_rules() -> list[policy.DocumentedRuleDefault]:
    """Every rule with its default, for nova's enforcer and the generator."""
    return [*_evacuation_rules, *_recovery_rules]


def get_enforcer() -> policy.Enforcer:
    """Nova's enforcer with our rules, for the command-line policy tools."""
    # Imported here: the sample generator lists the rules without nova.
    from nova_ha_plugins.api import compat

    enforcer = compat.nova_enforcer()
    compat.register_rules(list_rules())
    return enforcer
