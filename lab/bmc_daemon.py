# SPDX-License-Identifier: Apache-2.0
"""What answers as the BMCs: a process for each, so that one may hang alone.

Both protocols of a host are in its process and drive one board. The power is
read from the host each time, never remembered: a BMC of this lab that says
something untrue was told to (see :data:`lab.bmc.FAULTS`).
"""

import collections.abc
import ctypes
import gc
import http
import json
import logging
import os
import pathlib
import signal
import sys
import threading
import time
import typing
import uuid

from pyghmi.ipmi import bmc as pyghmi_bmc
from pyghmi.ipmi.private import session as pyghmi_session
from sushy_tools import error

from lab import bmc
from lab import calls
from lab.embedded import bmc as embedded
from lab.embedded import process
from lab import hosts as hypervisors
from lab import plan as planning

LOG = logging.getLogger(__name__)

# Completion codes of IPMI.
_BUSY, _INVALID, _WRONG_STATE = 0xC0, 0xCC, 0xD5

# A client that waits longer for a BMC that hangs is let go.
_LONGEST_HANG = 600.0


class Power(typing.Protocol):
    """What :class:`lab.hosts.Hosts` offers to a BMC."""

    def power_on(self, host: planning.Host) -> None: ...

    def power_off(self, host: planning.Host) -> None: ...

    def power(self, host: planning.Host) -> str: ...


class Wires:
    """The power of a host as the board reaches it."""

    def __init__(self, hosts: Power, host: planning.Host) -> None:
        self._hosts, self._host = hosts, host

    def power(self, name: str) -> str:
        try:
            return self._hosts.power(self._host)
        except planning.LabError as exc:
            raise _unavailable(exc) from exc

    def set_power(self, name: str, state: str) -> None:
        change = {'on': self._hosts.power_on, 'off': self._hosts.power_off}
        try:
            change[state](self._host)
        except planning.LabError as exc:
            raise _unavailable(exc) from exc


def _unavailable(exc: Exception) -> error.FishyError:
    return error.FishyError(str(exc), http.HTTPStatus.SERVICE_UNAVAILABLE)


class Board(embedded.System):
    """One BMC: the power of its host, and what was told to be wrong with it.

    :ivar fault: returns what is wrong right now.
    """

    def __init__(
        self,
        hosts: Power,
        host: planning.Host,
        fault: collections.abc.Callable[[], bmc.Fault],
    ) -> None:
        super().__init__(host.name, host.system_uuid, [Wires(hosts, host)])
        self.fault = fault
        # The occasion of a lie, and what was claimed.
        self._claim = ('', '')

    def read(self) -> str:
        """Return PowerState; of a board that lies, what it last claimed."""
        fault = self.fault()
        if fault.kind == bmc.LIE and self._claim[0] == fault.occasion:
            return self._claim[1]
        return super().read()

    def reset(self, kind: str) -> None:
        """Carry out a ResetType, or only say so."""
        fault = self.fault()
        LOG.info('%s: %s, fault: %s', self.name, kind, fault.kind)
        if kind == 'GracefulShutdown':
            # The button asks the operating system, and nobody there listens:
            # a hypervisor of the lab has no acpid.
            return
        if fault.kind == bmc.LIE:
            off = kind == 'ForceOff'
            self._claim = (fault.occasion, 'Off' if off else 'On')
        elif fault.kind != bmc.IGNORE:
            super().reset(kind)


class Faulty:
    """A WSGI application that hangs, fails or is slow when it is told to."""

    def __init__(self, app: typing.Any, board: Board) -> None:
        self._app, self._board = app, board

    def __call__(self, environ, start_response):  # type: ignore
        fault = self._board.fault()
        if fault.kind == bmc.HANG:
            self._hang(fault)
        if fault.kind == bmc.SLOW:
            time.sleep(fault.seconds)
        if fault.kind == bmc.ERROR:
            return self._fail(start_response)
        return self._app(environ, start_response)

    def _hang(self, fault: bmc.Fault) -> typing.NoReturn:
        """Return never: the connection ends without an answer."""
        until = time.monotonic() + _LONGEST_HANG
        while self._board.fault() == fault and time.monotonic() < until:
            time.sleep(0.5)
        raise ConnectionAbortedError('The BMC hung')

    def _fail(self, start_response):  # type: ignore
        body = json.dumps(
            {
                'error': {
                    'code': 'Base.1.0.InternalError',
                    'message': 'The request failed due to an internal '
                    'service error. The service is still operational.',
                }
            }
        ).encode()
        headers = [
            ('Content-Type', 'application/json'),
            ('Content-Length', str(len(body))),
        ]
        start_response('500 Internal Server Error', headers)
        return [body]


