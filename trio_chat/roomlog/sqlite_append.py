"""Appending to the SQLite room log: one transaction, which leaves no trace if it fails."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.events import KEPT, TopicSet
from trio_chat.roomlog import sqlite_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trio_chat.events import Entry, Kept

ROWS_A_PAGE = 25  # messages of some hundred bytes in 4 KB


@define(eq=False)
class RoomRows:
    """What is known of a room: its kept rows are those above `floor`, up to `position`."""

    id: int
    name: str
    shown: str
    topic: str
    floor: int
    position: int
    forgotten: bool = False


@define
class Rooms:
    """What is known of all rooms; `by_name` has those that spoke last at its end.

    Positions of new rooms begin above `positions_from`.
    """

    by_name: OrderedDict[str, RoomRows] = field(factory=OrderedDict)
    positions_from: int = 0
    # Found forgotten in the file: their rows are still to be deleted.
    forgotten: list[RoomRows] = field(factory=list)


def load(connection: sqlite3.Connection) -> Rooms:
    """Read from the file what is known of its rooms."""
    [(positions_from,)] = connection.execute("SELECT forgotten FROM positions")
    rooms = Rooms(positions_from=positions_from)
    spoken: list[tuple[float, RoomRows]] = []
    for key, name, shown, topic, floor in connection.execute(
        "SELECT id, name, shown, topic, floor FROM rooms"
    ).fetchall():
        newest = connection.execute(
            "SELECT position, time FROM entries WHERE room = ? ORDER BY position DESC LIMIT 1",
            (key,),
        ).fetchone()
        position, when = newest or (floor, 0.0)
        room = RoomRows(key, name or "", shown, topic, floor, position, forgotten=name is None)
        if room.forgotten:
            rooms.forgotten.append(room)
        else:
            spoken.append((when, room))
    spoken.sort(key=lambda pair: pair[0])
    rooms.by_name.update((room.name, room) for _, room in spoken)
    return rooms


class Append:
    """One transaction. `rooms` changes once it is committed, and not before."""

    def __init__(self, connection: sqlite3.Connection, rooms: Rooms, most_rooms: int) -> None:
        self._connection = connection
        self._rooms = rooms
        self._most_rooms = most_rooms
        self._now = time.time()
        self._positions_from = rooms.positions_from
        # The rooms that speak in this append, with their new positions and topics, by name.
        self._touched: dict[str, RoomRows] = {}
        self._positions: dict[str, int] = {}
        self._topics: dict[str, TopicSet] = {}
        self._made = 0
        # Those that make place, and where to look for the next.
        self._forgotten: dict[str, RoomRows] = {}
        self._oldest = iter(rooms.by_name.values())

    def write(self, drafts: Sequence[Entry]) -> None:
        """Give kept drafts their positions and write them; raises `sqlite3.Error`."""
        self._connection.execute("BEGIN IMMEDIATE")
        rows = [self._row(draft) for draft in drafts if isinstance(draft, KEPT)]
        sqlite_rows.insert(self._connection, rows)
        for name, topic in self._topics.items():
            self._connection.execute(
                "UPDATE rooms SET topic = ?, shown = ? WHERE id = ?",
                (topic.text, topic.room_name, self._touched[name].id),
            )
        self._connection.execute("COMMIT")

    def _row(self, draft: Kept) -> sqlite_rows.Row:
        name = draft.room
        room = self._touched.get(name) or self._touch(name)
        draft.position = self._positions[name] = self._positions[name] + 1
        draft.time = self._now
        if isinstance(draft, TopicSet):
            self._topics[name] = draft
        return sqlite_rows.row(room.id, draft)

    def _touch(self, name: str) -> RoomRows:
        known = None if name in self._forgotten else self._rooms.by_name.get(name)
        room = self._touched[name] = known or self._make(name)
        self._positions[name] = room.position
        return room

    def _make(self, name: str) -> RoomRows:
        if len(self._rooms.by_name) + self._made - len(self._forgotten) >= self._most_rooms:
            self._forget_one()
        self._made += 1
        floor = self._positions_from
        key = self._connection.execute(
            "INSERT INTO rooms (name, shown, topic, floor) VALUES (?, ?, '', ?)",
            (name, name, floor),
        ).lastrowid
        if key is None:
            raise AssertionError("an INSERT that made no row")
        return RoomRows(key, name, name, "", floor, floor)

    def _forget_one(self) -> None:
        """Have the room that has been silent longest make place; its rows are deleted later."""
        room = next((room for room in self._oldest if room.name not in self._touched), None)
        if room is None:
            return  # all have just spoken: one too many, until the next comes
        self._forgotten[room.name] = room
        self._positions_from = max(self._positions_from, room.position)
        self._connection.execute("UPDATE rooms SET name = NULL WHERE id = ?", (room.id,))
        self._connection.execute("UPDATE positions SET forgotten = ?", (self._positions_from,))

    def pages(self, rows: int) -> int:
        """About how many pages of the file so many rows in these rooms have changed."""
        return 1 + len(self._touched) + rows // ROWS_A_PAGE

    def committed(self) -> tuple[list[RoomRows], list[RoomRows]]:
        """Take note of what has been written; gives the rooms that spoke and those forgotten."""
        rooms = self._rooms
        for room in self._forgotten.values():
            room.forgotten = True
            del rooms.by_name[room.name]
        rooms.positions_from = self._positions_from
        for name, room in self._touched.items():
            room.position = self._positions[name]
            if (topic := self._topics.get(name)) is not None:
                room.topic, room.shown = topic.text, topic.room_name
            rooms.by_name[name] = room
            rooms.by_name.move_to_end(name)
        return list(self._touched.values()), list(self._forgotten.values())
