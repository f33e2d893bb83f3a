# SPDX-License-Identifier: Apache-2.0
"""The BMCs of all hosts: sushy-tools' Redfish emulator with a truthful driver.

It reads the power of a host from the processes that are the host, nova and
telemetry, every time it is asked. Off is said only when both say that nothing
of the host runs; when one cannot be asked, the answer is an error.
"""

import collections.abc
import http
import logging
import os
import pathlib
import ssl
import sys
import tempfile
import threading
import typing

import flask
from sushy_tools.emulator.resources.systems import base
from sushy_tools import error
from werkzeug import serving

from lab.embedded import process

LOG = logging.getLogger(__name__)

# Longer than a power off of an embedded host can take.
CONTROL_TIMEOUT = 45


class Control:
    """The control port of one process that a host is made of."""

    def __init__(self, url: str) -> None:
        self.url = url

    def power(self, host: str) -> str:
        """Return what the process says: 'on', 'hung' or 'off'."""
        return str(self._call('/hosts', None, 5)[host]['power'])

    def set_power(self, host: str, state: str) -> None:
        """Return when it is true."""
        self._call(f'/hosts/{host}/power', {'state': state}, CONTROL_TIMEOUT)

    def _call(
        self, path: str, body: dict[str, str] | None, timeout: float
    ) -> typing.Any:
        try:
            return process.call(self.url + path, body, timeout)
        except process.ControlError as exc:
            raise error.FishyError(
                str(exc), http.HTTPStatus.SERVICE_UNAVAILABLE
            ) from exc


class System:
    """One host behind its BMC.

    A command is accepted at once and carried out in the background, as BMCs
    do; until then the power state says that it is under way.
    """

    def __init__(
        self, name: str, system_uuid: str, controls: list[Control]
    ) -> None:
        self.name = name
        self.uuid = system_uuid
        self._controls = controls
        self._lock = threading.Lock()
        self._under_way = ''

    def read(self) -> str:
        """Return PowerState."""
        under_way = self._under_way
        if under_way:
            return under_way
        states = {one.power(self.name) for one in self._controls}
        return 'Off' if states == {'off'} and not self._under_way else 'On'

    def reset(self, kind: str) -> None:
        """Carry out a ResetType."""
        if kind in ('On', 'ForceOn'):
            self._begin('PoweringOn', self._power_on)
        elif kind == 'ForceOff':
            self._begin('PoweringOff', self._power_off)
        elif kind == 'GracefulShutdown':
            # The button asks the operating system; a hung one is deaf.
            if self._controls[0].power(self.name) != 'hung':
                self._begin('PoweringOff', self._power_off)
        elif kind == 'ForceRestart':
            self._begin('PoweringOff', self._restart)
        else:
            raise error.NotSupportedError(f'{kind} is not supported')

    def _begin(self, word: str, action: typing.Any) -> None:
        with self._lock:
            if self._under_way == word:
                return
            if self._under_way:
                raise error.Conflict(
                    f'{self.name} is {self._under_way}, try again later'
                )
            self._under_way = word
        threading.Thread(
            target=self._run, args=(action,), name=self.name, daemon=True
        ).start()

    def _run(self, action: typing.Any) -> None:
        try:
            action()
        except error.FishyError as exc:
            # Nobody waits for it: who sent the command reads the power.
            LOG.error('%s: %s', self.name, exc)
        finally:
            self._under_way = ''

    def _power_off(self) -> None:
        for one in self._controls:
            one.set_power(self.name, 'off')

    def _power_on(self) -> None:
        # A hung machine has power: the button does nothing.
        for one in self._controls:
            if one.power(self.name) == 'off':
                one.set_power(self.name, 'on')

    def _restart(self) -> None:
        self._power_off()
        self._power_on()


class HostsDriver(base.AbstractSystemsDriver):
    """The systems of the emulator are hosts of ours."""

    def __init__(self, systems: collections.abc.Iterable[System]) -> None:
        super().__init__()
        self._systems = {system.uuid: system for system in systems}

    def _system(self, identity: str) -> System:
        try:
            return self._systems[identity]
        except KeyError:
            raise error.NotFound(f'There is no system {identity}') from None

    @property
    def driver(self) -> str:
        return '<hosts of the lab>'

    @property
    def systems(self) -> list[str]:
        return list(self._systems)

    def uuid(self, identity: str) -> str:
        return self._system(identity).uuid

    def name(self, identity: str) -> str:
        return self._system(identity).name

    def get_power_state(self, identity: str) -> str:
        return self._system(identity).read()

    def set_power_state(self, identity: str, state: str) -> None:
        self._system(identity).reset(state)

    def get_boot_device(self, identity: str) -> str:
        return 'Hdd'

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        raise error.NotSupportedError('A host of the lab has no choice')


def systems(
    plan: dict[str, typing.Any],
) -> collections.abc.Iterator[System]:
    """Return the hosts of the embedded cloud."""
    # Nova first: telemetry reads the boot id that nova writes.
    controls = [Control(plan['nova']['control_url'])]
    if plan['telemetry']['enabled']:
        controls.append(Control(plan['telemetry']['control_url']))
    for one in plan['hosts']:
        yield System(one['name'], one['system_uuid'], controls)


def application(
    driver: HostsDriver, auth_file: str, state: pathlib.Path
) -> flask.Flask:
    """Return the emulator with a driver of ours; once in a process.

    :param state: where sushy-tools keeps LEDs and the like.
    """
    state.mkdir(parents=True, exist_ok=True)
    # There is also what it keeps elsewhere, unless told otherwise.
    tempfile.tempdir = str(state)
    from sushy_tools.emulator import main as emulator

    # The emulator chooses among its own drivers only.
    emulator.Application.systems = property(lambda self: driver)
    emulator.app.configure(
        extra_config={
            'SUSHY_EMULATOR_AUTH_FILE': auth_file,
            'SUSHY_EMULATOR_STATE_DIR': str(state),
        }
    )
    return emulator.app


def server(
    app: typing.Any, address: str, port: int, certificate: str, key: str
) -> serving.BaseWSGIServer:
    """Return a server over TLS that is bound; ``serve_forever`` serves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # The server that the emulator itself uses; waitress knows no TLS.
    made = serving.make_server(address, port, app, threaded=True)
    # In the thread of each connection, not where connections are accepted:
    # a client that says nothing would block all others.
    made.socket = context.wrap_socket(
        made.socket, server_side=True, do_handshake_on_connect=False
    )
    made.ssl_context = context
    return made


def run(plan: dict[str, typing.Any]) -> None:
    """Serve over TLS until SIGTERM."""
    app = application(
        HostsDriver(systems(plan)),
        plan['bmc']['auth_file'],
        pathlib.Path(plan['directory'], 'bmc', 'state'),
    )
    made = server(
        app,
        '127.0.0.1',
        plan['bmc']['port'],
        plan['bmc']['certificate'],
        plan['bmc']['key'],
    )
    threading.Thread(target=made.serve_forever, daemon=True).start()
    process.wait_for_the_end()


def main() -> None:
    """Serve the plan of the command line."""
    logging.basicConfig(
        level=logging.INFO, format='%(asctime)s %(levelname)s %(message)s'
    )
    plan = process.read_plan()
    del sys.argv[1:]
    os.environ.pop('SUSHY_EMULATOR_CONFIG', None)
    run(plan)


if __name__ == '__main__':
    main()
