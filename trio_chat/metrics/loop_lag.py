"""How late Trio comes to tasks that are due: what holds up one of them holds up all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import trio

if TYPE_CHECKING:
    from trio_chat.metrics.histogram import Histogram

# Often enough to catch what lasts for a tenth of a second and comes every few; an idle process is
# woken by it, so it is not done more often.
SECONDS: Final = 1.0


async def measure_loop_lag(lags: Histogram) -> NoReturn:
    """Sleep again and again, and note how much later than it should each sleep has ended."""
    while True:
        due = trio.current_time() + SECONDS
        await trio.sleep_until(due)  # this is what is measured
        lags.add(trio.current_time() - due)
