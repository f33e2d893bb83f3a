# SPDX-License-Identifier: Apache-2.0

"""The policy rule that guards what others tell us of a host."""

import typing

from oslo_config import cfg
from oslo_policy import policy

REPORT = 'instance-ha:incidents:report'

_rules = [
    policy.DocumentedRuleDefault(
        name=REPORT,
        check_str='role:admin',
        description=(
            'Report a failed host: by the webhook with a token, or by an '
            'alarm action trust+nova-ha://, whose keystone trust must carry '
            'roles that satisfy this rule. Whoever satisfies it can have a '
            'silent host fenced.'
        ),
        operations=[
            {'method': 'POST', 'path': '/v1/alarm'},
        ],
        scope_types=['project'],
    ),
]


class Trust(typing.Protocol):
    """A keystone trust, as the door to keystone shows it."""

    @property
    def trustor_user_id(self) -> str: ...
    @property
    def project_id(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...


def list_rules() -> list[policy.RuleDefault]:
    """Return the rules, for the sample generator and for enforcers."""
    return list(_rules)


def enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return an enforcer of the rules that reads the operator's file."""
    made = policy.Enforcer(conf)
    made.register_defaults(list_rules())
    return made


def roles_allow(
    enforcer: policy.Enforcer,
    *,
    roles: typing.Iterable[str],
    user_id: str,
    project_id: str,
    domain_id: str = '',
    system_scope: str = '',
) -> bool:
    """Return whether somebody with these roles may report a failure.

    :param domain_id: the domain that a token is for, '' for a project's: the
        administrator of a domain is not one of the cloud.
    :param system_scope: 'all' for a token of the whole system.
    """
    creds = {
        'roles': list(roles),
        'user_id': user_id,
        'project_id': project_id,
        'domain_id': domain_id or None,
        'system_scope': system_scope or None,
    }
    return bool(enforcer.enforce(REPORT, {}, creds))


def trust_allows(enforcer: policy.Enforcer, trust: Trust | None) -> bool:
    """Return whether the owner of a trust may report a failure.

    A trust that is gone allows nothing: its alarm was deleted, or somebody
    made the fact up.
    """
    if trust is None or getattr(trust, 'deleted', False):
        return False
    return roles_allow(
        enforcer,
        roles=trust.roles,
        user_id=trust.trustor_user_id,
        project_id=trust.project_id,
    )
