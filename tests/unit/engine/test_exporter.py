# SPDX-License-Identifier: Apache-2.0

"""Whoever reaches the port of the numbers cannot keep the engine busy."""

import contextlib
import os
import socket
import threading
import time
import unittest
from unittest import mock
import urllib.error
import urllib.request

import prometheus_client

from nova_ha_plugins.engine import exporter

SOON = 20.0


class ExporterTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        registry = prometheus_client.CollectorRegistry()
        prometheus_client.Gauge('answer', 'What is told', registry=registry)
        server = exporter.serve('127.0.0.1', 0, registry)
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.where = server.server_address

    def ask(self, path='/metrics') -> str:
        url = f'http://127.0.0.1:{self.where[1]}{path}'
        with urllib.request.urlopen(url, timeout=SOON) as answer:
            return answer.read().decode()

    def connect(self) -> socket.socket:
        made = socket.create_connection(self.where, SOON)
        self.addCleanup(made.close)
        return made

    def is_cut(self, made: socket.socket) -> bool:
        with contextlib.suppress(ConnectionError):
            return made.recv(1) == b''
        return True

    def test_who_asks_is_told(self):
        self.assertIn('answer 0.0', self.ask())

    def test_connections_that_say_nothing_cost_neither_threads_nor_files(self):
        threads = threading.active_count()
        files = len(os.listdir('/proc/self/fd'))
        silent = [self.connect() for _ in range(5 * exporter.MOST)]
        for one in silent[: -exporter.MOST]:
            self.assertTrue(self.is_cut(one))

        self.assertIn('answer 0.0', self.ask())
        # A thread that was cut may still be on its way out.
        end = time.monotonic() + SOON
        while threading.active_count() - threads > exporter.MOST:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        ours = len(os.listdir('/proc/self/fd')) - files - len(silent)
        self.assertLessEqual(ours, exporter.MOST)

    def test_connection_that_says_nothing_for_long_is_closed(self):
        with mock.patch.object(exporter._Handler, 'timeout', 0.05):
            self.assertTrue(self.is_cut(self.connect()))

    def test_nonsense_is_refused_and_leaves_no_line_in_the_log(self):
        with (
            contextlib.redirect_stderr(mock.Mock(spec=['write'])) as stderr,
            self.assertNoLogs(level='INFO'),
        ):
            for nonsense in (b'\0\n\n', b'x' * 70_000 + b'\n', b'GET /'):
                made = self.connect()
                made.sendall(nonsense)
                made.shutdown(socket.SHUT_WR)
                while not self.is_cut(made):
                    pass
            with self.assertRaises(urllib.error.HTTPError):
                urllib.request.urlopen(
                    f'http://127.0.0.1:{self.where[1]}/', b'data', SOON
                )
        stderr.write.assert_not_called()

    def test_no_name_server_is_asked_who_we_are(self):
        with mock.patch.object(
            socket, 'getfqdn', autospec=True, side_effect=AssertionError
        ):
            other = exporter.serve(
                '127.0.0.1', 0, prometheus_client.CollectorRegistry()
            )
        other.shutdown()
        other.server_close()

    def test_port_that_is_taken_is_an_error(self):
        with self.assertRaises(OSError):
            exporter.serve(*self.where, prometheus_client.CollectorRegistry())


if __name__ == '__main__':
    unittest.main()
