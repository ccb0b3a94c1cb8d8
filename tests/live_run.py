"""A Trio run that goes on between the calls of a program that is not async: Trio's guest mode."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class LiveRun:
    """`call` runs an async function to its end; what it starts in `nursery` lives on after it.

    Trio's ticks go round in the caller's own thread, while it is in `call`. `clock` is Trio's own
    unless one is given.
    """

    nursery: trio.Nursery

    def __init__(self, clock: trio.abc.Clock | None = None) -> None:
        self._ticks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._ended: list[object] = []
        started: list[bool] = []
        trio.lowlevel.start_guest_run(
            self._main,
            started,
            run_sync_soon_threadsafe=self._ticks.put,
            done_callback=self._ended.append,
            clock=clock,
        )
        self._go_on_until(started)

    async def _main(self, started: list[bool]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self.nursery:
            started.append(True)
            await trio.sleep_forever()  # until cancelled

    def _go_on_until(self, reached: list) -> None:
        while not reached and not self._ended:
            # A call that takes so long hangs: say where, and do not wait for ever.
            self._ticks.get(timeout=60)()

    def call(self, function: Callable[..., Awaitable[object]], *args: object) -> object:
        results: list[object] = []

        async def run() -> None:
            results.append(await function(*args))

        self._token.run_sync_soon(self.nursery.start_soon, run)
        self._go_on_until(results)
        if self._ended:
            self._ended[0].unwrap()
        return results[0]

    def close(self) -> None:
        """End the run; raises what any of its tasks has raised, unless `call` did."""
        if not self._ended:
            self._token.run_sync_soon(self.nursery.cancel_scope.cancel)
            self._go_on_until(self._ended)
            self._ended[0].unwrap()
