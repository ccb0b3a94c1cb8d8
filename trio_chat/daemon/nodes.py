"""The nodes of a chat: what the control socket answers, and a table of it for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from trio_chat.daemon.logs import escaped
from trio_chat.daemon.output import table, time_of

COLUMNS: Final = (
    "node",
    "state",
    "lease left",
    "version",
    "process",
    "clients",
    "users",
    "unread",
    "since",
)


def node_lines(rows: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Make a table of nodes with its head. Nothing in it can move a terminal's cursor."""
    return table([COLUMNS, *map(_cells, rows)])


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    left = row.get("lease_left")
    seconds = f"{left:.1f} s" if isinstance(left, (int, float)) else ""
    process = f"{row.get('machine') or 'unknown'}/{row.get('process') or '?'}"
    counts = (f"{row.get(name, ''):,}" for name in ("clients", "users", "unread"))
    cells = (row.get("name"), row.get("state"), seconds, row.get("version") or "unknown", process)
    return (*(escaped(str(cell)) for cell in cells), *counts, time_of(row.get("since")))
