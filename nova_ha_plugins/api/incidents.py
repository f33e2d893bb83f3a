# SPDX-License-Identifier: Apache-2.0

"""``/os-instance-ha/incidents``: failures of hosts, and a word on them."""

import typing

from oslo_utils import uuidutils
from webob import exc

from nova_ha_plugins.api import attests
from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import operator_views
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import recovery_views
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident as core

_DEFAULT_LIMIT = 100


class IncidentsController(compat.Controller):
    """Incidents are read here; what an operator says goes to the engine.

    Release and attest answer 202: the engine alone changes an incident, and
    says in the fact and in the timeline what it made of it. An attest reaches
    it with its second step only, ``/os-instance-ha/facts/{id}/action``.
    """

    @compat.wsgi.expected_errors((400, 503))
    @compat.validation.query_schema(schemas.INCIDENTS_QUERY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Incidents, newest first, open and closed."""
        req.environ['nova.context'].can(policies.INCIDENTS_INDEX, target={})
        limit = int(req.GET.get('limit', _DEFAULT_LIMIT))
        limit = min(limit, compat.CONF.api.max_limit)
        with backend.store() as store:
            found = store.incidents(limit, req.GET.get('host'))
        shown = [recovery_views.incident_summary(each) for each in found]
        if versions.at_least(req, versions.BRAKES):
            for item, subject in zip(shown, found, strict=True):
                item.update(recovery_views.later(subject))
        return {'incidents': shown}

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def show(self, req: typing.Any, id: str) -> dict[str, typing.Any]:
        """One incident with evidence, fence, servers and timeline."""
        req.environ['nova.context'].can(policies.INCIDENTS_SHOW, target={})
        if versions.at_least(req, versions.BRAKES):
            return {'incident': recovery_views.incident_later(_find(id))}
        return {'incident': recovery_views.incident(_find(id))}

    @compat.wsgi.response(202)
    @compat.wsgi.expected_errors((400, 404, 409, 503))
    @compat.wsgi.action('release')
    @compat.validation.schema(schemas.RELEASE)
    def _release(
        self, req: typing.Any, id: str, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Let an incident that is held go on."""
        req.environ['nova.context'].can(policies.RELEASE, target={})
        fact, _ = _word(
            req, facts.FactKind.RELEASE, id, body['release']['reason']
        )
        with backend.store() as store:
            return {'fact': operator_views.fact(req, store.add_fact(fact))}

    @compat.wsgi.response(202)
    @compat.wsgi.expected_errors((400, 404, 409, 503))
    @compat.wsgi.action('attest')
    @compat.validation.schema(schemas.ATTEST)
    def _attest(
        self, req: typing.Any, id: str, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Begin to take an operator's word that the host is switched off."""
        req.environ['nova.context'].can(policies.ATTEST, target={})
        fact, subject = _word(
            req,
            facts.FactKind.ATTEST,
            id,
            body['attest']['reason'],
            power=body['attest']['power'],
        )
        return {'fact': operator_views.fact(req, attests.begin(fact, subject))}


def _find(uuid: str) -> core.Incident:
    subject = None
    # Only what we make ourselves is asked for: not every database takes, for
    # example, a NUL.
    if uuidutils.is_uuid_like(uuid):
        with backend.store() as store:
            subject = store.incident(uuid)
    if subject is None:
        raise exc.HTTPNotFound(explanation=f'There is no incident {uuid!r}')
    return subject


def _word(
    req: typing.Any,
    kind: facts.FactKind,
    uuid: str,
    reason: str,
    **detail: str,
) -> tuple[facts.Fact, core.Incident]:
    """Give what an operator says of an open incident, not stored yet."""
    subject = _find(uuid)
    if subject.phase in core.CLOSED_PHASES:
        raise exc.HTTPConflict(
            explanation=(
                f"Incident '{uuid}' of host '{subject.host}' is "
                f'{subject.phase}: there is nothing to {kind}'
            )
        )
    ctxt = req.environ['nova.context']
    fact = facts.Fact(
        uuid=uuidutils.generate_uuid(),
        kind=kind,
        host=subject.host,
        service_uuid=subject.service_uuid,
        reason=reason,
        # What was said of this incident is not said of the host's next one.
        detail={'incident': subject.uuid, **detail},
        channel='operator',
        # Nova's policy was asked before we came here.
        verified=True,
        by=ctxt.user_id or '',
    )
    return fact, subject
