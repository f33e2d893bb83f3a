# SPDX-License-Identifier: Apache-2.0

"""HTTP as it is on the wire, so that every byte of an answer can be wrong."""

import copy
import http.server
import json
import os
import pathlib
import socket
import ssl
import struct
import threading

_RECORDED = json.loads(
    (pathlib.Path(__file__).parent / 'recorded_answers.json').read_text()
)


def recorded(name):
    """Return a recorded answer: status, document, no headers."""
    answer = _RECORDED[name]
    return answer['status'], copy.deepcopy(answer['body']), ()


class Server(http.server.ThreadingHTTPServer):
    """Serves in threads of its own until it is closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler, certificate=None, key=None):
        super().__init__(('127.0.0.1', 0), handler)
        self.port = self.server_address[1]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def close(self):
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request, address):
        """Callers that give up, or are killed, are what this is about."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One exchange after another on one connection.

    :ivar over: an event; set when nobody needs an answer any more.
    """

    protocol_version = 'HTTP/1.1'
    over: threading.Event

    def log_message(self, format, *args):
        pass

    def read_document(self):
        text = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        return json.loads(text) if text else None

    def reply(self, status, document=None, headers=()):
        body = b'' if document is None else json.dumps(document).encode()
        self.reply_raw(status, body, 'application/json', headers)

    def reply_raw(self, status, body, kind='application/json', headers=()):
        self.begin(status, len(body), kind, headers)
        self.write(body)

    def begin(self, status, length, kind='application/json', headers=()):
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(length))
        self.end_headers()

    def write(self, body):
        self.wfile.write(body)
        self.wfile.flush()

    def reset(self):
        """End the connection with a RST."""
        self.close_connection = True
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
        )
        self.connection.close()
        self.wfile = open(os.devnull, 'wb')
