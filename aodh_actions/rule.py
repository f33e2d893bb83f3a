# SPDX-License-Identifier: Apache-2.0

"""The rule of alarms of type ``hypervisor_heartbeat``, in aodh's API.

Only an administrator may have one: it tells of hosts, of which a tenant knows
nothing. Aodh itself would let any tenant use any type.
"""

from typing import Any

from aodh.api.controllers.v2 import base
from aodh.api import rbac
import pecan
from wsme import types as wtypes

HOSTS = 'hosts'
SERVICE = 'service'

DEFAULT_MAX_AGE = 15
LONGEST = 86400


class HypervisorHeartbeatRule(base.AlarmRule):
    """What is looked at, and how old it may be."""

    subject = wtypes.wsattr(wtypes.Enum(str, HOSTS, SERVICE), default=HOSTS)
    'Hosts that fell silent, or the recovery service itself (dead-man).'

    max_age = wtypes.wsattr(
        wtypes.IntegerType(minimum=1, maximum=LONGEST), default=DEFAULT_MAX_AGE
    )
    'Seconds of silence. Hosts are never judged sooner than the watcher does.'

    remind = wtypes.wsattr(
        wtypes.IntegerType(minimum=0, maximum=LONGEST), default=0
    )
    'Seconds after which a state of alarm is told again; 0 for never.'

    @property
    def default_description(self) -> str:
        """The sentence that stands where nobody wrote one."""
        if self.subject == SERVICE:
            return (
                'Nobody recovers hosts: no engine, no watcher, or monitoring '
                f'is blind for {self.max_age}s'
            )
        return f'A hypervisor sent no heartbeat for {self.max_age}s'

    def as_dict(self) -> dict[str, Any]:
        """The rule as aodh stores it."""
        return dict(self.as_dict_from_keys(['subject', 'max_age', 'remind']))

    @staticmethod
    def validate_alarm(alarm: Any) -> None:
        """Refuse everybody but administrators."""
        request = pecan.request
        if not rbac.is_admin(request, request.enforcer):
            raise base.ClientSideError(
                "An alarm of type 'hypervisor_heartbeat' should be made by "
                "an administrator (aodh's policy 'context_is_admin'), and is "
                'not. Nothing was changed',
                status_code=403,
            )
