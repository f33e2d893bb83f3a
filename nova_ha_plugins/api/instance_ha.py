# SPDX-License-Identifier: Apache-2.0

"""``/os-instance-ha``: whether the engine acts, lives and can protect."""

import collections
import typing

from oslo_utils import uuidutils
from webob import exc

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import recovery_views
from nova_ha_plugins.api import schemas


class InstanceHAController(compat.Controller):
    """The status, and the switch between acting and observing."""

    @compat.wsgi.expected_errors((400, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Arm state, engine, hosts, number of open incidents."""
        req.environ['nova.context'].can(policies.STATUS_SHOW, target={})
        with backend.store() as store:
            answer: dict[str, typing.Any] = {
                'arm': recovery_views.arm_state(store.arm_state()),
                'engine': recovery_views.engine(store.engine_status()),
            }
            subjects = store.open_incidents()
            records = store.host_records()
        phases = collections.Counter(str(item.phase) for item in subjects)
        answer['open_incidents'] = len(subjects)
        answer['open_incidents_by_phase'] = dict(sorted(phases.items()))
        answer['servers_waiting_by_code'] = recovery_views.waiting(subjects)
        beats = backend.beats()
        answer['hosts'] = [
            recovery_views.host(record, beats.get(record.host))
            for record in records
        ]
        return {'instance_ha': answer}

    @compat.wsgi.expected_errors((400, 503))
    @compat.wsgi.action('arm')
    @compat.validation.schema(schemas.ARM)
    def _arm(
        self, req: typing.Any, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Let the engine fence and evacuate."""
        return self._set(req, policies.ARM, True, body['arm']['reason'])

    @compat.wsgi.expected_errors((400, 503))
    @compat.wsgi.action('disarm')
    @compat.validation.schema(schemas.DISARM)
    def _disarm(
        self, req: typing.Any, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Let the engine only observe and record."""
        return self._set(req, policies.DISARM, False, body['disarm']['reason'])

    def _set(
        self, req: typing.Any, rule: str, armed: bool, reason: str
    ) -> dict[str, typing.Any]:
        ctxt = req.environ['nova.context']
        ctxt.can(rule, target={})
        with backend.store() as store:
            state = store.set_arm_state(armed, ctxt.user_id or '', reason)
        return {'arm': recovery_views.arm_state(state)}


class FactsController(compat.Controller):
    """``/os-instance-ha/facts/{id}``: what became of an operator's word."""

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def show(self, req: typing.Any, id: str) -> dict[str, typing.Any]:
        """One fact: pending, accepted or rejected, and why."""
        req.environ['nova.context'].can(policies.INCIDENTS_SHOW, target={})
        fact = None
        if uuidutils.is_uuid_like(id):
            with backend.store() as store:
                fact = store.fact(id)
        if fact is None:
            raise exc.HTTPNotFound(explanation=f'There is no fact {id!r}')
        return {'fact': recovery_views.fact(fact)}
