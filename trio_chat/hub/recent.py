"""The entries that rooms have at hand, for sessions that catch up: within a bound for all rooms.

They save reading the log, which has them too. So what does not fit is given back, first by the room
that has been silent for the longest time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from trio_chat.roomlog.weight import weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.room import Room
    from trio_chat.protocol.events import PersistentEntry

# Rooms are put in order to give theirs back, so it is seldom done: a part more is given back.
SPARE = 16


class Recent:
    """Keeps at most `entries` a room, and about `most` bytes of memory in all rooms together."""

    def __init__(self, entries: int, most: int) -> None:
        self._entries = entries
        self._most = most
        self._bytes = 0
        # The rooms that have any.
        self._rooms: set[Room] = set()

    @property
    def bytes(self) -> int:
        """The bytes that all of them take now."""
        return self._bytes

    def keep(self, room: Room, run: Sequence[PersistentEntry]) -> None:
        """Have a room keep entries at hand that are being delivered, the newest of all."""
        recent = room.recent
        if recent is None:
            # Many rooms never have an entry, and an empty deque takes 600 bytes.
            recent = room.recent = deque()
            self._rooms.add(room)
        recent.extend(run)
        size = weight(run)
        if (over := len(recent) - self._entries) > 0:
            size -= weight([recent.popleft() for _ in range(over)])
        room.recent_bytes += size
        self._bytes += size
        if self._bytes > self._most:
            self._give_back()

    def forget(self, room: Room) -> None:
        """Keep nothing of a room."""
        self._bytes -= room.recent_bytes
        room.recent, room.recent_bytes = None, 0
        self._rooms.discard(room)

    def resize(self, entries: int, most: int) -> None:
        """Keep so much from now on."""
        self._entries, self._most = entries, most
        for room in self._rooms:
            while room.recent and len(room.recent) > entries:
                self._drop_first(room, room.recent)
        if self._bytes > most:
            self._give_back()

    def _give_back(self) -> None:
        """Have the rooms that were silent for longest give theirs back, and some to spare."""
        enough = self._most - self._most // SPARE
        rooms = sorted(self._rooms, key=_last_time)
        for room in rooms[:-1]:
            if self._bytes <= enough:
                return
            self.forget(room)
        last = rooms[-1]
        while last.recent and self._bytes > enough:
            self._drop_first(last, last.recent)

    def _drop_first(self, room: Room, recent: deque[PersistentEntry]) -> None:
        size = weight((recent.popleft(),))
        room.recent_bytes -= size
        self._bytes -= size


def _last_time(room: Room) -> float:
    return room.recent[-1].time if room.recent else 0.0
