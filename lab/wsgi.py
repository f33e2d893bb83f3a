# SPDX-License-Identifier: Apache-2.0
"""Serves one WSGI application: ``python -m lab.wsgi MODULE:NAME --port N``.

The port opens when the application is loaded, so whoever can connect gets an
answer.
"""

import argparse
import http.client
import importlib
import logging
import os
import pathlib
import signal
import sys
import typing

import waitress

from lab import calls
from lab import plan as planning
from lab import processes


def service(
    name: str,
    application: str,
    environment: dict[str, str],
    threads: int = 4,
    port_name: str | None = None,
    noted: pathlib.Path | None = None,
) -> processes.Service:
    """Return the service of an application.

    :param application: 'module:name'
    :param port_name: in PORTS, where it is not the service's own name.
    :param noted: gets a line for each call that changes something.
    """
    port = planning.PORTS[port_name or name]
    return processes.Service(
        name,
        (
            sys.executable,
            '-m',
            'lab.wsgi',
            application,
            f'--port={port}',
            f'--threads={threads}',
            *([f'--noted={noted}'] if noted else []),
        ),
        environment,
        lambda: answers(port),
    )


def answers(port: int, path: str = '/') -> bool:
    """Say whether HTTP is spoken there.

    :raises OSError: nobody listens, or nobody answers in time.
    """
    connection = http.client.HTTPConnection(
        planning.CONTROLLER, port, timeout=5
    )
    try:
        connection.request('GET', path)
        return connection.getresponse().status < 500
    except http.client.HTTPException:
        return False
    finally:
        connection.close()


def _end(*_: object) -> typing.NoReturn:
    """End at once: threads of the services may sleep for minutes.

    As the first process of a PID namespace it has to handle the signal
    itself; the kernel would do nothing.
    """
    os._exit(0)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument('application')
    parser.add_argument('--host', default=planning.CONTROLLER)
    parser.add_argument('--port', type=int, required=True)
    parser.add_argument('--threads', type=int, default=4)
    parser.add_argument('--noted', type=pathlib.Path)
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    # The services would parse our options as their own.
    module, _, name = options.application.partition(':')
    sys.argv[:] = [module]
    application = getattr(importlib.import_module(module), name)
    if options.noted:
        application = calls.Noted(application, options.noted)
    # Its notes on a queue that is full for a moment are of no use.
    logging.getLogger('waitress.queue').setLevel(logging.ERROR)
    waitress.serve(
        application,
        host=options.host,
        port=options.port,
        threads=options.threads,
        connection_limit=1000,
        clear_untrusted_proxy_headers=True,
        asyncore_use_poll=True,
    )


if __name__ == '__main__':
    main()
