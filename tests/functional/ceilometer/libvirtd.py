# SPDX-License-Identifier: Apache-2.0

"""A libvirtd of a test: real, with libvirt's test driver behind it.

It runs as nobody, so that it touches no network and no QEMU of the machine.
"""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

PROGRAM = shutil.which('libvirtd', path='/usr/sbin:/usr/bin:/sbin:/bin')

_CONF = """
unix_sock_dir = "{0}"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:{0}/log"
"""

_DOMAIN = """
<domain type='test'>
  <name>instance-{number:08}</name>
  <uuid>{id}</uuid>
  <memory>1024</memory>
  <metadata>
    <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
      <nova:name>{name}</nova:name>
      <nova:flavor name='m1.tiny' id='42'/>
      <nova:owner>
        <nova:user uuid='a-user'>somebody</nova:user>
        <nova:project uuid='a-project'>something</nova:project>
      </nova:owner>
    </nova:instance>
  </metadata>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file'>
      <source file='/a/disk'/>
      <target dev='vda'/>
    </disk>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
  </devices>
</domain>
"""


def server_id(number: int) -> str:
    return f'11111111-0000-4000-8000-{number:012}'


def domain_xml(number: int, name: str = 'a server') -> str:
    return _DOMAIN.format(number=number, id=server_id(number), name=name)


class Libvirtd:
    """One daemon, which can be stopped, killed and started again.

    :ivar uri: how it is reached.
    """

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='nova-ha-lv-'))
        # Without root there is no second socket for who only reads.
        self.uri = f'test+unix:///default?socket={self._socket}'
        self._conf = self.directory / 'libvirtd.conf'
        self._conf.write_text(_CONF.format(self.directory))
        self._process = None
        self._as = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam('nobody')
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self._as = {
                'user': nobody.pw_uid,
                'group': nobody.pw_gid,
                'extra_groups': [],
            }
        os.chmod(self.directory, 0o755)

    @property
    def _socket(self):
        return self.directory / 'libvirt-sock'

    def start(self):
        own = str(self.directory)
        self._process = subprocess.Popen(
            [
                PROGRAM,
                f'--config={self._conf}',
                f'--pid-file={own}/pid',
            ],
            env={
                'HOME': own,
                'XDG_RUNTIME_DIR': own,
                'XDG_CONFIG_HOME': own,
                'XDG_CACHE_HOME': own,
                'PATH': os.environ['PATH'],
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as,
        )
        end = time.monotonic() + 20
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                log = self.directory / 'log'
                raise AssertionError(
                    f'No libvirtd: {log.read_text() if log.exists() else ""}'
                )
            time.sleep(0.02)

    def hang(self):
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._socket.unlink(missing_ok=True)

    def stop(self):
        if self._process:
            self.kill()
        shutil.rmtree(self.directory)
