"""Reads histories of rooms from the engine: pages, and stretches of searches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar, cast

import trio

from trio_chat.errors import StoreError
from trio_chat.protocol.text import casefolded
from trio_chat.roomlog import Stretch
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.codec import action_from_stream, batch_from_stream, waiting_from
from trio_chat.roomlog.redis.connection import EngineAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.redis.client import Client
    from trio_chat.roomlog.redis.codec import ActionRow, Argument, Batch, Row
    from trio_chat.roomlog.redis.scripts import Script
    from trio_chat.roomlog.rules import Action

_Read = TypeVar("_Read")

RETRY_SECONDS: Final = 0.1

# Batches of one call. A batch may hold a whole turn, so a page takes a few megabytes at most.
BATCHES: Final = 16
# A stretch of a search decodes about so many entries, which takes a millisecond or two.
STRETCH_ENTRIES: Final = 500


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise `StoreError` for an engine that is away."""
    try:
        yield
    except EngineAway as error:
        raise StoreError(f"the store does not answer: {error}") from None


class History:
    """Reads through a connection of its own. Several tasks may read; they take turns."""

    def __init__(self, client: Client, oldest: Callable[[], float]) -> None:
        """`oldest` gives the time before which nothing is shown, in seconds since 1970."""
        self._client = client
        self._oldest = oldest
        self._lock = trio.Lock()

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return at most `limit` entries after a position, oldest first."""
        found: list[PersistentEntry] = []
        top = after
        while len(found) < limit:
            batches = await self._batches(room, top + 1)
            if not batches:
                break
            top = batches[-1].top
            found += (e for batch in batches for e in batch.entries() if e.position > after)
        return self._kept(found[:limit])

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """Return the newest `limit` entries before a position, oldest first.

        Raises `StoreError` if the engine is away.
        """
        with _in_words():
            return await self._before(room, position, limit)

    async def _before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        found: list[PersistentEntry] = []
        end: int | None = position
        while len(found) < limit and (end is None or end > 1):
            batches = await self._batches_before(room, end)
            if not batches:
                break
            page = [
                entry
                for batch in batches
                for entry in batch.entries()
                if end is None or entry.position < end
            ]
            found[:0] = page
            end = batches[0].first
        return self._kept(found[-limit:])

    async def newest(self, room: str) -> list[Batch]:
        """Return some of a room's newest batches, oldest first."""
        return await self._batches_before(room, None)

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Search one stretch; see `RoomLog.search`. Raises `StoreError` if the engine is away."""
        with _in_words():
            return await self._search(room, words, limit, before)

    async def _search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        found: list[PersistentEntry] = []
        looked, end = 0, before
        while looked < STRETCH_ENTRIES and len(found) < limit and end > 1:
            batches = await self._batches_before(room, end)
            if not batches:
                return Stretch(found[::-1], 0)
            for batch in reversed(batches):
                for entry in reversed(batch.entries()):
                    if entry.position >= end:
                        continue
                    if entry.time < self._oldest():
                        return Stretch(found[::-1], 0)
                    end = entry.position
                    looked += 1
                    text = casefolded(entry.text)
                    if all(word in text for word in words):
                        found.append(entry)
                        if len(found) == limit:
                            return Stretch(found[::-1], end if end > 1 else 0)
        return Stretch(found[::-1], end if end > 1 else 0)

    async def actions(self, room: str, before: int | None, limit: int) -> list[Action]:
        """Return the newest `limit` actions before a position, oldest first.

        Raises `StoreError` if the engine is away.
        """
        about = (room, "" if before is None else before, limit)
        with _in_words():
            rows = cast("list[ActionRow]", await self._ask(scripts.ACTIONS, *about))
        return [action_from_stream(room, *row) for row in rows[::-1]]

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait, oldest first.

        Raises `StoreError` if the engine is away.
        """
        with _in_words():
            found = cast("list[bytes]", await self._ask(scripts.HELD, room))
        waiting = [
            waiting_from(room, number, record)
            for number, record in zip(found[::2], found[1::2], strict=True)
        ]
        return sorted(waiting, key=lambda one: one.number)

    async def of_turn(self, room: str, turn: str, after: int) -> list[Batch]:
        """Return the batches after a position that a turn has said, oldest first."""
        found: list[Batch] = []
        top = after
        while batches := await self._batches(room, top + 1):
            top = batches[-1].top
            found += [batch for batch in batches if batch.turn == turn]
        return found

    async def _batches_before(self, room: str, end: int | None) -> list[Batch]:
        """Return some batches with entries before a position, oldest first."""
        if end is None:
            return (await self._batches(room, "-", newest=True))[::-1]
        # The batch that holds the entry before `end` may go on beyond that.
        newest = await self._batches(room, end - 1, count=1)
        older = await self._batches(room, "-", end - 2, newest=True)
        return [*older[::-1], *(batch for batch in newest if batch.first < end)]

    async def _batches(
        self,
        room: str,
        least: int | str,
        most: int | str = "+",
        *,
        count: int = BATCHES,
        newest: bool = False,
    ) -> list[Batch]:
        rows = await self._ask(scripts.PAGE, room, least, most, count, int(newest))
        return [batch_from_stream(room, *row) for row in cast("list[Row]", rows)]

    async def _ask(self, script: Script, *about: Argument) -> list[object]:
        async with self._lock:
            try:
                return await self._client.script(script, *about)
            except EngineAway:
                # The connection may have ended long ago, and only this call notices. It may be
                # repeated, because it changes nothing.
                return await self._client.script(script, *about)

    def _kept(self, entries: list[PersistentEntry]) -> list[PersistentEntry]:
        oldest = self._oldest()
        return [entry for entry in entries if entry.time >= oldest] if oldest else entries


async def patiently(read: Callable[[], Awaitable[_Read]]) -> _Read:
    """Read something, and wait for an engine that is away."""
    while True:
        try:
            return await read()
        except EngineAway:
            await trio.sleep(RETRY_SECONDS)  # before it is tried again
