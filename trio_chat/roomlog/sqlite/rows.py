"""What persistent entries look like as rows, how rows are written, and what entries a row holds.

A row is a batch: what was said in a room one after the other, with a line an entry in each column.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from trio_chat.protocol.events import Acted, Said, TopicSet
from trio_chat.protocol.text import casefolded
from trio_chat.roomlog.order import LAST_SECOND, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.protocol.events import PersistentEntry

Value: TypeAlias = int | float | str
Columns: TypeAlias = tuple[str, int, int, str, str, str, str, str, str]

# Entries of a batch, at most: whoever wants one of them has all of them read, and each that is
# added has the others written once more.
MOST: Final = 16
# Between two entries: no text, nick or id may have one in it.
BETWEEN: Final = "\n"
# A letter an entry; what other letters mean is said in the schema.
KINDS: Final[dict[type, str]] = {Said: "s", Acted: "a", TopicSet: "t"}
SAID, ACTED, TOPIC_SET = KINDS.values()

# What fails ends the transaction in any case. Said so, SQLite keeps no copy of each page as it was
# before a statement, to which that alone could go back: more than a third of what a row costs.
INSERT: Final = (
    "INSERT OR ROLLBACK INTO batches "
    "(id, room, position, time, times, kinds, authors, nicks, texts, folded) VALUES "
)
ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS: Final = ROW.count("?")
# How many rows a statement has: the first for which there are enough. Each statement has a cost of
# its own, and lets the hub's thread run Python, and then waits for it.
SIZES: Final = (128, 16, 1)
# How many values a statement takes.
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
# Statements for what `entries` takes: with words to look for, and without. A page has no use for
# what may be half of a row.
SEARCH: Final = f"{SHOWN}, folded {IN_ROOM}"
SELECT: Final = f"{SHOWN}, '' {IN_ROOM}"


class Lines(NamedTuple):
    """What a batch holds of entries: its columns but those that say where it is."""

    time: float
    times: str
    kinds: str
    authors: str
    nicks: str
    texts: str
    casefolded: str


def lines(entries: Sequence[PersistentEntry]) -> Lines:
    """These entries, which were said at once, as a batch holds them.

    Raises `sqlite3.DataError` where an entry cannot be told from the next.
    """
    between = len(entries) - 1
    authors = BETWEEN.join([entry.author for entry in entries])
    nicks = BETWEEN.join([entry.nick for entry in entries])
    texts = BETWEEN.join([entry.text for entry in entries])
    if not between == authors.count(BETWEEN) == nicks.count(BETWEEN) == texts.count(BETWEEN):
        raise sqlite3.DataError("an entry of more than one line")
    return Lines(
        entries[-1].time,
        repr(entries[0].time) + BETWEEN * between,  # an empty line is the next millisecond
        "".join([KINDS[entry.__class__] for entry in entries]),
        authors,
        nicks,
        texts,
        # Not NULL: for each of those, Python's sqlite3 looks in vain for a way to adapt it.
        "" if texts.isascii() else casefolded(texts),
    )


def insert(connection: sqlite3.Connection, values: Sequence[Value]) -> None:
    """Insert rows, given as their values in a row, many to a statement; raises `sqlite3.Error`."""
    start, end = 0, len(values)
    for size, statement in INSERTS.items():
        whole = end - (end - start) % size
        if whole > start:
            connection.executemany(
                statement, (values[at : at + size] for at in range(start, whole, size))
            )
        start = whole


def grow(connection: sqlite3.Connection, batches: Sequence[tuple[Lines, int]]) -> None:
    """Add these lines to batches, given by their ids; raises `sqlite3.Error`."""
    if not batches:
        return
    # Not by number (`?1`): some Pythons 3.12 warn of that.
    values = [(*added, added.casefolded or added.texts.lower(), batch) for added, batch in batches]
    if connection.executemany(GROW, values).rowcount != len(batches):
        raise sqlite3.IntegrityError("a batch is gone")


def entries(room: str, columns: Columns, words: Sequence[str] = ()) -> list[PersistentEntry]:
    """The entries of a row that are kept and hold all the words, oldest first.

    Their room's name as shown is the newest. Raises `sqlite3.DataError` for a damaged row.
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
        else (Acted if kinds[at] == ACTED else Said)(
            room, authors[at], nicks[at], said[at], first + at, when[at]
        )
        for at in chosen
    ]


def _lines(column: str, kinds: str) -> list[str]:
    lines = column.split(BETWEEN)
    if len(lines) != len(kinds):
        raise sqlite3.DataError("a damaged row")
    return lines


def _times(lines: list[str]) -> list[float]:
    """When each was said; what a disk has made of one may be none, and nobody could look at it."""
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
