# SPDX-License-Identifier: Apache-2.0

"""Real guests that run out of disk, panic, hang and die, as libvirt tells it.

A guest here is a boot sector: it does one thing, and does it within a second
of its start. No KVM is needed.
"""

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from unittest import mock

from oslo_config import cfg
import oslo_messaging

from ceilometer_pollsters import libvirt as ours
from ceilometer_pollsters import servers
from nova_ha_plugins.conf import nova_ha
from nova_ha_plugins.conf import nova_ha_libvirt
from tests.functional.ceilometer import libvirtd
from tests.functional import telemetry

try:
    import libvirt
except ImportError:
    libvirt = None

QEMU = shutil.which('qemu-system-x86_64')
# Half a minute where processors are few: not in each run.
ALL = bool(os.environ.get('NOVA_HA_FUNCTIONAL_ALL'))

# Writes eight sectors after the other until the BIOS says no, then tells the
# pvpanic device that it has panicked, and stops.
WRITER = bytes.fromhex(
    '31c0 8ed8 8ec0'  # segments are 0
    'be 267c b443 b000 b280 cd13'  # write what the address packet says
    '72 07'  # no more disk: panic
    '8306 2e7c 08'  # eight sectors further
    'eb ec'
    'ba 0505 b001 ee'  # panic
    'f4 eb fd'  # stop
)
# Starts the watchdog at port 443h with two seconds, and never feeds it.
SLEEPER = bytes.fromhex('ba 4304 b00e ee f4 eb fd')

_PACKET = bytes.fromhex('1000 0800 007c 0000 0800 0000 0000 0000')

_DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{id}</uuid>
  <memory unit='MiB'>16</memory>
  <metadata>
    <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
      <nova:name>{name}</nova:name>
      <nova:owner>
        <nova:user uuid='a-user'>somebody</nova:user>
        <nova:project uuid='a-project'>something</nova:project>
      </nova:owner>
    </nova:instance>
  </metadata>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>{qemu}</emulator>
    <disk type='file'>
      <driver name='qemu' type='raw' error_policy='enospace'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <panic model='isa'><address type='isa' iobase='0x505'/></panic>
    <watchdog model='ib700' action='pause'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def boot_sector(code: bytes) -> bytes:
    return (
        code.ljust(0x26, b'\0').__add__(_PACKET).ljust(510, b'\0') + b'U\xaa'
    )


@dataclasses.dataclass
class Guest:
    domain: object
    id: str
    directory: pathlib.Path

    @property
    def pid(self):
        run = self.directory / 'libvirt' / 'qemu' / 'run'
        return int((run / f'{self.domain.name()}.pid').read_text())


