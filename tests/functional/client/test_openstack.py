# SPDX-License-Identifier: Apache-2.0

"""Our commands inside the real ``openstack`` program, as a user calls it.

A small HTTP server plays nova, with a break of its own. All programs run at
the same time: most of what they do is to start.
"""

import http.server
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import threading
import unittest

from tests.unit.client import answers

ROOT = pathlib.Path(__file__).parents[3]
SERVERS = {
    'back': '5d4c2f6e-0000-4000-8000-000000000001',
    'lost': '5d4c2f6e-0000-4000-8000-000000000002',
}
VERSION = {
    'id': 'v2.1',
    'status': 'CURRENT',
    'version': '2.104',
    'min_version': '2.1',
}
PATIENCE = 120.0


def play(name):
    """Give the answers about one server; the last one stays."""
    uuid = SERVERS[name]
    words = {
        'eta_seconds': 80,
        'eta_p90_seconds': 130,
        'explanation': 'It copies the image.',
    }
    end = answers.failed(uuid) if name == 'lost' else answers.done(uuid)
    return [
        [answers.item(uuid, percent=40, **words)],
        [answers.item(uuid, percent=62, **words)],
        None,
        [end],
    ]


class Nova(http.server.BaseHTTPRequestHandler):
    """As much of nova as the commands ask for."""

    played: dict[str, list] = {}

    def do_GET(self):
        if self.path.rstrip('/') == '/v2.1':
            here = f'http://{self.headers["Host"]}/v2.1/'
            links = [{'rel': 'self', 'href': here}]
            return self.answer(200, {'version': {**VERSION, 'links': links}})
        found = re.fullmatch(r'/v2.1/servers/(.*)/evacuations', self.path)
        name = found and found[1]
        if name not in self.played:
            return self.answer(404, {'itemNotFound': {'message': self.path}})
        given = self.played[name]
        now = given.pop(0) if len(given) > 1 else given[0]
        if now is None:
            return self.answer(503, None)
        assert 'instance-ha 1.2' in self.headers['OpenStack-API-Version']
        return self.answer(200, {'evacuations': now})

    def answer(self, status, body):
        text = 'No nova here' if body is None else json.dumps(body)
        self.send_response(status)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        return


class OpenstackTest(unittest.TestCase):
    """What each program printed, and its exit code."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        Nova.played = {SERVERS[name]: play(name) for name in SERVERS}
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Nova)
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.port = server.server_port
        cls.master, slave = pty.openpty()
        cls.addClassCleanup(os.close, cls.master)
        watch = ('server', 'evacuation', 'watch', '--interval', '0.1')
        pipe = subprocess.PIPE
        running = {
            'complete': cls.start(('complete', '--shell', 'none'), pipe),
            'json': cls.start((*watch, '--json', SERVERS['lost']), pipe),
            'bars': cls.start((*watch, SERVERS['back']), slave),
        }
        os.close(slave)
        drawn = cls.read_terminal()
        cls.ended = {}
        for name, process in running.items():
            told, _ = process.communicate(timeout=PATIENCE)
            cls.ended[name] = (process.returncode, told or drawn)

    @classmethod
    def start(cls, words, stdout):
        command = [
            os.path.join(os.path.dirname(sys.executable), 'openstack'),
            *('--os-auth-type', 'admin_token', '--os-token', 'x'),
            *('--os-endpoint', f'http://127.0.0.1:{cls.port}/v2.1'),
            *('--os-compute-api-version', '2.1'),
            *words,
        ]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().startswith(('os_', 'no_color', 'http'))
        }
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **kept,
                'TERM': 'xterm',
                'COLUMNS': '80',
                'LINES': '24',
                'PYTHONWARNINGS': 'ignore',
            },
        )
        cls.addClassCleanup(process.kill)
        return process

    @classmethod
    def read_terminal(cls):
        found = b''
        while True:
            try:
                read = os.read(cls.master, 65536)
            except OSError:
                # Linux says so when the other end was closed.
                return found.decode()
            if not read:
                return found.decode()
            found += read

    def test_shell_completes_our_commands_and_their_options(self):
        code, told = self.ended['complete']

        self.assertEqual(0, code, told)
        for line in (
            r"cmds_server_evacuation='list show summary watch'",
            r"cmds_server_evacuation_list='.* --server --host --state .*'",
            r"cmds_server_evacuation_show='-h .*'",
            r"cmds_server_evacuation_summary='.* --host --changes-since'",
            r"cmds_server_evacuation_watch='.* --json .* --timeout'",
        ):
            self.assertRegex(told, line)

    def test_json_is_for_programs_and_survives_a_break_of_nova(self):
        code, told = self.ended['json']
        events = [json.loads(line) for line in told.splitlines()]

        self.assertEqual(1, code, told)
        self.assertEqual(
            [
                'evacuation',
                'evacuation',
                'unanswered',
                'answered',
                'evacuation',
                'result',
            ],
            [event['event'] for event in events],
        )
        self.assertEqual('failed', events[-1]['result'])
        self.assertIn('Make room', events[-1]['failed'][0]['explanation'])

    def test_terminal_gets_bars_that_end_full(self):
        code, told = self.ended['bars']

        self.assertEqual(0, code, told)
        self.assertIn(' 62%  6/8 spawning    about 1 min 20 s left', told)
        self.assertIn('What is shown is', told)
        self.assertIn('━' * 12, told)
        self.assertTrue(told.endswith('1 succeeded\r\n'), told[-200:])
        # The cursor that was hidden is shown again.
        self.assertGreater(told.rindex('\x1b[?25h'), told.rindex('\x1b[?25l'))


if __name__ == '__main__':
    unittest.main()
