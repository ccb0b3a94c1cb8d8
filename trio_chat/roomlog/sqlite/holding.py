"""Messages in the SQLite file that wait for a moderator."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.holding import WAIT_SECONDS, Waiting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from trio_chat.protocol.events import Held
    from trio_chat.roomlog.sqlite.append import RoomRows

COUNT: Final = (
    "SELECT count(*) FILTER (WHERE author = ?), count(*), (SELECT count(*) FROM held) "
    "FROM held WHERE room = ?"
)
PUT: Final = (
    "INSERT INTO held (room, kind, author, nick, text, time, networks) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
ADD: Final = (
    "INSERT INTO held (room, number, kind, author, nick, text, time, networks) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
TAKE: Final = "DELETE FROM held WHERE room = ? AND number = ?"
# All rooms, or one.
SILENCE: Final = (
    "DELETE FROM held WHERE (? OR room = ?) AND (author = ? OR instr(' ' || networks || ' ', ?))"
)
EXPIRE: Final = "DELETE FROM held WHERE time <= ?"
FORGET: Final = "DELETE FROM held WHERE room = ?"
SELECT: Final = (
    "SELECT rooms.name, number, kind, author, nick, text, time, networks "
    "FROM rooms JOIN held ON held.room = rooms.id WHERE rooms.name = ? AND time > ? "
    "ORDER BY number"
)


class Shelf:
    """A `trio_chat.roomlog.holding.Shelf` within a transaction. Each method may raise an error."""

    def __init__(self, connection: sqlite3.Connection, rooms: Mapping[str, RoomRows]) -> None:
        self._execute = connection.execute
        self._rooms = rooms

    def counts(self, room: str, author: str) -> tuple[int, int, int]:
        """Return how many messages wait: of an author in a room, of the room, and of all rooms."""
        known = self._rooms.get(room)
        key = 0 if known is None else known.id
        [(person, there, everywhere)] = self._execute(COUNT, (author, key))
        return person, there, everywhere

    def put(self, draft: Held) -> int | None:
        """Keep a message. Return its number, or `None` if there is no such room."""
        if (room := self._rooms.get(draft.room)) is None:
            return None
        about = (draft.kind, draft.author, draft.nick, draft.text, draft.time, draft.networks)
        return self._execute(PUT, (room.id, *about)).lastrowid

    def take(self, room: str, number: int) -> bool:
        """Remove a message. Return whether it was there."""
        known = self._rooms.get(room)
        return known is not None and self._execute(TAKE, (known.id, number)).rowcount > 0

    def expire(self, now: float) -> None:
        """Remove messages that have waited long enough."""
        self._execute(EXPIRE, (now - WAIT_SECONDS,))


def silence(connection: sqlite3.Connection, room: RoomRows, whose: Sequence[str]) -> None:
    """Remove the messages of these persons and networks; for `SERVER` in all rooms.

    Raises `sqlite3.Error`.
    """
    where = (room.name == SERVER, room.id)
    connection.executemany(SILENCE, [(*where, one, f" {one} ") for one in whose if one])


def add_held(connection: sqlite3.Connection, room: int, waiting: Sequence[Waiting]) -> None:
    """Add messages of a room with the numbers that they have. Raises `sqlite3.Error`."""
    connection.executemany(
        ADD,
        [
            (room, one.number, one.kind, one.author, one.nick, one.text, one.time, one.networks)
            for one in waiting
        ],
    )


def read_held(connection: sqlite3.Connection, room: str, now: float) -> list[Waiting]:
    """Return the messages of a room that wait now, oldest first. Raises `sqlite3.Error`."""
    with contextlib.closing(connection.execute(SELECT, (room, now - WAIT_SECONDS))) as found:
        return [Waiting(*columns) for columns in found.fetchall()]
