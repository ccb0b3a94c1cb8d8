"""Whole rooms of an SQLite file, read and written for a copy."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from typing import TYPE_CHECKING, Final

from trio_chat.errors import StoreError
from trio_chat.protocol.events import Ruled, TopicSet
from trio_chat.roomlog.order import milliseconds
from trio_chat.roomlog.rules import MOST_ACTIONS
from trio_chat.roomlog.sqlite import rows, ruling
from trio_chat.roomlog.sqlite.append import BATCH_CHARS, BATCH_SECONDS, load
from trio_chat.roomlog.sqlite.file import check_version, connect
from trio_chat.roomlog.sqlite.holding import add_held, read_held
from trio_chat.roomlog.sqlite.lock import lock_path, real
from trio_chat.roomlog.sqlite.lookups import Page, page
from trio_chat.roomlog.sqlite.schema import SCHEMA_VERSION, create
from trio_chat.stores.bulk import StoredRoom
from trio_chat.stores.replacement import ANOTHER
from trio_chat.stores.source import check_exists

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.rules import Action

# Entries read at once: some hundred kilobytes, and some milliseconds.
READ_ENTRIES: Final = 1_000
# A store may know the name as people see it by its topics alone.
SHOWN: Final = "UPDATE rooms SET shown = ? WHERE id = ?"


class SqliteReader:
    """A `StoreReader` of a file, at the moment when it was opened. A daemon may write meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `StoreError`."""
        check_exists(path)
        self._path = path
        with self._reading():
            self._connection = connect(real(path), "ro")
        try:
            with self._reading():
                self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._connection.execute("BEGIN")
        [(version,)] = self._connection.execute("PRAGMA user_version")
        check_version(self._path, version, ANOTHER)
        if version < SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} was written by an older trio-chat: make a file of this version "
                f"first (trio-chat store restore {self._path} NEW)"
            )
        self._rooms = load(self._connection, 0)

    def names(self) -> list[str]:
        """Return the names of all rooms."""
        return sorted(self._rooms.by_name)

    async def rooms(self) -> list[StoredRoom]:
        """Return all rooms but those that are being forgotten."""
        with self._reading():
            shown = dict(self._connection.execute("SELECT id, shown FROM rooms").fetchall())
        return [
            StoredRoom(
                *(name, shown[room.id], room.topic, room.floor, room.position, room.time / 1000),
                room.rules,
            )
            for name, room in sorted(self._rooms.by_name.items())
        ]

    async def positions_from(self) -> int:
        """Return the position above which new rooms begin."""
        return self._rooms.positions_from

    async def read(self, room: str, after: int) -> list[PersistentEntry]:
        """Return the first entries of a room after a position."""
        with self._reading():
            return page(self._connection, Page(room, READ_ENTRIES, newest=False, first=after + 1))

    async def actions(self, room: str) -> list[Action]:
        """Return the kept actions of a room."""
        with self._reading():
            return ruling.read_actions(self._connection, room, MOST_ACTIONS)

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait for a moderator, however long."""
        with self._reading():
            return read_held(self._connection, room, 0.0)

    async def in_use(self) -> bool:
        """Whether a daemon has the file's lock."""
        try:
            with lock_path(real(self._path)).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class SqliteWriter:
    """A `StoreWriter` of a new file. A failure leaves a part of a file behind, for its caller."""

    def __init__(self, path: Path) -> None:
        """Begin with an empty file, which is at `path`. Raises `StoreError`."""
        self._path = path
        self._batch = 0
        self._room = 0
        with self._writing():
            self._connection = connect(path, "rw")
        try:
            with self._writing():
                # A part of a file is thrown away, so it needs no journal. Its caller syncs it.
                self._connection.execute("PRAGMA journal_mode = OFF")
                self._connection.execute("PRAGMA synchronous = OFF")
                create(self._connection)
                self._connection.execute("BEGIN")
        except BaseException:
            self.close()
            raise

    async def positions_from(self, position: int) -> None:
        """Have new rooms begin above this position."""
        with self._writing():
            self._connection.execute("UPDATE log SET forgotten = ?", (position,))

    async def add_room(self, room: StoredRoom) -> None:
        """Make a room."""
        topic = room.topic or TopicSet(room.name, "", "", "", "")
        self._room += 1
        with self._writing():
            self._connection.execute(
                "INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._room,
                    room.name,
                    room.shown,
                    topic.text,
                    room.floor,
                    room.time,
                    topic.author,
                    topic.nick,
                    topic.time,
                    room.rules.version,
                ),
            )
            ruling.write_fields(self._connection, self._room, room.rules.fields)

    async def add_actions(self, room: str, actions: Sequence[Action]) -> None:  # noqa: ARG002 - the room made last
        """Add the actions of the room made last."""
        with self._writing():
            ruling.write_actions(self._connection, self._room, actions)

    async def add_held(self, waiting: Sequence[Waiting]) -> None:
        """Add messages of the room made last that wait for a moderator."""
        with self._writing():
            add_held(self._connection, self._room, waiting)

    async def add(self, room: str, entries: Sequence[PersistentEntry]) -> None:  # noqa: ARG002 - the room made last
        """Add entries of the room made last."""
        values: list[rows.Value] = []
        with self._writing():
            if shown := [
                entry.room_name for entry in entries if isinstance(entry, (TopicSet, Ruled))
            ]:
                self._connection.execute(SHOWN, (shown[-1], self._room))
            for batch in _batches(entries):
                self._batch += 1
                held = rows.lines(batch)._replace(times=_times(batch))
                values += (self._batch, self._room, batch[0].position, *held)
            rows.insert(self._connection, values)

    async def finish(self) -> SqliteReader:
        """Commit, and open the file for reading."""
        with self._writing():
            self._connection.execute("COMMIT")
        self.close()
        return SqliteReader(self._path)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"cannot write {self._path}: {error}") from None

    def close(self) -> None:
        """Close the file, whatever it has."""
        self._connection.close()


def _batches(entries: Sequence[PersistentEntry]) -> Iterator[Sequence[PersistentEntry]]:
    """Divide entries of a room into runs that fit in a row."""
    start = chars = 0
    for at, entry in enumerate(entries):
        first = entries[start]
        if at > start and (
            at - start == rows.MOST
            or chars + len(entry.text) > BATCH_CHARS
            or entry.time - first.time > BATCH_SECONDS
            or entry.position != entries[at - 1].position + 1
        ):
            yield entries[start:at]
            start, chars = at, 0
        chars += len(entry.text)
    if entries:
        yield entries[start:]


def _times(batch: Sequence[PersistentEntry]) -> str:
    """Return the times of a row: an empty line is a millisecond after the line before."""
    written: list[str] = []
    last = None
    for entry in batch:
        said = milliseconds(entry.time)
        written.append("" if last is not None and said == last + 1 else repr(entry.time))
        last = said
    return rows.BETWEEN.join(written)
