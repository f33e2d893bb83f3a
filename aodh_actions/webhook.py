# SPDX-License-Identifier: Apache-2.0

"""The way in for stock alarms: aodh's own ``http(s)://`` actions.

``POST /v1/alarm`` with a keystone token (``trust+https://`` sends one) whose
roles satisfy the policy, or ``POST /v1/alarm/<secret>``. The second is weaker:
aodh writes the whole URL into its log. A request is refused before anything
of it is read that its sender was not entitled to send, and every refusal is
one sentence that repeats nothing of what came in.
"""

from collections.abc import Callable
from collections.abc import Iterable
import hmac
import json
from typing import Any
from typing import NoReturn

import jsonschema
from keystoneauth1 import loading
from keystonemiddleware import auth_token
from oslo_config import cfg
from oslo_log import log
import webob
import webob.dec
import webob.exc

from aodh_actions import message
from nova_ha_plugins.conf import config
from nova_ha_plugins.conf import opts
from nova_ha_plugins.conf import policies
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors

LOG = log.getLogger(__name__)

PATH = '/v1/alarm'
AUTHTOKEN = 'keystone_authtoken'

# Below this a secret can be guessed: nothing here counts attempts.
SHORTEST_SECRET = 32

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_TEXT = {'type': 'string', 'maxLength': 4096}
_STATE = {'enum': ['ok', 'alarm', 'insufficient data']}

# What aodh/notifier/rest.py sends. More fields are ignored, so that a newer
# aodh may send them.
SCHEMA = {
    'type': 'object',
    'required': ['alarm_id', 'current'],
    'properties': {
        'alarm_id': {'type': 'string', 'minLength': 1, 'maxLength': 255},
        'alarm_name': _TEXT,
        'severity': {'enum': ['low', 'moderate', 'critical']},
        'previous': _STATE,
        'current': _STATE,
        'reason': _TEXT,
        'reason_data': {
            'type': ['object', 'null'],
            'properties': {
                'event': {
                    'type': 'object',
                    'properties': {
                        'event_type': {'type': 'string', 'maxLength': 255},
                        'message_id': {'type': 'string', 'maxLength': 255},
                        'traits': {
                            'type': 'array',
                            'maxItems': 256,
                            'items': {
                                'type': 'array',
                                'minItems': 3,
                                'maxItems': 3,
                                'prefixItems': [
                                    {'type': 'string', 'maxLength': 255},
                                    {'type': 'integer'},
                                ],
                            },
                        },
                    },
                },
            },
        },
    },
}
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError('not a number')


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Whatever looked at it before us may have read the other one.
        raise ValueError('a key stands twice')
    return found


def parse(body: bytes) -> dict[str, Any]:
    """Return the alarm that a body holds.

    :raises webob.exc.HTTPBadRequest: it holds none.
    """
    try:
        data = json.loads(
            body,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_twice,
        )
    except (ValueError, RecursionError):
        # A few kilobytes of '[' exhaust the parser's stack: a bad request.
        raise webob.exc.HTTPBadRequest(
            'The body should be one JSON object in UTF-8 without a key that '
            'stands twice, and is not'
        ) from None
    error = next(iter(_VALIDATOR.iter_errors(data)), None)
    if error is not None:
        where = '/'.join(str(part) for part in error.absolute_schema_path)
        raise webob.exc.HTTPBadRequest(
            "The body should be an alarm of aodh's REST notifier; it breaks "
            f"the rule '{where}'"
        )
    return data


def _strong(secret: str) -> str:
    """Return the configured secret, '' where it is too weak to count."""
    if not secret or len(secret) >= SHORTEST_SECRET:
        return secret
    LOG.error(
        '[webhook] secret should have at least %d random characters, and has '
        'fewer. Calls with it are refused until it has',
        SHORTEST_SECRET,
    )
    return ''


