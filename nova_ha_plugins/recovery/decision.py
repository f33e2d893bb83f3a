# SPDX-License-Identifier: Apache-2.0

"""What a decision was made from, kept as JSON so that it can be made again.

``record`` writes the values that a decision function was called with and what
it answered; ``load`` reads them back as the same frozen values. Readers and
writers of different releases meet here: a field that the record does not have
gets its default, one that is not known any more is left out.
"""

from collections.abc import Mapping
import dataclasses
import enum
import json
import types
import typing

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Record:
    """A decision as it was saved.

    :ivar name: which decision it is; ``replay`` knows how to make it again.
    :ivar values: the arguments, as JSON values.
    :ivar answer: what was decided, as JSON values.
    """

    name: str
    values: dict[str, typing.Any]
    answer: typing.Any


def record(
    name: str, values: Mapping[str, object], answer: object = None
) -> str:
    """Return the JSON of a decision, for ``incident.Entry.input``."""
    return json.dumps(
        {
            'version': _VERSION,
            'decision': name,
            'values': {key: _plain(each) for key, each in values.items()},
            'answer': _plain(answer),
        },
        separators=(',', ':'),
        sort_keys=True,
    )


def load(text: str) -> Record:
    """Return what ``record`` wrote.

    :raises ValueError: the text is no record, or one of a newer release.
    """
    try:
        found = json.loads(text)
        version, name = found['version'], found['decision']
        values, answer = found['values'], found['answer']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'This is no record of a decision: {error}; expected what a line '
            "of an incident's timeline carries as its input"
        ) from error
    if version > _VERSION:
        raise ValueError(
            f'The record has version {version}, expected at most {_VERSION}: '
            'it was written by a newer release'
        )
    return Record(name, values, answer)


def value(kind: typing.Any, plain: typing.Any) -> typing.Any:
    """Return the value of a type (dataclasses included) from plain JSON.

    :raises ValueError: the JSON does not fit the type.
    """
    try:
        return _value(kind, plain)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f'Not a {kind}: {error}') from error


def _plain(each: object) -> typing.Any:
    if dataclasses.is_dataclass(each) and not isinstance(each, type):
        return {
            field.name: _plain(getattr(each, field.name))
            for field in dataclasses.fields(each)
        }
    if isinstance(each, enum.Enum):
        return each.value
    if isinstance(each, Mapping):
        return {str(key): _plain(item) for key, item in each.items()}
    if isinstance(each, frozenset | set):
        return sorted(_plain(item) for item in each)
    if isinstance(each, tuple | list):
        return [_plain(item) for item in each]
    return each


def _value(kind: typing.Any, plain: typing.Any) -> typing.Any:
    if plain is None or kind is typing.Any:
        return plain
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (kind,) = (arg for arg in args if arg is not type(None))
        return _value(kind, plain)
    if origin is tuple and args[-1] is Ellipsis:
        return tuple(_value(args[0], item) for item in plain)
    if origin is tuple:
        return tuple(
            _value(arg, item) for arg, item in zip(args, plain, strict=True)
        )
    if origin is frozenset:
        return frozenset(_value(args[0], item) for item in plain)
    if origin is dict:
        return {key: _value(args[1], item) for key, item in plain.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(
            **{
                name: _value(hints[name], item)
                for name, item in plain.items()
                if name in known
            }
        )
    return kind(plain)
