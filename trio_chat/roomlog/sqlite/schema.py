"""The schema of the SQLite room log's file, and the steps that bring older files to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.order import LAST_SECOND, milliseconds

if TYPE_CHECKING:
    import sqlite3

# "trch": tells our files from other programs' (SQLite's "application_id").
APPLICATION_ID: Final = 0x74726368
# Raised by one with each change of the schema, together with a step that brings older files there.
SCHEMA_VERSION: Final = 3

# The log has one row. Positions of new rooms begin above `forgotten`, so that no room's start over.
# `identity` is random: it tells this file's positions from those of another.
LOG: Final = """
CREATE TABLE log (
    forgotten INTEGER NOT NULL,
    identity TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO log VALUES (0, lower(hex(randomblob(12))));
"""
# A room's entries up to the position `floor` are kept no more; none of these is later than
# `floor_time`. A room without a name is being forgotten. The topic was set at `topic_time` by the
# client with the id `topic_author`, called `topic_nick` then: 0 and empty if that is not known.
ROOMS: Final = """
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE,
    shown TEXT NOT NULL,
    topic TEXT NOT NULL,
    floor INTEGER NOT NULL,
    floor_time REAL NOT NULL DEFAULT 0,
    topic_author TEXT NOT NULL DEFAULT '',
    topic_nick TEXT NOT NULL DEFAULT '',
    topic_time REAL NOT NULL DEFAULT 0
) STRICT;
"""
# What was said in a room one after the other, from `position` on, the last of it at `time`: each
# text has a line an entry, `kinds` a letter. Rows are in the order in which they came, so that what
# an append writes is in few places: in the order of rooms each would be at another. `folded` has
# the texts as they are searched, where more than ASCII letters are folded; else it is empty.
#
# `times` has seconds since 1970, to the millisecond. An empty line is a millisecond after the line
# before.
#
# `kinds` has "s" for what is said, "a" for an action and "t" for a topic. Other letters are read as
# "s", so that a file may get more of them without another schema. Reserved are "n" for a notice and
# "l" for someone who left, whose text is the reason.
BATCHES: Final = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    position INTEGER NOT NULL,
    time REAL NOT NULL,
    times TEXT NOT NULL,
    kinds TEXT NOT NULL,
    authors TEXT NOT NULL,
    nicks TEXT NOT NULL,
    texts TEXT NOT NULL,
    folded TEXT NOT NULL,
    UNIQUE (room, position)
) STRICT;
"""
SCHEMA: Final = LOG + ROOMS + BATCHES

# Batches looked at in one go by a step.
STRETCH: Final = 1_000


def _order_times(connection: sqlite3.Connection) -> None:
    """Have the times of each room's entries grow, and those that are a step apart be empty lines.

    Before schema 3 an empty line stood for the same time once more. The next append had an earlier
    time if the clock was set back. Rows that are damaged are left as they are.
    """
    newest: dict[int, int] = {}
    key = 0
    while batches := connection.execute(
        "SELECT id, room, time, times FROM batches WHERE id > ? ORDER BY id LIMIT ?", (key, STRETCH)
    ).fetchall():
        changed: list[tuple[str, float, int]] = []
        for key, room, time, times in batches:
            try:
                ordered, last = _ordered(times.split("\n"), newest.get(room, -1))
                stored = _milliseconds(time)
            except ValueError:
                continue
            newest[room] = last
            if (ordered, last) != (times, stored):
                changed.append((ordered, last / 1000, key))
        connection.executemany("UPDATE batches SET times = ?, time = ? WHERE id = ?", changed)


def _ordered(lines: list[str], last: int) -> tuple[str, int]:
    """Times of schema 2, after one in milliseconds, as schema 3 has them; and the last of them.

    Raises `ValueError` if a time is none.
    """
    ordered: list[str] = []
    for line in lines:
        said = _milliseconds(float(line)) if line else last
        if said > last:
            ordered.append(line)
        else:
            said = last + 1
            ordered.append("" if ordered else repr(said / 1000))
        last = said
    return "\n".join(ordered), last


def _milliseconds(time: float) -> int:
    if not 0 <= time <= LAST_SECOND:
        raise ValueError("a time that is none")
    return milliseconds(time)


# Each step brings a file from the version before to its own, by statements and by functions.
STEPS: Final[dict[int, tuple[str | Callable[[sqlite3.Connection], None], ...]]] = {
    # Schema 1 had a row an entry.
    2: (
        BATCHES,
        (
            "INSERT INTO batches "
            "(room, position, time, times, kinds, authors, nicks, texts, folded) "
            "SELECT room, position, time, printf('%!.17g', time), substr('sat', kind + 1, 1), "
            "author, nick, text, coalesce(folded, '') FROM entries"
        ),
        "DROP TABLE entries",
    ),
    # Schema 2 had no identity, of a topic nothing but its text, and entries with the same time.
    3: (
        "ALTER TABLE positions RENAME TO log",
        "ALTER TABLE log ADD COLUMN identity TEXT NOT NULL DEFAULT ''",
        "UPDATE log SET identity = lower(hex(randomblob(12)))",
        "ALTER TABLE rooms ADD COLUMN floor_time REAL NOT NULL DEFAULT 0",
        "ALTER TABLE rooms ADD COLUMN topic_author TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rooms ADD COLUMN topic_nick TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rooms ADD COLUMN topic_time REAL NOT NULL DEFAULT 0",
        _order_times,
    ),
}


def update(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of a version to this one, in one transaction; raises `sqlite3.Error`.

    If it fails, the connection is to be closed, which takes all of it back.
    """
    connection.execute("BEGIN IMMEDIATE")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for change in STEPS[step]:
            if isinstance(change, str):
                connection.execute(change)
            else:
                change(connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
