# SPDX-License-Identifier: Apache-2.0

"""What stock clients are shown as the progress of a server.

Nova has a field for it, which live migration fills and sets to 0 in the end.
An evacuation does the same here: a number that only grows, and 0 again when
the work has ended, however it ended.
"""

from nova_ha_plugins.compute import tally
from nova_ha_plugins.recovery import progress

# While a server is in one of these, its evacuation is under way and nobody
# else writes its progress. The write is refused by nova in any other, so that
# no number can follow the 0 of the end.
TASKS = ('rebuilding', 'rebuild_block_device_mapping', 'rebuild_spawning')

# But not in this one: nova-api takes a volume for connected that was written
# after the server was, and no write of ours may come between.
_VOLUMES = 'rebuild_block_device_mapping'
WRITTEN_IN = tuple(task for task in TASKS if task != _VOLUMES)

_INTERVAL = 1.0


def percent(
    *,
    source: str,
    destination: str,
    task: str | None,
    volume: bool,
    counted: tally.Tally,
) -> int | None:
    """Give the percentage that our own API gives for the same evidence.

    None while it must not be written.

    :param volume: whether the server boots from a volume.
    """
    if task == _VOLUMES:
        return None
    found = progress.assess(
        progress.Facts(
            status='pre-migrating',
            source=source,
            destination=destination,
            guest=progress.Guest(
                host=source, vm_state='active', task_state=task
            ),
            # Ages play no part: that it works is known to who asks.
            now=0.0,
            created_at=0.0,
            boot=progress.Boot.VOLUME if volume else progress.Boot.IMAGE,
            disk_total=counted.total,
            disk_processed=counted.processed,
        )
    )
    return found.progress


class Mirror:
    """What was written of one server, and whether to write again."""

    def __init__(self) -> None:
        self.written: int | None = None
        self._tried: set[int] = set()
        self._at = 0.0

    def owes(self, value: int | None, now: float) -> bool:
        """Say whether this percentage is worth a write."""
        if value is None or value <= (self.written or 0):
            return False
        return self.written is None or now - self._at >= _INTERVAL

    def tries(self, value: int) -> None:
        """Take note of a write that begins; its answer may get lost."""
        self._tried.add(value)

    @property
    def has_tried(self) -> bool:
        """Whether a number of ours may be there."""
        return bool(self._tried)

    def is_ours(self, value: int | None) -> bool:
        """Say whether a number, other than 0, may have come from here."""
        return bool(value) and value in self._tried

    def wrote(self, value: int, now: float) -> None:
        """Take note of a write."""
        self.written = value
        self._at = now
