"""Measures how late Trio runs a task that is due: a delay of one delays all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import trio

if TYPE_CHECKING:
    from trio_chat.metrics.histogram import Histogram

# Often enough to see delays of a tenth of a second that recur every few seconds. More often would
# wake an idle process for nothing.
SECONDS: Final = 1.0


async def measure_loop_lag(lags: Histogram) -> NoReturn:
    """Sleep repeatedly, and count how late each sleep ends."""
    while True:
        due = trio.current_time() + SECONDS
        await trio.sleep_until(due)
        lags.add(trio.current_time() - due)
