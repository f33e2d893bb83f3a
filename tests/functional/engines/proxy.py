# SPDX-License-Identifier: Apache-2.0

"""A TCP proxy that can be cut like a cable: bytes stop, nobody is told."""

import contextlib
import select
import socket
import threading


class Proxy:
    """Forwards connections to one address of this machine."""

    def __init__(self, port):
        self._target = ('127.0.0.1', port)
        self._listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """From now on nothing gets through, and nothing is refused."""
        self._open.clear()

    def heal(self):
        """What was on its way arrives after all."""
        self._open.set()

    def close(self):
        self._over = True
        self._open.set()
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while not self._over:
                connection, _ = self._listener.accept()
                threading.Thread(
                    target=self._forward, args=(connection,), daemon=True
                ).start()

    def _forward(self, near):
        self._open.wait()
        with contextlib.suppress(OSError), near:
            with socket.create_connection(self._target) as far:
                ends = {near: far, far: near}
                while not self._over:
                    for end in select.select(list(ends), [], [], 0.5)[0]:
                        self._open.wait()
                        part = end.recv(65536)
                        if not part:
                            return
                        ends[end].sendall(part)
