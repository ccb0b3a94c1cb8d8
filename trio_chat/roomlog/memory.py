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
    from trio_chat.settings import Settings


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
            self._forget_down_to(self._rooms - 1)
            history = self._histories[room] = _History(
                room, deque(maxlen=self._entries), self._forgotten
            )
        else:
            self._histories.move_to_end(room)
        return history

    def _forget_down_to(self, rooms: int) -> None:
        while len(self._histories) > rooms:
            _, oldest = self._histories.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest.position)

    def configure(self, settings: Settings) -> None:
        """Keep `history_entries` of each of `max_rooms` rooms from now on."""
        self._rooms = settings.max_rooms
        self._forget_down_to(self._rooms)
        if settings.history_entries != self._entries:
            self._entries = settings.history_entries
            for history in self._histories.values():
                history.entries = deque(history.entries, self._entries)

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
