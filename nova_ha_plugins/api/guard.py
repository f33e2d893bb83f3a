# SPDX-License-Identifier: Apache-2.0

"""Keeps nova from evacuating a server that is being evacuated.

Nova takes a second ``evacuate`` of a server beside the first one and spawns
the server on two hosts. Here it is answered with 409 for as long as the first
one may still go on; ``recovery.guarding`` says when that is over. Between that
look and nova's own record of the new evacuation nobody else may look: a server
has one turn at a time, in this process by a lock, in every nova-api by a row
of our store, if there is one.
"""

from collections import abc
from concurrent import futures
import contextlib
import copy
import logging
import threading
import time
import typing

from oslo_db import exception as db_exception
import webob
from webob import exc

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import joining
from nova_ha_plugins.api import policies
from nova_ha_plugins.conf import nova_progress
from nova_ha_plugins.recovery import guarding
from nova_ha_plugins.recovery import progress

LOG = logging.getLogger(__name__)

# Of each refusal of the guard; nova-ha-engine waits when it sees it.
HEADER = 'X-Nova-HA-Guard'

# A turn whose holder died is over after this. Nova needs less than a second
# to write its record; it asks no other host before that.
TURN_SECONDS = 60.0

# After a failure the store is left alone for so long: with its database gone
# each call may take many seconds, and many evacuations come at once.
STORE_PAUSE = 30.0

# No evacuation waits longer for the store: a server of it that is cut off, or
# hangs, says nothing for ever.
PATIENCE = 5.0

_EVACUATE = 'evacuate'
# Nova's router takes '?_method=POST' of any request for a POST; it looks for
# this very text before it decodes the query.
_METHOD_IN_QUERY = '_method'
# One is in each body that asks for it: the word, or a letter in other words.
# Spares parsing the others, of which some are large.
_SIGNS = (b'evacuate', b'\\u')

WsgiApp = abc.Callable[
    [dict[str, typing.Any], abc.Callable[..., typing.Any]],
    abc.Iterable[bytes],
]


