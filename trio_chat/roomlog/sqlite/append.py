"""Appending to the SQLite room log: one transaction, which leaves no trace if it fails."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from trio_chat.protocol.events import PERSISTENT, TopicSet
from trio_chat.roomlog.sqlite import rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import Result

# Rooms that make place for a new one, at most: more than one where fewer are kept than before.
FORGET_AT_ONCE = 10
ENTRIES_A_PAGE = 25  # messages of some hundred bytes in 4 KB
# A batch takes what comes so long after its first entry: it is kept until its last is too old.
BATCH_SECONDS = 600.0
# And up to so many characters, which are written once more with each entry that is added.
BATCH_CHARS = 4_000


@frozen
class Batch:
    """The newest batch of a room, which may take more."""

    id: int
    entries: int
    chars: int
    began: float

    def grown(self, entries: int, chars: int, now: float) -> Batch | None:
        """What it is like with so many more, if it takes them."""
        grown = Batch(self.id, self.entries + entries, self.chars + chars, self.began)
        fits = grown.entries <= rows.MOST and grown.chars <= BATCH_CHARS
        return grown if fits and 0 <= now - self.began <= BATCH_SECONDS else None


@define(eq=False)
class RoomRows:
    """What is known of a room: its persistent entries are those above `floor`, up to `position`."""

    id: int
    name: str
    topic: TopicSet | None
    floor: int
    position: int
    forgotten: bool = False
    batch: Batch | None = None


@define
class StoredRooms:
    """What is known of all rooms; `by_name` has those that spoke last at its end.

    Positions of new rooms begin above `positions_from`, ids of batches above `last_batch`.
    """

    by_name: OrderedDict[str, RoomRows] = field(factory=OrderedDict)
    positions_from: int = 0
    last_batch: int = 0
    # Found forgotten in the file: their rows are still to be deleted.
    forgotten: list[RoomRows] = field(factory=list)


def load(connection: sqlite3.Connection) -> StoredRooms:
    """Read from the file what is known of its rooms."""
    [(positions_from,)] = connection.execute("SELECT forgotten FROM positions")
    [(last_batch,)] = connection.execute("SELECT coalesce(max(id), 0) FROM batches")
    rooms = StoredRooms(positions_from=positions_from, last_batch=last_batch)
    spoken: list[tuple[float, RoomRows]] = []
    for key, name, shown, text, floor in connection.execute(
        "SELECT id, name, shown, topic, floor FROM rooms"
    ).fetchall():
        newest = connection.execute(
            "SELECT position + length(kinds) - 1, time FROM batches "
            "WHERE room = ? ORDER BY position DESC LIMIT 1",
            (key,),
        ).fetchone()
        position, when = newest or (floor, 0.0)
        topic = TopicSet(name, shown, "", "", text) if text else None
        room = RoomRows(key, name or "", topic, floor, position, forgotten=name is None)
        if room.forgotten:
            rooms.forgotten.append(room)
        else:
            spoken.append((when, room))
    spoken.sort(key=lambda pair: pair[0])
    rooms.by_name.update((room.name, room) for _, room in spoken)
    return rooms


@define(eq=False)
class Speaking:
    """A room that speaks in an append: what is said, and what it is like once that is committed."""

    room: RoomRows
    position: int
    topic: TopicSet | None = None
    entries: list[PersistentEntry] = field(factory=list)
    batch: Batch | None = None


class Append:
    """One transaction. `rooms` changes once it is committed, and not before."""

    def __init__(self, connection: sqlite3.Connection, rooms: StoredRooms, most_rooms: int) -> None:
        self._connection = connection
        self._rooms = rooms
        self._most_rooms = most_rooms
        self._now = time.time()
        self._positions_from = rooms.positions_from
        self._last_batch = rooms.last_batch
        # The rooms that speak in this append, by name.
        self._speaking: dict[str, Speaking] = {}
        self._made = 0
        # Those that make place, and where to look for the next.
        self._forgotten: dict[str, RoomRows] = {}
        self._oldest = iter(rooms.by_name.values())

    def write(self, drafts: Sequence[Result]) -> None:
        """Give kept drafts their positions and write them; raises `sqlite3.Error`."""
        self._connection.execute("BEGIN IMMEDIATE")
        for draft in drafts:
            if isinstance(draft, PERSISTENT):
                self._add(draft)
        new: list[rows.Value] = []
        grown: list[tuple[rows.Lines, int]] = []
        for speaking in self._speaking.values():
            self._place(speaking, new, grown)
        rows.insert(self._connection, new)
        rows.grow(self._connection, grown)
        for speaking in self._speaking.values():
            if (topic := speaking.topic) is not None:
                self._connection.execute(
                    "UPDATE rooms SET topic = ?, shown = ? WHERE id = ?",
                    (topic.text, topic.room_name, speaking.room.id),
                )
        self._connection.execute("COMMIT")

    def _add(self, draft: PersistentEntry) -> None:
        speaking = self._speaking.get(draft.room) or self._begin(draft.room)
        speaking.position += 1
        draft.position = speaking.position
        draft.time = self._now
        if isinstance(draft, TopicSet):
            speaking.topic = draft
        speaking.entries.append(draft)

    def _place(
        self,
        speaking: Speaking,
        new: list[rows.Value],
        grown: list[tuple[rows.Lines, int]],
    ) -> None:
        """Add what a room says to its newest batch, or have it in new ones."""
        room, entries = speaking.room, speaking.entries
        for start in range(0, len(entries), rows.MOST):
            part = entries[start : start + rows.MOST]
            held = rows.lines(part)
            count, chars = len(entries), len(held.texts)
            if room.batch is not None and (batch := room.batch.grown(count, chars, self._now)):
                speaking.batch = batch
                grown.append((held, batch.id))
                return
            self._last_batch += 1
            speaking.batch = Batch(self._last_batch, len(part), chars, self._now)
            new += (self._last_batch, room.id, part[0].position, *held)

    def _begin(self, name: str) -> Speaking:
        known = None if name in self._forgotten else self._rooms.by_name.get(name)
        room = known or self._make(name)
        speaking = self._speaking[name] = Speaking(room, room.position)
        return speaking

    def _make(self, name: str) -> RoomRows:
        for _ in range(FORGET_AT_ONCE):
            if len(self._rooms.by_name) + self._made - len(self._forgotten) < self._most_rooms:
                break
            self._forget_one()
        self._made += 1
        floor = self._positions_from
        key = self._connection.execute(
            "INSERT INTO rooms (name, shown, topic, floor) VALUES (?, ?, '', ?)",
            (name, name, floor),
        ).lastrowid
        if key is None:
            raise AssertionError("an INSERT that made no row")
        return RoomRows(key, name, None, floor, floor)

    def _forget_one(self) -> None:
        """Have the room that has been silent longest make place; its rows are deleted later."""
        room = next((room for room in self._oldest if room.name not in self._speaking), None)
        if room is None:
            return  # all have just spoken: one too many, until the next comes
        self._forgotten[room.name] = room
        self._positions_from = max(self._positions_from, room.position)
        self._connection.execute("UPDATE rooms SET name = NULL WHERE id = ?", (room.id,))
        self._connection.execute("UPDATE positions SET forgotten = ?", (self._positions_from,))

    def pages(self, entries: int) -> int:
        """About how many pages of the file so many entries in these rooms have changed."""
        return 1 + len(self._speaking) + entries // ENTRIES_A_PAGE

    def committed(self) -> tuple[list[RoomRows], list[RoomRows]]:
        """Take note of what has been written; gives the rooms that spoke and those forgotten."""
        rooms = self._rooms
        for room in self._forgotten.values():
            room.forgotten = True
            del rooms.by_name[room.name]
        rooms.positions_from = self._positions_from
        rooms.last_batch = self._last_batch
        for name, speaking in self._speaking.items():
            room = speaking.room
            room.position, room.batch = speaking.position, speaking.batch
            room.topic = speaking.topic or room.topic
            rooms.by_name[name] = room
            rooms.by_name.move_to_end(name)
        spoken = [speaking.room for speaking in self._speaking.values()]
        return spoken, list(self._forgotten.values())
