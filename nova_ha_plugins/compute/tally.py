# SPDX-License-Identifier: Apache-2.0

"""How many bytes an evacuation has to bring to a host, and has brought.

The total is said once and never changes; what is done never goes back and
never exceeds it. Nothing is counted that was not seen in a file.
"""

from nova_ha_plugins.compute import files
from nova_ha_plugins.compute import images


class Tally:
    """The bytes of one evacuation.

    An image is fetched, then converted where its format asks for it, then
    copied where disks are no overlays. How much the last two will write is
    not known before; each is taken to be as long as the image. One that
    writes more counts as not quite done until its result is there.

    :ivar total: bytes to bring: 0 for nothing, None while nobody knows.
    :ivar processed: how many of them are here; None as long as ``total`` is.
    """

    def __init__(self, *, converts: bool, copies: bool) -> None:
        self.total: int | None = None
        self.processed: int | None = None
        self._may_convert = converts
        self._copies = copies
        self._cold = False
        self._length = 0
        self._steps = 0
        self._fetched = 0
        self._converted = False

    def nothing_to_bring(self) -> None:
        """Take note that the disk is here already."""
        if self.total is None:
            self.total = self.processed = 0

    def wants_image(self, seen: files.Look) -> bool:
        """Say whether the length of the image would help."""
        return self.total is None and (self._cold or seen.base is None)

    def take(
        self, seen: files.Look, image: images.Image | None, *, settled: bool
    ) -> None:
        """Count what was seen.

        :param image: what the image service says, if it has answered.
        :param settled: whether it never will; the length of what was fetched
            is taken instead as soon as that is complete.
        """
        self._fetched = max(self._fetched, seen.part or 0)
        self._converted = self._converted or seen.converted is not None
        if self.total is None:
            self._begin(seen, image, settled=settled)
        if self.total:
            done = min(self._count(seen), self.total)
            self.processed = max(self.processed or 0, done)

    def complete(self) -> None:
        """Take note that the server has its disk."""
        if self.total is not None:
            self.processed = self.total

    def _begin(
        self, seen: files.Look, image: images.Image | None, *, settled: bool
    ) -> None:
        if seen.base is None:
            self._cold = True
        elif not self._cold:
            self._begin_warm(seen.base)
            return
        fetched = seen.converted is not None or seen.base is not None
        if not fetched and seen.part is None:
            return
        if image is not None:
            self._length = image.size
            converts = self._may_convert and not image.is_raw
        elif settled and fetched:
            self._length = self._fetched or seen.base or 0
            converts = self._converted
        else:
            return
        self._begin_with(1 + converts + self._copies)

    def _begin_warm(self, base: int) -> None:
        """Begin with an image that is here already: at most a copy is left."""
        self._length = base
        self._begin_with(int(self._copies))

    def _begin_with(self, steps: int) -> None:
        self._steps = steps
        self.total = self._length * steps
        self.processed = 0

    def _count(self, seen: files.Look) -> int:
        """Add up the steps; one is done when the next has begun."""
        if seen.base is None:
            if seen.converted is None:
                return min(seen.part or 0, self._length)
            return self._length + self._unfinished(seen.converted)
        before = self._steps - self._copies
        copied = self._unfinished(seen.disk or 0) if self._copies else 0
        return self._length * before + copied

    def _unfinished(self, written: int) -> int:
        return min(written, max(self._length - 1, 0))
