# SPDX-License-Identifier: Apache-2.0

"""Fields of answers: printable text for people, values for programs.

An answer repeats words of tenants and devices; a terminal gets nothing of them
that it would obey.
"""

import collections
from collections import abc
import functools
import typing

from cliff import columns

from nova_ha_plugins.client import quantities
from nova_ha_plugins import printable

# States in which there is still something to be estimated.
_OPEN = frozenset({'queued', 'running', 'unknown'})


class _Lines(columns.FormattableColumn):  # type: ignore[type-arg]
    """One line per element; a program gets the elements as they are."""

    def human_readable(self) -> str:
        return '\n'.join(
            printable.line(self.line(element)) for element in self._value or ()
        )

    def machine_readable(self) -> typing.Any:
        return self._value

    def line(self, element: typing.Any) -> str:
        raise NotImplementedError


class Hosts(_Lines):
    """Hosts with heartbeat age and whether they can be fenced."""

    def line(self, element: typing.Any) -> str:
        age = element['heartbeat_age']
        heard = 'never heard' if age is None else f'heard {age:.1f}s ago'
        state, text = element['fencing_state'], element['fencing_text']
        why = f' ({text})' if text and state != 'verified' else ''
        return f'{element["host"]}: {heard}, fencing {state}{why}'


class Timeline(_Lines):
    """Entries with the time of day."""

    def line(self, element: typing.Any) -> str:
        return f'{_clock(element["at"])} {element["code"]}: {element["text"]}'


class Evidence(_Lines):
    """What each channel said."""

    def line(self, element: typing.Any) -> str:
        age = element['age']
        heard = '' if age is None else f', last heard {age:.1f}s before'
        text = f': {element["text"]}' if element['text'] else ''
        return (
            f'{_clock(element["at"])} {element["channel"]} '
            f'{element["sign"]}{heard}{text}'
        )


class Channels(_Lines):
    """What is known of a host at the moment when somebody decides."""

    def line(self, element: typing.Any) -> str:
        heard, read = element['heard_age'], element['read_age']
        ages = [
            text.format(age)
            for text, age in (
                ('last heard {:.1f} s ago', heard),
                ('asked {:.1f} s ago', read),
            )
            if age is not None
        ]
        parts = [
            f'{element["channel"]} {element["sign"]}',
            ', '.join(ages) or 'never asked',
            element['text'] or '',
        ]
        return ': '.join(part for part in parts if part)


class Standings(_Lines):
    """Incidents that are under way."""

    def line(self, element: typing.Any) -> str:
        return standing(element)


class Waits(_Lines):
    """Incidents that wait, and for what."""

    def line(self, element: typing.Any) -> str:
        again = _clock(element['next_look_at'])
        return (
            f'{element["host"]} {element["phase"]}, {element["code"]}: '
            f'{element["reason"]}' + (f' (next look {again})' if again else '')
        )


class Brakes(_Lines):
    """Maintenance and pauses that hold."""

    def line(self, element: typing.Any) -> str:
        zone = f' of zone {element["zone"]}' if element['zone'] else ''
        until = (
            f'until {element["until"]}Z'
            if element['until']
            else 'until somebody ends it'
        )
        return (
            f'{element["kind"]} {element["name"]}{zone} {until}, by '
            f'{element["by"]}: {element["reason"]}'
        )


class Engines(_Lines):
    """Engine processes: who acts, who watches, who fell silent."""

    def line(self, element: typing.Any) -> str:
        warm = '' if element['warm'] else ', not warm yet'
        return (
            f'{element["name"]}: {role(element)}{warm}, reported '
            f'{element["age"]:.1f} s ago'
        )


class Watchers(_Lines):
    """Watchers of the heartbeats: who sees, who does not, who is gone."""

    def line(self, element: typing.Any) -> str:
        state = 'sees' if element['sees'] else 'does not see'
        if not element['alive']:
            state = 'it may be dead'
        reason = f' ({element["reason"]})' if element['reason'] else ''
        return (
            f'{element["name"]}: {state}{reason}, {element["hosts"]} hosts, '
            f'looked {element["age"]:.1f} s ago'
        )


