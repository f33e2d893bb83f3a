# SPDX-License-Identifier: Apache-2.0
"""Who asked nova and the BMCs to change something: a witness of its own.

What an engine writes to its store is what it believes. This is written by
those who were asked, with the address of whoever asked; each engine of a lab
has one of its own.
"""

import collections.abc
import dataclasses
import io
import json
import pathlib
import time
import typing

from lab import plan as planning

# Bodies that are longer are no calls of an engine.
_LONGEST = 65536


@dataclasses.dataclass(frozen=True)
class Call:
    """One request that changes something.

    :ivar time: when it came in, in seconds since the epoch.
    :ivar client: the address it came from.
    :ivar what: of a POST the action, such as 'evacuate' or 'ForceOff'; else
        the names of what it sets.
    :ivar status: 0 when nobody was there any more to hear the answer.
    """

    time: float
    client: str
    method: str
    path: str
    what: str
    status: int


def path(plan: planning.Plan) -> pathlib.Path:
    return plan.path('evidence', 'calls.jsonl')


def read(plan: planning.Plan, since: float = 0.0) -> list[Call]:
    """Return the calls since a moment, in the order of their answers."""
    try:
        lines = path(plan).read_text().splitlines()
    except FileNotFoundError:
        return []
    found = [Call(**json.loads(line)) for line in lines]
    return [each for each in found if each.time >= since]


class Noted:
    """A WSGI application whose changing calls are written down.

    :ivar file: gets a line for each; several processes may share it.
    """

    def __init__(self, app: typing.Any, file: pathlib.Path) -> None:
        self._app, self.file = app, file

    def __call__(
        self,
        environ: dict[str, typing.Any],
        start_response: collections.abc.Callable[..., typing.Any],
    ) -> typing.Any:
        if environ['REQUEST_METHOD'] in ('GET', 'HEAD', 'OPTIONS'):
            return self._app(environ, start_response)
        began, status = time.time(), 0
        what = _what(environ)

        def start(line: str, *rest: typing.Any) -> typing.Any:
            nonlocal status
            status = int(line.split()[0])
            return start_response(line, *rest)

        try:
            return self._app(environ, start)
        finally:
            call = Call(
                began,
                environ.get('REMOTE_ADDR', ''),
                environ['REQUEST_METHOD'],
                environ.get('PATH_INFO', ''),
                what,
                status,
            )
            # One write: other processes have the file open too.
            with self.file.open('a') as stream:
                stream.write(json.dumps(dataclasses.asdict(call)) + '\n')


def _what(environ: dict[str, typing.Any]) -> str:
    """Return what is asked for; the application can still read it."""
    try:
        length = int(environ.get('CONTENT_LENGTH') or 0)
    except ValueError:
        return ''
    if not 0 < length <= _LONGEST:
        return ''
    body = environ['wsgi.input'].read(length)
    environ['wsgi.input'] = io.BytesIO(body)
    try:
        asked = json.loads(body)
    except ValueError:
        return ''
    if not isinstance(asked, dict):
        return ''
    return str(asked.get('ResetType') or ' '.join(sorted(asked)))