class Guard:
    """Hands every request to nova, but no evacuation beside an open one."""

    def __init__(self, application: WsgiApp) -> None:
        self._application = application
        # Nova's own mapper: what it takes for an action of a server is one.
        self._mapper = compat.Mapper()
        self._mapper.create_route(
            '/servers/{server_id}/action', 'POST', self, 'action'
        )
        self._mapper.create_regs([])
        self._store = Store()

    def __call__(
        self,
        environ: dict[str, typing.Any],
        start_response: abc.Callable[..., typing.Any],
    ) -> abc.Iterable[bytes]:
        """Answer one request."""
        server_id = self._asked_for(environ)
        if server_id is None:
            return self._application(environ, start_response)
        with contextlib.ExitStack() as turn:
            try:
                self._admit(environ, server_id, turn)
            except exc.HTTPException as error:
                refusal: WsgiApp = compat.Fault(error)
                if _is_understood(environ):
                    return refusal(environ, start_response)
                # Nova itself refuses it, for its version.
            return self._application(environ, start_response)

    def _asked_for(self, environ: dict[str, typing.Any]) -> str | None:
        """Give the id of the server that shall be evacuated, if one shall."""
        if '/action' not in environ.get('PATH_INFO', '') or (
            environ.get('REQUEST_METHOD') != 'POST'
            and _METHOD_IN_QUERY not in environ.get('QUERY_STRING', '')
        ):
            return None
        match = self._mapper.routematch(
            environ={**environ, 'REQUEST_METHOD': 'POST'}
        )
        if match is None:
            return None
        # webob keeps what it reads: nova finds the body untouched.
        body = webob.Request(environ).body
        if not any(sign in body for sign in _SIGNS):
            return None
        if compat.action_of(body) != _EVACUATE or not _is_on():
            return None
        return str(match[0]['server_id'])

    def _admit(
        self,
        environ: dict[str, typing.Any],
        server_id: str,
        turn: contextlib.ExitStack,
    ) -> None:
        """Take the server's turn, if nothing speaks against it.

        :raises webob.exc.HTTPException: something does, or it is not known.
        """
        if 'nova.context' not in environ:
            raise exc.HTTPInternalServerError(
                explanation=(
                    "The filter 'instance_ha' found nobody: in nova's "
                    'api-paste.ini it must come after keystonecontext'
                )
            )
        compat.register_rules(policies.list_rules())
        # Nova gets its context as it came, at no cell.
        ctxt = copy.copy(environ['nova.context'])
        try:
            server = compat.server(ctxt, server_id)
            target = {
                'user_id': server.user_id,
                'project_id': server.project_id,
            }
            if not ctxt.can(compat.EVACUATE_RULE, target, fatal=False):
                # Nova says 403, and nobody learns more of the server.
                return
            if ctxt.can(policies.GUARD_OVERRIDE, target, fatal=False):
                LOG.warning(
                    "Evacuation of server '%s' was let through unguarded: "
                    "'%s' may do so by policy.",
                    server.uuid,
                    ctxt.user_id,
                )
                return
            _TURNS.take(server.uuid, turn)
            self._store.take_turn(server.uuid, turn)
            self._refuse_second(ctxt, server.uuid, target)
        except exc.HTTPNotFound:
            # Nova says it in its own words.
            return
        except db_exception.DBError as error:
            LOG.warning(
                "Evacuation of server '%s' was refused: the database of its "
                'cell did not answer: %s',
                server_id,
                error,
            )
            raise _cell_down(server_id) from error

    def _refuse_second(
        self,
        ctxt: typing.Any,
        server_uuid: str,
        target: dict[str, typing.Any],
    ) -> None:
        pairs = joining.of_server(ctxt, server_uuid)
        found = [facts for _record, facts in pairs]
        holding = guarding.holding(found, self._store.was_fenced)
        if holding is None:
            return
        record = next(record for record, facts in pairs if facts is holding)
        with_host = ctxt.can(
            policies.EVACUATIONS_SHOW_HOST, target, fatal=False
        )
        LOG.info(
            "Second evacuation of server '%s' refused: '%s' is still open.",
            server_uuid,
            record.uuid,
        )
        raise _refusal(
            _why(record, holding, with_host=bool(with_host)), record.uuid
        )