class Words(_Lines):
    """One word per element."""

    def line(self, element: typing.Any) -> str:
        return str(element)


class Age(columns.FormattableColumn):  # type: ignore[type-arg]
    """Seconds since something was heard."""

    def human_readable(self) -> str:
        return 'never' if self._value is None else f'{self._value:.1f} s ago'

    def machine_readable(self) -> typing.Any:
        return self._value


class Left(columns.FormattableColumn):  # type: ignore[type-arg]
    """Seconds that something takes still; a program gets them as they are.

    :param is_open: whether it goes on: no number means no estimate then.
    """

    def __init__(self, value: float | None, is_open: bool) -> None:
        super().__init__(value)
        self._is_open = is_open

    def human_readable(self) -> str:
        if self._value is not None:
            return quantities.duration(self._value)
        return 'no estimate yet' if self._is_open else ''

    def machine_readable(self) -> typing.Any:
        return self._value


class Size(columns.FormattableColumn):  # type: ignore[type-arg]
    """An amount of bytes; a program gets their number."""

    def human_readable(self) -> str:
        return '' if self._value is None else quantities.size(self._value)

    def machine_readable(self) -> typing.Any:
        return self._value


class Servers(_Lines):
    """Servers with what became of them, and when they are tried again.

    Servers of two owners may have one name: those are shown with their UUID.
    """

    def line(self, element: typing.Any) -> str:
        name = element['name'] or element['uuid']
        if name in self._twice:
            name = f'{name} ({element["uuid"]})'
        way = f' -> {element["destination"]}' if element['destination'] else ''
        why = f' ({element["reason"]})' if element['reason'] else ''
        code = f', {element["code"]}' if element.get('code') else ''
        again = _clock(element.get('retry_at'))
        return f'{name}: {element["state"]}{code}{way}{why}' + (
            f', next try {again}' if again else ''
        )

    @functools.cached_property
    def _twice(self) -> set[str]:
        found = collections.Counter(each['name'] for each in self._value or ())
        return {name for name, count in found.items() if name and count > 1}


class Pairs(columns.FormattableColumn):  # type: ignore[type-arg]
    """A dictionary as ``key=value`` words."""

    def human_readable(self) -> str:
        return printable.line(
            ', '.join(
                f'{key}={value}'
                for key, value in (self._value or {}).items()
                if value not in (None, '')
            )
        )

    def machine_readable(self) -> typing.Any:
        return self._value


class Text(columns.FormattableColumn):  # type: ignore[type-arg]
    """One line of text."""

    def human_readable(self) -> str:
        return printable.line(self._value)

    def machine_readable(self) -> typing.Any:
        return self._value


def field(item: dict[str, typing.Any], name: str) -> typing.Any:
    """Give a field of an evacuation; None if an older API has none."""
    value = item.get(name)
    if name in ('eta_seconds', 'eta_p90_seconds'):
        return Left(value, item['state'] in _OPEN)
    if name.endswith('_bytes'):
        return Size(value)
    return value


def row(values: abc.Iterable[typing.Any]) -> tuple[typing.Any, ...]:
    """Give the values of a row, texts so that a terminal survives them."""
    return tuple(
        Text(value) if isinstance(value, str) else value for value in values
    )


def standing(item: dict[str, typing.Any]) -> str:
    """Say where an incident stands, on one line."""
    done = ''
    if item['servers_total']:
        # Settled as well: one that is left alone, and one for an operator.
        done = (
            f', {item["servers_done"]} of {item["servers_total"]} servers '
            'settled'
        )
    why = f' ({item["code"]}: {item["reason"]})' if item['code'] else ''
    return printable.line(f'{item["host"]}: {item["phase"]}{done}{why}')


def role(item: dict[str, typing.Any]) -> str:
    """Say what an engine does; what a silent one did is no news."""
    return str(item['role']) if item['alive'] else 'silent'


def _clock(at: str | None) -> str:
    """Give the time of day out of ``2026-01-01T10:00:00.000000``, UTC."""
    clock = (at or '').partition('T')[2][:12]
    return f'{clock}Z' if clock else ''
