"""The state of rooms as far as this node has followed them: for `RoomLog.snapshot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.rules import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trio_chat.roomlog.redis.codec import Batch

# Rooms beyond those with members here, before they are forgotten.
SPARE: Final = 1_000


class KnownRooms:
    """Rooms that members of this node are in, or were in of late."""

    def __init__(self) -> None:
        # Rooms as they were when a member came here or set the topic, and how far they have got.
        self._rooms: dict[str, LoggedRoom] = {}
        self._reached: dict[str, int] = {}
        self._most = SPARE

    def state(self, room: str) -> LoggedRoom:
        """Return the state of a room after everything seen so far; without the log's identity."""
        known = self._rooms.get(room, LoggedRoom())
        return evolve(known, position=max(known.position, self._reached.get(room, 0)))

    def saw(self, batch: Batch) -> None:
        """Follow a room by a batch."""
        room = batch.room
        self._reached[room] = batch.top
        if batch.is_spoken:
            return
        known = self._rooms.get(room, LoggedRoom())
        if (topic := batch.topic()) is not None:
            author, nick, time = topic.author, topic.nick, topic.time
            self._rooms[room] = LoggedRoom(
                topic.text, author, nick, time, batch.top, rules=known.rules
            )
        elif (ruled := batch.ruled()) is not None and ruled.position > known.rules.version:
            self._rooms[room] = evolve(known, rules=follow(known.rules, ruled)[0])

    def learn(self, room: str, state: LoggedRoom, occupied: Callable[[], Collection[str]]) -> None:
        """Learn the state of a room. `occupied` gives the rooms to keep if there are too many."""
        if len(self._rooms) > self._most:
            kept = set(occupied())
            self._rooms = {name: self._rooms[name] for name in self._rooms.keys() & kept}
            self._reached = {name: self._reached[name] for name in self._reached.keys() & kept}
            # So that looking through all rooms is rare.
            self._most = 2 * len(self._rooms) + SPARE
        self._rooms[room], self._reached[room] = state, state.position
