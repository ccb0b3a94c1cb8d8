"""A whole search in a room log, stretch by stretch."""

from __future__ import annotations

from collections.abc import Sequence

from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.protocol.events import PersistentEntry
from trio_chat.roomlog import RoomLog


async def searched(
    log: RoomLog, room: str, words: Sequence[str], limit: int
) -> list[PersistentEntry]:
    """The newest `limit` entries of a room that hold all the words, oldest first."""
    found: list[PersistentEntry] = []
    begin = MAX_POSITION
    while begin and len(found) < limit:
        stretch = await log.search(room, words, limit - len(found), begin)
        assert stretch.begin <= begin
        assert all(stretch.begin <= entry.position < begin for entry in stretch.entries)
        found[:0] = stretch.entries
        begin = stretch.begin
    return found