class WebhookApp:
    """Takes an alarm, stores what it says, and answers at once.

    Keystonemiddleware before it has ``delay_auth_decision``: a missing token
    is decided upon here, because a secret may stand in its place.
    """

    def __init__(self, conf: cfg.ConfigOpts, store: Any, tokens: bool) -> None:
        """Make the application.

        :param tokens: keystonemiddleware stands before it. Without, headers
            about an identity are the sender's own invention.
        """
        self._tokens = tokens
        self._secret = _strong(conf.webhook.secret)
        self._max_body: int = conf.webhook.max_body
        self._enforcer = policies.enforcer(conf)
        self._store = store

    @webob.dec.wsgify
    def __call__(self, request: webob.Request) -> webob.Response:
        try:
            return self._answer(request)
        except webob.exc.HTTPException as error:
            return _respond(
                error.code,
                {'error': {'code': error.code, 'message': error.detail}},
                error.headers,
            )

    def _answer(self, request: webob.Request) -> webob.Response:
        secret = self._route(request)
        by = self._authorize(request, secret)
        alarm = parse(self._read(request))
        incidents = []
        for host in self._hosts(request, alarm) or ('',):
            fact = message.make_fact(
                host, alarm, channel='webhook', verified=True, by=by
            )
            incidents.append(self._keep(fact))
            LOG.info(
                "Alarm '%s' of %s stored as %s of host '%s', incident %s",
                fact.alarm_name,
                by,
                fact.kind,
                fact.host,
                incidents[-1],
            )
        return _respond(202, {'incident': incidents[0]})

    @staticmethod
    def _route(request: webob.Request) -> str | None:
        """Return the secret in the path, None when it carries none."""
        try:
            path: str = request.path_info
        except UnicodeDecodeError:
            path = ''
        if path != PATH and not path.startswith(PATH + '/'):
            raise webob.exc.HTTPNotFound(
                f"Only '{PATH}' is served here, and this path is another"
            )
        if request.method != 'POST':
            raise webob.exc.HTTPMethodNotAllowed(
                'An alarm should be sent with POST, and was not',
                headers=[('Allow', 'POST')],
            )
        return path[len(PATH) + 1 :] or None

    def _authorize(self, request: webob.Request, secret: str | None) -> str:
        """Return who sent the alarm, for the timeline."""
        if secret is not None:
            expected = self._secret.encode()
            given = secret.encode('utf-8', 'surrogateescape')
            # Compared even when no secret is set: the time tells nothing.
            same = hmac.compare_digest(given, expected)
            if expected and same:
                return 'secret in the URL'
            raise webob.exc.HTTPUnauthorized(
                'The secret in the path should be the configured one, and '
                'is not. Nothing was stored'
            )
        headers = request.headers
        confirmed = headers.get('X-Identity-Status') == 'Confirmed'
        if not (self._tokens and confirmed):
            raise webob.exc.HTTPUnauthorized(
                'The request should carry a valid keystone token in '
                'X-Auth-Token, and does not. Nothing was stored'
            )
        roles = [
            role for role in headers.get('X-Roles', '').split(',') if role
        ]
        user = headers.get('X-User-Id', '')
        if not policies.roles_allow(
            self._enforcer,
            roles=roles,
            user_id=user,
            project_id=headers.get('X-Project-Id', ''),
            domain_id=headers.get('X-Domain-Id', ''),
            system_scope=headers.get('OpenStack-System-Scope', ''),
        ):
            LOG.warning(
                "User '%s' may not report a failed host: the policy rule "
                "'%s' refused roles %s. Nothing was stored",
                message.clean(user),
                policies.REPORT,
                roles,
            )
            raise webob.exc.HTTPForbidden(
                f"The policy rule '{policies.REPORT}' should allow this, "
                'and does not. Nothing was stored'
            )
        return f'user {message.clean(user)}'

    def _read(self, request: webob.Request) -> bytes:
        """Return the body, of which never more than the limit is read."""
        try:
            length = request.content_length
        except ValueError:
            raise webob.exc.HTTPBadRequest(
                'Content-Length should be a number, and is not'
            ) from None
        if length is None and not request.environ.get('wsgi.input_terminated'):
            length = 0
        if length is not None and length < 0:
            raise webob.exc.HTTPBadRequest(
                'Content-Length should not be negative, and is'
            )
        if length is None or length <= self._max_body:
            wanted = self._max_body + 1 if length is None else length
            body = request.environ['wsgi.input'].read(wanted)
            if len(body) <= self._max_body:
                return body
        raise webob.exc.HTTPRequestEntityTooLarge(
            f'The body should have at most {self._max_body} bytes, and has '
            'more. Nothing was stored'
        )

    @staticmethod
    def _hosts(
        request: webob.Request, alarm: dict[str, Any]
    ) -> tuple[str, ...]:
        """Return the accused hosts, none when the call only wakes up."""
        try:
            hosts = message.suspected_hosts(
                alarm['current'], alarm.get('reason_data')
            )
            named = request.GET.getall('host')
            for name in named:
                message.check_host(name)
        except (message.BadHost, UnicodeDecodeError) as error:
            text = (
                str(error)
                if isinstance(error, message.BadHost)
                else 'The query should be UTF-8, and is not'
            )
            raise webob.exc.HTTPBadRequest(text) from None
        if alarm['current'] != message.ALARM:
            return ()
        if named and len({*hosts, *named}) > 1:
            raise webob.exc.HTTPBadRequest(
                'One host should be named, and the event and the query of '
                'the URL name different ones. Nothing was stored'
            )
        return hosts or tuple(named[:1])

    def _keep(self, fact: facts.Fact) -> str | None:
        """Store a fact and return the incident it belongs to."""
        try:
            if fact.kind == facts.FactKind.HOST_DOWN:
                return self._store.report(fact)
            self._store.add_fact(fact)
        except errors.AWAY as error:
            LOG.critical(
                "Alarm '%s' of host '%s' is lost: the store of "
                '[nova_ha_database] connection did not take it: %s. aodh '
                "does not send it again; the engine's periodic round still "
                'finds a silent host',
                fact.alarm_name,
                fact.host or 'none',
                type(error).__name__,
            )
            raise webob.exc.HTTPServiceUnavailable(
                'The store is away, nothing was stored',
                headers=[('Retry-After', '5')],
            ) from None
        return None


