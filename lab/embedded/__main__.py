# SPDX-License-Identifier: Apache-2.0
"""The embedded cloud for a human: up, down, status, power."""

import argparse
import signal
import sys
import threading

from lab.embedded import cloud as clouds
from lab.embedded import process


def _up(options: argparse.Namespace) -> None:
    cloud = clouds.Cloud(
        options.directory,
        hosts=options.hosts,
        with_telemetry=not options.without_telemetry,
        outlive=options.detach,
    )
    cloud.start()
    _status(options)
    print(f'Use it: source {cloud.directory}/openrc')
    if options.detach:
        print(
            'Stop it: python -m lab.embedded --directory '
            f'{cloud.directory} down'
        )
        return
    print('Ctrl-C stops it.')
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(0.5):
        pass
    cloud.stop()


def _down(options: argparse.Namespace) -> None:
    clouds.Cloud(options.directory).stop()


def _status(options: argparse.Namespace) -> None:
    cloud = clouds.Cloud.attach(options.directory)
    if not cloud.processes():
        sys.exit(f'The cloud in {cloud.directory} is not running')
    for one in cloud.processes():
        state = f'{one.resident_mib} MiB' if one.alive else 'not running'
        print(f'{one.name:12} pid {one.pid:<8} {state}')
    for name, host in cloud.hosts().items():
        running = sum(s == 'running' for s in host['domains'].values())
        print(
            f'{name:12} {host["power"]:5} {running} of '
            f'{len(host["domains"])} domains running, probe at '
            f'127.0.0.1:{host["probe_port"]}'
        )


def _power(options: argparse.Namespace) -> None:
    clouds.Cloud.attach(options.directory).set_power(
        options.host, options.state
    )


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog='python -m lab.embedded')
    parser.add_argument('--directory', '-D', required=True)
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser('up', help='start and stay, or --detach')
    up.add_argument('--hosts', type=int, default=3)
    up.add_argument('--detach', action='store_true')
    up.add_argument('--without-telemetry', action='store_true')
    up.set_defaults(run=_up)
    commands.add_parser('down', help='stop it').set_defaults(run=_down)
    commands.add_parser('status').set_defaults(run=_status)
    power = commands.add_parser('power', help='the power of a host')
    power.add_argument('host')
    power.add_argument('state', choices=('on', 'off', 'hung'))
    power.set_defaults(run=_power)
    options = parser.parse_args()
    try:
        options.run(options)
    except (clouds.StartError, process.ControlError) as exc:
        sys.exit(str(exc))
    except KeyboardInterrupt:
        # While it started; nothing is left running.
        sys.exit(130)


if __name__ == '__main__':
    main()
