# SPDX-License-Identifier: Apache-2.0

"""``openstack ha incident export`` and ``replay``: one incident, one record.

``replay`` makes every decision of an incident again from the input that was
saved with it, and says where this release decides otherwise.
"""

import argparse
import pathlib
import typing

from osc_lib.command import command
from osc_lib import exceptions

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import ha
from nova_ha_plugins.client import report
from nova_ha_plugins.client import rest


def _add_incident(parser: typing.Any, nargs: str | None = None) -> None:
    parser.add_argument(
        'incident',
        metavar='<host|incident>',
        nargs=nargs,
        help='UUID of the incident, or host for its newest one',
    )


def _fetch(app: typing.Any, name: str) -> rest.Item:
    client = rest.connect(app)
    return client.incident(ha.newest(client, name)['uuid'])


class ExportIncident(command.Command):
    """Write one incident as one document, with all that was known.

    JSON is for programs and for ``openstack ha incident replay``; Markdown is
    for the people who talk about it afterwards.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_incident(parser)
        parser.add_argument(
            '--as',
            dest='form',
            choices=('json', 'markdown'),
            default='json',
            help='Form of the document (default: json)',
        )
        parser.add_argument(
            '--file',
            metavar='<file>',
            type=pathlib.Path,
            help='Where to write it; an existing file is not replaced '
            '(default: standard output)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        incident = _fetch(self.app, parsed_args.incident)
        write = {'json': report.to_json, 'markdown': report.to_markdown}
        text = write[parsed_args.form](incident)
        if parsed_args.file is None:
            self.app.stdout.write(text)
            return
        try:
            with open(parsed_args.file, 'x', encoding='utf-8') as out:
                out.write(text)
        except OSError as error:
            raise exceptions.CommandError(
                f"Incident '{incident['uuid']}' was not written to "
                f"'{parsed_args.file}': {error.strerror}"
            ) from error


class ReplayIncident(command.Lister):
    """Make the decisions of an incident again from their saved input.

    Ends with 1 when one of them would be made otherwise now, or cannot be
    made again. Nothing is asked of any host, and nothing is changed.
    """

    # A file needs no cloud; for the name of an incident we log in below.
    auth_required = False
    code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        source = parser.add_mutually_exclusive_group(required=True)
        _add_incident(source, nargs='?')
        source.add_argument(
            '--file',
            metavar='<file>',
            type=pathlib.Path,
            help='An incident that was exported as JSON',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[typing.Any, ...]]]:
        if parsed_args.file is None:
            self.auth_required = True
            self.app.prepare_to_run_command(self)
            incident = _fetch(self.app, parsed_args.incident)
        else:
            incident = _load(parsed_args.file)
        found = report.replayed(incident)
        self.code = 0 if all(each.same for each in found) else 1
        return (
            ('#', 'Time', 'Decision', 'Then', 'Now', 'Same'),
            [
                columns.row(
                    (
                        each.seq,
                        each.at,
                        each.name,
                        each.then,
                        each.trouble or each.now,
                        each.same,
                    )
                )
                for each in found
            ],
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show it, then give the exit code."""
        return super().run(parsed_args) or self.code


def _load(path: pathlib.Path) -> rest.Item:
    try:
        return report.from_json(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise exceptions.CommandError(
            f"'{path}' could not be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise exceptions.CommandError(f"'{path}': {error}") from error
