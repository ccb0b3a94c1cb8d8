"""Histograms: the number of values up to each of a few bounds, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Sequence

# For durations that should be milliseconds. People notice a tenth of a second.
SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
RECORDS = (1.0, 10.0, 100.0, 1000.0)


@define
class Histogram:
    """`counts` has the number of values in (bound before, bound] for each bound; the rest last."""

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    sum: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> Histogram:
        """Return an independent copy."""
        copied = Histogram(self.bounds, self.sum)
        copied.counts = [*self.counts]
        return copied
