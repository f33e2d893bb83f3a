# SPDX-License-Identifier: Apache-2.0

"""What nova's fake computes lack to be hosts: power, a BMC, a kernel.

A fake host is a few systemd units of one machine: its nova-compute, its
heartbeat and its ``kernel``, which greets on a Unix socket and so lives and
dies with the host. ``chassis`` is what survives a host: the network, which
asks the kernel for each probe and stays silent where nothing greets, and the
BMCs, whose power off kills the units and whose power on starts them.

Off is said only of a host that was told to be off and of which no unit runs.
One whose units are dead for another reason is a hung host, and reads On.
"""

import argparse
import collections.abc
import http
import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import threading
import time
import typing
import uuid

import bcrypt
from sushy_tools import error
from werkzeug import serving
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from lab.embedded import bmc
from lab.embedded import process

BANNER = b'SSH-2.0-fake-host\r\n'
BMC_USER = 'nova-ha'

# Units of a host, in the order in which they are started.
UNITS = (
    'devstack@n-cpu-{number}',
    *(f'devstack@nova-ha-{part}-{{host}}' for part in ('kernel', 'heartbeat')),
)

# Seconds that the units of a host may take to be gone, or to greet.
PATIENCE = 30.0
PAUSE = 0.2

Plan = dict[str, typing.Any]


class Chassis:
    """The power of all hosts: on, hung or off, read from systemd each time.

    It speaks what :class:`lab.embedded.bmc.System` asks of a control port.
    """

    def __init__(self, directory: pathlib.Path, plan: Plan) -> None:
        self.directory = directory
        self.hosts = {host['name']: host for host in plan['hosts']}
        self._systemctl: list[str] = plan['systemctl']

    def power(self, host: str) -> str:
        """Return 'on', 'hung' or 'off'."""
        if self._running(host):
            return 'on'
        return 'off' if self._off(host).exists() else 'hung'

    def set_power(self, host: str, state: str) -> None:
        """Return when it is true.

        :raises error.FishyError: systemd did not do it.
        """
        if state == 'on':
            self._power_on(host)
            return
        # A unit that was never started cannot be killed; that is as good.
        for unit in self._running(host):
            self._call('kill', '--kill-who=all', '--signal=SIGKILL', unit)
        deadline = time.monotonic() + PATIENCE
        while running := self._running(host):
            if time.monotonic() > deadline:
                raise error.FishyError(
                    f"Host '{host}' still runs {running} after SIGKILL",
                    http.HTTPStatus.INTERNAL_SERVER_ERROR,
                )
            time.sleep(PAUSE)
        if state == 'off':
            self._off(host).touch()

    def _power_on(self, host: str) -> None:
        boot_id = self.directory / host / 'boot_id'
        boot_id.write_text(f'{uuid.uuid4()}\n')
        self._off(host).unlink(missing_ok=True)
        self._call('start', *self.hosts[host]['units'])

    def _running(self, host: str) -> list[str]:
        """Return the units of a host that still have a process."""
        shown = self._call(
            'show', '--property=ActiveState', *self.hosts[host]['units']
        )
        states = [
            line.partition('=')[2] for line in shown.splitlines() if line
        ]
        units = self.hosts[host]['units']
        if len(states) != len(units):
            raise error.FishyError(
                f"systemd said nothing of the units of host '{host}'",
                http.HTTPStatus.SERVICE_UNAVAILABLE,
            )
        return [
            unit
            for unit, state in zip(units, states, strict=True)
            if state not in ('inactive', 'failed')
        ]

    def _off(self, host: str) -> pathlib.Path:
        return self.directory / host / 'off'

    def _call(self, *words: str) -> str:
        try:
            return subprocess.run(  # noqa: S603
                [*self._systemctl, *words],
                check=True,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            ).stdout
        except (OSError, subprocess.SubprocessError) as exc:
            raise error.FishyError(
                f'systemd did not {words[0]}: {exc}',
                http.HTTPStatus.SERVICE_UNAVAILABLE,
            ) from exc


class Network:
    """One port per host, answered by the host's kernel or by nobody.

    The machine's own kernel would refuse a connection to a port where nobody
    listens, and a refusal is a sign of life. So all ports stay open.
    """

    def __init__(self, directory: pathlib.Path, plan: Plan) -> None:
        self._directory = directory
        for host in plan['hosts']:
            listening = socket.create_server(
                (plan['address'], host['probe_port']), backlog=128
            )
            self._spawn(self._listen, listening, host['name'])

    def _spawn(
        self, call: collections.abc.Callable[..., None], *args: typing.Any
    ) -> None:
        threading.Thread(target=call, args=args, daemon=True).start()

    def _listen(self, listening: socket.socket, host: str) -> None:
        while True:
            connection, _ = listening.accept()
            self._spawn(self._answer, connection, host)

    def _answer(self, connection: socket.socket, host: str) -> None:
        banner = self._ask(host)
        with connection:
            try:
                if banner:
                    connection.sendall(banner)
                else:
                    # Until the prober gives up: closing would be an answer.
                    connection.recv(1)
            except OSError:
                # The prober has gone; nobody is left to be told.
                pass

    def _ask(self, host: str) -> bytes:
        path = self._directory / host / 'kernel.sock'
        with socket.socket(socket.AF_UNIX) as kernel:
            kernel.settimeout(PATIENCE)
            try:
                kernel.connect(str(path))
                return kernel.recv(len(BANNER))
            except OSError:
                return b''


def read_plan(directory: pathlib.Path) -> Plan:
    """Return what ``prepare`` has written."""
    plan: Plan = json.loads((directory / 'plan.json').read_text())
    return plan


