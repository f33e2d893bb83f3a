# SPDX-License-Identifier: Apache-2.0

"""``/os-instance-ha``: whether the engines act, live and can protect."""

import collections
import typing

from oslo_utils import uuidutils
from webob import exc

from nova_ha_plugins.api import attests
from nova_ha_plugins.api import backend
from nova_ha_plugins.api import brakes
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import operator_views
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import recovery_views
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import values


class InstanceHAController(compat.Controller):
    """The status, and the switch between acting and observing."""

    @compat.wsgi.expected_errors((400, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Arm state, engines, brakes, hosts, open incidents."""
        req.environ['nova.context'].can(policies.STATUS_SHOW, target={})
        with backend.store() as store:
            state = store.arm_state()
            answer: dict[str, typing.Any] = {
                'arm': recovery_views.arm_state(state),
                'engine': recovery_views.engine(store.engine_status()),
            }
            subjects = store.open_incidents()
            records = store.host_records()
            if versions.at_least(req, versions.BRAKES):
                answer['arm'].update(
                    operator_views.standing(state, subjects, records)
                )
                answer['engines'] = [
                    operator_views.engine(found) for found in store.engines()
                ]
                answer['brakes'] = operator_views.brakes(store.brakes())
                answer['waits'] = operator_views.waits(subjects)
        phases = collections.Counter(str(item.phase) for item in subjects)
        answer['open_incidents'] = len(subjects)
        answer['open_incidents_by_phase'] = dict(sorted(phases.items()))
        answer['servers_waiting_by_code'] = recovery_views.waiting(subjects)
        if versions.at_least(req, versions.WATCHERS):
            answer['watchers'] = [
                operator_views.watcher(watch) for watch in backend.watches()
            ]
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
        return self._set(req, policies.ARM, True, body['arm'])

    @compat.wsgi.expected_errors((400, 409, 503))
    @compat.wsgi.action('disarm')
    @compat.validation.schema(schemas.DISARM)
    def _disarm(
        self, req: typing.Any, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Let the engine only observe and record."""
        return self._set(req, policies.DISARM, False, body['disarm'])

    def _set(
        self,
        req: typing.Any,
        rule: str,
        armed: bool,
        wanted: dict[str, typing.Any],
    ) -> dict[str, typing.Any]:
        ctxt = req.environ['nova.context']
        ctxt.can(rule, target={})
        _check_version(req, wanted)
        with backend.store() as store:
            end = brakes.end_of(store, wanted)
            if end is not None and not armed:
                _check_rearming(store.arm_state())
            state = store.set_arm_state(
                armed, ctxt.user_id or '', wanted['reason'], end
            )
            answer = recovery_views.arm_state(state)
            if versions.at_least(req, versions.BRAKES):
                answer.update(
                    operator_views.standing(
                        state, store.open_incidents(), store.host_records()
                    )
                )
        return {'arm': answer}


def _check_version(req: typing.Any, wanted: dict[str, typing.Any]) -> None:
    if 'until' in wanted and not versions.at_least(req, versions.BRAKES):
        raise exc.HTTPBadRequest(
            explanation=(
                "Field 'until' came with version 1.1 of "
                f"'{versions.SERVICE_TYPE}', and the request does not ask "
                'for it: nothing was changed'
            )
        )


def _check_rearming(state: values.ArmState) -> None:
    """Refuse to arm, at some time, a cloud that nobody armed."""
    if not state.armed and state.until is None:
        raise exc.HTTPConflict(
            explanation=(
                f'The engine is disarmed without an end (by {state.by}: '
                f'{state.reason}); with one it would arm itself then. Nothing '
                'was changed: leave the end out, or arm it when it may act'
            )
        )


class FactsController(compat.Controller):
    """``/os-instance-ha/facts/{id}``: what became of an operator's word."""

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def show(self, req: typing.Any, id: str) -> dict[str, typing.Any]:
        """One fact: unconfirmed, pending, accepted or rejected, and why."""
        req.environ['nova.context'].can(policies.INCIDENTS_SHOW, target={})
        return {'fact': operator_views.fact(req, _find(id))}

    @compat.wsgi.response(202)
    @compat.wsgi.expected_errors((400, 404, 409, 503))
    @compat.wsgi.action('confirm')
    @compat.validation.schema(schemas.CONFIRM)
    def _confirm(
        self, req: typing.Any, id: str, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Take the second step of an attest: now the engine gets it."""
        versions.require(req, versions.BRAKES)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.ATTEST, target={})
        fact = attests.confirm(
            _find(id), body['confirm']['host'], ctxt.user_id or ''
        )
        return {'fact': operator_views.fact(req, fact)}


def _find(uuid: str) -> facts.Fact:
    fact = None
    if uuidutils.is_uuid_like(uuid):
        with backend.store() as store:
            fact = store.fact(uuid)
    if fact is None:
        raise exc.HTTPNotFound(
            explanation=f'There is no release and no attest {uuid!r}: nothing '
            'was done. The first step of an attest prints the ID for the '
            'second one'
        )
    return fact
