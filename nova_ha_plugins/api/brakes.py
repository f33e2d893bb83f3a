# SPDX-License-Identifier: Apache-2.0

"""``/os-instance-ha/maintenance`` and ``/pauses``: nothing new is fenced.

Both hold back new fences and new evacuations until they are taken off or
their time is over, and both stay in ``/os-instance-ha/history``.
"""

import re
import typing

from webob import exc

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import operator_views
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import schemas
from nova_ha_plugins.api import until
from nova_ha_plugins.api import versions
from nova_ha_plugins.store import values

_MAINTENANCE = 'maintenance'
_PAUSE = 'pause'

_NAME = re.compile('[0-9A-Za-z][0-9A-Za-z._-]{0,63}')

_DEFAULT_LIMIT = 100


class MaintenanceController(compat.Controller):
    """Hosts that somebody works on."""

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Every host in maintenance."""
        versions.require(req, versions.BRAKES)
        req.environ['nova.context'].can(policies.BRAKES_INDEX, target={})
        return {'maintenance': _held(_MAINTENANCE)}

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.schema(schemas.MAINTENANCE)
    def create(
        self, req: typing.Any, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Put a host into maintenance, or give it another end."""
        versions.require(req, versions.BRAKES)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.MAINTENANCE, target={})
        wanted = body['maintenance']
        host = wanted['host']
        with backend.store() as store:
            if host not in {record.host for record in store.host_records()}:
                _check_host(ctxt, host)
            brake = _put_on(store, ctxt, _MAINTENANCE, host, wanted)
            subject = store.open_incident_of(host)
        return {
            'maintenance': {
                **operator_views.brake(brake),
                'open_incident': operator_views.standing_of(subject),
            }
        }

    @compat.wsgi.response(204)
    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.REASON_QUERY)
    def delete(self, req: typing.Any, id: str) -> None:
        """End the maintenance of a host."""
        versions.require(req, versions.BRAKES)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.MAINTENANCE, target={})
        _take_off(req, _MAINTENANCE, id, f'Host {id!r} is not in maintenance')


class PausesController(compat.Controller):
    """Named pauses, of one failure domain or of the whole cloud."""

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.NO_QUERY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """Every pause that holds."""
        versions.require(req, versions.BRAKES)
        req.environ['nova.context'].can(policies.BRAKES_INDEX, target={})
        return {'pauses': _held(_PAUSE)}

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.schema(schemas.PAUSE)
    def create(
        self, req: typing.Any, body: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Set a pause, or set the one of that name anew."""
        versions.require(req, versions.BRAKES)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.PAUSE, target={})
        wanted = body['pause']
        zone = wanted.get('zone', '')
        _check_name(wanted['name'])
        with backend.store() as store:
            if zone and zone not in {
                record.zone for record in store.host_records()
            }:
                _check_zone(ctxt, zone)
            brake = _put_on(store, ctxt, _PAUSE, wanted['name'], wanted, zone)
        return {'pause': operator_views.brake(brake)}

    @compat.wsgi.response(204)
    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.REASON_QUERY)
    def delete(self, req: typing.Any, id: str) -> None:
        """End a pause."""
        versions.require(req, versions.BRAKES)
        ctxt = req.environ['nova.context']
        ctxt.can(policies.PAUSE, target={})
        _take_off(req, _PAUSE, id, f'There is no pause {id!r}')


class HistoryController(compat.Controller):
    """``/os-instance-ha/history``: who armed, disarmed, braked, and why."""

    @compat.wsgi.expected_errors((400, 404, 503))
    @compat.validation.query_schema(schemas.HISTORY_QUERY)
    def index(self, req: typing.Any) -> dict[str, typing.Any]:
        """What operators said, newest first; nothing is ever removed."""
        versions.require(req, versions.BRAKES)
        req.environ['nova.context'].can(policies.HISTORY_INDEX, target={})
        limit = int(req.GET.get('limit', _DEFAULT_LIMIT))
        limit = min(limit, compat.CONF.api.max_limit)
        with backend.store() as store:
            armed = store.arm_history(limit)
            brakes = store.brake_history(limit)
            now = store.now()
        found = operator_views.history(armed, brakes, now)
        return {'history': found[:limit]}


def _held(kind: str) -> list[dict[str, typing.Any]]:
    with backend.store() as store:
        found = store.brakes()
    return [
        operator_views.brake(brake) for brake in found if brake.kind == kind
    ]


def end_of(store: typing.Any, wanted: dict[str, typing.Any]) -> float | None:
    """Give the end that a request names, on the store's clock.

    :raises webob.exc.HTTPBadRequest: it is not understood, or over.
    """
    if 'until' not in wanted:
        return None
    try:
        return until.parse(wanted['until'], store.now())
    except ValueError as error:
        raise exc.HTTPBadRequest(
            explanation=f'{error}. Nothing was changed'
        ) from error


def _put_on(
    store: typing.Any,
    ctxt: typing.Any,
    kind: str,
    name: str,
    wanted: dict[str, typing.Any],
    zone: str = '',
) -> values.Brake:
    brake: values.Brake = store.set_brake(
        values.Brake(
            kind=kind,
            name=name,
            zone=zone,
            until=end_of(store, wanted),
            reason=wanted['reason'],
            by=ctxt.user_id or '',
        )
    )
    return brake


def _take_off(req: typing.Any, kind: str, name: str, missing: str) -> None:
    by = req.environ['nova.context'].user_id or ''
    found = False
    # Nothing else was ever put on: not every database takes, for example, a
    # NUL.
    if schemas.is_name(name):
        with backend.store() as store:
            reason = req.GET.get('reason', '')
            found = store.unset_brake(kind, name, by, reason)
    if not found:
        raise exc.HTTPNotFound(
            explanation=f'{missing}, or no longer: nothing was changed'
        )


def _check_name(name: str) -> None:
    # It is typed again, and is part of a path.
    if not _NAME.fullmatch(name):
        raise exc.HTTPBadRequest(
            explanation=(
                f"A pause cannot have the name '{name}': expected 1 to 64 "
                "letters, digits, '.', '_' and '-', beginning with a letter "
                'or a digit. Nothing was changed'
            )
        )


def _check_host(ctxt: typing.Any, host: str) -> None:
    # A typing error would leave the host that was meant without protection
    # from us.
    if host not in compat.compute_zones(ctxt):
        raise exc.HTTPBadRequest(
            explanation=(
                f"There is no nova-compute service on a host '{host}': "
                'nothing was changed. Names are compared letter by letter; '
                "see 'openstack compute service list'"
            )
        )


def _check_zone(ctxt: typing.Any, zone: str) -> None:
    known = sorted(set(compat.compute_zones(ctxt).values()))
    if zone not in known:
        raise exc.HTTPBadRequest(
            explanation=(
                f"No host is in availability zone '{zone}': nothing was "
                f'changed. Known are {", ".join(known) or "none"}; without '
                'a zone a pause holds for the whole cloud'
            )
        )
