# SPDX-License-Identifier: Apache-2.0

"""How long an evacuation will take, from what this cloud did before.

Like is compared with like (``Kind``); of its like only those count that, in
the same phase, took longer than this one already has. A server whose bytes
are counted is told by its own rate, and by what its like needed after their
bytes were there; one that waits for its destination, by the queue there.

Nothing is said from fewer than ``MINIMUM_SAMPLES``, and nothing of one that
has outlasted almost all of its like: whatever keeps it did not keep them.
"""

import bisect
import collections
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import math

from nova_ha_plugins.recovery import progress

# Fewer than this tell nothing: "no estimate yet".
MINIMUM_SAMPLES = 5

# A rate does not hold for the whole way: one in ten is slower by that much.
_SLOWER = 1.3

_MIB = 1024**2
_SMALLEST_MIB = 256
_BEFORE_WORK = (
    progress.Phase.ACCEPTED,
    progress.Phase.SCHEDULING,
    progress.Phase.CLAIMING,
)
_ORDER = tuple(
    phase for phase in progress.PERCENT if phase is not progress.Phase.DONE
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What decides how long it takes: like is compared with like.

    :ivar size: class of the amount of work, such as '512MiB-1GiB' of an image
        or '2-4' volumes; '' if nothing is known of it.
    """

    boot: progress.Boot | None = None
    storage: progress.Storage = progress.Storage.UNKNOWN
    size: str = ''


@dataclasses.dataclass(frozen=True)
class Past:
    """One evacuation that ended well.

    :ivar seconds: how long each of its phases took, in their order; a phase
        that nobody saw took no time.
    :ivar copied: seconds of the spawning phase after which all bytes were
        there, None if nobody measured.
    """

    kind: Kind
    seconds: tuple[tuple[progress.Phase, float], ...]
    copied: float | None = None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How many seconds are left.

    :ivar samples: how many earlier evacuations it was made from.
    :ivar basis: what they had in common with this one, in words.
    """

    p50: float
    p90: float
    samples: int
    basis: str = ''


def kind_of(facts: progress.Facts) -> Kind:
    """Tell what an evacuation is to be compared with."""
    storage = progress.storage_of(facts)
    size = ''
    if storage is progress.Storage.COPY:
        size = _bytes_class(facts.disk_total or 0)
    elif storage is progress.Storage.VOLUMES:
        size = _count_class(facts.volumes_total)
    elif storage is progress.Storage.UNKNOWN:
        size = _flavor_class(facts.flavor_disk)
    return Kind(boot=facts.boot, storage=storage, size=size)


def estimate(
    history: Sequence[Past],
    kind: Kind,
    phase: progress.Phase,
    elapsed: float,
    in_phase: float | None,
    bytes_left: int | None = None,
    rate: float | None = None,
    ahead: int | None = None,
) -> Estimate | None:
    """Give how long it will still take; see ``Book.estimate``."""
    return Book(history).estimate(
        kind, phase, elapsed, in_phase, bytes_left, rate, ahead
    )


class Book:
    """History that was prepared once, to be asked of many evacuations."""

    def __init__(self, history: Sequence[Past]) -> None:
        self._likes: dict[object, list[Past]] = collections.defaultdict(list)
        self._measured: set[progress.Boot | None] = set()
        for past in history:
            kind = past.kind
            for like in _likes_of(kind):
                self._likes[like].append(past)
            if kind.storage is not progress.Storage.UNKNOWN:
                self._measured.add(kind.boot)
        # Made when first asked for: most kinds are not evacuated just now.
        self._tables: dict[object, _Table] = {}

    def estimate(
        self,
        kind: Kind,
        phase: progress.Phase,
        elapsed: float,
        in_phase: float | None,
        bytes_left: int | None = None,
        rate: float | None = None,
        ahead: int | None = None,
    ) -> Estimate | None:
        """Give how long it will still take, None where nobody can know.

        :param elapsed: seconds since nova made the record.
        :param in_phase: seconds since the phase began, None if unknown.
        :param bytes_left: what the destination still has to bring.
        :param rate: bytes per second lately.
        :param ahead: how many the destination has to begin before this one.
        """
        if phase not in _ORDER:
            return None
        for like, basis in self._alike(kind, phase):
            samples = len(self._likes.get(like, ()))
            if samples < MINIMUM_SAMPLES:
                continue
            left = self._queued(like, phase, in_phase, ahead)
            if (
                phase is progress.Phase.SPAWNING
                and kind.storage is progress.Storage.COPY
            ):
                left = self._copying(like, in_phase, bytes_left, rate)
            if left is None:
                left = self._left(like, phase, elapsed, in_phase)
            if left is None:
                return None
            return Estimate(*left, samples=samples, basis=basis)
        return None

    def _alike(
        self, kind: Kind, phase: progress.Phase
    ) -> Iterator[tuple[object, str]]:
        """Give what to compare with, the most alike first."""
        if kind.boot is None:
            yield (), 'all evacuations'
            return
        # Before the destination has looked at its disk nobody knows what it
        # will have to copy, so it may be any of those that boot alike. Where
        # nobody ever measures, the root disk of the flavor has to do.
        if (
            kind.storage is not progress.Storage.UNKNOWN
            or _ORDER.index(phase) >= _ORDER.index(progress.Phase.SPAWNING)
            or kind.boot not in self._measured
        ):
            yield kind, 'same boot source, storage and size'
            yield (kind.boot, kind.storage), 'same boot source and storage'
        if kind.storage is progress.Storage.UNKNOWN:
            yield (kind.boot,), 'same boot source'

    def _queued(
        self,
        like: object,
        phase: progress.Phase,
        in_phase: float | None,
        ahead: int | None,
    ) -> tuple[float, float] | None:
        """A destination begins one after the other: the queue is known."""
        claims = self._table((), progress.Phase.CLAIMING)
        work = self._table(like, _AFTER_CLAIM)
        if phase not in _BEFORE_WORK or ahead is None:
            return None
        if claims is None or work is None:
            return None
        # Those of history have waited in queues, too; the quickest have not.
        each = claims.quick
        wait = (ahead + 1) * each
        if phase is progress.Phase.CLAIMING and not ahead:
            wait -= min(each, in_phase or 0.0)
        median, most = work.all_of_them
        return wait + median, wait * _SLOWER + most

    def _copying(
        self,
        like: object,
        in_phase: float | None,
        bytes_left: int | None,
        rate: float | None,
    ) -> tuple[float, float] | None:
        """By its own rate, and by what its like needed after their bytes."""
        rest = self._table(like, _AFTER_COPY)
        if rest is None or bytes_left is None:
            return None
        median, most = rest.all_of_them
        if bytes_left > 0:
            if rate is None or rate < 1.0:
                return None
            copying = bytes_left / rate
            return copying + median, copying * _SLOWER + most
        if in_phase is None:
            return median, most
        # When the last byte came is not known, only that nothing came since.
        spawning = self._table(like, progress.Phase.SPAWNING)
        if spawning is None or (left := spawning.left(in_phase)) is None:
            return None
        return min(median, left[0]), min(most, left[1])

    def _left(
        self,
        like: object,
        phase: progress.Phase,
        elapsed: float,
        in_phase: float | None,
    ) -> tuple[float, float] | None:
        table = self._table(like, phase)
        if table is None:
            # Too short to be seen in most of them.
            whole = self._table(like, _WHOLE)
            return None if whole is None else whole.left(elapsed)
        if in_phase is None:
            in_phase = max(0.0, elapsed - table.before)
        return table.left(in_phase)

    def _table(self, like: object, part: str) -> '_Table | None':
        """Give the table of a part of the way, None if too few were seen."""
        key = (like, part)
        if key not in self._tables:
            found = [_row(past, part) for past in self._likes.get(like, ())]
            self._tables[key] = _Table([row for row in found if row])
        table = self._tables[key]
        return table if len(table) >= MINIMUM_SAMPLES else None


@dataclasses.dataclass(frozen=True)
class _Row:
    """Of one evacuation: how long a part took, what was before and after."""

    took: float
    after: float = 0.0
    before: float = 0.0


class _Table:
    """Those that are alike, by how long they took for one part of the way."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = sorted(rows, key=lambda row: (row.took, row.after))
        self._took = [row.took for row in self._rows]
        # For each, of itself and all that took longer: the middle one and
        # nine in ten, from the beginning of the part to the very end.
        self._ends: list[tuple[float, float]] = []
        ends: list[float] = []
        for row in reversed(self._rows):
            bisect.insort(ends, row.took + row.after)
            self._ends.append((_quantile(ends, 0.5), _quantile(ends, 0.9)))
        self._ends.reverse()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def all_of_them(self) -> tuple[float, float]:
        """How long they needed from the beginning of the part."""
        return self._ends[0]

    @property
    def quick(self) -> float:
        """How long the quickest tenth of them took at most."""
        return _quantile(self._took, 0.1)

    @property
    def before(self) -> float:
        """When the part began in half of them."""
        return _quantile(sorted(row.before for row in self._rows), 0.5)

    def left(self, spent: float) -> tuple[float, float] | None:
        """Give what those needed further that were not through by then."""
        first = bisect.bisect_right(self._took, spent)
        # The last few that took very long tell nothing of this one.
        if len(self) - first < min(MINIMUM_SAMPLES, math.ceil(len(self) / 5)):
            return None
        median, most = self._ends[first]
        return median - spent, most - spent


# Parts of the way that are no phases.
_WHOLE = 'whole'
_AFTER_CLAIM = 'after-claim'
_AFTER_COPY = 'after-copy'


def _row(past: Past, part: str) -> _Row | None:
    seconds = dict(past.seconds)
    if part == _WHOLE:
        return _Row(sum(seconds.values()))
    if part == _AFTER_CLAIM:
        return _Row(
            sum(
                took
                for phase, took in past.seconds
                if phase not in _BEFORE_WORK
            )
        )
    spawning = seconds.get(progress.Phase.SPAWNING)
    if part == _AFTER_COPY:
        if spawning is None or past.copied is None:
            return None
        after = seconds.get(progress.Phase.FINISHING, 0.0)
        return _Row(max(0.0, spawning - past.copied) + after)
    if part not in seconds:
        return None
    index = _ORDER.index(progress.Phase(part))
    return _Row(
        took=seconds[progress.Phase(part)],
        after=sum(seconds.get(phase, 0.0) for phase in _ORDER[index + 1 :]),
        before=sum(seconds.get(phase, 0.0) for phase in _ORDER[:index]),
    )


def _likes_of(kind: Kind) -> tuple[object, ...]:
    return ((), (kind.boot,), (kind.boot, kind.storage), kind)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Give the smallest that is not exceeded by that share of them."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def _bytes_class(number: int) -> str:
    """Give a class in which the largest is twice the smallest."""
    size = max(number, 0) // (_SMALLEST_MIB * _MIB)
    if not size:
        return f'<{_SMALLEST_MIB}MiB'
    low = _SMALLEST_MIB << (size.bit_length() - 1)
    return f'{_binary(low)}-{_binary(2 * low)}'


def _binary(mebibytes: int) -> str:
    if mebibytes < 1024:
        return f'{mebibytes}MiB'
    return f'{mebibytes // 1024}GiB'


def _flavor_class(gibibytes: int | None) -> str:
    return _bytes_class(gibibytes * 1024 * _MIB) if gibibytes else ''


def _count_class(number: int | None) -> str:
    if not number:
        return ''
    for low, high in ((1, 1), (2, 4), (5, 8)):
        if number <= high:
            return str(low) if low == high else f'{low}-{high}'
    return '>8'
