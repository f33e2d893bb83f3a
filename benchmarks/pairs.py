# SPDX-License-Identifier: Apache-2.0

"""Measures two functions in turn, so that a drift of the machine hits both."""

from collections.abc import Callable
import statistics
import time


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call, all threads together."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(
    first: Callable[[], object],
    second: Callable[[], object],
    rounds: int = 7,
) -> tuple[float, float, float]:
    """Return both medians in CPU-seconds, and the median of the ratios.

    The first round warms up and does not count.
    """
    pairs = [
        (cpu_seconds(first), cpu_seconds(second)) for _ in range(rounds + 1)
    ][1:]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )
