# SPDX-License-Identifier: Apache-2.0

"""``openstack server evacuation list | show | watch``."""

import argparse
from collections import abc
import time
import typing

from osc_lib.command import command
from osc_lib import exceptions

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import rest
from nova_ha_plugins.client import watching
from nova_ha_plugins import printable

_STATES = (
    'queued',
    'running',
    'succeeded',
    'failed',
    'superseded',
    'unknown',
)

_COLUMNS = (
    ('uuid', 'UUID'),
    ('server_uuid', 'Server'),
    ('state', 'State'),
    ('phase', 'Phase'),
    ('progress', 'Progress'),
    ('reason', 'Reason'),
    ('source_compute', 'Source'),
    ('dest_compute', 'Destination'),
    ('created_at', 'Created At'),
)
_LONG_COLUMNS = (
    ('stalled', 'Stalled'),
    ('status', 'Status'),
    ('started_at', 'Started At'),
    ('finished_at', 'Finished At'),
    ('source_cleaned', 'Source Cleaned'),
)


def _find(
    client: rest.Client, parsed_args: argparse.Namespace
) -> list[rest.Item]:
    """Evacuations of the servers that are named, or of the whole cloud."""
    host = parsed_args.host
    if not parsed_args.server:
        return client.evacuations(
            limit=getattr(parsed_args, 'limit', None),
            host=host,
            state=getattr(parsed_args, 'state', None),
        )
    # The resource of the server is the one that its owner may ask, too.
    found = [
        item
        for server in parsed_args.server
        for item in client.evacuations_of(server)
    ]
    if host:
        found = [
            item
            for item in found
            if host in (item['source_compute'], item['dest_compute'])
        ]
    return found


class ListEvacuation(command.Lister):
    """List evacuations with their progress, newest first."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--server',
            metavar='<server>',
            action='append',
            help='Only of this server (name or ID); may be repeated',
        )
        parser.add_argument(
            '--host',
            metavar='<host>',
            help='Only from or to this compute host (admin only)',
        )
        parser.add_argument(
            '--state',
            metavar='<state>',
            action='append',
            choices=_STATES,
            help=f'Only in this state ({", ".join(_STATES)}); may be repeated',
        )
        parser.add_argument(
            '--limit',
            metavar='<limit>',
            type=int,
            help='At most this many',
        )
        parser.add_argument(
            '--long', action='store_true', help='Show more columns'
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[typing.Any, ...]]]:
        client = rest.connect(self.app)
        found = _find(client, parsed_args)
        if parsed_args.state:
            found = [
                item for item in found if item['state'] in parsed_args.state
            ]
        wanted = _COLUMNS + (_LONG_COLUMNS if parsed_args.long else ())
        return (
            tuple(title for _, title in wanted),
            [
                columns.row(item[name] for name, _ in wanted)
                for item in found[: parsed_args.limit]
            ],
        )


class ShowEvacuation(command.ShowOne):
    """Show one evacuation of a server: the newest, or the one given."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'server', metavar='<server>', help='Server (name or ID)'
        )
        parser.add_argument(
            'evacuation',
            metavar='<evacuation>',
            nargs='?',
            help='UUID of the evacuation (default: the newest)',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[typing.Any, ...]]:
        client = rest.connect(self.app)
        if parsed_args.evacuation:
            item = client.evacuation(
                parsed_args.server, parsed_args.evacuation
            )
        else:
            found = client.evacuations_of(parsed_args.server)
            if not found:
                raise exceptions.CommandError(
                    f"Server '{parsed_args.server}' was never evacuated"
                )
            item = found[0]
        names = tuple(sorted(item))
        return names, columns.row(item[name] for name in names)


class WatchEvacuation(command.Command):
    """Watch evacuations until they have ended.

    Exit code 0 if every one succeeded, 1 if one did not or time ran out.
    """

    # Tests bring a clock of their own.
    sleep: abc.Callable[[float], None] = staticmethod(time.sleep)
    clock: abc.Callable[[], float] = staticmethod(time.monotonic)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            '--server',
            metavar='<server>',
            action='append',
            help=(
                'The newest evacuation of this server (name or ID); may be '
                'repeated'
            ),
        )
        group.add_argument(
            '--host',
            metavar='<host>',
            help=(
                'Evacuations from or to this compute host that are open or '
                'begin while watching (admin only)'
            ),
        )
        parser.add_argument(
            '--interval',
            metavar='<seconds>',
            type=float,
            default=1.0,
            help='Time between two looks (default: 1)',
        )
        parser.add_argument(
            '--wait',
            metavar='<seconds>',
            type=float,
            default=0.0,
            help=(
                'How long to wait for an evacuation to begin while none is '
                'open; with --host also for a further one (default: 0)'
            ),
        )
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=float,
            help='Give up after this time (default: never)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Look again and again; give the exit code."""
        client = rest.connect(self.app)
        follower = watching.Follower(everything=bool(parsed_args.server))
        screen = _Screen(self.app.stdout)
        began = last_open = self.clock()
        was_open = False
        while True:
            changed = follower.update(_find(client, parsed_args))
            screen.show(follower, changed)
            now = self.clock()
            if follower.open:
                last_open, was_open = now, True
            elif (was_open and parsed_args.server) or (
                now - last_open >= parsed_args.wait
            ):
                break
            if parsed_args.timeout and now - began >= parsed_args.timeout:
                screen.say(
                    f'Gave up after {parsed_args.timeout:g} s: '
                    f'{watching.summary(follower)}'
                )
                return 1
            self.sleep(parsed_args.interval)
        screen.say(watching.summary(follower))
        if parsed_args.server and not follower.items:
            return 1
        return 1 if follower.bad else 0


class _Screen:
    """Bars that move on a terminal, lines of what changed elsewhere."""

    def __init__(self, stream: typing.TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._drawn = 0

    def show(
        self, follower: watching.Follower, changed: list[rest.Item]
    ) -> None:
        if not self._terminal:
            for item in changed:
                self.say(watching.line(item))
            return
        if self._drawn:
            self._stream.write(f'\x1b[{self._drawn}A')
        for item in follower.items.values():
            drawn = printable.line(watching.bar(item))
            self._stream.write(f'\x1b[2K{drawn}\n')
        self._drawn = len(follower.items)
        self._stream.flush()

    def say(self, text: str) -> None:
        self._stream.write(printable.line(text) + '\n')
        self._stream.flush()