@unittest.skipUnless(ALL, 'starts QEMU; NOVA_HA_FUNCTIONAL_ALL=1 runs it')
@unittest.skipUnless(
    libvirt and libvirtd.PROGRAM and QEMU and os.geteuid() == 0,
    'needs libvirtd with its module, QEMU, and root to mount a small disk',
)
class QemuTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        libvirt.registerErrorHandler(lambda *_: None, None)
        cls.daemon = libvirtd.Libvirtd()
        cls.addClassCleanup(cls.daemon.stop)
        cls.daemon.start()
        cls.uri = cls.daemon.uri.replace(
            'test+unix:///default', 'qemu+unix:///session'
        )
        cls.admin = libvirt.open(cls.uri)
        cls.addClassCleanup(cls.admin.close)

    def setUp(self):
        conf = cfg.ConfigOpts()
        conf([])
        nova_ha.register_opts(conf)
        nova_ha_libvirt.register_opts(conf)
        for name, value in (
            ('uri', self.uri),
            ('monitor_deadline', 1.0),
            ('event_interval', 0.0),
        ):
            conf.set_override(name, value, 'nova_ha_libvirt')
        conf.set_override('project_id', 'the-operator', 'nova_ha')
        self.events = []
        notifier = mock.create_autospec(oslo_messaging.Notifier, instance=True)
        for method in (notifier.info, notifier.error):
            method.side_effect = lambda _, kind, payload: self.events.append(
                (time.monotonic(), kind, payload)
            )
        self.ours = ours.Libvirt(conf, 'cmp-1', notifier)
        self.addCleanup(self.ours.close)
        self.assertTrue(self.ours.libvirtd.look({}).up)

    def guest(self, number, code, disk):
        disk.write_bytes(boot_sector(code))
        os.truncate(disk, 2**20)
        disk.chmod(0o666)
        domain = self.admin.defineXML(
            _DOMAIN.format(
                name=f'guest-{number}',
                id=libvirtd.server_id(number),
                qemu=QEMU,
                disk=disk,
            )
        )
        self.addCleanup(self.end, domain)
        domain.create()
        return Guest(domain, libvirtd.server_id(number), self.daemon.directory)

    @staticmethod
    def end(domain):
        if domain.isActive():
            domain.destroy()

    def event(self, guest, kind, **wanted):
        def found():
            for at, event_type, payload in list(self.events):
                if (
                    event_type == f'instance.ha.{kind}'
                    and payload['instance_id'] == guest.id
                    and wanted.items() <= payload.items()
                ):
                    return at, payload
            return None

        return telemetry.wait_for(found, f'{kind} {wanted}')

    def look(self, guest):
        (found,) = (s for s in self.ours.servers.look({}) if s.id == guest.id)
        return found

    def test_guest_runs_out_of_disk_gets_room_and_panics(self):
        directory = tempfile.mkdtemp(prefix='nova-ha-small-')
        self.addCleanup(os.rmdir, directory)
        mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', directory]
        subprocess.run(mount, check=True)
        self.addCleanup(
            subprocess.run, ['umount', '-l', directory], check=True
        )

        guest = self.guest(1, WRITER, pathlib.Path(directory, 'disk'))

        _, payload = self.event(guest, 'ioerror')
        self.assertEqual(
            ('enospc', 'pause', 'virtio-disk0'),
            (payload['name'], payload['detail'], payload['device']),
        )
        self.event(guest, 'lifecycle', name='suspended', detail='ioerror')
        found = self.look(guest)
        self.assertEqual(
            ('paused', 'ioerror', 3, 5),
            (found.state_word, found.reason_word, found.state, found.reason),
        )
        self.assertEqual({'vda': 'no_space'}, found.disks)

        remount = ['mount', '-o', 'remount,size=4m', directory]
        subprocess.run(remount, check=True)
        guest.domain.resume()

        _, payload = self.event(guest, 'crashed')
        self.assertEqual(
            ('crashed', 'panicked'), (payload['name'], payload['detail'])
        )
        found = self.look(guest)
        self.assertEqual(
            ('crashed', 'panicked'), (found.state_word, found.reason_word)
        )

    def test_guest_hangs_then_its_qemu_hangs_then_it_dies(self):
        guest = self.guest(2, SLEEPER, self.daemon.directory / 'disk-2')

        _, payload = self.event(guest, 'watchdog')
        self.assertEqual('pause', payload['detail'])
        found = self.look(guest)
        self.assertEqual(
            ('watchdog', 6, 0.0),
            (found.reason_word, found.reason, found.stuck),
        )

        os.kill(guest.pid, signal.SIGSTOP)
        with self.assertLogs(servers.LOG.logger, 'ERROR') as logs:
            found = self.look(guest)
        self.assertIn(guest.id, logs.output[0])
        self.assertIsNone(found.disks)
        self.assertGreaterEqual(found.stuck, 1.0)
        # Libvirt itself goes on, and QEMU is not asked a second time.
        self.assertTrue(self.ours.libvirtd.look({}).up)
        began = time.monotonic()
        again = self.look(guest)
        self.assertLess(time.monotonic() - began, 1.0)
        self.assertEqual('occupied', again.monitor)
        self.assertGreater(again.stuck, found.stuck)
        os.kill(guest.pid, signal.SIGCONT)
        telemetry.wait_for(
            lambda: self.look(guest).disks == {}, 'an answer of QEMU'
        )

        os.kill(guest.pid, signal.SIGKILL)
        self.event(guest, 'crashed')
