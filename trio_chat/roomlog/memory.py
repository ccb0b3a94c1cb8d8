"""A room log in memory: it lives as long as the chat does."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.events import KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.events import Entry, Kept
    from trio_chat.roomlog import Result


@define
class _History:
    room: str
    entries: deque[Kept]
    position: int


@define
class MemoryLog:
    """Keeps the newest `entries` of each room, and of the `rooms` rooms that spoke last.

    A room's history belongs to its name and outlives its members. Where one is let go to make
    place, positions go on above all that were let go, so that a room's positions never start over.
    """

    _entries: int
    _rooms: int
    _histories: OrderedDict[str, _History] = field(factory=OrderedDict, init=False)
    _forgotten: int = field(default=0, init=False)

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Give each draft its place, in order; a memory log refuses none."""
        await trio.lowlevel.checkpoint()
        now = time.time()
        history = None
        for draft in drafts:
            if not isinstance(draft, KEPT):
                continue
            if history is None or draft.room != history.room:
                history = self._history(draft.room)
            history.position += 1
            draft.position = history.position
            draft.time = now
            history.entries.append(draft)
        return drafts

    def _history(self, room: str) -> _History:
        history = self._histories.get(room)
        if history is None:
            if len(self._histories) >= self._rooms:
                _, oldest = self._histories.popitem(last=False)
                self._forgotten = max(self._forgotten, oldest.position)
            history = self._histories[room] = _History(
                room, deque(maxlen=self._entries), self._forgotten
            )
        else:
            self._histories.move_to_end(room)
        return history

    async def read(self, room: str, after: int, limit: int) -> list[Kept]:
        """The kept entries of a room after a position, oldest first, at most `limit`."""
        await trio.lowlevel.checkpoint()
        history = self._histories.get(room)
        if history is None:
            return []
        first = max(0, len(history.entries) - (history.position - after))
        return [
            history.entries[index]
            for index in range(first, min(len(history.entries), first + limit))
        ]

    async def aclose(self) -> None:
        """Nothing is held but memory."""
        await trio.lowlevel.checkpoint()