def _respond(
    status: int, body: dict[str, Any], headers: Any = None
) -> webob.Response:
    response = webob.Response(
        status=status,
        json_body=body,
        content_type='application/json',
        charset='UTF-8',
    )
    for name in ('Allow', 'Retry-After'):
        if headers and name in headers:
            response.headers[name] = headers[name]
    return response


def application(conf: cfg.ConfigOpts, store: Any = None) -> WSGIApp:
    """Return the webhook, behind keystone's middleware if that is set up.

    :param conf: nova-ha.conf; without auth_type in [keystone_authtoken] it
        serves calls with the secret only.
    :param store: where facts go; by default the one that conf names.
    """
    opts.register_opts(conf)
    loading.register_auth_conf_options(conf, AUTHTOKEN)
    tokens = bool(conf[AUTHTOKEN].auth_type or conf[AUTHTOKEN].auth_section)
    app = WebhookApp(conf, store or store_api.open_store(conf), tokens)
    if tokens:
        return auth_token.AuthProtocol(
            app, {'oslo_config_config': conf, 'delay_auth_decision': True}
        )
    if conf.webhook.secret:
        LOG.warning(
            'The webhook takes calls with the secret in the URL only: '
            '[%s] auth_type is not set',
            AUTHTOKEN,
        )
    else:
        LOG.error(
            'The webhook refuses every call: neither [%s] auth_type nor '
            '[webhook] secret is set',
            AUTHTOKEN,
        )
    return app


def app_factory(global_config: dict[str, str], **local_config: str) -> WSGIApp:
    """Return the webhook for a paste file.

    ``config_file`` names nova-ha.conf; by default it is searched in the
    usual places.
    """
    named = local_config.get('config_file')
    return application(config.load(files=[named] if named else None))
