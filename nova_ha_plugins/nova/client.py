# SPDX-License-Identifier: Apache-2.0

"""One HTTP call with the service user, and how it can fail.

The rule: a call is made once. A 4xx is ``Refused``, in the other side's own
words; everything that does not say what happened is ``Unanswered``.
"""

import collections.abc
import contextlib
import json
import time
import typing
import uuid

from keystoneauth1 import adapter as ks_adapter
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import loading as ks_loading
from keystoneauth1 import session as ks_session
from oslo_config import cfg
import requests

from nova_ha_plugins.engine import body
from nova_ha_plugins.engine import doors
from nova_ha_plugins import printable

# Long enough for a busy nova-api, short enough that a round is not lost. Used
# where [nova] timeout is not set.
DEFAULT_TIMEOUT = 30.0

# 4xx that say nothing of the request itself: the token (keystone trouble) or
# a proxy that gave up waiting for one of the two sides.
_NO_ANSWER = frozenset({401, 407, 408})

# Of a refusal that is not nova's; see ``nova_ha_plugins.api.guard``.
GUARD_HEADER = 'X-Nova-HA-Guard'

# A page of a thousand servers with long metadata is a few MiB.
_MAX_BODY = 64 * 1024 * 1024

# Characters of somebody else's sentence that ours repeats.
_LONGEST = 500


def open_session(conf: cfg.ConfigOpts) -> ks_session.Session:
    """Return a session of the service user in [nova].

    :raises doors.Unanswered: the section cannot be used; the text says why.
    """
    try:
        auth = ks_loading.load_auth_from_conf_options(conf, 'nova')
        session = ks_loading.load_session_from_conf_options(
            conf, 'nova', auth=auth
        )
    except (ks_exc.ClientException, cfg.Error) as exc:
        raise doors.Unanswered(
            f"The service user in section '[nova]' cannot be used: {exc}; "
            f'nova is not asked anything until this is repaired.'
        ) from None
    if auth is None:
        raise doors.Unanswered(
            "Section '[nova]' names no service user: expected 'auth_type' "
            "(for example 'password'), found none; nova is not asked "
            'anything until this is repaired.'
        )
    # Asking for a token has no deadline of its own.
    session.timeout = call_timeout(conf)
    return session


def call_timeout(conf: cfg.ConfigOpts) -> float:
    """Return the deadline of one call in seconds."""
    return float(conf.nova.timeout or DEFAULT_TIMEOUT)


class Client:
    """Calls one service, once each, within a deadline.

    :param name: how texts call the other side: 'Nova' or 'Keystone'.
    :param timeout: seconds that one call may take, reading included.
    """

    def __init__(
        self, name: str, adapter: ks_adapter.Adapter, timeout: float
    ) -> None:
        self._name = name
        self._adapter = adapter
        self._timeout = timeout

    def read(
        self,
        path: str,
        what: str,
        *,
        params: collections.abc.Mapping[str, typing.Any] | None = None,
        microversion: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, typing.Any]:
        """Return the JSON object at a path.

        :param what: completes 'Nova refused to ...'.
        :param params: a value that is a list is a repeated one.
        :raises doors.Refused: answered with 4xx.
        :raises doors.Unanswered: no answer, or none that can be understood.
        """
        text = self._call(
            'GET', path, what, None, params, microversion, headers
        )
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise doors.Unanswered(
                f'{self._name} gave no readable answer to the request to '
                f'{what}: expected a JSON object, found {text[:120]!r}.'
            )
        return document

    def write(
        self,
        method: str,
        path: str,
        what: str,
        document: dict[str, typing.Any],
        *,
        microversion: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Have something done; any 2xx says that it was accepted.

        :param what: completes 'Nova refused to ...', names host or server.
        :raises doors.Refused: answered with 4xx; nothing happened.
        :raises doors.Unanswered: it may or may not have happened.
        """
        self._call(method, path, what, document, None, microversion, headers)

    def _call(
        self,
        method: str,
        path: str,
        what: str,
        document: dict[str, typing.Any] | None,
        params: collections.abc.Mapping[str, typing.Any] | None,
        microversion: str | None,
        headers: dict[str, str] | None = None,
    ) -> str:
        request_id = f'req-{uuid.uuid4()}'
        deadline = time.monotonic() + self._timeout
        kwargs: dict[str, typing.Any] = {}
        if document is not None:
            kwargs['json'] = document
        if params:
            kwargs['params'] = params
        try:
            # stream: the body is read below, against the deadline; a server
            # that dribbles would otherwise never hit the socket's timeout.
            # log=False: keystoneauth would read the body for its debug line.
            # rate_semaphore: that of the adapter sleeps until the date at
            # which it was made, an hour when the clock is set back by one.
            response = self._adapter.request(
                path,
                method,
                microversion=microversion,
                global_request_id=request_id,
                headers={
                    'Accept': 'application/json',
                    'Accept-Encoding': 'identity',
                    **(headers or {}),
                },
                raise_exc=False,
                redirect=False,
                connect_retries=0,
                status_code_retries=0,
                timeout=self._timeout,
                stream=True,
                log=False,
                rate_semaphore=contextlib.nullcontext(),
                **kwargs,
            )
            status = response.status_code
            guarded = GUARD_HEADER in response.headers
            text = body.read(response, deadline, _MAX_BODY).decode(
                'utf-8', 'replace'
            )
        except (
            ks_exc.ClientException,
            requests.RequestException,
        ) as exc:
            raise doors.Unanswered(
                f'{self._name} did not answer the request to {what}: '
                f'{_first_line(exc)} (request {request_id}).'
            ) from exc
        self._judge(status, text, what, request_id, guarded)
        return text

    def _judge(
        self,
        status: int,
        text: str,
        what: str,
        request_id: str,
        guarded: bool,
    ) -> None:
        if 200 <= status < 300:
            return
        why = printable.line(sentence(text), _LONGEST)
        tail = f'{why} (HTTP {status}, request {request_id}).'
        if 400 <= status < 500 and status not in _NO_ANSWER:
            raise doors.Refused(
                f'{self._name} refused to {what}: {tail}',
                status,
                guarded=guarded,
            )
        raise doors.Unanswered(
            f'{self._name} did not answer the request to {what}: {tail}'
        )


def _first_line(exc: Exception) -> str:
    first = str(exc).strip().split('\n', 1)[0] or type(exc).__name__
    return printable.line(first, _LONGEST)


def sentence(text: str) -> str:
    """Return the message inside an OpenStack error body, or its beginning."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        for value in document.values():
            if isinstance(value, dict) and value.get('message'):
                return str(value['message'])
        if document.get('message'):
            return str(document['message'])
    return ' '.join(text.split())[:200] or 'no reason given'
