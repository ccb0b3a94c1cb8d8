"""The entries that rooms have at hand, for sessions that catch up: within a bound for all rooms.

They save reading the log, which has them too. So what does not fit is given back, first by the room
that has been silent for the longest time.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.room import Room
    from trio_chat.protocol.events import PersistentEntry

# What an entry takes beside its text: the object, its position and time, and what refers to it.
ENTRY_BYTES = 200


class Recent:
    """Keeps at most `entries` a room, and about `most` bytes of memory in all rooms together."""

    def __init__(self, entries: int, most: int) -> None:
        self._entries = entries
        self._most = most
        self._bytes = 0
        # The bytes of each room that has any, the one that spoke last at the end.
        self._rooms: dict[Room, int] = {}

    @property
    def bytes(self) -> int:
        """How much they take now."""
        return self._bytes

    def keep(self, room: Room, run: Sequence[PersistentEntry]) -> None:
        """Have a room keep entries at hand that are being delivered, the newest of all."""
        recent = room.recent
        if recent is None:
            # Many rooms never have an entry, and an empty deque takes 600 bytes.
            recent = room.recent = deque()
        size = sum(map(_size, run))
        recent.extend(run)
        while len(recent) > self._entries:
            size -= _size(recent.popleft())
        self._rooms[room] = self._rooms.pop(room, 0) + size
        self._bytes += size
        if self._bytes > self._most:
            self._give_back()

    def forget(self, room: Room) -> None:
        """Keep nothing of a room."""
        self._bytes -= self._rooms.pop(room, 0)
        room.recent = None

    def resize(self, entries: int, most: int) -> None:
        """Keep so much from now on."""
        self._entries, self._most = entries, most
        for room in self._rooms:
            while room.recent and len(room.recent) > entries:
                self._drop(room, room.recent.popleft())
        self._give_back()

    def _give_back(self) -> None:
        while self._bytes > self._most and len(self._rooms) > 1:
            self.forget(next(iter(self._rooms)))
        for room in self._rooms:
            while room.recent and self._bytes > self._most:
                self._drop(room, room.recent.popleft())

    def _drop(self, room: Room, entry: PersistentEntry) -> None:
        size = _size(entry)
        self._rooms[room] -= size
        self._bytes -= size


def _size(entry: PersistentEntry) -> int:
    return ENTRY_BYTES + sys.getsizeof(entry.text)
