# SPDX-License-Identifier: Apache-2.0

"""Redfish devices on the loopback: sushy-tools' own, and one that lies."""

import base64
import http.server
import json
import logging
import random
import shutil
import tempfile
import threading
import types
import uuid

from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources import managers
from sushy_tools.emulator.resources.systems import fakedriver
from werkzeug import serving

USER, PASSWORD = 'admin', 'b3tter-not-in-a-log'
RESET = 'Actions/ComputerSystem.Reset'


class Emulator:
    """The emulator of sushy-tools with its fake driver and our clock."""

    def __init__(self):
        self.uuid = str(uuid.uuid4())
        self._now = 1000.0
        self._calls = 0
        self._directory = tempfile.mkdtemp(prefix='nova-ha-emulator-')
        logger = logging.getLogger('sushy_tools')
        config = {
            'SUSHY_EMULATOR_STATE_DIR': self._directory,
            'SUSHY_EMULATOR_FAKE_SYSTEMS': [
                {
                    'uuid': self.uuid,
                    'name': 'one',
                    'power_state': 'On',
                    'nics': [],
                },
            ],
        }
        self._saved = fakedriver.time
        fakedriver.time = types.SimpleNamespace(time=lambda: self._now)
        driver = fakedriver.FakeDriver.initialize(config, logger)()
        self._driver = driver
        # The application keeps its drivers for life; each bench has its own.
        self._originals = {
            name: emulator.Application.__dict__[name]
            for name in ('systems', 'managers')
        }
        emulator.Application.systems = driver
        emulator.Application.managers = managers.FakeDriver(
            config, logger, driver, emulator.app.chassis
        )
        self._server = serving.make_server(
            '127.0.0.1',
            0,
            self._application,
            threaded=True,
            request_handler=_QuietHandler,
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def _application(self, environ, start_response):
        self._calls += 1
        return emulator.app(environ, start_response)

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for name, value in self._originals.items():
            setattr(emulator.Application, name, value)
        fakedriver.time = self._saved
        shutil.rmtree(self._directory)

    def options(self):
        return {
            'address': f'http://127.0.0.1:{self._server.server_port}',
            'system': f'/redfish/v1/Systems/{self.uuid}',
        }

    def set_power(self, on):
        self._driver._update(
            self.uuid, power_state='On' if on else 'Off', pending_power=None
        )

    def is_on(self):
        return self._driver.get_power_state(self.uuid) == 'On'

    def settle(self):
        self._now += 60.0

    def calls(self):
        return self._calls


class _QuietHandler(serving.WSGIRequestHandler):
    def log(self, type, message, *args):
        pass


class LyingBmc:
    """A Redfish service of one system that can be told to misbehave.

    :ivar state: what PowerState says; None follows the truth.
    :ivar faults: by 'read', 'reset', 'login', 'logout': a function that gets
        the handler and returns True when it has answered, wrongly.
    """

    def __init__(self):
        self.uuid = '4C4C4544-0042-3510-8052-B7C04F4E3232'
        self.on = True
        self.state = None
        self.obeys = True
        self.auth = None
        self.allowable = ['On', 'ForceOff', 'GracefulShutdown']
        self.faults = {}
        self.log = []
        self.resets = []
        self.sessions = set()
        self.stopping = threading.Event()
        bench = self

        class Handler(_LyingHandler):
            pass

        Handler.bench = bench
        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler
        )
        self._server.daemon_threads = True
        # A client that gave up is what some of the tests are about.
        self._server.handle_error = lambda request, address: None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self):
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def options(self):
        port = self._server.server_address[1]
        return {
            'address': f'http://127.0.0.1:{port}',
            'system': '/redfish/v1/Systems/1',
        }

    def set_power(self, on):
        self.on = on

    def is_on(self):
        return self.on

    def settle(self):
        pass

    def calls(self):
        return len(self.log)


class _LyingHandler(http.server.BaseHTTPRequestHandler):
    bench: LyingBmc

    def log_message(self, format, *args):
        pass

    def answer(self, status, document=None, headers=(), raw=None):
        body = json.dumps(document).encode() if raw is None else raw
        if document is None and raw is None:
            body = b''
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, message):
        self.answer(
            status,
            {'error': {'code': 'Base.1.0.GeneralError', 'message': message}},
        )

    def _begin(self, kind):
        self.bench.log.append((self.command, self.path))
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length)
        self.document = json.loads(body) if body else {}
        fault = self.bench.faults.get(kind)
        return bool(fault and fault(self))

    def _allowed(self):
        if self.bench.auth is None:
            return True
        if self.bench.auth == 'basic':
            pair = base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
            good = self.headers.get('Authorization') == f'Basic {pair}'
        else:
            good = self.headers.get('X-Auth-Token') in self.bench.sessions
        if not good:
            self.error(401, 'Unauthorized')
        return good

    def do_GET(self):
        if self.path.rstrip('/') == '/redfish/v1':
            self._begin('root')
            self.answer(
                200,
                {
                    'Id': 'RootService',
                    'Name': 'Root',
                    'RedfishVersion': '1.6.0',
                    'Links': {
                        'Sessions': {
                            '@odata.id': '/redfish/v1/SessionService/Sessions'
                        }
                    },
                },
            )
            return
        if self._begin('read') or not self._allowed():
            return
        bench = self.bench
        if self.path != '/redfish/v1/Systems/1':
            self.error(404, 'no such resource')
            return
        state = bench.state or ('On' if bench.on else 'Off')
        self.answer(
            200,
            {
                'Id': '1',
                'UUID': bench.uuid,
                'PowerState': state,
                'Boot': 17,  # of no concern to anybody who wants the power
                'Actions': {
                    '#ComputerSystem.Reset': {
                        'target': f'{self.path}/{RESET}',
                        'ResetType@Redfish.AllowableValues': bench.allowable,
                    }
                },
            },
        )

    def do_POST(self):
        bench = self.bench
        if self.path == '/redfish/v1/SessionService/Sessions':
            if self._begin('login'):
                return
            if self.document != {'UserName': USER, 'Password': PASSWORD}:
                self.error(401, 'wrong credentials')
                return
            token = f'{random.getrandbits(64):x}'
            bench.sessions.add(token)
            self.answer(
                201,
                {},
                [
                    ('X-Auth-Token', token),
                    ('Location', f'{self.path}/{token}'),
                ],
            )
            return
        if self._begin('reset') or not self._allowed():
            return
        bench.resets.append(self.document.get('ResetType'))
        if bench.obeys and self.document.get('ResetType') == 'ForceOff':
            bench.on = False
        self.answer(204)

    def do_DELETE(self):
        if self._begin('logout') or not self._allowed():
            return
        self.bench.sessions.discard(self.path.rsplit('/', 1)[-1])
        self.answer(204)
