# SPDX-License-Identifier: Apache-2.0

"""The paste filter that adds our resources to nova's own API.

It stands between ``keystonecontext`` and ``osapi_compute_app_v21``: whatever
is not one of our paths goes on to nova untouched, unless an engine sent it
that lost its lease, or it asks for a second evacuation beside an open one.
"""

from collections import abc
import typing

import webob
import webob.exc

from nova_ha_plugins.api import compat
from nova_ha_plugins.api import guard
from nova_ha_plugins.api import policies
from nova_ha_plugins.api import routes
from nova_ha_plugins.api import token
from nova_ha_plugins.api import versions


class InstanceHA:
    """Answers our paths, hands every other request to nova."""

    def __init__(self, application: guard.WsgiApp) -> None:
        self._application = guard.Guard(application)
        self._mapper = routes.make_mapper()

    def __call__(
        self,
        environ: dict[str, typing.Any],
        start_response: abc.Callable[..., typing.Any],
    ) -> abc.Iterable[bytes]:
        """Answer one request."""
        match = self._mapper.routematch(environ=environ)
        if match is None:
            request = webob.Request(environ)
            refused = token.refusal(request.headers)
            if refused is not None:
                return refused(environ, start_response)
            return self._application(environ, start_response)
        arguments, _route = match
        environ['wsgiorg.routing_args'] = ((), arguments)
        request = compat.Request(environ)
        response = self._respond(request, arguments['controller'])
        return response(environ, start_response)

    def _respond(
        self, request: typing.Any, resource: guard.WsgiApp
    ) -> typing.Any:
        try:
            version = versions.negotiate(request.headers)
        except versions.VersionError as error:
            fault = webob.exc.status_map[error.status]
            return compat.Fault(fault(explanation=str(error)))
        if 'nova.context' not in request.environ:
            return compat.Fault(
                webob.exc.HTTPInternalServerError(
                    explanation=(
                        "The filter 'instance_ha' found nobody: in nova's "
                        'api-paste.ini it must come after keystonecontext'
                    )
                )
            )
        compat.register_rules(policies.list_rules())
        try:
            response = request.get_response(resource)
        except RecursionError:
            # Nova's parser of bodies follows '[' as deep as they go.
            return compat.Fault(
                webob.exc.HTTPBadRequest(
                    explanation='The body is nested too deeply'
                )
            )
        # A second line, which clients fold: "compute 2.1, instance-ha 1.0".
        response.headers.add(
            versions.HEADER, f'{versions.SERVICE_TYPE} {version}'
        )
        return response


def filter_factory(
    global_conf: dict[str, str], **local_conf: str
) -> abc.Callable[[guard.WsgiApp], InstanceHA]:
    """Give the filter to PasteDeploy; it has no options of its own yet."""
    return InstanceHA
