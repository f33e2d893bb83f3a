# SPDX-License-Identifier: Apache-2.0

"""``openstack ha attest``: two steps between a word and a recovery."""

import argparse
from collections import abc
import sys

from osc_lib import exceptions

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import ha
from nova_ha_plugins.client import rest


class Attest(ha.Tell):
    """Attest that a host is switched off, where no device can say so.

    The engine evacuates on your word: if the host still runs, its servers
    will run twice and destroy their disks. Therefore it takes two steps. The
    first one shows what is known of the host, and how old that is. The second
    one, within five minutes, lets the engine act: on a terminal you type the
    name of the host, elsewhere you call the command again with --confirm.
    """

    # Only the first step has one.
    reason_required = False
    ask: abc.Callable[[str], str] = staticmethod(input)
    on_terminal: abc.Callable[[], bool] = staticmethod(
        lambda: sys.stdin.isatty()
    )

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
            help='The host is off; nothing else can be attested',
        )
        parser.add_argument(
            '--confirm',
            metavar='<id>',
            help='The second step: ID that the first one gave',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Shown:
        client = rest.connect(self.app)
        reason, confirm = parsed_args.reason, parsed_args.confirm
        if confirm is None and not (parsed_args.off and reason):
            raise exceptions.CommandError(
                'Nothing was attested: the first step needs --off and '
                '--reason <reason>, the second one --confirm <id>'
            )
        if confirm is not None and reason:
            raise exceptions.CommandError(
                'Nothing was attested: the reason belongs to the first step '
                'and is kept from there'
            )
        subject = ha.open_incident(client, parsed_args.incident)
        host = subject['host']
        if confirm is None:
            fact = client.tell(
                subject['uuid'], 'attest', reason=reason, power='off'
            )
            if not self.on_terminal():
                self._say(_how_to_confirm(fact))
                return ha.show_fact(fact)
            self._ask(fact)
            confirm = fact['uuid']
        fact = client.confirm(confirm, host)
        return self.wait_for_answer(fact, 'attest', parsed_args.wait)

    def _ask(self, fact: rest.Item) -> None:
        host = fact['host']
        evidence = columns.Channels(fact['evidence']).human_readable()
        self._say(f"What is known of host '{host}':\n{evidence}")
        answer = self.ask(
            f"If '{host}' still runs, its servers will run twice. Type the "
            'name of the host that you saw switched off: '
        )
        if answer != host:
            raise exceptions.CommandError(
                f"Nothing was attested: expected the name '{host}', found "
                f"'{answer}'. {_how_to_confirm(fact)}"
            )

    def _say(self, text: str) -> None:
        self.app.stderr.write(f'{text}\n')


def _how_to_confirm(fact: rest.Item) -> str:
    return (
        'Nobody acts on it yet. If you saw the host switched off, until '
        f'{fact["confirm_until"]}Z: openstack ha attest {fact["host"]} '
        f'--confirm {fact["uuid"]}'
    )
