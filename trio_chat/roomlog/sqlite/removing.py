"""Takes texts out of the SQLite file, and puts them back, within the transaction of an append.

The texts and their casefolded copies are overwritten at once, as deleted content is
(`file.connect`). The write-ahead log has them until the next `Tidy.wipe`.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.removal import WAIT_SECONDS, each, runs
from trio_chat.roomlog.sqlite.rows import BETWEEN, REMOVED, RULED, folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.protocol.events import Removed

# The batches with entries between two positions.
BATCHES: Final = (
    "SELECT id, position, kinds, texts FROM batches WHERE room = ? AND position <= ? AND "
    "position >= coalesce("
    "(SELECT max(position) FROM batches WHERE room = ? AND position <= ?), 0)"
)
WRITE: Final = "UPDATE OR ROLLBACK batches SET texts = ?, folded = ? WHERE id = ?"
KEEP: Final = "INSERT OR ROLLBACK INTO removed VALUES (?, ?, ?, ?, ?)"
KEPT: Final = "SELECT position, text FROM removed WHERE room = ? AND action = ? AND until > ?"
DROP: Final = "DELETE FROM removed WHERE room = ? AND action = ?"
DROP_BETWEEN: Final = "DELETE FROM removed WHERE room = ? AND position BETWEEN ? AND ?"
# Those of actions that are no longer known.
DROP_FORGOTTEN: Final = (
    "DELETE FROM removed WHERE room = ? AND action < "
    "(SELECT min(position) FROM actions WHERE room = removed.room)"
)
DROP_BEFORE: Final = "DELETE FROM removed WHERE room = ? AND position <= ?"
EXPIRE: Final = "DELETE FROM removed WHERE until <= ?"
HAS: Final = (
    "SELECT 1 FROM removed WHERE room = (SELECT id FROM rooms WHERE name = ?) AND action = ? "
    "AND until > ? LIMIT 1"
)
OF_ACTIONS: Final = (
    "SELECT action, position FROM removed WHERE room = (SELECT id FROM rooms WHERE name = ?) "
    "AND action BETWEEN ? AND ? AND until > ? ORDER BY action, position"
)


def apply(connection: sqlite3.Connection, room: int, entry: Removed, before: int) -> int:
    """Do what an entry says, to entries before a position. Return how many rows that wrote.

    Raises `sqlite3.Error`.
    """
    if entry.undoes:
        texts = dict(connection.execute(KEPT, (room, entry.undoes, time.time())).fetchall())
        connection.execute(DROP, (room, entry.undoes))
        written, _ = _write(connection, room, texts)
        return written + len(texts)
    positions = (position for position in each(entry.positions) if position < before)
    written, taken = _write(connection, room, dict.fromkeys(positions, ""))
    connection.execute(DROP_FORGOTTEN, (room,))
    if entry.own:
        # A moderator may have taken them out before.
        runs_of = [(room, first, last) for first, last in entry.positions]
        dropped = connection.executemany(DROP_BETWEEN, runs_of).rowcount
        return written + max(0, dropped)
    until = time.time() + WAIT_SECONDS
    rows = [(room, entry.position, position, until, text) for position, text in taken.items()]
    connection.executemany(KEEP, rows)
    return written + len(rows)


def _write(
    connection: sqlite3.Connection, room: int, texts: Mapping[int, str]
) -> tuple[int, dict[int, str]]:
    """Replace texts. Return the number of rows that have changed, and the texts before."""
    before: dict[int, str] = {}
    written = 0
    for first, last in runs(sorted(texts)):
        batches = connection.execute(BATCHES, (room, last, room, first)).fetchall()
        for batch, begin, kinds, column in batches:
            lines = column.split(BETWEEN)
            if len(lines) != len(kinds):
                raise sqlite3.DataError("a damaged row")
            changed = False
            for position in range(max(first, begin), min(last, begin + len(kinds) - 1) + 1):
                at = position - begin
                if kinds[at] not in (RULED, REMOVED) and lines[at] != texts[position]:
                    before[position], lines[at] = lines[at], texts[position]
                    changed = True
            if changed:
                column = BETWEEN.join(lines)  # noqa: PLW2901 - the new value of the same column
                connection.execute(WRITE, (column, folded(column), batch))
                written += 1
    return written, before


def has_texts(connection: sqlite3.Connection, room: str, action: int) -> bool:
    """Whether texts of an action can be put back. Raises `sqlite3.Error`."""
    return bool(connection.execute(HAS, (room, action, time.time())).fetchall())


def read_positions(
    connection: sqlite3.Connection, room: str, first: int, last: int
) -> dict[int, list[list[int]]]:
    """Return what can be put back of each action between two numbers. Raises `sqlite3.Error`."""
    found: dict[int, list[int]] = {}
    wanted = (room, first, last, time.time())
    for action, position in connection.execute(OF_ACTIONS, wanted).fetchall():
        found.setdefault(action, []).append(position)
    return {action: runs(positions) for action, positions in found.items()}
