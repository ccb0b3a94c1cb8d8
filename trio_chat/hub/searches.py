"""Searches of all clients. One at a time searches the log, and addresses take turns.

A search is a series of stretches of some milliseconds each. To end it, the next stretch is not
begun. All searches together use no more of the machine than one does.
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

# Limits of a search, in seconds and entries. The longest history at the default settings needs
# less, even with the worst texts on a busy machine.
SEARCH_SECONDS = 2.0
SEARCH_ENTRIES = 1_000_000
# The hub answers a search after this many seconds, whether or not it has had its turn.
PATIENCE_SECONDS = 10.0


@define(eq=False)
class Search:
    """A search in a room up to a position, and its result so far.

    `entries` are the newest ones found, oldest first. Everything from position `begin` is searched.
    """

    room: str
    words: Sequence[str]
    begin: int
    entries: list[PersistentEntry] = field(factory=list)

    @property
    def stopped_at(self) -> int:
        """The position before which nothing was searched, or 0 if everything was."""
        return self.begin if self.begin > 1 and len(self.entries) < MAX_FOUND else 0


class Searches:
    """Runs searches within their limits."""

    def __init__(self, log: RoomLog) -> None:
        self._log = log
        self._turn = trio.Lock()
        # By address: the first search of each address takes turns with the others.
        self._firsts: dict[str, trio.Lock] = {}

    async def run(self, search: Search, address: str) -> None:
        """Run the search of a client at an address. Cancellable; raises what the log raises."""
        start, spent = search.begin, 0.0
        with trio.move_on_after(PATIENCE_SECONDS):
            async with self._first(address):
                while search.stopped_at:
                    async with self._turn:  # the search that has waited longest gets it
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
        """Wait for earlier searches from the same address."""
        first = self._firsts.setdefault(address, trio.Lock())
        try:
            async with first:
                yield
        finally:
            if not first.locked():
                self._firsts.pop(address, None)
