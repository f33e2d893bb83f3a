# SPDX-License-Identifier: Apache-2.0

"""What a sample says, once it was checked: a heartbeat, or health."""

import math
from typing import Any

from ceilometer import sample

from nova_ha_plugins import printable
from nova_ha_plugins.store import values

# As long as the store's columns are: a database that refuses one heartbeat
# refuses those that are written with it.
LONGEST_HOST = 255
LONGEST_ID = 64

# Which channel a meter is the health of; those of a part of a host are
# followed by its name. Only these, so that no sample passes for the word of a
# watcher, or for what was told of a host.
CHANNELS = {
    'hypervisor.libvirt.up': 'libvirt',
    'hypervisor.storage.up': 'storage',
    'hypervisor.nic.up': 'nic',
    'hypervisor.disk.smart': 'smart',
}


class BadSample(ValueError):
    """A sample that is not what its name says; the text tells which part."""


def heard(item: sample.Sample) -> values.Heard:
    """Return the heartbeat that a sample carries.

    :raises BadSample: it carries none.
    """
    metadata = _metadata(item)
    try:
        sequence = int(metadata.get('sequence', ''))
    except (TypeError, ValueError):
        raise BadSample("'sequence' should be a number") from None
    if not 0 <= sequence < 2**63:
        raise BadSample("'sequence' should fit into 63 bits")
    return values.Heard(
        host=_word(metadata, 'host', LONGEST_HOST),
        boot_id=_word(metadata, 'boot_id', LONGEST_ID),
        sequence=sequence,
        system_uuid=_word(metadata, 'system_uuid', LONGEST_ID, empty=True),
        service_uuid=_word(metadata, 'service_uuid', LONGEST_ID, empty=True),
    )


def signature(item: sample.Sample) -> tuple[str, str]:
    """Return the id of the key and the signature of a heartbeat.

    :raises BadSample: they cannot be any.
    """
    metadata = _metadata(item)
    return (
        _word(metadata, 'key_id', LONGEST_ID, empty=True),
        _word(metadata, 'signature', LONGEST_ID, empty=True),
    )


def health(item: sample.Sample) -> values.Health:
    """Return what a sample of one of CHANNELS says of its host.

    :raises BadSample: it says nothing that can be understood.
    """
    metadata = _metadata(item)
    channel = CHANNELS[item.name]
    device = metadata.get('device', '')
    if not isinstance(device, str) or not device.isprintable():
        raise BadSample("'device' should be a text")
    if device:
        channel = f'{channel}:{device}'
    if len(channel) > LONGEST_HOST:
        raise BadSample("'device' should be a short text")
    try:
        value = float(item.volume)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise BadSample('its volume should be a number')
    ok = value >= 1
    reason = metadata.get('reason')
    if ok or not isinstance(reason, str):
        reason = '' if ok else f'{item.name} is {value:g}, expected 1'
    return values.Health(
        host=_word(metadata, 'host', LONGEST_HOST),
        channel=channel,
        ok=ok,
        value=value,
        text=printable.line(reason, LONGEST_HOST),
    )


def _metadata(item: sample.Sample) -> dict[str, Any]:
    metadata = item.resource_metadata
    if not isinstance(metadata, dict):
        raise BadSample('resource_metadata should be a dictionary')
    return metadata


def _word(
    metadata: dict[str, Any], name: str, longest: int, empty: bool = False
) -> str:
    value = metadata.get(name, '')
    if not isinstance(value, str) or len(value) > longest:
        raise BadSample(f"'{name}' should be a short text")
    if not value.isprintable() or ' ' in value:
        raise BadSample(f"'{name}' should be one word")
    if not value and not empty:
        raise BadSample(f"'{name}' should not be empty")
    return value
