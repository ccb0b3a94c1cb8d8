"""The accounts on Redis. Each node has all of them in memory, and Redis has a hash for each table.

A piece of work runs on the tables in memory, and a script writes the rows that it has changed. If
another node was faster, the script refuses. Then the rows of that node come first, and the work
runs again. So the rules and bounds are those of the file, and no two accounts share a key.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Final, TypeVar, cast

import trio
from attrs import evolve

from trio_chat.errors import StoreError
from trio_chat.people.redis.tables import Change, Tables, Written
from trio_chat.people.schema import SCHEMA_VERSION, SERVER_TABLE
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.connection import EngineAway, EngineError, EngineFull
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.redis.scripts import script_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
    from typing import NoReturn

    from trio_chat.people.keeping import Work
    from trio_chat.roomlog.redis.connection import Connection

T = TypeVar("T")

# The prefix of all keys about accounts, so that Redis can give other users no right to them.
PEOPLE_KEY: Final = f"{KEY}:people"
NEWS: Final = f"{PEOPLE_KEY}:news"
# Redis takes the work of one node after the other. So often another one may be faster.
TRIES: Final = 50
# Rows in one step of reading all: Redis serves others in between.
STEP: Final = 1_000
# Milliseconds that a node waits for news before it looks by itself, and seconds after a failure.
NEWS_MS: Final = 5_000
RETRY_SECONDS: Final = 0.5

logger = logging.getLogger("trio_chat")

_FOLDER: Final = files("trio_chat.people.redis")
COMMIT: Final = script_of((_FOLDER / "commit.lua").read_text("utf-8"))
READ: Final = script_of((_FOLDER / "read.lua").read_text("utf-8"))


@asynccontextmanager
async def open_redis_store(
    connect: Callable[[], Awaitable[Connection]],
) -> AsyncGenerator[RedisPeopleStore, None]:
    """Keep accounts on Redis for the length of a block. Raises `StoreError` if it is away."""
    store = RedisPeopleStore(connect)
    try:
        await store.run(lambda _: None)
        yield store
    finally:
        store.close()


class RedisPeopleStore:
    """Accounts on Redis: a `Keeping`. Each piece of work waits for those before it."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        """`connect` opens a connection, or raises `EngineAway`."""
        self._client, self._waits = Client(connect, PEOPLE_KEY), Client(connect, PEOPLE_KEY)
        self._tables = Tables()
        # The number of the newest change in the tables.
        self._seen = ""
        self._heard: Callable[[Sequence[Change]], None] = lambda _: None
        # Its holder uses the tables. While the store is paused, the store itself holds it.
        self._turn = trio.CapacityLimiter(1)
        self._paused = False

    def listen(self, heard: Callable[[Sequence[Change]], None]) -> None:
        """Have a function called with all that other nodes change from now on."""
        self._heard = heard

    async def run(self, work: Work[T], *, scrubs: bool = False) -> T:
        """Do a piece of work; see `Keeping`. Redis has its own time to clean its disk."""
        del scrubs
        async with self._turn:
            # A work that has begun is done to its end. Each call has its time.
            with trio.CancelScope(shield=True), _in_words():
                for _ in range(TRIES):
                    await self._catch_up()
                    result, rows = await trio.to_thread.run_sync(self._tables.begin, work)
                    if await self._commit(rows):
                        return result
        raise StoreError("too many changes of accounts at once; please try again later")

    async def check(self) -> None:
        """Check that Redis answers. Raises `StoreError`."""
        await self.run(lambda _: None)

    async def pause(self) -> None:
        """Do no work until `resume`."""
        await self._turn.acquire_on_behalf_of(self)
        self._paused = True

    def resume(self) -> None:
        """Work again, if `pause` has stopped that."""
        if self._paused:
            self._paused = False
            self._turn.release_on_behalf_of(self)

    async def follow(self, told: Callable[[], Awaitable[None]]) -> NoReturn:
        """Take the changes of other nodes as they come, until cancelled.

        `told` is called first, after each, and after each wait for them.
        """
        while True:
            seen = self._seen
            await told()
            try:
                await self._waits.call(
                    *("XREAD", "BLOCK", NEWS_MS, "STREAMS", NEWS, seen), seconds=2 * NEWS_MS / 1000
                )
                async with self._turn:
                    with trio.CancelScope(shield=True):
                        await self._catch_up()
            except (EngineAway, EngineError, StoreError):
                await trio.sleep(RETRY_SECONDS)  # nothing tells when it is back

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._waits.close()
        self._tables.close()

    # --- within a turn ----------------------------------------------------------------------------

    async def _commit(self, rows: Sequence[Written]) -> bool:
        """End the work that has changed these rows, and write them.

        Return false if another node was faster: then the work is undone.
        """
        if not rows:
            self._tables.end(keep=True)
            return True
        is_done = False
        arguments = [part for row in rows for part in (row.table, row.key, row.text)]
        try:
            said = await self._client.script(COMMIT, SCHEMA_VERSION, self._seen, *arguments)
            answer, *number = _texts(said)
            _check_version(answer)
            if is_done := answer == "OK":
                self._seen = number[0]
        finally:
            # After a failure Redis may have the rows, and then they come back from there.
            self._tables.end(keep=is_done)
        return is_done

    async def _catch_up(self) -> None:
        """Have all that Redis has."""
        while True:
            said = await self._client.script(READ, SCHEMA_VERSION, self._seen)
            answer, *cells = _texts(said)
            _check_version(answer)
            newest = cells.pop(0)
            if answer == "OK":
                rows = map(Written, cells[::3], cells[1::3], cells[2::3])
                await self._apply(list(rows))
                self._seen = newest
                return
            await self._begin(newest)

    async def _begin(self, newest: str) -> None:
        """Begin with all rows that Redis has, or make the first ones.

        Rows that change meanwhile are among the news after `newest`.
        """
        mine = await trio.to_thread.run_sync(self._tables.all)
        if not newest:
            if self._seen:
                logger.error("the store has lost all accounts: it was emptied, or is another one")
            # The key for marks stays, for they are in rules of rooms, too.
            first = [row for row in mine if row.table == SERVER_TABLE]
            await self._apply([evolve(row, text="") for row in mine if row not in first])
            self._seen = ""
            self._tables.begin(lambda _: None)
            await self._commit(first)
            return
        rows = [row for name in self._tables.names for row in await self._all_of(name)]
        if self._seen:
            there, here = set(rows), set(mine)
            keys = {(row.table, row.key) for row in rows}
            gone = [evolve(row, text="") for row in mine if (row.table, row.key) not in keys]
            await self._apply([*gone, *(there - here)])
        else:
            with _undamaged():
                await trio.to_thread.run_sync(self._tables.fill, rows)
        self._seen = newest

    async def _all_of(self, name: str) -> list[Written]:
        found: dict[str, str] = {}
        cursor = b"0"
        while True:
            said = await self._client.call("HSCAN", f"{PEOPLE_KEY}:{name}", cursor, "COUNT", STEP)
            cursor, cells = cast("tuple[bytes, list[object]]", said)
            texts = _texts(cells)
            found.update(zip(texts[::2], texts[1::2], strict=True))
            if cursor == b"0":
                return [Written(name, key, text) for key, text in found.items()]

    async def _apply(self, rows: Sequence[Written]) -> None:
        if not rows:
            return
        with _undamaged():
            changes = await trio.to_thread.run_sync(self._tables.apply, rows)
        self._heard(changes)


def _texts(reply: list[object]) -> list[str]:
    return [item.decode() if isinstance(item, bytes) else str(item) for item in reply]


def _check_version(answer: str) -> None:
    if answer == "NEWER":
        raise StoreError("the accounts are those of a newer version: upgrade this node")


@contextmanager
def _undamaged() -> Iterator[None]:
    """Raise `StoreError` for rows that are none."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, sqlite3.Error) as error:
        raise StoreError(f"the accounts on Redis are damaged: {error}") from None


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise `StoreError` for what Redis cannot do now."""
    try:
        yield
    except EngineFull:
        raise StoreError("the accounts cannot be written: Redis has no memory left") from None
    except (EngineAway, EngineError) as error:
        raise StoreError(f"the accounts cannot be reached: {error}") from None
    except sqlite3.Error as error:
        raise StoreError(f"the accounts on Redis are damaged: {error}") from None
