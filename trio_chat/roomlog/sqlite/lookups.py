"""Queries that read pages of rooms from the SQLite file, and search it."""

from __future__ import annotations

import contextlib
from time import perf_counter
from typing import TYPE_CHECKING, Final

from attrs import frozen

from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.roomlog import Stretch
from trio_chat.roomlog.sqlite import rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from trio_chat.protocol.events import PersistentEntry

# A stretch of a search ends after this many seconds, so that other searches get their turn.
STRETCH_SECONDS: Final = 0.01
# Batches searched by one statement. The longest texts take a few milliseconds.
STRETCH_BATCHES: Final = 32

# Rows fetched at once. SQLite releases the GIL for each row, and takes it again. So with single
# rows, the hub and a reading thread would wait for each other at every row.
FETCHED: Final = 4
# A page of the oldest entries ends after this many characters, more than a client takes at once.
LONG_CHARS: Final = 100_000

# The batch with the first position, if it exists, and the batches after it.
FROM: Final = (
    "position >= coalesce("
    "(SELECT max(position) FROM batches WHERE room = rooms.id AND position <= ?), 0) "
    "ORDER BY position ASC"
)
BEFORE: Final = "position <= ? ORDER BY position DESC"

# The position at which the next batches to search begin.
BEGIN: Final = (
    "SELECT min(position) FROM (SELECT position FROM batches "
    "WHERE room = (SELECT id FROM rooms WHERE name = ?) AND position <= ? "
    "ORDER BY position DESC LIMIT ?)"
)
# True for a batch that contains a word. LIKE would backtrack after each partial match, in time
# proportional to the product of both lengths.
HOLDS: Final = " AND instr(coalesce(nullif(folded, ''), lower(texts)), ?)"


@frozen
class Page:
    """Persistent entries of a room from `first` to `last`: the newest or the oldest of them."""

    room: str
    limit: int
    newest: bool
    first: int = 0
    last: int = MAX_POSITION


def page(connection: sqlite3.Connection, wanted: Page) -> list[PersistentEntry]:
    """Return the entries of a page, oldest first. Raises `sqlite3.Error`."""
    # One statement reads the room at one moment.
    statement = f"{rows.SELECT} AND {BEFORE if wanted.newest else FROM}"
    values = (wanted.room, wanted.last if wanted.newest else wanted.first)
    with contextlib.closing(connection.execute(statement, values)) as batches:
        return _chosen(wanted, batches)


def _chosen(wanted: Page, batches: sqlite3.Cursor) -> list[PersistentEntry]:
    """Choose entries from batches in their order, and read few more than the page takes."""
    found: list[PersistentEntry] = []
    step = -1 if wanted.newest else 1
    chars = 0
    while some := batches.fetchmany(FETCHED):
        for columns in some:
            found += [
                entry
                for entry in rows.entries(wanted.room, columns)[::step]
                if wanted.first <= entry.position <= wanted.last
            ]
            chars += len(columns[rows.TEXTS])
            long = chars >= LONG_CHARS and not wanted.newest
            if len(found) >= wanted.limit or (long and found):
                return found[: wanted.limit][::step]
    return found[::step]


def stretch(
    connection: sqlite3.Connection, room: str, words: Sequence[str], limit: int, last: int
) -> Stretch:
    """Search the entries up to `last` for some milliseconds. Raises `sqlite3.Error`."""
    until = perf_counter() + STRETCH_SECONDS
    between = f"{rows.SEARCH} AND position BETWEEN ? AND ?"
    statement = f"{between}{HOLDS * len(words)} ORDER BY position DESC"
    found: list[PersistentEntry] = []
    begin = last + 1
    while begin and len(found) < limit and perf_counter() < until:
        [(first,)] = connection.execute(BEGIN, (room, begin - 1, STRETCH_BATCHES))
        if first is None:
            begin = 0
            break
        # SQLite's own code needs no GIL. A search in Python would hold up the hub.
        values = (room, first, begin - 1, *words)
        with contextlib.closing(connection.execute(statement, values)) as batches:
            for columns in batches:
                entries = rows.entries(room, columns, words)[::-1]
                found += [entry for entry in entries if entry.position <= last]
        begin = first
    return Stretch(found[:limit][::-1], begin)