def prepare(args: argparse.Namespace) -> None:
    """Write plan, identities, secrets and the engine's fencing map.

    What is there already is kept: a host keeps its identity.
    """
    directory: pathlib.Path = args.directory
    hosts = []
    for number, name in enumerate(args.hosts, start=1):
        (directory / name).mkdir(parents=True, exist_ok=True)
        hosts.append(
            {
                'name': name,
                'system_uuid': _kept_uuid(directory / name / 'product_uuid'),
                'probe_port': args.port + number,
                'units': [
                    unit.format(number=number, host=name) for unit in UNITS
                ],
            }
        )
        _kept_uuid(directory / name / 'boot_id')
        (directory / name / 'off').unlink(missing_ok=True)
    plan = {
        'address': args.address,
        'port': args.port,
        'bmc': not args.manual,
        'systemctl': ['sudo', '-n', 'systemctl'],
        'hosts': hosts,
    }
    _write(directory / 'plan.json', json.dumps(plan, indent=1))
    _make_secrets(directory, args.address)
    fencing_map = {'hosts': _fencing_map(directory, plan)}
    _write(args.map, yaml.safe_dump(fencing_map, sort_keys=False))


def _kept_uuid(path: pathlib.Path) -> str:
    if not path.exists():
        path.write_text(f'{uuid.uuid4()}\n')
    return path.read_text().strip()


def _write(path: pathlib.Path, text: str) -> None:
    """Write a file that only we can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def _make_secrets(directory: pathlib.Path, address: str) -> None:
    if not (directory / 'password').exists():
        password = secrets.token_hex(16)
        digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        _write(directory / 'htpasswd', f'{BMC_USER}:{digest}\n')
        _write(directory / 'password', password)
    certificate = _certificate(directory, address)
    if not certificate.exists():
        subprocess.run(  # noqa: S603
            [
                *'openssl req -x509 -nodes -days 3650 -newkey ec'.split(),
                *'-pkeyopt ec_paramgen_curve:prime256v1'.split(),
                *('-subj', '/CN=BMCs of fake hosts'),
                *('-addext', f'subjectAltName=IP:{address}'),
                *('-keyout', str(directory / 'bmc.key')),
                *('-out', str(certificate)),
            ],
            check=True,
            capture_output=True,
        )


def _certificate(directory: pathlib.Path, address: str) -> pathlib.Path:
    """Of this address: with another one it is another certificate."""
    return directory / f'bmc-{address}.crt'


def _fencing_map(directory: pathlib.Path, plan: Plan) -> Plan:
    address = plan['address']
    return {
        host['name']: {
            'driver': 'redfish',
            'address': f'https://{address}:{plan["port"]}',
            'system': f'/redfish/v1/Systems/{host["system_uuid"]}',
            'username': BMC_USER,
            'password_file': str(directory / 'password'),
            'verify': str(_certificate(directory, address)),
            'probe': f'{address}:{host["probe_port"]}',
        }
        for host in plan['hosts']
    }


def serve_chassis(args: argparse.Namespace) -> None:
    """Serve network and BMCs until SIGTERM."""
    plan = read_plan(args.directory)
    Network(args.directory, plan)
    if plan['bmc']:
        server = make_bmc(args.directory, plan)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    process.wait_for_the_end()


def make_bmc(directory: pathlib.Path, plan: Plan) -> serving.BaseWSGIServer:
    """Return the Redfish emulator of all hosts, listening."""
    os.environ.pop('SUSHY_EMULATOR_CONFIG', None)
    chassis = Chassis(directory, plan)
    driver = bmc.HostsDriver(
        bmc.System(
            host['name'],
            host['system_uuid'],
            [typing.cast(bmc.Control, chassis)],
        )
        for host in plan['hosts']
    )
    return bmc.server(
        bmc.application(driver, str(directory / 'htpasswd'), directory),
        plan['address'],
        plan['port'],
        str(_certificate(directory, plan['address'])),
        str(directory / 'bmc.key'),
    )


def serve_kernel(args: argparse.Namespace) -> None:
    """Greet whoever the network lets in."""
    path = args.directory / args.host / 'kernel.sock'
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(128)
        while True:
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.sendall(BANNER)
                except OSError:
                    # Who asked has gone.
                    pass


def change_power(args: argparse.Namespace) -> None:
    """Do by hand what the BMC does, or what no BMC would do: hang."""
    chassis = Chassis(args.directory, read_plan(args.directory))
    if args.host not in chassis.hosts:
        sys.exit(f"No fake host '{args.host}', only {sorted(chassis.hosts)}")
    if args.state:
        try:
            chassis.set_power(args.host, args.state)
        except error.FishyError as exc:
            sys.exit(str(exc))
    print(chassis.power(args.host))


def main(argv: list[str] | None = None) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--directory', type=pathlib.Path, required=True)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser('prepare', help=prepare.__doc__)
    command.add_argument('--map', type=pathlib.Path, required=True)
    command.add_argument('--address', default='127.0.0.1')
    command.add_argument(
        '--port', type=int, required=True, help='of the BMCs; probes follow'
    )
    command.add_argument(
        '--manual', action='store_true', help='the BMCs stay dark'
    )
    command.add_argument('hosts', nargs='+')
    command.set_defaults(run=prepare)
    command = commands.add_parser('chassis', help=serve_chassis.__doc__)
    command.set_defaults(run=serve_chassis)
    command = commands.add_parser('kernel', help=serve_kernel.__doc__)
    command.add_argument('host')
    command.set_defaults(run=serve_kernel)
    command = commands.add_parser('power', help=change_power.__doc__)
    command.add_argument('host')
    command.add_argument('state', nargs='?', choices=('on', 'hung', 'off'))
    command.set_defaults(run=change_power)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == '__main__':
    main()
