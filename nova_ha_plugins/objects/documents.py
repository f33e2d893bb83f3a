# SPDX-License-Identifier: Apache-2.0

"""Values as JSON documents, through their versioned objects."""

import functools
import json
import typing

from oslo_versionedobjects import exception

from nova_ha_plugins.objects import base
from nova_ha_plugins.objects import evacuation
from nova_ha_plugins.objects import fact
from nova_ha_plugins.objects import host
from nova_ha_plugins.objects import incident

Value = typing.TypeVar('Value')


class NewerReleaseError(ValueError):
    """A document has a version that this release does not know."""


# Objects are known once their module is imported; these are all there are.
MODULES = (evacuation, fact, host, incident)

# Documents that are kept: the open incidents, and some facts and hosts.
_REMEMBERED = 64


def dumps(value: typing.Any, version: str | None = None) -> str:
    """A value as the JSON document of its object.

    :param version: version of the object to write, for a reader that knows
        no newer one; None writes the newest.
    """
    if version is None:
        primitive = base.primitive_of(value)
    else:
        obj = base.object_of(type(value)).from_core(value)
        primitive = obj.obj_to_primitive(target_version=version)
    return json.dumps(primitive, separators=(',', ':'))


def loads(core: type[Value], text: str) -> Value:
    """The value in a JSON document.

    The same document gives the same value, which nobody may change: most of
    what a round reads has not changed since the last.

    :param core: the dataclass that the document must hold.
    :raises NewerReleaseError: a newer release has written it.
    :raises ValueError: the document holds something else.
    """
    return typing.cast(Value, _read(base.object_of(core).obj_name(), text))


@functools.lru_cache(maxsize=_REMEMBERED)
def _read(name: str, text: str) -> typing.Any:
    try:
        obj = base.HaObject.obj_from_primitive(json.loads(text))
    except exception.IncompatibleObjectVersion as error:
        raise NewerReleaseError(
            f'Document of object {error.kwargs["objname"]!r} has version '
            f'{error.kwargs["objver"]!r}, expected at most '
            f'{error.kwargs["supported"]!r}: it was written by a newer release'
        ) from error
    if obj.obj_name() != name:
        raise ValueError(
            f'Document holds object {obj.obj_name()!r}, expected {name!r}'
        )
    return obj.to_core()
