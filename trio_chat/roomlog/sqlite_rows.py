"""What a kept entry looks like as a row, how rows are inserted, and what entry a row is."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.events import Acted, Said, TopicSet
from trio_chat.text import folded

if TYPE_CHECKING:
    import sqlite3

    from trio_chat.events import Kept

Row: TypeAlias = tuple[int, int, float, int, str, str, str, str | None]

SAID, ACTED, TOPIC_SET = range(3)
KINDS: Final[dict[type, int]] = {Said: SAID, Acted: ACTED, TopicSet: TOPIC_SET}

INSERT: Final = (
    "INSERT INTO entries (room, position, time, kind, author, nick, text, folded) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# Rows to a statement, where there are so many. Each statement has a cost of its own, and lets the
# hub's thread run Python and then waits for it: one by one, a busy turn costs a quarter more.
AT_ONCE: Final = 16
INSERT_MANY: Final = INSERT + ", (?, ?, ?, ?, ?, ?, ?, ?)" * (AT_ONCE - 1)
# The end of the year 9999: no later time can be shown as a date.
LAST_SECOND: Final = 253_402_300_799.0
# What `entry` takes.
SELECT: Final = (
    "SELECT shown, position, time, kind, author, nick, text "
    "FROM rooms JOIN entries ON entries.room = rooms.id WHERE rooms.name = ?"
)


def row(room: int, entry: Kept) -> Row:
    """The row of an entry that has its position and time."""
    text = entry.text
    return (
        room,
        entry.position,
        entry.time,
        KINDS[entry.__class__],
        entry.author,
        entry.nick,
        text,
        None if text.isascii() else folded(text),
    )


def insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Insert rows, many to a statement; raises `sqlite3.Error`."""
    whole = len(rows) - len(rows) % AT_ONCE
    starts = range(0, whole, AT_ONCE)
    many = (tuple(chain.from_iterable(rows[start : start + AT_ONCE])) for start in starts)
    connection.executemany(INSERT_MANY, many)
    connection.executemany(INSERT, rows[whole:])


def entry(room: str, columns: tuple[str, int, float, int, str, str, str]) -> Kept:
    """The entry that was stored as these columns; its room's name as shown is the newest."""
    shown, position, time, kind, author, nick, text = columns
    # A disk may have damaged a number unnoticed, and nobody could look at such a one.
    time = min(max(0.0, time), LAST_SECOND)
    if kind == TOPIC_SET:
        return TopicSet(room, shown, author, nick, text, position, time)
    make = Said if kind == SAID else Acted
    return make(room, author, nick, text, position, time)
