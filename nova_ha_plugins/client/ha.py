# SPDX-License-Identifier: Apache-2.0

"""``openstack ha ...``: what an operator sees of the recovery and says to it.

Exit codes: 0, 1 when somebody has to act or a failure would not be seen (or
the call failed), 3 when a host could not be fenced if it failed now; 2 stays
the usage error.
"""

import argparse
from collections import abc
import sys
import time
import typing

from osc_lib.command import command
from osc_lib import exceptions
from oslo_utils import uuidutils

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import rest
from nova_ha_plugins import printable

# An engine reports every two seconds; a slow device may hold it up for longer.
_ENGINE_QUIET = 10.0
# After this nobody is at work.
_ENGINE_SILENT = 30.0
# It cannot tell which hosts are dead.
_SEES_NOTHING = frozenset({'blind', 'holding-off'})

_ACT_NOW = frozenset({'held', 'needs-operator'})

Shown = tuple[tuple[str, ...], tuple[typing.Any, ...]]


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--reason',
        metavar='<reason>',
        required=True,
        help='Why; it is kept with your user ID',
    )


class ShowStatus(command.ShowOne):
    """Show whether the engine acts, lives and can protect the hosts."""

    code = 0

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        status = rest.connect(self.app).status()
        hosts = status['hosts']
        verified = sum(h['fencing_state'] == 'verified' for h in hosts)
        self.code = _status_code(status, verified == len(hosts))
        arm, engine = status['arm'], status['engine']
        rows = {
            'armed': arm['armed'],
            'armed_by': arm['by'],
            'armed_reason': arm['reason'],
            'armed_at': arm['at'],
            'engine': _engine_word(engine),
            'engine_owner': engine['owner'] if engine else None,
            'engine_age': engine['age'] if engine else None,
            'sight': _sight(engine),
            'sight_reason': engine['sight_reason'] if engine else None,
            'open_incidents': status['open_incidents'],
            'open_incidents_by_phase': columns.Pairs(
                status['open_incidents_by_phase']
            ),
            'servers_waiting_by_code': columns.Pairs(
                status.get('servers_waiting_by_code')
            ),
            'hosts_total': len(hosts),
            'hosts_verified': verified,
            'hosts': columns.Hosts(hosts),
        }
        return tuple(rows), columns.row(rows.values())

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show it, then give the exit code."""
        return super().run(parsed_args) or self.code


def _engine_word(engine: rest.Item | None) -> str:
    if engine is None:
        return 'never reported'
    if engine['age'] > _ENGINE_SILENT:
        return f'silent for {engine["age"]:.0f} s: it may be dead'
    if engine['age'] > _ENGINE_QUIET:
        return f'last reported {engine["age"]:.0f} s ago'
    return 'at work'


def _sight(engine: rest.Item | None) -> str | None:
    """What the engine sees; nothing, once nobody looks any more."""
    if engine is None or engine['sight'] is None:
        return None
    if engine['age'] > _ENGINE_SILENT:
        return f'none (it was {engine["sight"]} when the engine fell silent)'
    return str(engine['sight'])


def _status_code(status: rest.Item, all_verified: bool) -> int:
    engine = status['engine']
    if engine is None or engine['age'] > _ENGINE_SILENT:
        return 1
    if engine['sight'] in _SEES_NOTHING or status.get(
        'servers_waiting_by_code'
    ):
        return 1
    if _ACT_NOW & set(status['open_incidents_by_phase']):
        return 1
    return 0 if all_verified else 3


class _SetArmed(command.ShowOne):
    armed = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_reason(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        client = rest.connect(self.app)
        state = client.set_armed(self.armed, parsed_args.reason)
        return tuple(state), columns.row(state.values())


class Arm(_SetArmed):
    """Let the engine fence hosts and evacuate servers."""

    armed = True


class Disarm(_SetArmed):
    """Let the engine only observe and record what it would do."""


class _Tell(command.ShowOne):
    """A word on an incident, and what the engine makes of it."""

    sleep: abc.Callable[[float], None] = staticmethod(time.sleep)
    clock: abc.Callable[[], float] = staticmethod(time.monotonic)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_reason(parser)
        parser.add_argument(
            '--wait',
            metavar='<seconds>',
            type=float,
            default=15.0,
            help="How long to wait for the engine's answer (default: 15)",
        )
        return parser

    def tell(
        self,
        parsed_args: argparse.Namespace,
        subject: rest.Item,
        action: str,
        **words: str,
    ) -> Shown:
        """Say it and wait until the engine has accepted or rejected it."""
        client = rest.connect(self.app)
        fact = client.tell(
            subject['uuid'], action, reason=parsed_args.reason, **words
        )
        until = self.clock() + parsed_args.wait
        while fact['state'] == 'pending' and self.clock() < until:
            self.sleep(0.5)
            fact = client.fact(fact['uuid'])
        if fact['state'] == 'rejected':
            raise exceptions.CommandError(
                f"The engine refused the {action} of host '{fact['host']}': "
                f'{printable.line(fact["text"])}'
            )
        if fact['state'] == 'pending':
            raise exceptions.CommandError(
                f"The {action} of host '{fact['host']}' is in the engine's "
                f'inbox (fact {fact["uuid"]}), and the engine has not '
                f'answered within {parsed_args.wait:g} s: see openstack ha '
                'status'
            )
        return tuple(fact), columns.row(fact.values())


class Release(_Tell):
    """Let an incident that is held go on."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'incident',
            metavar='<host|incident>',
            help='Host with an open incident, or UUID of the incident',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        subject = _open_incident(rest.connect(self.app), parsed_args.incident)
        return self.tell(parsed_args, subject, 'release')


