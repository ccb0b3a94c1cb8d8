"""Keeps the workers alive: starts them, replaces those that end, and stops all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import trio
from attrs import define

from trio_chat.daemon.workers.worker import Worker

# A process that has lived so long has not failed at its start.
STEADY_SECONDS: Final = 10.0
# The pause after the first failure; each further one doubles it, up to the most. Meanwhile, new
# connections wait in the worker's backlog, so the most is less than what people wait for a page.
FIRST_PAUSE: Final = 0.5
MOST_PAUSE: Final = 15.0
# A worker takes so long beyond its `stop_grace`.
STOP_SECONDS: Final = 10.0
# For the last line to each client, when it must be quick.
AT_ONCE_SECONDS: Final = 2.0
# The exit code of a daemon that has said on standard error why it cannot start.
HAS_SAID: Final = 2

logger = logging.getLogger("trio_chat")


def pause_after(failures: int) -> float:
    """Return the seconds before another process is started; `failures` have come in a row."""
    return min(MOST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)) if failures else 0.0


@define
class Keeper:
    """Keeps these workers alive until `stopping` is set.

    `fail` is called with a problem, which may be empty, if a worker cannot serve at the start.
    Once all workers have served (`have_served`), none of them ends the others.
    """

    workers: Sequence[Worker]
    stopping: trio.Event
    fail: Callable[[str], None]
    have_served: bool = False

    async def start_all(self, nursery: trio.Nursery) -> None:
        """Start all workers, and wait until they serve, or one cannot, or a stop is wanted.

        The first one starts alone: a mistake in the settings is one for all, and is told once.
        Workers that have served before an upgrade of the parent run already.
        """
        for worker in self.workers:
            nursery.start_soon(worker.listen)
            nursery.start_soon(worker.watch)
        if self.have_served:
            for worker in self.workers:
                nursery.start_soon(self.keep, worker)
            return
        first, *others = self.workers
        nursery.start_soon(self.keep, first)
        await self.serves_or_stops(first)
        for worker in others:
            nursery.start_soon(self.keep, worker)
        for worker in others:
            await self.serves_or_stops(worker)
        self.have_served = not self.stopping.is_set()

    async def serves_or_stops(self, worker: Worker) -> None:
        """Wait until a worker serves for the first time, or a stop is wanted."""
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, worker.serving)
            nursery.start_soon(wait, self.stopping)

    async def keep(self, worker: Worker) -> None:
        """Keep a worker alive until all are to stop."""
        failures = 0
        while not self.stopping.is_set():
            began = trio.current_time()
            how = await self.run_once(worker)
            if self.stopping.is_set():
                return
            if not (self.have_served or worker.serving.is_set()):
                self.cannot_start(worker, how)
                return
            steady = trio.current_time() - began >= STEADY_SECONDS
            failures = 0 if steady else failures + 1
            again_in = pause_after(failures)
            told = {"worker": worker.number, "pid": worker.child and worker.child.pid}
            logger.error("worker ended", extra={**told, "how": how, "again_in": again_in})
            worker.restarts += 1
            with trio.move_on_after(again_in):
                await self.stopping.wait()

    async def run_once(self, worker: Worker) -> str:
        """Run a process for a worker and wait for its end; say how that was."""
        if not worker.runs:
            try:
                worker.start()
            except OSError as error:
                return f"cannot be started: {error.strerror}"
        await worker.until_ended()
        return worker.child.fate if worker.child is not None else ""

    def cannot_start(self, worker: Worker, how: str) -> None:
        """Give up the start of all, because one cannot serve."""
        has_said = worker.child is not None and worker.child.code == HAS_SAID
        self.fail("" if has_said else f"worker {worker.number} {how} before it served")
        self.stopping.set()

    async def stop_all(self, grace: float) -> None:
        """Stop all workers gracefully, with so many seconds for their clients.

        Those that do not end in time are killed. If this is cancelled, all are stopped at once.
        """
        try:
            with trio.move_on_after(grace + STOP_SECONDS):
                async with trio.open_nursery() as nursery:
                    for worker in self.workers:
                        nursery.start_soon(worker.stop)
        finally:
            with trio.CancelScope(shield=True):
                await self.end_all()

    async def end_all(self) -> None:
        """End the workers that still run."""
        for end in (Worker.stop_at_once, Worker.kill):
            for worker in self.workers:
                end(worker)
            with trio.move_on_after(AT_ONCE_SECONDS):
                for worker in self.workers:
                    await worker.until_ended()
