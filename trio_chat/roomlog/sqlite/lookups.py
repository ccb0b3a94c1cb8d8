"""Reads pages of rooms from the file of the SQLite room log, and searches it."""

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

# A stretch ends after so long, and others' searches get their turn.
STRETCH_SECONDS: Final = 0.01
# Batches searched by one statement, which takes a few milliseconds for the longest texts.
STRETCH_BATCHES: Final = 32

# Rows fetched at once. SQLite lets go of the GIL for each row. With Python run in between, the hub
# and a thread that reads would wait for each other once a row.
FETCHED: Final = 4
# Characters of a page of the oldest entries, after which it ends: more than a client takes at once.
LONG_CHARS: Final = 100_000

# The batch that holds the first position, if there is one, and those after it.
FROM: Final = (
    "position >= coalesce("
    "(SELECT max(position) FROM batches WHERE room = rooms.id AND position <= ?), 0) "
    "ORDER BY position ASC"
)
BEFORE: Final = "position <= ? ORDER BY position DESC"

# The position at which the batches begin that are searched next.
BEGIN: Final = (
    "SELECT min(position) FROM (SELECT position FROM batches "
    "WHERE room = (SELECT id FROM rooms WHERE name = ?) AND position <= ? "
    "ORDER BY position DESC LIMIT ?)"
)
# True for a batch that holds a word. LIKE goes back after each part of a word that it finds. So it
# takes time in the product of the two lengths.
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
    """The entries of a page, oldest first; raises `sqlite3.Error`."""
    # One statement, so that the room is the same from beginning to end.
    statement = f"{rows.SELECT} AND {BEFORE if wanted.newest else FROM}"
    values = (wanted.room, wanted.last if wanted.newest else wanted.first)
    with contextlib.closing(connection.execute(statement, values)) as batches:
        return _chosen(wanted, batches)


def _chosen(wanted: Page, batches: sqlite3.Cursor) -> list[PersistentEntry]:
    """The entries of a page, from batches in its order: few more are read than it takes."""
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
    """Search the entries up to `last` for some milliseconds; raises `sqlite3.Error`."""
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
        # In SQLite's own code, which needs no GIL: a search in Python would hold up the hub.
        values = (room, first, begin - 1, *words)
        with contextlib.closing(connection.execute(statement, values)) as batches:
            for columns in batches:
                entries = rows.entries(room, columns, words)[::-1]
                found += [entry for entry in entries if entry.position <= last]
        begin = first
    return Stretch(found[:limit][::-1], begin)