class Attest(_Tell):
    """Attest that a host is switched off, where no device can say so.

    The engine evacuates on your word: if the host still runs, its servers
    will run twice and destroy their disks.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'incident',
            metavar='<host|incident>',
            help='Host with an open incident, or UUID of the incident',
        )
        parser.add_argument(
            '--off',
            action='store_true',
            required=True,
            help='The host is off; nothing else can be attested',
        )
        parser.add_argument(
            '--yes-i-saw-it-off',
            metavar='<host>',
            dest='again',
            help='The name of the host once more, instead of the question',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        subject = _open_incident(rest.connect(self.app), parsed_args.incident)
        host = subject['host']
        again = parsed_args.again
        if again is None:
            again = self._ask(host)
        if again != host:
            raise exceptions.CommandError(
                f"Nothing was attested: expected the name '{host}' again, "
                f"found '{again}'"
            )
        return self.tell(parsed_args, subject, 'attest', power='off')

    def _ask(self, host: str) -> str:
        if not sys.stdin.isatty():
            raise exceptions.CommandError(
                'Nothing was attested: without a terminal the name of the '
                'host is needed again, as --yes-i-saw-it-off <host>'
            )
        return input(
            f"If '{host}' still runs, its servers will run twice. Type the "
            'name of the host that you saw switched off: '
        )


class ListIncident(command.Lister):
    """List failures of hosts, newest first."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--host', metavar='<host>', help='Only of this host'
        )
        parser.add_argument(
            '--limit', metavar='<limit>', type=int, help='At most this many'
        )
        parser.add_argument(
            '--open', action='store_true', help='Only those not closed'
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[typing.Any, ...]]]:
        client = rest.connect(self.app)
        found = client.incidents(parsed_args.host, parsed_args.limit)
        return (
            (
                'UUID',
                'Host',
                'Phase',
                'Outcome',
                'Servers',
                'Opened',
                'Reason',
            ),
            [
                columns.row(
                    (
                        item['uuid'],
                        item['host'],
                        item['phase'],
                        item['outcome'],
                        columns.Pairs(item['servers_by_state']),
                        item['opened_at'],
                        item['reason'],
                    )
                )
                for item in found
                if item['open'] or not parsed_args.open
            ],
        )


class ShowIncident(command.ShowOne):
    """Show an incident: evidence, fence, servers, timeline."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'incident',
            metavar='<host|incident>',
            help='UUID of the incident, or host for its newest one',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        client = rest.connect(self.app)
        item = client.incident(newest(client, parsed_args.incident)['uuid'])
        item['servers_by_state'] = columns.Pairs(item['servers_by_state'])
        item['evidence'] = columns.Evidence(item['evidence'])
        item['fence'] = columns.Pairs(item['fence'])
        item['steps'] = columns.Pairs(item['steps'])
        item['servers'] = columns.Servers(item['servers'])
        item['timeline'] = columns.Timeline(item['timeline'])
        return tuple(item), columns.row(item.values())


def newest(client: rest.Client, name: str) -> rest.Item:
    """Give the incident of that UUID, or the newest one of that host."""
    found = client.incidents(host=name, limit=1)
    if found:
        return found[0]
    if not uuidutils.is_uuid_like(name):
        raise exceptions.CommandError(f"Host '{name}' has no incident")
    return client.incident(name)


def _open_incident(client: rest.Client, name: str) -> rest.Item:
    found = newest(client, name)
    if not found['open']:
        raise exceptions.CommandError(
            f"Host '{found['host']}' has no open incident; the newest one, "
            f'{found["uuid"]}, is {found["phase"]}'
        )
    return found