class Turns:
    """Whose turn it is in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def take(self, server_uuid: str, turn: contextlib.ExitStack) -> None:
        """Take the turn of a server until the stack is unwound.

        :raises webob.exc.HTTPConflict: somebody has it.
        """
        with self._lock:
            if server_uuid in self._taken:
                raise _at_once(server_uuid)
            self._taken.add(server_uuid)
        turn.callback(self._end, server_uuid)

    def _end(self, server_uuid: str) -> None:
        with self._lock:
            self._taken.discard(server_uuid)


# Of the process: nova's paste file has the filter in several pipelines.
_TURNS = Turns()


class Store:
    """What the store adds: turns between processes, and fenced hosts.

    Nothing waits for it for long. While it is away nobody is known to be
    fenced, and a turn holds in this process only.
    """

    def __init__(self) -> None:
        self._away_until = 0.0

    def take_turn(self, server_uuid: str, turn: contextlib.ExitStack) -> None:
        """Take the turn of a server in every nova-api.

        :raises webob.exc.HTTPConflict: another nova-api has it.
        """
        key = f'{_EVACUATE}:{server_uuid}'
        late = threading.Event()

        def take(store: typing.Any) -> tuple[str | None]:
            token = store.take_turn(key, TURN_SECONDS)
            if token is not None and late.is_set():
                store.end_turn(key, token)
            return (token,)

        answer = self._ask(
            take,
            f"a second evacuation of server '{server_uuid}' at this very "
            'moment is kept out of this process only',
        )
        if answer is None:
            late.set()
            return
        (token,) = answer
        if token is None:
            raise _at_once(server_uuid)
        turn.callback(self._end_turn, key, token)

    def was_fenced(self, host: str, at: float) -> bool:
        """Tell whether a host was switched off at that time or later."""
        answer = self._ask(
            lambda store: (store.fenced_since(host, at),),
            f"whether host '{host}' was fenced is not known, and what it "
            'evacuates counts as open',
        )
        return answer is not None and bool(answer[0])

    def _end_turn(self, key: str, token: str) -> None:
        self._ask(
            lambda store: (store.end_turn(key, token),),
            f"turn '{key}' ends by itself in {TURN_SECONDS:.0f} s",
        )

    def _ask(
        self,
        question: abc.Callable[[typing.Any], tuple[typing.Any]],
        otherwise: str,
    ) -> tuple[typing.Any] | None:
        """Give the answer; None without a store that can give one."""
        if not backend.is_configured():
            return None
        why = 'it did not answer a moment ago'
        if time.monotonic() >= self._away_until:
            try:
                return _in_time(question)
            except exc.HTTPServiceUnavailable as error:
                self._away_until = time.monotonic() + STORE_PAUSE
                why = str(error.explanation)
        LOG.warning(
            'The guard of evacuations does without the store of '
            'nova-ha-plugins: %s. So %s.',
            why,
            otherwise,
        )
        return None


def _in_time(
    question: abc.Callable[[typing.Any], tuple[typing.Any]],
) -> tuple[typing.Any]:
    """Give the answer of the store, asked in a thread of its own.

    :raises webob.exc.HTTPServiceUnavailable: there is none, or not in time.
    """
    asked: futures.Future[tuple[typing.Any]] = futures.Future()

    def ask() -> None:
        try:
            with backend.store() as store:
                asked.set_result(question(store))
        except Exception as error:
            asked.set_exception(error)

    # Not one of a pool: the interpreter waits for those when it ends.
    threading.Thread(target=ask, name='nova-ha-guard', daemon=True).start()
    try:
        return asked.result(PATIENCE)
    except futures.TimeoutError as error:
        raise exc.HTTPServiceUnavailable(
            explanation=f'no answer within {PATIENCE} s'
        ) from error


def _is_on() -> bool:
    nova_progress.register_opts(compat.CONF)
    return bool(compat.CONF[nova_progress.GROUP].guard)


def _is_understood(environ: dict[str, typing.Any]) -> bool:
    """Tell whether nova has the version; it goes into our answer, too."""
    try:
        compat.Request(environ).set_api_version_request()
    except (
        compat.exception.InvalidAPIVersionString,
        compat.exception.InvalidGlobalAPIVersion,
    ):
        return False
    return True


def _why(
    record: typing.Any, holding: progress.Facts, *, with_host: bool
) -> str:
    """Tell which evacuation is open, since when, and what ends it."""
    found = progress.assess(holding)
    where = ''
    if with_host:
        where = f" from host '{holding.source}'"
        if holding.destination:
            where += f" to host '{holding.destination}'"
    age = max(holding.now - holding.created_at, 0.0)
    text = (
        f"Server '{record.instance_uuid}' is being evacuated{where} since "
        f'{record.created_at:%Y-%m-%dT%H:%M:%SZ} ({age:.0f} s): evacuation '
        f"'{record.uuid}' is open, nova's record says '{holding.status}'. "
        'Nova would start the server on a second host; nothing was done. '
    )
    if not found.stalled:
        return f'{text}Wait for its end'
    return (
        f'{text}It does not go on ({found.reason}), but only two things prove '
        'that it has ended: nova closes its record, or its destination is '
        'fenced by nova-ha-engine'
    )


def _at_once(server_uuid: str) -> exc.HTTPConflict:
    return _refusal(
        f"Another request to evacuate server '{server_uuid}' is being "
        'answered at this moment; nothing was done. Look at what became of '
        'that one first',
        'turn',
    )


def _refusal(text: str, mark: str) -> exc.HTTPConflict:
    refusal = exc.HTTPConflict(explanation=text)
    refusal.headers[HEADER] = mark
    return refusal


def _cell_down(server_id: str) -> exc.HTTPServiceUnavailable:
    return exc.HTTPServiceUnavailable(
        explanation=(
            f"The database of the cell of server '{server_id}' does not "
            'answer, so whether it is being evacuated is not known. Nothing '
            'was done; try again later'
        )
    )
