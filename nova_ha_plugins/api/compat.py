# SPDX-License-Identifier: Apache-2.0

"""Every part of nova that the extension uses, in one place.

Nova promises none of these names to anybody. When a release moves one, this
module changes and nothing else does. It is imported inside nova-api only.
"""

from collections import abc
import typing
from urllib import parse

from nova.api import openstack
from nova.api.openstack import common
from nova.api.openstack import wsgi
from nova.api import validation
from nova.api.validation import validators
from nova.compute import api as compute_api
import nova.conf
from nova import context as nova_context
from nova.db.main import api as main_db
from nova.db.main import models
from nova import exception
from nova import objects
from nova.policies import evacuate as evacuate_policies
import nova.policy
from nova import servicegroup
from oslo_db import exception as db_exception
from oslo_policy import policy
import sqlalchemy as sa

__all__ = (
    'CONF',
    'EVACUATE_RULE',
    'Controller',
    'Fault',
    'Mapper',
    'Request',
    'Resource',
    'common',
    'compute_api',
    'exception',
    'main_db',
    'models',
    'objects',
    'validation',
    'wsgi',
)

CONF = nova.conf.CONF
EVACUATE_RULE = evacuate_policies.BASE_POLICY_NAME
Mapper = openstack.ProjectMapper
Controller = wsgi.Controller
Fault = wsgi.Fault
Request = wsgi.Request
Resource = wsgi.Resource


class CellDown(db_exception.DBError):
    """The database of a cell does not answer, as nova found out."""


def register_rules(rules: abc.Sequence[policy.RuleDefault]) -> None:
    """Let nova's own enforcer, and so nova's policy file, know the rules.

    It is asked at every request, because ``nova.policy.reset`` forgets them.
    Overrides of the policy file apply: the enforcer merges at each check.
    """
    nova.policy.init()
    enforcer = nova.policy._ENFORCER
    for rule in rules:
        if rule.name not in enforcer.registered_rules:
            try:
                enforcer.register_default(rule)
            except policy.DuplicatePolicyError:
                # Another thread was faster; the rule is the same.
                continue


def nova_enforcer() -> policy.Enforcer:
    """Nova's enforcer, as nova's own policy tools get it."""
    return nova.policy.get_enforcer()


def answer_validator(schema: dict[str, typing.Any]) -> typing.Any:
    """Give a validator with nova's formats, to be used again and again."""
    return validators._SchemaValidator(schema).validator


def action_of(body: bytes) -> str | None:
    """Give which action nova takes a body to ask for, None for none."""
    try:
        return str(wsgi.action_peek(body))
    except (
        exception.MalformedRequestBody,
        # What is no object, and what is nested too deeply: nova stumbles
        # over it in the same way.
        AttributeError,
        TypeError,
        RecursionError,
    ):
        return None


def server(ctxt: typing.Any, server_id: str) -> typing.Any:
    """Give the server and leave the context at the server's cell.

    :raises webob.exc.HTTPNotFound: if there is none that the caller may see.
    :raises CellDown: if its cell does not answer.
    """
    try:
        return common.get_instance(compute_api.API(), ctxt, server_id)
    except exception.NovaException as error:
        # Nova has no class of its own for it, and would answer 500.
        if type(error) is not exception.NovaException:
            raise
        raise CellDown(error) from error


def reader(ctxt: typing.Any) -> typing.Any:
    """Give a session that reads in the cell of the context, for ``with``."""
    return main_db.get_context_manager(ctxt).reader.using(ctxt)


def writer(ctxt: typing.Any) -> typing.Any:
    """Give a session that writes in the cell of the context, for ``with``."""
    return main_db.get_context_manager(ctxt).writer.using(ctxt)


def each_cell(
    ctxt: typing.Any, function: typing.Any, *args: typing.Any
) -> tuple[list[typing.Any], int]:
    """Give what the function gives for each cell that answers.

    Beside it, how many cells did not answer. All are asked at once.
    """
    results = nova_context.scatter_gather_skip_cell0(ctxt, function, *args)
    answers = [
        result
        for result in results.values()
        if not nova_context.is_cell_failure_sentinel(result)
    ]
    return answers, len(results) - len(answers)


def compute_services_up(
    session: typing.Any, hosts: abc.Sequence[str]
) -> dict[str, bool]:
    """Tell whether nova takes the nova-compute of these hosts for up.

    :param session: one that reads in the cell of the hosts.
    """
    model = models.Service
    rows = session.execute(
        sa.select(
            model.host,
            model.binary,
            model.topic,
            model.forced_down,
            model.last_seen_up,
            model.created_at,
        ).where(
            model.binary == 'nova-compute',
            model.deleted == 0,
            model.host.in_(hosts),
        )
    )
    group = servicegroup.API()
    return {
        row.host: bool(group.service_is_up(dict(row._mapping))) for row in rows
    }


def compute_zones(ctxt: typing.Any) -> dict[str, str]:
    """Give the availability zone of every host that runs nova-compute.

    A cell that does not answer has its hosts missing.
    """
    services = compute_api.HostAPI().service_get_all(
        ctxt.elevated(),
        {'binary': 'nova-compute'},
        set_zones=True,
        all_cells=True,
    )
    return {
        service.host: str(service.availability_zone) for service in services
    }


def next_page_link(
    request: typing.Any, marker: str, collection: str
) -> dict[str, str]:
    """Give the link to the next page, as nova's own collections do."""
    href = common.ViewBuilder()._get_next_link(request, marker, collection)
    # Of values with the same name nova keeps the last one only, and the next
    # page would be one of another question.
    query = sorted(
        pair for pair in request.params.items() if pair[0] != 'marker'
    )
    query.append(('marker', marker))
    path = href.partition('?')[0]
    return {'rel': 'next', 'href': f'{path}?{parse.urlencode(query)}'}
