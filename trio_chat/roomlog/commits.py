"""Measures of writing to a room log: how long it takes, and whether it works."""

from __future__ import annotations

import time

from attrs import define, field

from trio_chat.metrics.histogram import SECONDS, Histogram

# A log counts as broken for this many seconds after a failure. A longer time would do harm: a
# broken server refuses messages, and then no append could show that the log works again.
FAILING_SECONDS = 60.0


@define
class Commits:
    """Counts of the appends so far.

    `problems` describes in a few words each what else is wrong with the place of the log.
    """

    seconds: Histogram = field(factory=lambda: Histogram(SECONDS))
    problems: tuple[str, ...] = ()
    _failed: float | None = None

    def found(self, problems: tuple[str, ...]) -> None:
        """Record the problems that exist now."""
        self.problems = problems

    def note(self, seconds: float, *, worked: bool) -> None:
        """Count an append that took this many seconds."""
        self.seconds.add(seconds)
        self._failed = None if worked else time.monotonic()

    @property
    def writable(self) -> bool:
        """Whether the last append worked, or failed too long ago to say anything about now."""
        return self._failed is None or time.monotonic() - self._failed > FAILING_SECONDS
