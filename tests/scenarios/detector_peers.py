# SPDX-License-Identifier: Apache-2.0

"""What others would have said of the same heartbeats.

Each is given the arrivals of one host in pieces and tells when it calls the
host dead. None of them asks anybody else, so what they suspect is what they
call dead; with ``probes`` the same corroboration as ours stands behind it.
"""

import dataclasses
import math
import statistics

import numpy

from tests.scenarios import detector_models as models

Times = models.Times

# Gaps between beats from which phi-accrual learns.
WINDOW = 1000
# Of ``instanceha.py``: seconds between two polls, the age of nova's
# ``updated_at`` from which a service is stale, the share of stale hosts above
# which nothing is done.
POLL = 45.0
DELTA = 30.0
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Peer:
    """How somebody detects.

    :ivar interval: between two heartbeats.
    :ivar missed: silence in intervals that is too long, half a one of grace
        included; 0 for phi-accrual.
    :ivar phi: of the normal fit.
    :ivar polls: judged at polls only, and not when too many are silent.
    :ivar probes: silent probes in a row that must follow, and their seconds.
    """

    name: str
    interval: float
    missed: float = 0.0
    phi: float = 0.0
    polls: bool = False
    probes: int = 0
    corroborating: float = 0.0

    def limits(self, gaps: Times) -> Times:
        """Return for each gap but the first ones when it is too long.

        :param gaps: with WINDOW of them that came before.
        """
        count = gaps.size - WINDOW
        if self.polls:
            return numpy.full(count, DELTA)
        if self.missed:
            return numpy.full(count, self.missed * self.interval)
        sums = numpy.concatenate(([0.0], numpy.cumsum(gaps)))
        squares = numpy.concatenate(([0.0], numpy.cumsum(gaps * gaps)))
        mean = (sums[WINDOW:-1] - sums[: -WINDOW - 1]) / WINDOW
        square = (squares[WINDOW:-1] - squares[: -WINDOW - 1]) / WINDOW
        spread = numpy.sqrt(numpy.maximum(square - mean * mean, 0.0))
        return mean + deviations(self.phi) * spread


def deviations(phi: float) -> float:
    """Return how many standard deviations a phi of the normal fit means."""
    return -statistics.NormalDist().inv_cdf(10.0**-phi)


def all_of(probes: int, corroborating: float) -> tuple[Peer, ...]:
    """Return the peers; those with probes have our corroboration.

    :param probes: silent ones in a row that we ask for.
    :param corroborating: seconds that they take.
    """
    return (
        Peer('3-missed-2s', 2.0, missed=3.5),
        Peer('3-missed-10s', 10.0, missed=3.5),
        Peer('phi-8-2s', 2.0, phi=8.0),
        Peer('phi-12-2s', 2.0, phi=12.0),
        Peer('phi-8-10s', 10.0, phi=8.0),
        Peer('phi-12-10s', 10.0, phi=12.0),
        Peer('instanceha', 10.0, polls=True),
        Peer(
            '3-missed-2s-and-probes',
            2.0,
            missed=3.5,
            probes=probes,
            corroborating=corroborating,
        ),
    )


@dataclasses.dataclass
class Tally:
    """What a peer got wrong, and how long it took.

    :ivar suspicions: living hosts that it called silent.
    :ivar dead: living hosts that it would have fenced, expected.
    :ivar latencies: from a crash to its verdict.
    """

    suspicions: int = 0
    dead: float = 0.0
    latencies: list[float] = dataclasses.field(default_factory=list)


def judge(
    peer: Peer, arrive: Times, tally: Tally, crashes: Times, chance: float
) -> None:
    """Count the gaps of a piece that are too long; crash it a few times.

    :param arrive: of one host, with WINDOW + 1 beats from before.
    :param crashes: when it might have crashed, each by itself.
    :param chance: that a living host is silent to a probe.
    """
    gaps = numpy.diff(arrive)
    if gaps.size <= WINDOW:
        return
    limits = peer.limits(gaps)
    news, began = gaps[WINDOW:], arrive[WINDOW:-1]
    if not peer.polls:
        tally.suspicions += int((news > limits).sum())
        late = int((news > limits + peer.corroborating).sum())
        tally.dead += late * chance**peer.probes
    at = numpy.searchsorted(began, crashes) - 1
    for number, crash in zip(at, crashes, strict=True):
        if number < 0:
            continue
        told = began[number] + limits[number]
        if peer.polls:
            told = math.ceil(told / POLL) * POLL
        told = max(told - crash, 0.0) + peer.corroborating
        tally.latencies.append(float(told))


def poll(ages: Times, stale: Times) -> tuple[Times, int]:
    """Return who is stale after one poll of all hosts, and who is fenced.

    :param stale: who was at the poll before.
    """
    now = ages > DELTA
    if now.sum() > THRESHOLD * now.size:
        # A host that it did not act on counts when it does.
        return stale & now, 0
    return now, int((now & ~stale).sum())
