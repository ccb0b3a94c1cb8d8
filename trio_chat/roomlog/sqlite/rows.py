"""Conversion between persistent entries and the rows of the SQLite file.

A row is a batch: consecutive entries of a room. Each column has one line for each entry.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from trio_chat.protocol.events import Acted, Noticed, Removed, Ruled, Said, TopicSet
from trio_chat.protocol.text import casefolded
from trio_chat.roomlog import removal
from trio_chat.roomlog.order import LAST_SECOND, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.protocol.events import PersistentEntry

Value: TypeAlias = int | float | str
Columns: TypeAlias = tuple[str, int, int, str, str, str, str, str, str]

# Entries of a batch, at most. A read of one entry reads its whole batch, and adding one rewrites
# the others.
MOST: Final = 16
# Separates entries. No text, nick or id may contain it.
BETWEEN: Final = "\n"
# One letter for each entry. The schema gives the meaning of other letters.
KINDS: Final[dict[type, str]] = {
    Said: "s",
    Noticed: "n",
    Acted: "a",
    TopicSet: "t",
    Ruled: "r",
    Removed: "d",
}
SAID, NOTICED, ACTED, TOPIC_SET, RULED, REMOVED = KINDS.values()
_SPOKEN: Final[dict[str, type[Said | Acted]]] = {NOTICED: Noticed, ACTED: Acted}

# A failed statement ends the transaction in any case. With OR ROLLBACK, SQLite keeps no copy of
# each page for undoing a single statement. That saves more than a third of the cost of a row.
INSERT: Final = (
    "INSERT OR ROLLBACK INTO batches "
    "(id, room, position, time, times, kinds, authors, nicks, texts, folded) VALUES "
)
ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS: Final = ROW.count("?")
# Rows in a statement; the first size for which there are enough rows is used. Each statement has a
# fixed cost, and makes the writer wait for the hub's thread.
SIZES: Final = (128, 16, 1)
# The statements, by the number of their values.
INSERTS: Final = {size * COLUMNS: INSERT + ", ".join([ROW] * size) for size in SIZES}
GROW: Final = """
UPDATE OR ROLLBACK batches SET
    time = ?,
    times = times || char(10) || ?,
    kinds = kinds || ?,
    authors = authors || char(10) || ?,
    nicks = nicks || char(10) || ?,
    texts = texts || char(10) || ?,
    folded = CASE WHEN folded || ? = '' THEN '' ELSE
        coalesce(nullif(folded, ''), lower(texts)) || char(10) || ?
    END
WHERE id = ?
"""
IN_ROOM: Final = "FROM rooms JOIN batches ON batches.room = rooms.id WHERE rooms.name = ?"
SHOWN: Final = "SELECT shown, floor, position, times, kinds, authors, nicks, texts"
TEXTS: Final = 7
# The statements that read what `entries` takes, with and without words to search for. A page needs
# no `folded` texts, which may be half of a row.
SEARCH: Final = f"{SHOWN}, folded {IN_ROOM}"
SELECT: Final = f"{SHOWN}, '' {IN_ROOM}"


class Lines(NamedTuple):
    """The columns of a batch that hold its entries, without the columns that locate it."""

    time: float
    times: str
    kinds: str
    authors: str
    nicks: str
    texts: str
    casefolded: str


def lines(entries: Sequence[PersistentEntry]) -> Lines:
    """Convert entries of one append to the columns of a batch.

    Raises `sqlite3.DataError` if an entry contains the separator.
    """
    between = len(entries) - 1
    authors = BETWEEN.join([entry.author for entry in entries])
    nicks = BETWEEN.join([entry.nick for entry in entries])
    texts = BETWEEN.join([entry.text for entry in entries])
    kinds = "".join([KINDS[entry.__class__] for entry in entries])
    if REMOVED in kinds:
        texts = BETWEEN.join(map(removal.write, entries))
    if not between == authors.count(BETWEEN) == nicks.count(BETWEEN) == texts.count(BETWEEN):
        raise sqlite3.DataError("an entry of more than one line")
    return Lines(
        entries[-1].time,
        repr(entries[0].time) + BETWEEN * between,  # an empty line is the next millisecond
        kinds,
        authors,
        nicks,
        texts,
        folded(texts),
    )


def folded(texts: str) -> str:
    """Return what the column `folded` has for these texts."""
    # Not NULL: Python's sqlite3 would search in vain for an adapter for each one.
    return "" if texts.isascii() else casefolded(texts)


def insert(connection: sqlite3.Connection, values: Sequence[Value]) -> None:
    """Insert rows, many to a statement, from the values of all rows. Raises `sqlite3.Error`."""
    start, end = 0, len(values)
    for size, statement in INSERTS.items():
        whole = end - (end - start) % size
        if whole > start:
            connection.executemany(
                statement, (values[at : at + size] for at in range(start, whole, size))
            )
        start = whole


def grow(connection: sqlite3.Connection, batches: Sequence[tuple[Lines, int]]) -> None:
    """Append lines to batches, given by their ids. Raises `sqlite3.Error`."""
    if not batches:
        return
    # Without numbers (`?1`): some versions of Python 3.12 warn about those.
    values = [(*added, added.casefolded or added.texts.lower(), batch) for added, batch in batches]
    if connection.executemany(GROW, values).rowcount != len(batches):
        raise sqlite3.IntegrityError("a batch is gone")


def entries(room: str, columns: Columns, words: Sequence[str] = ()) -> list[PersistentEntry]:
    """Return the kept entries of a row that contain all the words, oldest first.

    Each entry's shown room name is the newest one. Raises `sqlite3.DataError` for a damaged row.
    """
    shown, floor, first, times, kinds, *texts, searched = columns
    chosen: Iterable[int] = range(max(0, floor + 1 - first), len(kinds))
    if words:
        held = _lines(searched or texts[-1].lower(), kinds)
        chosen = [at for at in chosen if all(word in held[at] for word in words)]
        if not chosen:
            return []
    when = _times(_lines(times, kinds))
    authors, nicks, said = (_lines(column, kinds) for column in texts)
    return [
        TopicSet(room, shown, authors[at], nicks[at], said[at], first + at, when[at])
        if kinds[at] == TOPIC_SET
        else Ruled(room, shown, authors[at], nicks[at], said[at], {}, 0, first + at, when[at])
        if kinds[at] == RULED
        else _removed(room, shown, authors[at], nicks[at], said[at], first + at, when[at])
        if kinds[at] == REMOVED
        else _SPOKEN.get(kinds[at], Said)(
            room, authors[at], nicks[at], said[at], first + at, when[at]
        )
        for at in chosen
    ]


def _removed(
    room: str, shown: str, author: str, nick: str, text: str, position: int, time: float
) -> Removed:
    entry = Removed(room, shown, author, nick, "", {}, 0, position, time)
    try:
        return removal.read(entry, text)
    except ValueError:
        raise sqlite3.DataError("a damaged row") from None


def _lines(column: str, kinds: str) -> list[str]:
    lines = column.split(BETWEEN)
    if len(lines) != len(kinds):
        raise sqlite3.DataError("a damaged row")
    return lines


def _times(lines: list[str]) -> list[float]:
    """Return the time of each entry. Times that a disk error made invalid become valid ones."""
    times: list[float] = []
    said = 0
    for line in lines:
        said += 1
        if line:
            try:
                said = milliseconds(min(max(0.0, float(line)), LAST_SECOND))
            except ValueError:
                raise sqlite3.DataError("a damaged row") from None
        times.append(said / 1000)
    return times
