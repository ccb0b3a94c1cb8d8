"""The schema of the SQLite file, and the steps that update older files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.order import LAST_SECOND, milliseconds

if TYPE_CHECKING:
    import sqlite3

# "trch" identifies trio_chat's files (SQLite's "application_id").
APPLICATION_ID: Final = 0x74726368
# Grows by one with each change of the schema, together with a step that updates older files.
SCHEMA_VERSION: Final = 6

# Files of this version and newer ones are updated at once, whatever their size: the steps add
# tables and columns. So an upgrade can do it while clients wait.
QUICK_FROM: Final = 3

# The log has one row. New rooms start above `forgotten`, so that no room's positions start over.
# `identity` is random, and tells this file's positions from those of another. `scrubbed` is 1 if
# deleted texts have always been overwritten, or have been since.
LOG: Final = """
CREATE TABLE log (
    forgotten INTEGER NOT NULL,
    identity TEXT NOT NULL DEFAULT '',
    scrubbed INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO log VALUES (0, lower(hex(randomblob(12))), 1);
"""
# A room's entries up to position `floor` are deleted or to be deleted, and none of them is later
# than `floor_time`. A room without a name is being forgotten. `topic_author` is the client id of
# the topic's author, and `topic_nick` the author's nick at `topic_time`. They are empty and 0 if
# unknown. `ruled` is the position of the entry that last changed the room's rules, or 0.
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
    topic_time REAL NOT NULL DEFAULT 0,
    ruled INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
# Consecutive entries of a room. The first has `position`, the last has `time`. Each text column has
# a line for each entry, and `kinds` has a letter. Rows are in the order of their appends, so an
# append writes in few places. In the order of rooms, each row would be in another place. `folded`
# has the casefolded texts for searching, if more than ASCII letters change; otherwise it is empty.
#
# `times` has seconds since 1970, to the millisecond. An empty line means a millisecond after the
# line before.
#
# `kinds` has a letter for each entry. Other letters are read as "s", so new kinds need no schema.
#   s  a message; empty if its text was taken out
#   n  a notice
#   a  an action
#   t  a topic
#   r  a change of the room's rules
#   d  a change that took texts out or put them back; `roomlog.removal.write` says how
#   l  reserved for a user who left, with the reason as its text
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
# The rules of rooms: fields, whose meaning the log does not know.
RULES: Final = """
CREATE TABLE IF NOT EXISTS rules (
    room INTEGER NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (room, field)
) STRICT, WITHOUT ROWID;
"""
# The newest actions of each room. They outlive their entries in `batches`. `was` and `now` have the
# changed fields before and after the action, as JSON objects; null is no field.
ACTIONS: Final = """
CREATE TABLE IF NOT EXISTS actions (
    room INTEGER NOT NULL,
    position INTEGER NOT NULL,
    time REAL NOT NULL,
    author TEXT NOT NULL,
    nick TEXT NOT NULL,
    text TEXT NOT NULL,
    was TEXT NOT NULL,
    now TEXT NOT NULL,
    PRIMARY KEY (room, position)
) STRICT, WITHOUT ROWID;
"""
# Texts that actions took out of `batches`, and that can be put back until a time, in seconds since
# 1970.
REMOVED: Final = """
CREATE TABLE IF NOT EXISTS removed (
    room INTEGER NOT NULL,
    action INTEGER NOT NULL,
    position INTEGER NOT NULL,
    until REAL NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (room, action, position)
) STRICT, WITHOUT ROWID;
"""
# Messages that wait for a moderator of their room. `kind` is `said` or `acted`. `networks` has the
# networks of an author without an account, as `net:` and a tag, with spaces between. No number is
# given twice.
HELD: Final = """
CREATE TABLE IF NOT EXISTS held (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    room INTEGER NOT NULL,
    kind TEXT NOT NULL,
    author TEXT NOT NULL,
    nick TEXT NOT NULL,
    text TEXT NOT NULL,
    time REAL NOT NULL,
    networks TEXT NOT NULL
) STRICT;
"""
HELD_BY_ROOM: Final = "CREATE INDEX IF NOT EXISTS held_by_room ON held (room);\n"
SCHEMA: Final = LOG + ROOMS + BATCHES + RULES + ACTIONS + REMOVED + HELD + HELD_BY_ROOM

# Batches that a step handles at once.
STRETCH: Final = 1_000


def _order_times(connection: sqlite3.Connection) -> None:
    """Make the times of each room's entries grow, and shorten steps of a millisecond.

    Before schema 3, an empty line meant the same time again, and times went back if the clock was
    set back. Damaged rows are left as they are.
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
    """Convert times of schema 2 to schema 3. Return them, and the last one in milliseconds.

    All times come after `when`, in milliseconds. Raises `ValueError` for an invalid time.
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


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, which has none. Raises `sqlite3.Error`."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.executescript(SCHEMA)


def _add_column(table: str, column: str) -> Callable[[sqlite3.Connection], None]:
    """Return a step that adds a column of numbers, which are 0, unless it is there.

    A version that knows schema 3 alone and took over from this one has called the file its own.
    """

    def step(connection: sqlite3.Connection) -> None:
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        if column not in {name for _, name, *_ in columns}:
            added = f"ALTER TABLE {table} ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0"
            connection.execute(added)

    return step


NEW_IDENTITY: Final = "UPDATE log SET identity = lower(hex(randomblob(12)))"


def new_identity(connection: sqlite3.Connection) -> None:
    """Give a log another identity: its positions are no longer those it was known by.

    Raises `sqlite3.Error`.
    """
    connection.execute(NEW_IDENTITY)


# Each step updates a file from the version before, by statements and by functions.
STEPS: Final[dict[int, tuple[str | Callable[[sqlite3.Connection], None], ...]]] = {
    # Schema 1 had a row for each entry.
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
    # Schema 2 had no identity, only the text of a topic, and entries with equal times.
    3: (
        "ALTER TABLE positions RENAME TO log",
        "ALTER TABLE log ADD COLUMN identity TEXT NOT NULL DEFAULT ''",
        NEW_IDENTITY,
        "ALTER TABLE rooms ADD COLUMN floor_time REAL NOT NULL DEFAULT 0",
        "ALTER TABLE rooms ADD COLUMN topic_author TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rooms ADD COLUMN topic_nick TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rooms ADD COLUMN topic_time REAL NOT NULL DEFAULT 0",
        _order_times,
    ),
    # Schema 3 had no rules of rooms.
    4: (_add_column("rooms", "ruled"), RULES, ACTIONS),
    # Schema 4 kept no removed texts, and did not overwrite what it deleted.
    5: (_add_column("log", "scrubbed"), "UPDATE log SET scrubbed = 0", REMOVED),
    # Schema 5 had no messages that wait for a moderator.
    6: (HELD, HELD_BY_ROOM),
}


def update(connection: sqlite3.Connection, version: int) -> None:
    """Update a file to this version in one transaction. Raises `sqlite3.Error`.

    After a failure, the caller has to close the connection, which undoes everything.
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
