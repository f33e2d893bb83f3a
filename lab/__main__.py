# SPDX-License-Identifier: Apache-2.0
"""A cloud of real services on one machine, whose hypervisors lose power.

Real MariaDB, RabbitMQ, keystone, placement, glance, nova, gnocchi,
ceilometer, aodh, libvirt, QEMU, Redfish and IPMI; no systemd, no KVM. Needs
root. Everything is in one directory and in network namespaces of its own.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

from lab import faults
from lab import hosts as hypervisors
from lab import lab as labs
from lab import network
from lab import plan as planning
from lab import processes

DEFAULT = '/var/lib/nova-ha-lab/default'


class Progress:
    """Shows each stage with the time since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        seconds = time.monotonic() - self._began
        print(f'{seconds:6.1f} s  {text}', flush=True)


def _up(options: argparse.Namespace) -> None:
    say = Progress()
    labs.create(
        options.directory, options.hosts, options.fake, options.storage, say
    )
    say('The lab is up')
    print(f'Use it:   . {options.directory}/openrc; openstack server list')
    print(f'Watch it: {_again(options)} status')
    print(f'Stop it:  {_again(options)} down')


def _again(options: argparse.Namespace) -> str:
    if str(options.directory) == DEFAULT:
        return 'tools/lab'
    return f'tools/lab --directory {options.directory}'


def _down(options: argparse.Namespace) -> None:
    with labs.turn(options.directory):
        if not labs.remove(options.directory, options.wipe):
            print(f'There is no lab in {options.directory}')


def _status(options: argparse.Namespace) -> None:
    lab = labs.attach(options.directory)
    rows, active = lab.status(), lab.faults.active()
    if options.json:
        print(json.dumps({'rows': rows, 'faults': active}))
        return
    for row in rows:
        print(
            f'{row["name"]:24} {row["what"]:10} {row["state"]:8} '
            f'{row["mib"]:5} MiB  {row["text"]}'
        )
    for fault in active:
        print(f'Fault: {fault}')


def _host(options: argparse.Namespace) -> None:
    lab = labs.attach(options.directory)
    host = lab.plan.host(options.host)
    action = options.action
    if action == 'on':
        lab.hosts.power_on(host)
    elif action == 'off':
        lab.hosts.power_off(host)
    elif action in ('cut', 'heal'):
        for name in options.words or planning.NETWORKS:
            network.set_link(lab.plan, host, name, up=action == 'heal')
        if action == 'heal':
            lab.hosts.thaw(host)
    elif action == 'freeze':
        lab.hosts.freeze(host)
    else:
        command = options.words or ['bash']
        sys.exit(subprocess.run(lab.hosts.command(host, command)).returncode)


def _fault(options: argparse.Namespace) -> None:
    lab = labs.attach(options.directory)
    if options.what == 'list':
        for fault in lab.faults.active():
            print(fault)
    elif options.what == 'heal':
        lab.faults.heal(*(options.words or ['all']))
    else:
        lab.faults.cause(options.what, *options.words)


def _rc(options: argparse.Namespace) -> None:
    labs.attach(options.directory)
    print((options.directory / 'openrc').read_text(), end='')


def _exec(options: argparse.Namespace) -> None:
    """Run a command beside the services, with the admin's credentials."""
    plan = planning.load(options.directory)
    network.enter(plan.namespace)
    environment = {
        **os.environ,
        'PATH': processes.environment()['PATH'],
        'OS_CLIENT_CONFIG_FILE': str(plan.path('clouds.yaml')),
        'OS_CLOUD': os.environ.get('OS_CLOUD', 'admin'),
    }
    command = options.words or ['bash']
    sys.exit(subprocess.run(command, env=environment).returncode)


def _truth(options: argparse.Namespace) -> None:
    plan = planning.load(options.directory)
    for uuid, found in hypervisors.truth(plan).items():
        print(f'{uuid}  {found}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='lab',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--directory',
        '-D',
        type=pathlib.Path,
        default=pathlib.Path(DEFAULT),
        help='all files of the lab; two directories are two labs '
        '(default: %(default)s)',
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    up = commands.add_parser('up', help='make a new lab and start it')
    up.add_argument('--hosts', type=int, default=3, help='libvirt and QEMU')
    up.add_argument('--fake', type=int, default=0, help="nova's fake driver")
    up.add_argument(
        '--storage', choices=planning.STORAGE, default='shared',
        help='where the disks of the servers are',
    )  # fmt: skip
    up.set_defaults(run=_up)
    down = commands.add_parser('down', help='stop it; its files stay')
    down.add_argument('--wipe', action='store_true', help='remove them too')
    down.set_defaults(run=_down)
    status = commands.add_parser('status', help='what runs, what is broken')
    status.add_argument('--json', action='store_true')
    status.set_defaults(run=_status)
    host = commands.add_parser(
        'host', help='power, cables and agents of a hypervisor'
    )
    host.add_argument(
        'action', choices=('on', 'off', 'cut', 'heal', 'freeze', 'exec')
    )
    host.add_argument('host')
    host.add_argument(
        'words',
        nargs=argparse.REMAINDER,
        help='the networks of cut and heal (default: all), the command of '
        'exec',
    )
    host.set_defaults(run=_host)
    fault = commands.add_parser(
        'fault',
        help='break something, or heal it',
        description='lab fault NAME [ARGUMENT ...], lab fault list, lab '
        'fault heal [NAME [ARGUMENT ...]]',
        epilog=faults.catalogue(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fault.add_argument('what')
    fault.add_argument('words', nargs=argparse.REMAINDER)
    fault.set_defaults(run=_fault)
    commands.add_parser(
        'rc', help='print what a shell needs to use it: eval "$(lab rc)"'
    ).set_defaults(run=_rc)
    run = commands.add_parser('exec', help='run a command beside the services')
    run.add_argument('words', nargs=argparse.REMAINDER)
    run.set_defaults(run=_exec)
    commands.add_parser(
        'truth', help='what the guests wrote to their own disks'
    ).set_defaults(run=_truth)
    return parser


def main() -> None:
    """Run one command."""
    options = _parser().parse_args()
    options.directory = options.directory.resolve()
    if os.geteuid():
        sys.exit('The lab makes namespaces and runs hypervisors: run as root')
    try:
        options.run(options)
    except planning.LabError as exc:
        sys.exit(str(exc))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == '__main__':
    main()
