"""Searches of all clients: one at a time looks through the log, and addresses take turns.

A search is a series of stretches, each of some milliseconds. So a search ends by not beginning the
next one. All searches together take no more of the machine than one does.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.protocol.commands import MAX_FOUND

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog

# A search works for so long, and looks at so many entries. The longest history at the default
# settings takes less, even if its texts are the worst there are, and the machine is busy.
SEARCH_SECONDS = 2.0
SEARCH_ENTRIES = 1_000_000
# The hub answers it after so long, whether or not it has had its turn.
PATIENCE_SECONDS = 10.0


@define(eq=False)
class Search:
    """A search in a room up to a position, and what it has found so far.

    `entries` are the newest, oldest first. It has looked at those from `begin` on.
    """

    room: str
    words: Sequence[str]
    begin: int
    entries: list[PersistentEntry] = field(factory=list)

    @property
    def stopped_at(self) -> int:
        """The position before which it has not looked; 0 if there is nothing to be found there."""
        return self.begin if self.begin > 1 and len(self.entries) < MAX_FOUND else 0


class Searches:
    """Lets searches get on within their bounds."""

    def __init__(self, log: RoomLog) -> None:
        self._log = log
        self._turn = trio.Lock()
        # For each address: the first of its searches is one of those that take turns.
        self._firsts: dict[str, trio.Lock] = {}

    async def run(self, search: Search, address: str) -> None:
        """Search for a client at an address; may be cancelled, and raises what the log raises."""
        start, spent = search.begin, 0.0
        with trio.move_on_after(PATIENCE_SECONDS):
            async with self._first(address):
                while search.stopped_at:
                    async with self._turn:  # the one that has waited longest gets it
                        began = trio.current_time()
                        await self._stretch(search)
                        spent += trio.current_time() - began
                    if spent >= SEARCH_SECONDS or start - search.begin >= SEARCH_ENTRIES:
                        return

    async def _stretch(self, search: Search) -> None:
        limit = MAX_FOUND - len(search.entries)
        found = await self._log.search(search.room, search.words, limit, search.begin)
        search.entries[:0] = found.entries
        search.begin = found.begin

    @asynccontextmanager
    async def _first(self, address: str) -> AsyncGenerator[None, None]:
        """Wait for the earlier searches from an address."""
        first = self._firsts.setdefault(address, trio.Lock())
        try:
            async with first:
                yield
        finally:
            if not first.locked():
                self._firsts.pop(address, None)
