"""Histograms: how many values there were, up to each of a few bounds, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Sequence

# For what should take milliseconds, and is noticed by people from a tenth of a second on.
SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
RECORDS = (1.0, 10.0, 100.0, 1000.0)


@define
class Histogram:
    """`counts` has how many values are up to each bound and above the one before; the rest last."""

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
        """One that does not change with this one."""
        copied = Histogram(self.bounds, self.sum)
        copied.counts = [*self.counts]
        return copied
