# SPDX-License-Identifier: Apache-2.0

"""One spelling for the UUID that a host and its power device both know.

The host reads it from its firmware, the device reports it over the network;
that both say the same is the proof that the map is right. So nothing here is
lenient: only the spelling is evened out.
"""

import uuid

from nova_ha_plugins import printable

# What boards carry whose maker never set a UUID; it names no machine.
_PLACEHOLDERS = frozenset(
    {
        '00000000-0000-0000-0000-000000000000',
        'ffffffff-ffff-ffff-ffff-ffffffffffff',
        '03000200-0400-0500-0006-000700080009',
        '00020003-0004-0005-0006-000700080009',
        '12345678-1234-5678-90ab-cddeefaabbcc',
    }
)


def normalize(text: str | None) -> str:
    """Return a UUID in lower case with dashes, '' where there is none.

    '' also stands for the placeholders of boards without a UUID: two hosts
    that carry the same placeholder must not pass for one another. A text that
    is no UUID is returned stripped and in lower case.
    """
    stripped = (text or '').strip().lower()
    try:
        spelled = str(uuid.UUID(stripped))
    except ValueError:
        return stripped
    return '' if spelled in _PLACEHOLDERS else spelled


def swap(text: str) -> str:
    """Return a UUID with its first three fields in the other byte order."""
    try:
        return str(uuid.UUID(bytes=uuid.UUID(text).bytes_le))
    except ValueError:
        return text


def matches(expected: str | None, found: str | None) -> bool:
    """Return whether two identities are known and the same."""
    return normalize(expected) == normalize(found) != ''


def explain(expected: str | None, found: str | None) -> str:
    """Return why two identities do not match, '' when they do."""
    first, second = normalize(expected), normalize(found)
    if first == second != '':
        return ''
    if not first:
        return 'the host has not reported a usable system UUID'
    if not second:
        return 'the device reports no usable system UUID'
    text = (
        f"expected system '{printable.line(first, 64)}', the device says "
        f"'{printable.line(second, 64)}'"
    )
    if swap(first) == second:
        text += (
            '; this looks like the same UUID with the bytes of its first '
            'three fields swapped: firmware of the host or of the device is '
            'older than SMBIOS 2.6 in this, and the two are not taken to be '
            'equal'
        )
    return text
