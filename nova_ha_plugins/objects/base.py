# SPDX-License-Identifier: Apache-2.0

"""The one mechanism between frozen values and versioned objects.

An object declares its fields, one for each field of the dataclass that it
stands for; ``from_core`` and ``to_core`` follow the declared types. What a
document of an older version does not have becomes the dataclass's default.
"""

from collections.abc import Callable
import dataclasses
import enum
import functools
import types
import typing

from oslo_versionedobjects import base
from oslo_versionedobjects import fields

# Converted values that are kept: the servers and timelines of a few incidents.
_REMEMBERED = 16384

_BY_CORE: dict[type, type['HaObject']] = {}


class HaObjectRegistry(base.VersionedObjectRegistry):
    """Our registry. The table behind it is one per process, hence ``Ha...``.

    A service that loads our plugins keeps its own objects in the same table.
    """


class HaObject(base.VersionedObject):
    """A versioned object that stands for one frozen dataclass.

    :cvar CORE: the dataclass.
    """

    OBJ_SERIAL_NAMESPACE = 'nova_ha_object'
    OBJ_PROJECT_NAMESPACE = 'nova_ha'
    CORE: typing.ClassVar[type]

    @classmethod
    def from_core(cls, value: typing.Any) -> 'HaObject':
        """The object that holds the same as a value."""
        self = cls()
        for name in cls.fields:
            setattr(self, name, _encode(getattr(value, name)))
        self.obj_reset_changes()
        return self

    def to_core(self) -> typing.Any:
        """The value that holds the same as this object."""
        hints = _hints(self.CORE)
        return self.CORE(
            **{
                name: _decode(hints[name], getattr(self, name))
                for name in self.fields
                if self.obj_attr_is_set(name)
            }
        )


def register(core: type) -> Callable[[type[HaObject]], type[HaObject]]:
    """Decorate the object that stands for a dataclass."""

    def wrap(cls: type[HaObject]) -> type[HaObject]:
        cls.CORE = core
        _BY_CORE[core] = cls
        return HaObjectRegistry.register(cls)

    return wrap


def registered() -> dict[str, type[HaObject]]:
    """Our objects by name, and nobody else's."""
    return {cls.obj_name(): cls for cls in _BY_CORE.values()}


def object_of(core: type) -> type[HaObject]:
    """The object that stands for a dataclass."""
    return _BY_CORE[core]


def primitive_of(value: typing.Any) -> dict[str, typing.Any]:
    """What ``obj_to_primitive`` gives for a value's object, but sooner.

    Of an incident with 500 servers one changes at a time; those that did not
    are not converted again. Nobody may change what this returns.
    """
    cls = _BY_CORE[type(value)]
    parts = [
        name
        for name, field in cls.fields.items()
        if isinstance(field, (fields.ObjectField, fields.ListOfObjectsField))
    ]
    if not parts:
        return _convert(value) if _is_hashable(cls) else _convert_now(value)
    empty = {
        name: () if isinstance(getattr(value, name), tuple) else None
        for name in parts
    }
    primitive = _convert_now(dataclasses.replace(value, **empty))
    data = primitive[cls._obj_primitive_key('data')]
    for name in parts:
        part = getattr(value, name)
        if isinstance(part, tuple):
            data[name] = [primitive_of(item) for item in part]
        elif part is not None:
            data[name] = primitive_of(part)
    return primitive


def enum_field(
    choices: type[enum.StrEnum], nullable: bool = False
) -> fields.EnumField:
    """A field that takes the words of an enumeration."""
    return fields.EnumField(
        valid_values=[choice.value for choice in choices], nullable=nullable
    )


def _convert_now(value: typing.Any) -> dict[str, typing.Any]:
    return _BY_CORE[type(value)].from_core(value).obj_to_primitive()


_convert = functools.lru_cache(maxsize=_REMEMBERED)(_convert_now)


def _is_hashable(cls: type[HaObject]) -> bool:
    return not any(
        isinstance(field, fields.DictOfStringsField)
        for field in cls.fields.values()
    )


@functools.cache
def _hints(core: type) -> dict[str, typing.Any]:
    return typing.get_type_hints(core)


def _encode(value: typing.Any) -> typing.Any:
    if dataclasses.is_dataclass(value):
        return _BY_CORE[type(value)].from_core(value)
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return value


def _decode(hint: typing.Any, value: typing.Any) -> typing.Any:
    if value is None:
        return None
    if isinstance(value, HaObject):
        return value.to_core()
    origin = typing.get_origin(hint)
    args = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = (arg for arg in args if arg is not type(None))
        return _decode(hint, value)
    if origin is tuple and args[-1] is Ellipsis:
        return tuple(_decode(args[0], item) for item in value)
    if origin is tuple:
        return tuple(
            _decode(arg, item) for arg, item in zip(args, value, strict=True)
        )
    if origin is dict:
        return dict(value)
    return hint(value)
