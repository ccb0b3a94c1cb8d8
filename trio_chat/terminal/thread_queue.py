"""A bounded queue from a thread to a task of Trio."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class ThreadQueue(Generic[T]):
    """Things in their order. Each stays in the queue until it is done. Create it in Trio."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._things: deque[T] = deque()
        self._token = trio.lowlevel.current_trio_token()
        self._some = trio.Event()

    def __len__(self) -> int:
        return len(self._things)

    def give(self, things: list[T]) -> bool:
        """For the thread: add these things; gives whether there was room. An empty queue has."""
        if self._things and len(self._things) + len(things) > self._limit:
            return False
        self._things.extend(things)
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake)
        return True

    def _wake(self) -> None:
        self._some.set()

    async def first(self) -> T:
        """For the task: wait for the oldest thing."""
        while not self._things:
            await self._some.wait()
            self._some = trio.Event()
        return self._things[0]

    def done(self) -> None:
        """For the task: remove the oldest thing, which is done."""
        self._things.popleft()
