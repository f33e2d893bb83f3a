# SPDX-License-Identifier: Apache-2.0

"""``openstack server evacuation list | show | summary``."""

import argparse
import typing

from osc_lib.command import command
from osc_lib import exceptions

from nova_ha_plugins.client import arguments
from nova_ha_plugins.client import columns
from nova_ha_plugins.client import rest

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
    ('eta_seconds', 'ETA'),
    ('reason', 'Reason'),
    ('source_compute', 'Source'),
    ('dest_compute', 'Destination'),
    ('created_at', 'Created At'),
)
_LONG_COLUMNS = (
    ('explanation', 'Explanation'),
    ('stalled', 'Stalled'),
    ('eta_p90_seconds', 'ETA of 9 in 10'),
    ('disk_processed_bytes', 'Disk Processed'),
    ('disk_total_bytes', 'Disk Total'),
    ('volumes_done', 'Volumes Done'),
    ('volumes_total', 'Volumes Total'),
    ('storage', 'Storage'),
    ('ahead', 'Ahead'),
    ('status', 'Status'),
    ('started_at', 'Started At'),
    ('finished_at', 'Finished At'),
    ('source_cleaned', 'Source Cleaned'),
)
_SUMMARY_COLUMNS = (
    ('source_compute', 'Host'),
    ('total', 'Asked For'),
    ('planned', 'Planned'),
    *((state, state.capitalize()) for state in _STATES),
    ('stalled', 'Stalled'),
    ('progress', 'Progress'),
    ('eta_seconds', 'ETA'),
    ('eta_p90_seconds', 'ETA of 9 in 10'),
    ('started_at', 'Started At'),
    ('finished_at', 'Finished At'),
)

_LIST_EXAMPLES = """\
Newest first. ETA is how long half of its like took from there on; a reason \
says why it waits or how it ended, --long says it in a sentence.

Examples::

  # What became of my server?
  openstack server evacuation list --server web-1

  # What is open, from or to a host; for what, and for how long still?
  openstack server evacuation list --host cmp-17 --state queued \\
      --state running --long

  # What did not come back, for a script?
  openstack server evacuation list --state failed -f json
"""

_SHOW_EXAMPLES = """\
The explanation says why it waits or how it ended, and what comes next. Host \
fields are empty for who may not see hosts.

Examples::

  openstack server evacuation show web-1
  openstack server evacuation show web-1 -f value -c explanation
"""

_SUMMARY_EXAMPLES = """\
Of each server the newest evacuation counts. "Planned" are servers of an open \
incident that nova was not asked for yet; empty means that the engine's \
database was not asked. Progress is over all of them; what failed counts as \
not done. Without --changes-since only what is open or was begun in the last \
24 hours counts.

Examples::

  openstack server evacuation summary
  openstack server evacuation summary --host cmp-17 -f json
"""


def _find(
    client: rest.Client, parsed_args: argparse.Namespace
) -> list[rest.Item]:
    """Evacuations of the servers that are named, or of the whole cloud."""
    if not parsed_args.server:
        return client.evacuations(
            limit=parsed_args.limit,
            host=parsed_args.host,
            state=parsed_args.state,
            changes_since=parsed_args.changes_since,
            marker=parsed_args.marker,
        )
    # The resource of the server is the one that its owner may ask, too. It
    # has no filters.
    return [
        item
        for server in parsed_args.server
        for item in client.evacuations_of(server)
        if parsed_args.host
        in (None, item['source_compute'], item['dest_compute'])
        and (not parsed_args.state or item['state'] in parsed_args.state)
    ][: parsed_args.limit]


def _add_changes_since(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--changes-since',
        metavar='<time>',
        help=(
            'Only those that nova has changed since this time (ISO 8601, for '
            'example 2026-01-31T06:00:00Z; admin only)'
        ),
    )


class ListEvacuation(arguments.Taught, command.Lister):
    """List evacuations with their progress."""

    examples = _LIST_EXAMPLES

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
        _add_changes_since(parser)
        parser.add_argument(
            '--limit',
            metavar='<limit>',
            type=arguments.count,
            help='At most this many',
        )
        parser.add_argument(
            '--marker',
            metavar='<evacuation>',
            help='Only those that come after this one (UUID; admin only)',
        )
        parser.add_argument(
            '--long', action='store_true', help='Show more columns'
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[typing.Any, ...]]]:
        for name in ('changes_since', 'marker'):
            if parsed_args.server and getattr(parsed_args, name):
                raise exceptions.CommandError(
                    f'--{name.replace("_", "-")} is about all servers; with '
                    '--server there are few enough: leave it out'
                )
        found = _find(rest.connect(self.app), parsed_args)
        wanted = _COLUMNS + (_LONG_COLUMNS if parsed_args.long else ())
        return (
            tuple(title for _, title in wanted),
            [
                columns.row(columns.field(item, name) for name, _ in wanted)
                for item in found
            ],
        )


class ShowEvacuation(arguments.Taught, command.ShowOne):
    """Show one evacuation of a server: the newest, or the one given."""

    examples = _SHOW_EXAMPLES

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
        return names, columns.row(columns.field(item, name) for name in names)


class ShowSummary(arguments.Taught, command.Lister):
    """Count the evacuations from each host by their state."""

    examples = _SUMMARY_EXAMPLES

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--host',
            metavar='<host>',
            help='Only those from this compute host',
        )
        _add_changes_since(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[typing.Any, ...]]]:
        summary = rest.connect(self.app).summary(
            parsed_args.host, parsed_args.changes_since
        )
        if summary['cells_down']:
            self.app.stderr.write(
                f'{summary["cells_down"]} of the cells of nova did not '
                'answer: their servers are missing here\n'
            )
        if parsed_args.host and not summary['hosts']:
            # It may as well be a name that nova does not know.
            self.app.stderr.write(
                f'No evacuation from host {parsed_args.host!r} in that time; '
                'the hosts of nova: openstack compute service list\n'
            )
        rows = [
            {**row, **row['states'], 'state': _state_of(row)}
            for row in summary['hosts']
        ]
        return (
            tuple(title for _, title in _SUMMARY_COLUMNS),
            [
                columns.row(
                    columns.field(row, name) for name, _ in _SUMMARY_COLUMNS
                )
                for row in rows
            ],
        )


def _state_of(row: rest.Item) -> str:
    states = row['states']
    under_way = states['queued'] or states['running'] or row['planned']
    return 'running' if under_way else 'succeeded'
