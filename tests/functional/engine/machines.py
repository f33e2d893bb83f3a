# SPDX-License-Identifier: Apache-2.0

"""The hypervisors as far as an engine can touch them.

Each has a power, a kernel that greets at a port of its own, heartbeats, and
a BMC behind Redfish over HTTPS. What the BMC says and what is true are two
things.
"""

import base64
import socket
import threading
import time
import uuid

from nova_ha_plugins.store import values
from tests.functional.engine import faults
from tests.functional.engine import wire

USER, PASSWORD = 'engine', 'b3tter-not-in-a-log'
_ON = {True: 'On', False: 'Off'}


class Machine:
    """One hypervisor.

    :ivar power: the truth: whether its guests can run.
    :ivar beating: it sends heartbeats while it is on.
    :ivar greets: its port says something while it is on.
    :ivar claims: PowerState that its BMC says, None for the truth.
    :ivar obeys: ForceOff switches it off.
    :ivar identity: the UUID that its BMC says.
    :ivar cut: it is on and heard by nobody; to switch it off is no mistake.
    """

    def __init__(self, number, port):
        self.name = f'cmp-{number}'
        self.address = f'127.0.7.{number}'
        self.system_uuid = str(uuid.uuid4())
        self.identity = self.system_uuid
        self.power = True
        self.beating = True
        self.greets = True
        self.claims = None
        self.obeys = True
        self.cut = False
        self.boot_id = str(uuid.uuid4())
        self.sequence = 0
        self.resets = []
        self._listener = socket.create_server((self.address, port), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._kept = []
        threading.Thread(target=self._greet, daemon=True).start()

    def _greet(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.power and self.greets:
                    connection.sendall(b'SSH-2.0-OpenSSH_9.2\r\n')
                    connection.close()
                else:
                    # A dead kernel closes nothing.
                    self._kept.append(connection)
            except OSError:
                pass

    def close(self):
        # accept() goes on in a socket that is only closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._kept:
            connection.close()

    def hang(self):
        """The kernel stops: power stays, nothing else does."""
        self.greets = self.beating = False
        self.cut = True

    def boot(self):
        """Power on, a kernel that never heard of the last one."""
        self.boot_id = str(uuid.uuid4())
        self.sequence = 0
        self.power = self.greets = self.beating = True
        self.cut = False

    def heartbeat(self):
        self.sequence += 1
        return values.Heard(
            self.name, self.boot_id, self.sequence, self.system_uuid
        )


def _build(count):
    """Return machines whose kernels all greet at the same port."""
    while True:
        built = [Machine(1, 0)]
        try:
            for number in range(2, count + 1):
                built.append(Machine(number, built[0].port))
            return built
        except OSError:
            for machine in built:
                machine.close()


class Racks:
    """All machines, with one HTTPS server for their BMCs.

    :ivar violations: what was done to a machine that must never be done.
    """

    def __init__(self, count, directory, signer):
        self.script = faults.Script()
        self.violations = []
        self.calls = []
        self.over = threading.Event()
        self.machines = {one.name: one for one in _build(count)}
        self.port = next(iter(self.machines.values())).port
        racks = self

        class Handler(_Handler):
            pass

        Handler.racks = racks
        signer.write(directory, 'bmc', '127.0.0.1')
        self.authority = directory / 'bmc-ca.pem'
        self.authority.write_text(signer.certificate)
        self._server = wire.Server(
            Handler, directory / 'bmc.crt', directory / 'bmc.key'
        )
        self.url = f'https://127.0.0.1:{self._server.port}'
        self.password_file = directory / 'bmc-password'
        self.password_file.write_text(PASSWORD + '\n')
        self.password_file.chmod(0o600)

    def close(self):
        self.over.set()
        self._server.close()
        for machine in self.machines.values():
            machine.close()

    def fencing_map(self, changes=()):
        """Return the map; changes are options by host over the right ones."""
        entries = {
            name: {
                'driver': 'redfish',
                'address': self.url,
                'system': f'/redfish/v1/Systems/{name}',
                'username': USER,
                'password_file': str(self.password_file),
                'verify': str(self.authority),
            }
            for name in self.machines
        }
        for name, options in dict(changes).items():
            if options is None:
                del entries[name]
            else:
                entries[name] = {**entries[name], **options}
        return {'hosts': entries}

    def resets(self, host):
        """Return how often a host was told to power off."""
        return len(self.machines[host].resets)

    def reset(self, machine, kind):
        machine.resets.append((time.monotonic(), kind))
        if machine.power and not machine.cut:
            self.violations.append(f'{machine.name} switched off while alive')
        if kind == 'ForceOff' and machine.obeys:
            machine.power = False


class _Handler(wire.Handler):
    """What reaches a BMC."""

    racks: Racks

    @property
    def over(self):
        return self.racks.over

    def _handle(self):
        document = self.read_document()
        parts = self.path.split('/')
        machine = self.racks.machines.get(parts[4] if len(parts) > 4 else '')
        self.machine = machine
        kind = {'GET': 'read', 'POST': 'reset'}[self.command]
        pair = base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
        trusted = self.headers.get('Authorization') == f'Basic {pair}'
        subject = machine.name if machine else ''
        self.racks.calls.append((time.monotonic(), kind, subject))

        def perform():
            if not trusted:
                return wire.recorded('bmc system refused')
            if machine is None:
                return wire.recorded('bmc system missing')
            if kind == 'reset':
                self.racks.reset(machine, document['ResetType'])
                return wire.recorded('bmc reset')
            return self._system(machine)

        self.perform = perform
        self.racks.script.take(kind, subject)(self)

    do_GET = do_POST = _handle

    @staticmethod
    def _system(machine):
        status, document, headers = wire.recorded('bmc system')
        path = f'/redfish/v1/Systems/{machine.name}'
        document['@odata.id'] = path
        document['Name'] = document['Id'] = machine.name
        document['UUID'] = machine.identity
        document['PowerState'] = machine.claims or _ON[machine.power]
        reset = document['Actions']['#ComputerSystem.Reset']
        reset['target'] = f'{path}/Actions/ComputerSystem.Reset'
        return status, document, headers
