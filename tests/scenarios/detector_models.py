# SPDX-License-Identifier: Apache-2.0

"""How heartbeats arrive: three models, and the stall of the whole pipe.

Heartbeats of one host share a pipe: one that is stalled keeps those behind it
waiting, and they arrive together. Every beat draws its own delay, its own
stall and its own loss, so twice as many beats stall twice as often.
"""

import dataclasses
import math
import typing

import numpy

# Of the lognormal delay of every beat.
MEDIAN = 0.05
SIGMA = 1.0

Times = numpy.typing.NDArray[numpy.float64]


@dataclasses.dataclass(frozen=True)
class Model:
    """What happens to heartbeats, per beat.

    :ivar stalled: share that is stalled, for ``shortest`` to ``longest``.
    :ivar lost: share that never arrives.
    """

    name: str
    stalled: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    lost: float = 0.0


QUIET = Model('quiet')
BUSY = Model('busy', stalled=0.002, shortest=5.0, longest=40.0, lost=0.001)
ROUGH = Model('rough', stalled=0.01, shortest=5.0, longest=60.0, lost=0.01)
MODELS = (QUIET, BUSY, ROUGH)

# The pipe of all hosts together, once a week.
STALL_SHORTEST = 10.0
STALL_LONGEST = 60.0
# What a reporter waits between two attempts to reach the bus: one second,
# then two more each time (oslo.messaging), until ``rabbit_interval_max``.
RECONNECT_STEP = 2.0
RECONNECT_MAX = 30.0


@dataclasses.dataclass
class Pipe:
    """The heartbeats of one host, piece by piece.

    :ivar begins: when it sends the first one.
    """

    random: numpy.random.Generator
    model: Model
    interval: float
    begins: float
    _sent: int = 0
    _last: float = -math.inf
    _under_way: Times = dataclasses.field(
        default_factory=lambda: numpy.empty(0)
    )

    def until(self, end: float) -> Times:
        """Return when beats arrive, from the last call to this time."""
        count = math.ceil((end - self.begins) / self.interval) - self._sent
        numbers = numpy.arange(self._sent, self._sent + count)
        self._sent += count
        arrive = self.begins + self.interval * numbers + self._delays(count)
        arrive = arrive[self.random.random(count) >= self.model.lost]
        if arrive.size:
            numpy.maximum.accumulate(arrive, out=arrive)
            numpy.maximum(arrive, self._last, out=arrive)
            self._last = float(arrive[-1])
        arrive = numpy.concatenate((self._under_way, arrive))
        here = int(numpy.searchsorted(arrive, end))
        self._under_way = arrive[here:]
        return arrive[:here]

    def _delays(self, count: int) -> Times:
        model, random = self.model, self.random
        delays = random.lognormal(math.log(MEDIAN), SIGMA, count)
        if model.stalled:
            stalled = numpy.flatnonzero(random.random(count) < model.stalled)
            delays[stalled] += random.uniform(
                model.shortest, model.longest, stalled.size
            )
        return delays


def pipes(
    seed: int, model: Model, interval: float, hosts: int, begins: float = 0.0
) -> list[Pipe]:
    """Return the pipes of a cloud; their beats lie anywhere in the interval.

    :param begins: no host sends before.
    """
    return [
        Pipe(
            numpy.random.default_rng((seed, MODELS.index(model), number)),
            model,
            interval,
            begins + interval * float(phase),
        )
        for number, phase in enumerate(
            numpy.random.default_rng((seed, 1000)).random(hosts)
        )
    ]


def reconnected(first: float, end: float) -> float:
    """Return when a reporter is through that first failed at ``first``.

    :param end: when the bus works again.
    """
    at, pause = first, 1.0
    while at < end:
        at += pause
        pause = min(pause + RECONNECT_STEP, RECONNECT_MAX)
    return at


def stalled_pipe(arrive: Times, begin: float, end: float) -> Times:
    """Return the arrivals of a host when the pipe of all of them stalls."""
    caught = arrive >= begin
    if not caught.any():
        return arrive
    through = reconnected(float(arrive[caught][0]), end)
    return typing.cast(
        Times, numpy.where(caught, numpy.maximum(arrive, through), arrive)
    )
