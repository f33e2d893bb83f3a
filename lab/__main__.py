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
import typing

from lab import evidence
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
        # In one piece: several threads say something.
        sys.stdout.write(f'{seconds:6.1f} s  {text}\n')
        sys.stdout.flush()


def _up(options: argparse.Namespace) -> None:
    say = Progress()
    labs.create(
        options.directory,
        options.hosts,
        options.fake,
        options.storage,
        say,
        options.engines,
        options.liveness,
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
    if not (options.directory / 'lab.json').exists():
        print(f'There is no lab in {options.directory}')
        return
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
    words = options.words[options.words[:1] == ['--'] :]
    try:
        done = subprocess.run(words or ['bash'], env=environment)
    except OSError as exc:
        raise planning.LabError(
            f"'{words[0]}' cannot be run: {exc.strerror}"
        ) from exc
    sys.exit(done.returncode)


def _truth(options: argparse.Namespace) -> None:
    plan = planning.load(options.directory)
    for found in hypervisors.truth(plan).values():
        print('\n'.join(_told(found)))


def _told(found: evidence.Witness) -> list[str]:
    """Return what is known of a server, a line for each run and QEMU."""
    if found.double_writers:
        verdict = 'RAN TWICE at once, on one disk'
    elif found.double_runs:
        verdict = 'RAN TWICE at once'
    else:
        verdict = 'never ran twice at once'
    lines = [f'{found.server}  {verdict}']
    for run in found.runs:
        lines.append(
            f'    guest  {_span(run.first, run.last)}  boot {run.boot} on '
            f'{run.disk} disk, {run.beats} beats'
        )
    for life in found.lives:
        lines.append(
            f'    QEMU   {_span(life.began, life.ended)}  on {life.host}'
        )
    return lines


def _span(first: float, last: float) -> str:
    return ' to '.join(
        time.strftime('%H:%M:%S', time.localtime(each))
        for each in (first, last)
    )


_HOST = """on, off  switches the power; off kills all of the host at once
cut      pulls the cables to the networks, heal plugs them in again
freeze   stops every process of the host, heal lets them go on
exec     runs a command on the host (default: a shell)

'lab status' shows it. None of it is a fault: 'lab fault heal' leaves it."""


def _add_host(commands: typing.Any) -> None:
    host = commands.add_parser(
        'host',
        help='power and cables of a hypervisor; a command on it',
        description=_HOST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    host.add_argument(
        'action', choices=('on', 'off', 'cut', 'heal', 'freeze', 'exec')
    )
    host.add_argument('host')
    host.add_argument(
        'words',
        nargs=argparse.REMAINDER,
        help=f'networks ({", ".join(planning.NETWORKS)}; default: all) '
        'of cut and heal; the command of exec',
    )
    host.set_defaults(run=_host)


def _add_up(commands: typing.Any) -> None:
    up = commands.add_parser(
        'up',
        help='make a new lab and start it',
        description='Makes a new lab and starts it. What a lab that is down '
        'left in the directory is removed.',
    )
    up.add_argument(
        '--hosts', type=int, default=3,
        help='so many with libvirt and QEMU (default: %(default)s)',
    )  # fmt: skip
    up.add_argument(
        '--fake', type=int, default=0,
        help="so many with nova's fake driver (default: %(default)s)",
    )  # fmt: skip
    up.add_argument(
        '--storage', choices=planning.STORAGE, default='shared',
        help='where the disks of the servers are (default: %(default)s)',
    )  # fmt: skip
    up.add_argument(
        '--engines', type=int, default=1,
        help='so many nova-ha-engine: one acts, the others watch '
        '(default: %(default)s)',
    )  # fmt: skip
    up.add_argument(
        '--liveness', choices=planning.LIVENESS, default='sql',
        help='where the heartbeats are kept: MariaDB, or a Redis that is '
        'started for them (default: %(default)s)',
    )  # fmt: skip
    up.set_defaults(run=_up)


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
    _add_up(commands)
    down = commands.add_parser(
        'down', help="stop it; its files stay to be read until the next 'up'"
    )
    down.add_argument('--wipe', action='store_true', help='remove them too')
    down.set_defaults(run=_down)
    status = commands.add_parser('status', help='what runs, what is broken')
    status.add_argument('--json', action='store_true')
    status.set_defaults(run=_status)
    _add_host(commands)
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
