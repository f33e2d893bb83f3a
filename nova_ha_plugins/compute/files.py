# SPDX-License-Identifier: Apache-2.0

"""The files that nova-compute writes while it brings an image to a host.

Nova fetches ``<cache>/<name>.part``, converts it into ``<name>.converted``
where it has to, and renames the result to ``<name>``; the disk of the server
is then an overlay of that, or a copy. Everything here is a stat: no file is
opened, and one that cannot be looked at is one that is not there.
"""

import dataclasses
import hashlib
import os

# What st_blocks counts in, whatever the file system.
_BLOCK = 512

# File systems round the time of a write down to a tick of the kernel.
_TICK = 0.1


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the files of one evacuation are.

    :ivar base: the image in the cache of this host, when it is complete.
    :ivar home: the directory of the server's disks.
    """

    base: str
    home: str

    @property
    def part(self) -> str:
        """The image while it is fetched."""
        return f'{self.base}.part'

    @property
    def converted(self) -> str:
        """The image while it is converted."""
        return f'{self.base}.converted'

    @property
    def disk(self) -> str:
        """The root disk of the server."""
        return os.path.join(self.home, 'disk')


@dataclasses.dataclass(frozen=True)
class Look:
    """What was there at one moment; sizes in bytes, None for no such file.

    :ivar base: what the complete image takes up on the disk.
    :ivar part: length of what was fetched.
    :ivar converted: what the conversion has written; its length tells
        nothing, it is a sparse file that has its full length at once.
    :ivar disk: what the disk of the server takes up.
    :ivar home: whether there is a directory for the server.
    """

    base: int | None = None
    part: int | None = None
    converted: int | None = None
    disk: int | None = None
    home: bool = False


def place(instances: str, cache: str, image: str, server: str) -> Place:
    """Say where nova's libvirt driver puts the files of a server.

    :param cache: name of the image cache below ``instances``.
    """
    # The name is nova's choice; nothing is secured by it.
    name = hashlib.sha1(image.encode(), usedforsecurity=False).hexdigest()
    return Place(
        base=os.path.join(instances, cache, name),
        home=os.path.join(instances, server),
    )


def look(where: Place, since: float) -> Look:
    """Look at the files once.

    A ``.part`` that nobody has written to ``since`` the evacuation began is
    left from a nova-compute that was killed; the next fetch will truncate it.

    :param since: seconds since the epoch, on the clock of this host.
    """
    part = _stat(where.part)
    converted = _stat(where.converted)
    fresh = [
        found is not None and found.st_mtime >= since - _TICK
        for found in (part, converted)
    ]
    # The source of a conversion is complete and not written to any more.
    counts = part is not None and any(fresh)
    base = _stat(where.base)
    disk = _stat(where.disk)
    return Look(
        base=_taken(base),
        part=part.st_size if part is not None and counts else None,
        converted=_taken(converted) if fresh[1] else None,
        disk=_taken(disk),
        home=_stat(where.home) is not None,
    )


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _taken(found: os.stat_result | None) -> int | None:
    return found.st_blocks * _BLOCK if found is not None else None
