"""What a kept entry looks like as a row, how rows are inserted, and what entry a row is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.events import Acted, Said, TopicSet
from trio_chat.text import folded

if TYPE_CHECKING:
    import sqlite3

    from trio_chat.events import Kept

Value: TypeAlias = int | float | str
Row: TypeAlias = tuple[int, int, float, int, str, str, str, str]

SAID, ACTED, TOPIC_SET = range(3)
KINDS: Final[dict[type, int]] = {Said: SAID, Acted: ACTED, TopicSet: TOPIC_SET}

# What fails ends the transaction in any case. Said so, SQLite keeps no copy of each page as it was
# before a statement, to which that alone could go back: more than a third of what a row costs.
INSERT: Final = (
    "INSERT OR ROLLBACK INTO entries (room, position, time, kind, author, nick, text, folded) "
    "VALUES "
)
ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS: Final = ROW.count("?")
# How many rows a statement has: the first for which there are enough. Each statement has a cost of
# its own, and lets the hub's thread run Python, and then waits for it.
SIZES: Final = (128, 16, 1)
# How many values a statement takes.
INSERTS: Final = {size * COLUMNS: INSERT + ", ".join([ROW] * size) for size in SIZES}
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
    # Not NULL: for each of those, Python's sqlite3 looks in vain for a way to adapt it, which is a
    # tenth of what a row costs.
    searched = "" if text.isascii() else folded(text)
    return (
        room,
        entry.position,
        entry.time,
        KINDS[entry.__class__],
        entry.author,
        entry.nick,
        text,
        searched,
    )


def insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Insert rows, many to a statement; raises `sqlite3.Error`."""
    values: list[Value] = []
    for one in rows:
        values += one
    start, end = 0, len(values)
    for size, statement in INSERTS.items():
        whole = end - (end - start) % size
        connection.executemany(
            statement, (values[at : at + size] for at in range(start, whole, size))
        )
        start = whole


def entry(room: str, columns: tuple[str, int, float, int, str, str, str]) -> Kept:
    """The entry that was stored as these columns; its room's name as shown is the newest."""
    shown, position, time, kind, author, nick, text = columns
    # A disk may have damaged a number unnoticed, and nobody could look at such a one.
    if not 0.0 <= time <= LAST_SECOND:
        time = 0.0 if time < 0.0 else LAST_SECOND
    if kind == TOPIC_SET:
        return TopicSet(room, shown, author, nick, text, position, time)
    make = Said if kind == SAID else Acted
    return make(room, author, nick, text, position, time)
