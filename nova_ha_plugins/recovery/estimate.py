# SPDX-License-Identifier: Apache-2.0

"""How long an evacuation will take, from what this cloud did before."""

import dataclasses

from nova_ha_plugins.recovery import progress

# Fewer than this tell nothing: "no estimate yet".
MINIMUM_SAMPLES = 5


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
