# SPDX-License-Identifier: Apache-2.0

"""Fields of answers: printable text for people, values for programs.

An answer repeats words of tenants and devices; a terminal gets nothing of them
that it would obey.
"""

from collections import abc
import typing

from cliff import columns

from nova_ha_plugins import printable


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


class Servers(_Lines):
    """Servers with what became of them."""

    def line(self, element: typing.Any) -> str:
        name = element['name'] or element['uuid']
        way = f' -> {element["destination"]}' if element['destination'] else ''
        why = f' ({element["reason"]})' if element['reason'] else ''
        return f'{name}: {element["state"]}{way}{why}'


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


def row(values: abc.Iterable[typing.Any]) -> tuple[typing.Any, ...]:
    """Give the values of a row, texts so that a terminal survives them."""
    return tuple(
        Text(value) if isinstance(value, str) else value for value in values
    )


def _clock(at: str | None) -> str:
    """Give the time of day out of ``2026-01-01T10:00:00.000000``, UTC."""
    clock = (at or '').partition('T')[2][:12]
    return f'{clock}Z' if clock else ''
