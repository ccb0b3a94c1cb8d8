"""The measures of a node's work with the engine. They cost nothing for each message."""

from __future__ import annotations

import time
from typing import Final

import trio
from attrs import define, field

from trio_chat.metrics.histogram import Histogram
from trio_chat.metrics.node import ROUND_TRIPS

# A younger turn is not in doubt yet.
DOUBT_SECONDS: Final = 1.0


@define
class Measures:
    """Counts since the start of the process, and what the last beat has told."""

    round_trips: Histogram = field(factory=lambda: Histogram(ROUND_TRIPS))
    retries: int = 0
    fenced: int = 0
    restored: int = 0
    nodes: int = 0
    users: int = 0
    unread: int = 0
    # On Trio's clock: when the lease runs out, and when the turn under way was begun.
    lease_ends: float = 0.0
    turn_began: float | None = None
    # The place where the engine was found last.
    engine: str = ""
    # Whether the engine answers, and since when that is so, in seconds since 1970.
    up: bool = True
    since: float = field(factory=time.time)
    _fenced_epoch: str = ""

    def answers(self, *, up: bool) -> None:
        """Record whether the engine has answered a call."""
        if up != self.up:
            self.up, self.since = up, time.time()

    def lose_lease(self, epoch: str) -> None:
        """Count that this node was fenced, once for each of its epochs."""
        if epoch != self._fenced_epoch:
            self._fenced_epoch = epoch
            self.fenced += 1
            self.lease_ends = 0.0

    @property
    def lease_left(self) -> float:
        """Seconds until the lease runs out, or 0."""
        return max(0.0, self.lease_ends - trio.current_time())

    @property
    def in_doubt(self) -> float:
        """Seconds since the turn under way was begun, unless that is shorter than a second."""
        if self.turn_began is None:
            return 0.0
        seconds = trio.current_time() - self.turn_began
        return seconds if seconds >= DOUBT_SECONDS else 0.0
