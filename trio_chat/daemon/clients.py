"""The clients of a daemon: what the control socket answers, and a table of it for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from trio_chat.daemon.logs import escaped
from trio_chat.daemon.output import table, time_of

# Five screens. More take the hub's time, three milliseconds for a thousand.
DEFAULT_LIMIT: Final = 200
MOST_CLIENTS: Final = 10_000
# Columns of a table, and characters at which a value in one is cut; the last column is not cut.
COLUMNS: Final = ("nick", "since", "idle", "from", "by", "state", "rooms")
MOST_WIDTH: Final = 48


def client_lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Make a table of clients with its head, or say that there are none.

    If anyone is logged in, each row has its account; if the chat has nodes, its node. Nothing in it
    can move a terminal's cursor.
    """
    found = list(rows)
    if not found:
        yield "no clients are connected"
        return
    cells = [COLUMNS, *map(_cells, found)]
    for column in ("account", "node"):
        if any(row.get(column) for row in found):
            more = [column, *(_cut(row.get(column)) for row in found)]
            # The rooms stay at the end, because they are not cut.
            cells = [(*row[:-1], cell, row[-1]) for row, cell in zip(cells, more, strict=True)]
    yield from table(cells)


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    how = f"{row.get('dialect', '')}{' with TLS' if row.get('tls') else ''}"
    rooms = row.get("rooms")
    names = map(str, cast("list[object]", rooms)) if isinstance(rooms, list) else ()
    times = time_of(row.get("since")), _duration(row.get("idle"))
    cells = (row.get("nick"), *times, row.get("address"), how, row.get("state"))
    return (*map(_cut, cells), escaped(", ".join(names)))


def _duration(seconds: object) -> str:
    """Write seconds in the largest unit that they fill, such as 59 s, 59 min, 23 h or 7 d."""
    if not isinstance(seconds, (int, float)):
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cut(value: object) -> str:
    text = escaped(str(value or ""))
    return text if len(text) <= MOST_WIDTH else f"{text[: MOST_WIDTH - 1]}\u2026"
