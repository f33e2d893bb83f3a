# SPDX-License-Identifier: Apache-2.0

"""``openstack ha arm`` and ``disarm``, and waiting for what it comes to."""

import argparse
from collections import abc
import time

from osc_lib.command import command
from osc_lib import exceptions

from nova_ha_plugins.client import columns
from nova_ha_plugins.client import ha
from nova_ha_plugins.client import rest
from nova_ha_plugins import printable

_INTERVAL = 2.0
# A fence that was decided in the moment of the disarming is seen by then.
_SETTLED = 6.0


class _SetArmed(command.ShowOne):
    armed = False
    until_help = ''
    wait_help = ''

    sleep: abc.Callable[[float], None] = staticmethod(time.sleep)
    clock: abc.Callable[[], float] = staticmethod(time.monotonic)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        ha.add_reason(parser)
        parser.add_argument('--until', metavar='<until>', help=self.until_help)
        parser.add_argument('--wait', action='store_true', help=self.wait_help)
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=float,
            help='With --wait: give up waiting after this long (default: '
            'never); what was set stays',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Shown:
        client = rest.connect(self.app)
        state = client.set_armed(
            self.armed, parsed_args.reason, parsed_args.until
        )
        if parsed_args.wait:
            state = self._wait(client, parsed_args.timeout)
        state['in_flight'] = columns.Standings(state['in_flight'])
        return tuple(state), columns.row(state.values())

    def _wait(self, client: rest.Client, timeout: float | None) -> rest.Item:
        began = self.clock()
        settled: float | None = None
        told = ''
        while True:
            status = client.status()
            state = status['arm']
            if state['armed'] != self.armed:
                raise exceptions.CommandError(
                    f'It was {"armed" if state["armed"] else "disarmed"} by '
                    f'{printable.line(state["by"])} meanwhile: '
                    f'{printable.line(state["reason"])}'
                )
            text, reached = self._look(status)
            if text != told:
                self.app.stderr.write(f'{text}\n')
                told = text
            now = self.clock()
            settled = (
                (now if settled is None else settled) if reached else None
            )
            if settled is not None and now - settled >= self.settled:
                return dict(state)
            if timeout is not None and now - began >= timeout:
                raise exceptions.CommandError(
                    f'Not {self.wanted} after {timeout:g} s: {text}. It stays '
                    f'{"armed" if self.armed else "disarmed"}; see openstack '
                    'ha status'
                )
            self.sleep(_INTERVAL)

    settled = 0.0
    wanted = ''

    def _look(self, status: rest.Item) -> tuple[str, bool]:
        raise NotImplementedError


class Arm(_SetArmed):
    """Let the engine fence hosts and evacuate servers."""

    armed = True
    wanted = 'armed and at work'
    until_help = (
        'When it is disarmed again: a time (2026-01-31T06:00Z) or a duration '
        '(30m, 2h, 1d)'
    )
    wait_help = 'Wait until an engine is at work and hosts can be fenced'

    def _look(self, status: rest.Item) -> tuple[str, bool]:
        engine = status['engine']
        if ha.is_silent(engine):
            return f'Engine {ha.engine_word(engine)}', False
        state = status['arm']
        text = f'{state["state"]}: {state["state_reason"]}'
        return printable.line(text), state['state'] == 'armed'


class Disarm(_SetArmed):
    """Let the engine only observe and record what it would do.

    Nothing new is fenced from now on. What was begun goes on to its end:
    wait for that with --wait.
    """

    settled = _SETTLED
    wanted = 'quiet'
    until_help = (
        'When it is armed again by itself: a time (2026-01-31T06:00Z) or a '
        'duration (30m, 2h, 1d)'
    )
    wait_help = 'Wait until nothing that was begun before is under way'

    def _look(self, status: rest.Item) -> tuple[str, bool]:
        moving = status['arm']['in_flight']
        if not moving:
            return 'Nothing is in flight', True
        text = '; '.join(columns.standing(item) for item in moving)
        if ha.is_silent(status['engine']):
            word = ha.engine_word(status['engine'])
            return f'Engine {word}, nothing moves on: {text}', False
        return f'In flight: {text}', False
