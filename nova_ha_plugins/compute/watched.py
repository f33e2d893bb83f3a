# SPDX-License-Identifier: Apache-2.0

"""One evacuation that this host works on, as the sampler sees it."""

import dataclasses
import typing

from nova_ha_plugins.compute import files
from nova_ha_plugins.compute import images
from nova_ha_plugins.compute import mirror
from nova_ha_plugins.compute import tally

# Of these tasks, in their order, the last is the one that makes disks.
_BEFORE_DISKS = mirror.TASKS[:-1]


class Gone(Exception):
    """What was to be written is not there any more, or not ours any more."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """What nova's own options say about disks on this host.

    :ivar instances: directory of the disks of servers.
    :ivar cache: name of the image cache below it.
    :ivar converts: whether images are converted to raw.
    :ivar copies: whether disks are copies of the image, not overlays.
    :ivar remote: whether disks are on a storage that all hosts share.
    """

    instances: str
    cache: str
    converts: bool = True
    copies: bool = False
    remote: bool = False


def storage_of(conf: typing.Any) -> Storage:
    """Read how this host keeps disks from nova's own options."""
    kind = conf.libvirt.images_type
    return Storage(
        instances=conf.instances_path,
        cache=conf.image_cache.subdirectory_name,
        converts=conf.force_raw_images,
        copies=kind in ('raw', 'flat')
        or (kind == 'default' and not conf.use_cow_images),
        remote=kind == 'rbd',
    )


@dataclasses.dataclass(frozen=True)
class Start:
    """Nova-compute has begun to evacuate a server to this host.

    :ivar image: '' where the server boots from a volume.
    :ivar at: when, in seconds since the epoch.
    :ivar context: of nova's request; only asks how long the image is.
    """

    server: str
    host: str
    source: str
    image: str
    at: float
    context: typing.Any = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class End:
    """Nova-compute is through with a server, or has given it up."""

    server: str
    host: str
    succeeded: bool


class Watched:
    """State of one evacuation between two looks.

    :ivar record: nova's migration record, None until it was found.
    :ivar end: set when the work has ended.
    :ivar worked_at: when the server was last seen with a task.
    :ivar failures: attempts to report it that failed, one after the other.
    :ivar given_up: too many did; only its percentage is still taken back.
    """

    def __init__(self, start: Start, storage: Storage) -> None:
        self.start = start
        self.record: typing.Any = None
        self.mirror = mirror.Mirror()
        self.end: End | None = None
        self.ended_at = 0.0
        self.worked_at: float | None = None
        self.failures = 0
        self.given_up = False
        self._storage = storage
        self._saved: tuple[int | None, int | None] = (None, None)
        self._begin(start.image)

    def _begin(self, image: str) -> None:
        self.image = image
        self.seen = files.Look()
        self.tally = tally.Tally(
            converts=self._storage.converts, copies=self._storage.copies
        )
        self._place = files.place(
            self._storage.instances,
            self._storage.cache,
            image,
            self.start.server,
        )
        if self._storage.remote or not image:
            self.tally.nothing_to_bring()

    @property
    def unsaved(self) -> bool:
        """Whether nova does not know the newest bytes yet."""
        return self._saved != (self.tally.total, self.tally.processed)

    def saved(self) -> None:
        """Take note that nova knows them."""
        self._saved = (self.tally.total, self.tally.processed)

    def look(self, known: images.Images) -> None:
        """Look at the files, if there is anything to see, and count."""
        if self.tally.total != 0:
            self.seen = files.look(self._place, self.start.at)
            self._count(known)

    def learn(self, server: typing.Any, known: images.Images) -> None:
        """Take what nova says of the server, read after a look.

        A directory that is there before the disks are made is shared with
        the source: nova evacuates to the existing disk.
        """
        image = server.image_ref or ''
        if image != self.image:
            # Not what the notification seemed to say.
            self._begin(image)
            self.look(known)
        if server.task_state in _BEFORE_DISKS and self.seen.home:
            self.tally.nothing_to_bring()

    def _count(self, known: images.Images) -> None:
        image, settled = None, True
        if self.tally.wants_image(self.seen):
            image, settled = known.of(self.image, self.start.context)
        self.tally.take(self.seen, image, settled=settled)
        if self.end is not None and self.end.succeeded:
            self.tally.complete()

    def percent(self, task: str | None) -> int | None:
        """Give the percentage while the server has this task."""
        return mirror.percent(
            source=self.start.source,
            destination=self.start.host,
            task=task,
            volume=not self.image,
            counted=self.tally,
        )
