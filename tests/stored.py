"""The contents of a store's file, read without the code of the store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple


class Stored(NamedTuple):
    """One persistent entry; its kind is "s", "a" or "t"."""

    room: str
    position: int
    kind: str
    nick: str
    text: str


def stored(path: Path) -> list[Stored]:
    """All that a sound file holds of rooms that are not forgotten, by room and position."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        batches = connection.execute(
            "SELECT name, floor, position, kinds, nicks, texts FROM rooms JOIN batches "
            "ON room = rooms.id WHERE name IS NOT NULL ORDER BY name, position"
        ).fetchall()
    return [
        Stored(room, position, *entry)
        for room, floor, first, kinds, nicks, texts in batches
        for position, entry in enumerate(
            zip(kinds, nicks.split("\n"), texts.split("\n"), strict=True), first
        )
        if position > floor
    ]
