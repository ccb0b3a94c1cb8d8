"""Measures of writing a room log: how long it takes, whether it works, and what is wrong."""

from __future__ import annotations

import time

from attrs import define, field

from trio_chat.metrics.histogram import SECONDS, Histogram

# So long after a failure the log counts as one that cannot be written. Not for longer: nobody may
# say anything while the server is held to be out of order, and then nothing would show it works.
FAILING_SECONDS = 60.0


@define
class Commits:
    """Counts of the appends so far.

    `problems` says in a few words each what else is wrong with where the log is kept.
    """

    seconds: Histogram = field(factory=lambda: Histogram(SECONDS))
    problems: tuple[str, ...] = ()
    _failed: float | None = None

    def found(self, problems: tuple[str, ...]) -> None:
        """Note what is wrong now."""
        self.problems = problems

    def note(self, seconds: float, *, worked: bool) -> None:
        """Count an append that took so long."""
        self.seconds.add(seconds)
        self._failed = None if worked else time.monotonic()

    @property
    def writable(self) -> bool:
        """Whether the last append worked, or has failed so long ago that this says nothing."""
        return self._failed is None or time.monotonic() - self._failed > FAILING_SECONDS
