"""Files of stores for tests: what is put into them, and read from them with the store's code."""

from __future__ import annotations

import shutil
from pathlib import Path

import trio

from trio_chat.protocol.events import PersistentEntry, Said
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.stores.bulk import StoredRoom, StoreReader

KEEP = Retention(1000, 1000)
# Of each version of the schema, a file as it left one.
KEPT_FILES = {n: Path(__file__).parent / "data" / f"schema_{n}.db" for n in (1, 2, 3, 4, 5, 6)}
NOBODY = 65_534


def said(text: str, room: str = "#a") -> Said:
    return Said(room, "author", "nick", text)


def killed(path: Path, *texts: str) -> None:
    """Leave a file as a kill does right after an append, with the write-ahead log beside it."""

    async def main() -> None:
        async with open_sqlite_log(path, "process", KEEP) as log:
            await log.append([said(text) for text in texts])
            for name in (path, f"{path}-wal"):
                shutil.copy(name, f"{name}.as-it-was")

    trio.run(main)
    for name in (path, f"{path}-wal"):
        Path(f"{name}.as-it-was").rename(name)


async def read_all(reader: StoreReader) -> tuple[list[StoredRoom], list[PersistentEntry]]:
    entries: list[PersistentEntry] = []
    rooms = await reader.rooms()
    for room in rooms:
        last = room.floor
        while page := await reader.read(room.name, last):
            entries += page
            last = page[-1].position
    return list(rooms), entries
