# SPDX-License-Identifier: Apache-2.0

"""``openstack ha maintenance``, ``pause`` and ``history``."""

import argparse

from osc_lib.command import command

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import ha
from nova_ha_plugins.client import rest

_UNTIL = (
    'When it ends by itself: a time (2026-01-31T06:00Z) or a duration (30m, '
    '2h, 1d); without it, when somebody ends it'
)


def _add_end(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--until', metavar='<until>', help=_UNTIL)


class SetMaintenance(command.ShowOne):
    """Put a host into maintenance: it is not fenced, nor its servers moved.

    Nothing changes in nova; disable its service yourself where nothing new is
    to land there. A recovery of the host that was begun before goes on.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='<host>', help="Nova's name of it")
        _add_end(parser)
        ha.add_reason(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Shown:
        item = rest.connect(self.app).set_maintenance(
            parsed_args.host, parsed_args.reason, parsed_args.until
        )
        subject = item['open_incident']
        item['open_incident'] = columns.Standings([subject] if subject else [])
        return tuple(item), columns.row(item.values())


class UnsetMaintenance(command.Command):
    """End the maintenance of a host: from now on it is fenced if it dies."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('host', metavar='<host>', help='Name of the host')
        ha.add_reason(parser, required=False)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        rest.connect(self.app).unset_maintenance(
            parsed_args.host, parsed_args.reason
        )


class ListMaintenance(command.Lister):
    """List the hosts in maintenance."""

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Listed:
        found = rest.connect(self.app).maintenance()
        keys = ('host', 'until', 'by', 'at', 'reason')
        return _table(('Host', 'Until', 'By', 'Since', 'Reason'), keys, found)


class SetPause(command.ShowOne):
    """Begin a pause: nothing new is fenced or evacuated.

    Of the whole cloud, or of one availability zone. Pauses are counted by
    name: all of them have to end before anything begins again.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'name', metavar='<name>', help='A name for it, such as upgrade'
        )
        parser.add_argument(
            '--zone',
            metavar='<zone>',
            help='Only for hosts of this availability zone',
        )
        _add_end(parser)
        ha.add_reason(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Shown:
        item = rest.connect(self.app).set_pause(
            parsed_args.name,
            parsed_args.reason,
            parsed_args.until,
            parsed_args.zone,
        )
        return tuple(item), columns.row(item.values())


class UnsetPause(command.Command):
    """End a pause; others still hold."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>', help='Name of the pause')
        ha.add_reason(parser, required=False)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        rest.connect(self.app).unset_pause(
            parsed_args.name, parsed_args.reason
        )


class ListPause(command.Lister):
    """List the pauses that hold."""

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Listed:
        found = rest.connect(self.app).pauses()
        keys = ('name', 'zone', 'until', 'by', 'at', 'reason')
        return _table(
            ('Name', 'Zone', 'Until', 'By', 'Since', 'Reason'), keys, found
        )


class ListHistory(command.Lister):
    """List who armed, disarmed, set and ended maintenance and pauses."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--limit', metavar='<limit>', type=int, help='At most this many'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Listed:
        found = rest.connect(self.app).history(parsed_args.limit)
        keys = (
            'at',
            'kind',
            'name',
            'zone',
            'by',
            'reason',
            'until',
            'ended_at',
            'ended_by',
            'ended_reason',
        )
        head = (
            'At',
            'What',
            'Name',
            'Zone',
            'By',
            'Reason',
            'Until',
            'Ended',
            'Ended by',
            'Ended because',
        )
        return _table(head, keys, found)


def _table(
    head: tuple[str, ...], keys: tuple[str, ...], found: list[rest.Item]
) -> ha.Listed:
    return head, [columns.row(item[key] for key in keys) for item in found]
