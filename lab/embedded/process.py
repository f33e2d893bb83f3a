# SPDX-License-Identifier: Apache-2.0
"""What every process of the embedded cloud needs to start and to answer.

``python -m lab.embedded.process PARENT_PID MODULE ARG...`` runs a module as
``python -m`` would, but dies with its parent.
"""

import argparse
import collections.abc
import ctypes
import json
import os
import runpy
import signal
import sys
import threading
import traceback
import typing
import urllib.error
import urllib.request

import waitress

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1

Handler = collections.abc.Callable[[dict[str, typing.Any]], typing.Any]


class Refused(Exception):
    """A control request that makes no sense; its text goes to the caller."""


def read_plan(argv: list[str] | None = None) -> dict[str, typing.Any]:
    """Return cloud.json, named by ``--config-json`` on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--config-json', required=True)
    with open(parser.parse_args(argv).config_json) as stream:
        return json.load(stream)


def serve(app: typing.Any, port: int, threads: int = 4) -> None:
    """Serve a WSGI application on loopback, in the background.

    The port is bound when this returns.
    """
    server = waitress.create_server(
        app,
        host='127.0.0.1',
        port=port,
        threads=threads,
        clear_untrusted_proxy_headers=True,
    )
    threading.Thread(
        target=server.run, name=f'wsgi-{port}', daemon=True
    ).start()


def wait_for_the_end() -> typing.NoReturn:
    """Sleep until SIGTERM or SIGINT, then end at once.

    Threads of the services cannot be joined (some sleep for minutes), and
    nothing here outlives the directory of the cloud; so no clean-up runs.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    # A wait without a timeout would not let Python run the signal handler.
    while not ended.wait(0.5):
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class ControlError(Exception):
    """A control port did not do what it was asked, or did not answer."""


def call(
    url: str, body: dict[str, typing.Any] | None = None, timeout: float = 5.0
) -> typing.Any:
    """Return the JSON that a control port answers; a body makes it a POST.

    :raises ControlError: with the reason.
    """
    # Proxies of the environment are not for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    try:
        with opener.open(
            urllib.request.Request(url, data=data), timeout=timeout
        ) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as exc:
        text = exc.read().decode(errors='replace')
        raise ControlError(f'{url} answers {exc.code}: {text}') from exc
    except (OSError, ValueError) as exc:
        raise ControlError(f'{url} cannot be asked: {exc}') from exc


class ControlApp:
    """A WSGI application that speaks JSON: GET /hosts, POST .../power.

    :ivar describe: returns what GET /hosts answers
    :ivar set_power: (host, state) -> None; returns when it is true
    """

    def __init__(
        self,
        describe: collections.abc.Callable[[], dict[str, typing.Any]],
        set_power: collections.abc.Callable[[str, str], None],
    ) -> None:
        self.describe = describe
        self.set_power = set_power

    def __call__(self, environ, start_response):  # type: ignore
        try:
            status, body = 200, self._answer(environ)
        except Refused as exc:
            status, body = 400, {'error': str(exc)}
        except Exception as exc:
            # The caller decides whether a host is off by this answer: it
            # must get the reason, and never a connection that just closes.
            traceback.print_exc()
            status = 500
            body = {'error': f'{type(exc).__name__}: {exc}'}
        data = json.dumps(body).encode()
        words = {200: 'OK', 400: 'Bad Request', 500: 'Server Error'}
        start_response(
            f'{status} {words[status]}',
            [
                ('Content-Type', 'application/json'),
                ('Content-Length', str(len(data))),
            ],
        )
        return [data]

    def _answer(self, environ: dict[str, typing.Any]) -> typing.Any:
        method = environ['REQUEST_METHOD']
        parts = environ['PATH_INFO'].strip('/').split('/')
        if method == 'GET' and parts == ['hosts']:
            return self.describe()
        if (
            method == 'POST'
            and len(parts) == 3
            and parts[0] == 'hosts'
            and parts[2] == 'power'
        ):
            length = int(environ.get('CONTENT_LENGTH') or 0)
            body = json.loads(environ['wsgi.input'].read(length) or b'{}')
            self.set_power(parts[1], str(body.get('state')))
            return self.describe()[parts[1]]
        raise Refused(f'{method} {environ["PATH_INFO"]} is not served here')


def main() -> None:
    """Bind this process' life to its parent's, then run a module."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the line above took effect.
    if os.getppid() != parent:
        sys.exit(f'The parent {parent} is gone, {module} does not start')
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
