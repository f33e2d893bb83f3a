# SPDX-License-Identifier: Apache-2.0

"""Answers whoever asks for the numbers, and lets nobody keep the engine busy.

The port has no password, and whoever reaches it can open connections and say
nothing on them. Each would cost the engine a thread and a file until it can
open none to its own database, and then nobody recovers hosts.
"""

import socket
import socketserver
import sys
import threading
import typing
from wsgiref import simple_server

from oslo_log import log
import prometheus_client

LOG = log.getLogger(__name__)

# Connections that are open at once; a Prometheus has one, for milliseconds.
# When there are more, the oldest makes room.
MOST = 16
# Seconds that a connection may say nothing.
PATIENCE = 10.0

_Request = socket.socket | tuple[bytes, socket.socket]


class _Handler(simple_server.WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: typing.Any) -> None:
        """Log nothing: who asks would write our log."""


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    # A crowd that connects at once waits here, not a second each.
    request_queue_size = 128

    def __init__(self, address: str, port: int) -> None:
        self._open: list[_Request] = []
        self._lock = threading.Lock()
        self.address_family, _, _, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__((str(where[0]), port), _Handler)

    def server_bind(self) -> None:
        """Bind, and ask no name server who we are: it may not answer."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(
        self, request: _Request, client_address: typing.Any
    ) -> None:
        """Answer in a thread; the connection open longest may have to go."""
        with self._lock:
            self._open.append(request)
            if len(self._open) > MOST:
                _cut(self._open.pop(0))
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Request) -> None:
        """Close a connection that was answered."""
        with self._lock:
            if request in self._open:
                self._open.remove(request)
            super().shutdown_request(request)

    def handle_error(
        self, request: _Request, client_address: typing.Any
    ) -> None:
        """Leave it to whoever asked: it is gone, or said nonsense."""
        LOG.debug('A connection ended early: %s', sys.exception())


def _cut(request: _Request) -> None:
    """Let the thread of a connection see its end."""
    try:
        typing.cast(socket.socket, request).shutdown(socket.SHUT_RDWR)
    except OSError:
        # Gone by itself.
        pass


def serve(
    address: str, port: int, registry: prometheus_client.CollectorRegistry
) -> simple_server.WSGIServer:
    """Answer in threads of their own from now on.

    :param port: 0 for any that is free, which the answer knows.
    :raises OSError: nobody can listen there.
    """
    server = _Server(address, port)
    server.set_app(prometheus_client.make_wsgi_app(registry))
    threading.Thread(
        target=server.serve_forever, name='exporter', daemon=True
    ).start()
    return server