class Ipmi(pyghmi_bmc.Bmc):
    """IPMI 2.0 of one board."""

    def __init__(self, board: Board, password: str, address: str) -> None:
        # What wakes its loop; its own guess is an address of IPv6.
        pyghmi_session.myself = address
        system = uuid.UUID(board.uuid)
        super().__init__(
            {bmc.USER: password},
            port=bmc.IPMI,
            bmcuuid=system,
            address=address,
        )
        self._board = board
        self._last: tuple[object, ...] = ()

    def get_system_guid(self) -> uuid.UUID:
        return self.uuid

    def sessionless_data(self, data: bytes, sockaddr: object) -> None:
        if self._board.fault().kind != bmc.HANG:
            super().sessionless_data(data, sockaddr)

    def handle_raw_request(
        self, request: dict[str, typing.Any], session: typing.Any
    ) -> None:
        fault = self._board.fault()
        if fault.kind == bmc.HANG:
            return
        if fault.kind == bmc.ERROR:
            session.send_ipmi_response(code=_WRONG_STATE)
            return
        if fault.kind == bmc.SLOW:
            # The client repeats what is not answered within a second.
            this = (session, session.seqlun, request['command'])
            if this == self._last:
                return
            self._last = this
            time.sleep(fault.seconds)
        super().handle_raw_request(request, session)

    def get_power_state(self) -> str:
        """Return 'on' or 'off'; of a change under way, what was before."""
        return 'off' if self._board.read() in ('Off', 'PoweringOn') else 'on'

    def power_off(self) -> int:
        return self._reset('ForceOff')

    def power_on(self) -> int:
        return self._reset('On')

    def power_cycle(self) -> int:
        return self._reset('ForceRestart')

    def power_reset(self) -> int:
        return self._reset('ForceRestart')

    def power_shutdown(self) -> int:
        return self._reset('GracefulShutdown')

    def _reset(self, kind: str) -> int:
        """Return the completion code."""
        try:
            self._board.reset(kind)
        except error.Conflict:
            return _BUSY
        except error.NotSupportedError:
            return _INVALID
        return 0


def serve(plan: planning.Plan, host: planning.Host) -> typing.NoReturn:
    """Be the BMC of one host."""
    board = Board(hypervisors.Hosts(plan), host, lambda: bmc.fault(plan, host))
    app = embedded.application(
        embedded.HostsDriver([board]),
        str(bmc.files(plan, 'htpasswd')),
        plan.path('bmc', host.name, 'state'),
    )
    server = embedded.server(
        calls.Noted(Faulty(app, board), calls.path(plan)),
        host.bmc_address,
        bmc.REDFISH,
        str(bmc.files(plan, f'{host.name}.crt')),
        str(bmc.files(plan, f'{host.name}.key')),
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ipmi = Ipmi(
        board, bmc.files(plan, 'password').read_text(), host.bmc_address
    )
    ipmi.listen()
    raise AssertionError('It listens until it is killed')


def _fork(plan: planning.Plan, host: planning.Host) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        ctypes.CDLL(None).prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            serve(plan, host)
    except BaseException:
        LOG.exception('The BMC of %s ends', host.name)
    finally:
        logging.shutdown()
        os._exit(1)


def main() -> None:
    """Be all BMCs of the lab in the directory of the command line."""
    logging.basicConfig(
        level=logging.INFO, format='%(asctime)s %(levelname)s %(message)s'
    )
    logging.getLogger('werkzeug').setLevel(logging.WARNING)
    plan = planning.load(pathlib.Path(sys.argv[1]))
    # Else the emulator takes our argument, or a file, for its own.
    del sys.argv[1:]
    os.environ.pop('SUSHY_EMULATOR_CONFIG', None)
    # Everything is imported once; the processes share those pages.
    embedded.application(
        embedded.HostsDriver([]),
        str(bmc.files(plan, 'htpasswd')),
        plan.path('bmc', 'state'),
    )
    gc.freeze()
    boards = {_fork(plan, host): host.name for host in plan.hosts}
    pid, status = os.wait()
    sys.exit(f'The BMC of {boards[pid]} ended ({status}), so all of them do')


if __name__ == '__main__':
    main()
