# SPDX-License-Identifier: Apache-2.0

"""``openstack ha ...``: what an operator sees of the recovery.

Exit codes: 0, 1 when somebody has to act or a failure would not be seen (or
the call failed), 3 when a host could not be fenced if it failed now; 2 stays
the usage error.
"""

import argparse
from collections import abc
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
# In other phases: what waits for 'openstack ha release' and nothing else.
_RELEASE_ME = frozenset({'parked-servers', 'quarantined', 'service-gone'})

Shown = tuple[tuple[str, ...], tuple[typing.Any, ...]]
Listed = tuple[tuple[str, ...], list[tuple[typing.Any, ...]]]


def add_reason(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Ask for the sentence that is kept beside a deed."""
    parser.add_argument(
        '--reason',
        metavar='<reason>',
        type=_sentence,
        required=required,
        help='Why; it is kept with your user ID',
    )


def _sentence(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError('expected a reason, found none')
    return text


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
            'state': arm['state'],
            'state_reason': arm['state_reason'],
            'armed': arm['armed'],
            'armed_by': arm['by'],
            'armed_reason': arm['reason'],
            'armed_at': arm['at'],
            'armed_until': arm['until'],
            'in_flight': columns.Standings(arm['in_flight']),
            'brakes': columns.Brakes(status['brakes']),
            'engine': engine_word(engine),
            'engine_owner': engine['owner'] if engine else None,
            'engine_age': engine['age'] if engine else None,
            'engines': columns.Engines(status['engines']),
            'watchers': columns.Watchers(status.get('watchers', ())),
            'sight': _sight(engine),
            'sight_reason': engine['sight_reason'] if engine else None,
            'open_incidents': status['open_incidents'],
            'open_incidents_by_phase': columns.Pairs(
                status['open_incidents_by_phase']
            ),
            'waits': columns.Waits(status['waits']),
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


def is_silent(engine: rest.Item | None) -> bool:
    """Whether nobody is at work."""
    return engine is None or engine['age'] > _ENGINE_SILENT


def engine_word(engine: rest.Item | None) -> str:
    """Say whether the engine that acts is at work."""
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
    if is_silent(engine) or status['arm']['state'] == 'standby':
        return 1
    if engine['sight'] in _SEES_NOTHING or status.get(
        'servers_waiting_by_code'
    ):
        return 1
    if not _is_watched(status):
        return 1
    if _ACT_NOW & set(status['open_incidents_by_phase']):
        return 1
    if _RELEASE_ME & {wait['code'] for wait in status['waits']}:
        return 1
    return 0 if all_verified else 3


def _is_watched(status: rest.Item) -> bool:
    """Whether a watcher sees; an older API does not tell of them."""
    watchers = status.get('watchers')
    if watchers is None:
        return True
    return any(each['alive'] and each['sees'] for each in watchers)


class ListHost(command.Lister):
    """List the hosts: heard when, and whether they can be fenced."""

    def take_action(self, parsed_args: argparse.Namespace) -> Listed:
        hosts = rest.connect(self.app).status()['hosts']
        return (
            ('Host', 'Zone', 'Heard', 'Fencing', 'Verified', 'Reason'),
            [
                columns.row(
                    (
                        item['host'],
                        item['zone'],
                        columns.Age(item['heartbeat_age']),
                        item['fencing_state'],
                        item['fencing_verified_at'],
                        item['fencing_text'],
                    )
                )
                for item in hosts
            ],
        )


class ListEngine(command.Lister):
    """List the engines: which one acts, and who would take over."""

    def take_action(self, parsed_args: argparse.Namespace) -> Listed:
        engines = rest.connect(self.app).status()['engines']
        return (
            ('Name', 'Role', 'Warm', 'Token', 'Reported', 'Release'),
            [
                columns.row(
                    (
                        item['name'],
                        columns.role(item),
                        item['warm'],
                        item['token'],
                        columns.Age(item['age']),
                        item['release'],
                    )
                )
                for item in engines
            ],
        )


class Tell(command.ShowOne):
    """A word on an incident, and what the engine makes of it."""

    reason_required = True

    sleep: abc.Callable[[float], None] = staticmethod(time.sleep)
    clock: abc.Callable[[], float] = staticmethod(time.monotonic)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        add_reason(parser, self.reason_required)
        parser.add_argument(
            '--wait',
            metavar='<seconds>',
            type=float,
            default=15.0,
            help="How long to wait for the engine's answer (default: 15)",
        )
        return parser

    def wait_for_answer(
        self, fact: rest.Item, action: str, patience: float
    ) -> Shown:
        """Wait until the engine has accepted or rejected a word."""
        client = rest.connect(self.app)
        until = self.clock() + patience
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
                f'answered within {patience:g} s: see openstack ha status'
            )
        return show_fact(fact)


def show_fact(fact: rest.Item) -> Shown:
    """Give a word with what became of it as one row."""
    rows = dict(fact)
    if rows.get('evidence') is not None:
        rows['evidence'] = columns.Channels(rows['evidence'])
    return tuple(rows), columns.row(rows.values())


class Release(Tell):
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
        client = rest.connect(self.app)
        subject = open_incident(client, parsed_args.incident)
        fact = client.tell(
            subject['uuid'], 'release', reason=parsed_args.reason
        )
        return self.wait_for_answer(fact, 'release', parsed_args.wait)


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

    def take_action(self, parsed_args: argparse.Namespace) -> Listed:
        client = rest.connect(self.app)
        found = client.incidents(parsed_args.host, parsed_args.limit)
        return (
            (
                'UUID',
                'Host',
                'Phase',
                'Code',
                'Outcome',
                'Servers',
                'Opened',
                'Next look',
                'Reason',
            ),
            [
                columns.row(
                    (
                        item['uuid'],
                        item['host'],
                        item['phase'],
                        item['code'],
                        item['outcome'],
                        columns.Pairs(item['servers_by_state']),
                        item['opened_at'],
                        item['next_look_at'],
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
        item['networks_lost'] = columns.Words(item['networks_lost'])
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


def open_incident(client: rest.Client, name: str) -> rest.Item:
    """Give the open incident of that UUID or host."""
    found = newest(client, name)
    if not found['open']:
        raise exceptions.CommandError(
            f"Host '{found['host']}' has no open incident; the newest one, "
            f'{found["uuid"]}, is {found["phase"]}'
        )
    return found
