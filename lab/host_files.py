# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor finds when it is switched on: files, mounts, agents."""

import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

from lab import control
from lab import nova
from lab import plan as planning
from lab import preload
from lab import processes
from lab import telemetry

# Of each host alone, and kept while it has no power.
_LIBVIRT = {
    'libvirt-etc': '/etc/libvirt',
    'libvirt-lib': '/var/lib/libvirt',
    'libvirt-log': '/var/log/libvirt',
    'libvirt-cache': '/var/cache/libvirt',
}
_SOCKET = '/run/libvirt/libvirt-sock'

# There is neither systemd nor an access to control groups, and the hosts are
# root already; virtlogd would have to outlive libvirtd.
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""

_LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
auth_unix_rw = "none"
unix_sock_group = "root"
log_outputs = "2:stderr"
"""

# It greets, for the engine's probe, and lets nobody in.
_SSHD_CONF = """\
ListenAddress 0.0.0.0:22
HostKey {key}
PidFile /run/sshd.pid
AuthenticationMethods publickey
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
LoginGraceTime 10
LogLevel QUIET
"""


def environment() -> dict[str, str]:
    """Return what everything on a host gets.

    It is written down for PID 1, and whoever switches a host on may have
    secrets in theirs.
    """
    known = ('HOME', 'LC_ALL', 'PATH', 'PYTHONPATH', 'PYTHONWARNINGS')
    given = processes.environment()
    return {name: given[name] for name in known if name in given}


def directory(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Return where a host's own files are."""
    return plan.path('hosts', host.name, 'x').parent


def instances(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Return where the disks are that this host sees with this plan."""
    if plan.storage == 'shared':
        return plan.directory / 'shared' / 'instances'
    return directory(plan, host) / 'instances'


def ledger(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Return the file that PID 1 notes guests in."""
    return directory(plan, host) / 'ledger.jsonl'


def defined(plan: planning.Plan, host: planning.Host) -> list[str]:
    """Return the servers that libvirt has a domain for, running or not."""
    found = []
    where = directory(plan, host) / 'libvirt-etc' / 'qemu'
    for path in where.glob('*.xml'):
        server = re.search(r'<uuid>(.*)</uuid>', path.read_text())
        if server:
            found.append(server.group(1))
    return found


def boot_command(plan: planning.Plan, host: planning.Host) -> list[str]:
    """Write everything a host needs; return the command that is its power.

    The command returns at once and leaves the host without a parent, so it
    outlives whoever switched it on.
    """
    spec = plan.path('run', 'hosts', f'{host.name}.spec')
    spec.write_text(json.dumps(_spec(plan, host)))
    script = pathlib.Path(__file__).with_name('host_init.py')
    return [
        'setsid', '--fork',
        'nsenter', f'--net=/run/netns/{plan.host_namespace(host)}',
        'unshare', '--mount', '--uts', '--ipc', '--pid', '--fork',
        '--kill-child', '--mount-proc',
        sys.executable, '-I', '-S', str(script), str(spec),
    ]  # fmt: skip


def _spec(plan: planning.Plan, host: planning.Host) -> dict[str, object]:
    own = directory(plan, host)
    boot_id = str(uuid.uuid4())
    (own / 'boot_id').write_text(f'{boot_id}\n')
    (own / 'product_uuid').write_text(f'{host.system_uuid}\n')
    binds = [(own / 'boot_id', '/proc/sys/kernel/random/boot_id')]
    if host.kind == planning.REAL:
        for name, target in _LIBVIRT.items():
            (own / name).mkdir(exist_ok=True)
            binds.append((own / name, target))
        (own / 'libvirt-etc' / 'qemu.conf').write_text(_QEMU_CONF)
        (own / 'libvirt-etc' / 'libvirtd.conf').write_text(
            _LIBVIRTD_CONF.format(uuid=host.system_uuid)
        )
        disks = instances(plan, host)
        # What the probe of the storage writes into.
        (disks / '.nova-ha').mkdir(parents=True, exist_ok=True)
        binds.append((disks, nova.INSTANCES))
    return {
        'hostname': host.hostname,
        'boot_id': boot_id,
        'socket': str(plan.path('run', 'hosts', f'{host.name}.socket')),
        'ledger': str(ledger(plan, host)),
        # Would be hidden by the host's own /tmp if they were there.
        'keep': [str(plan.directory), str(planning.ROOT), sys.prefix],
        'files': _files(plan, host),
        'binds': [(str(source), target) for source, target in binds],
        'agents': _agents(plan, host),
    }


def _files(plan: planning.Plan, host: planning.Host) -> dict[str, str]:
    names = {
        each.address(): dict.fromkeys((each.hostname, each.name))
        for each in plan.hosts
    }
    names[planning.CONTROLLER] = {'controller': None}
    hosts = '\n'.join(
        f'{address} {" ".join(each)}' for address, each in names.items()
    )
    users = pathlib.Path('/etc/passwd').read_text()
    groups = pathlib.Path('/etc/group').read_text()
    if 'libvirt-qemu:' not in users:
        # Debian's libvirt does not start without; qemu.conf has another.
        users += 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false\n'
        groups += 'libvirt-qemu:x:64055:\n'
    return {
        '/etc/hostname': f'{host.hostname}\n',
        '/etc/hosts': f'127.0.0.1 localhost\n{hosts}\n',
        '/etc/machine-id': f'{uuid.UUID(host.system_uuid).hex}\n',
        '/etc/passwd': users,
        '/etc/group': groups,
        # There is nobody to ask.
        '/etc/resolv.conf': '',
        '/run/sshd/.keep': '',
        '/etc/ssh/sshd_config': _SSHD_CONF.format(key=_host_key(plan, host)),
        '/sys/class/dmi/id/product_uuid': f'{host.system_uuid}\n',
    }


def _host_key(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Return the key of a host's sshd, made with its first power."""
    key = directory(plan, host) / 'ssh_host_ed25519_key'
    if not key.exists():
        new = key.with_suffix(f'.{os.getpid()}')
        subprocess.run(
            ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(new)],
            check=True,
        )
        new.replace(key)
    return key


def _agents(
    plan: planning.Plan, host: planning.Host
) -> dict[str, dict[str, object]]:
    """Return the agents in the order they are started in."""
    commands = {
        'sshd': ['/usr/sbin/sshd', '-D', '-e'],
        'libvirtd': ['/usr/sbin/libvirtd'],
        'ceilometer-polling': [
            processes.program('ceilometer-polling'),
            '--polling-namespaces', 'ha',
            '--config-file', telemetry.polling_conf(plan, host),
        ],
        'ceilometer-ha-host': [
            processes.program('ceilometer-polling'),
            '--polling-namespaces', 'ha_host',
            '--config-file', telemetry.polling_conf(plan, host, probes=True),
        ],
        'nova-compute': [
            processes.program('nova-compute'),
            '--config-file', control.nova_compute_conf(plan, host),
        ],
    }  # fmt: skip
    if host.kind != planning.REAL:
        del commands['libvirtd'], commands['ceilometer-ha-host']
    agents: dict[str, dict[str, object]] = {}
    for name, argv in commands.items():
        agents[name] = {
            'argv': argv,
            'environment': environment(),
            'log': str(plan.log(f'{host.name}-{name}')),
        }
    if host.kind == planning.REAL:
        agents['nova-compute']['after'] = _SOCKET
        # It hands this on to QEMU, and nothing else of its own.
        disk = str(preload.library(plan, 'disk'))
        agents['libvirtd']['environment'] = {
            **environment(),
            'LD_PRELOAD': disk,
        }
    return agents
