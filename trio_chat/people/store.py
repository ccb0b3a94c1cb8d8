"""The file with the accounts, beside that of the rooms and under its lock.

So a copy of the rooms has no secret in it. One thread at a time uses the only connection, and each
piece of work is a transaction. Deleted rows are overwritten, in the write-ahead log too.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from trio_chat.errors import StoreError
from trio_chat.people.keeping import Work
from trio_chat.people.schema import PEOPLE, update
from trio_chat.roomlog.sqlite.file import (
    check_content,
    check_header,
    connect,
    identity_of,
    make,
)
from trio_chat.roomlog.sqlite.lock import real

T = TypeVar("T")

OPEN_TO_OTHERS: Final = 0o077

# Seconds to open a file that another process has just released, and between two tries.
REOPEN_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.1
# Seconds for the last piece of work and for closing the file.
CLOSE_SECONDS: Final = 5.0

logger = logging.getLogger("trio_chat")


def people_path(rooms: Path) -> Path:
    """Return the file of the accounts for a file of rooms: `8888.people.db` for `8888.db`.

    It is beside the file itself, and not beside a link to it, as the lock is.
    """
    rooms = real(rooms)
    return rooms.with_name(f"{rooms.stem}.people{rooms.suffix}")


@contextlib.asynccontextmanager
async def open_people_store(
    path: Path, *, handed_over: bool = False
) -> AsyncGenerator[PeopleStore, None]:
    """Keep a file open for the length of a block. The file is created if needed.

    The caller has the lock of the rooms. With `handed_over`, a predecessor has just let go of the
    file. Then nothing is checked again, and failures are retried for `REOPEN_SECONDS`, because
    there is no way back. Raises `StoreError` if the file cannot be used; it is then unchanged.
    """
    store = PeopleStore(path)
    try:
        if handed_over:
            await store.open_again()
        else:
            await store.open()
        yield store
    finally:
        # This bounds the wait for a turn; a thread that closes a file cannot be cancelled.
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await store.close()


class PeopleStore:
    """An open file, a `Keeping`. Each piece of work waits for those before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        # Its holder uses the connection. While the store is paused, the store itself holds it.
        self._turn = trio.CapacityLimiter(1)
        self._paused = False
        self._closed = False

    async def open(self) -> None:
        """Check the file, create it if it does not exist, and open it. Raises `StoreError`."""
        await self._in_thread(self._check_and_open)

    async def open_again(self) -> None:
        """Open a file that was just in use. Raises `StoreError` if that fails for too long."""
        deadline = trio.current_time() + REOPEN_SECONDS
        while True:
            try:
                return await self._in_thread(self._open)
            except StoreError as error:
                if trio.current_time() >= deadline:
                    raise
                logger.warning("the accounts cannot be opened yet", extra={"error": str(error)})
            await trio.sleep(RETRY_SECONDS)  # a file tells nobody when it is free

    async def run(self, work: Work[T], *, scrubs: bool = False) -> T:
        """Do a piece of work in a transaction of its own, and return its result.

        Work that has begun is done to its end, even if the caller is cancelled. If it raises, all
        is as before. Raises `StoreError` if the file cannot be read or written.

        If it `scrubs`, what it has deleted is removed from the disk, too. If that fails, the next
        one does it. Both are one step, so nothing that is written waits for its answer.
        """
        return await self._in_thread(lambda: self._run(work, scrubs=scrubs))

    async def check(self) -> None:
        """Check that the file is where it was, and can be opened. Raises `StoreError`."""
        await self._in_thread(self._check_place)

    async def pause(self) -> None:
        """Let go of the file, so that another process can use it. Work waits until `resume`."""
        await self._turn.acquire_on_behalf_of(self)
        self._paused = True
        # Nothing here can fail, and the other process waits for it.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close)

    def resume(self) -> None:
        """Use the file again, if `pause` has let go of it."""
        if self._paused:
            self._paused = False
            self._turn.release_on_behalf_of(self)

    async def close(self) -> None:
        """Let go of the file for good."""
        self._closed = True
        if not self._paused:
            await self._in_thread(self._close)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._turn)

    # --- in a thread ------------------------------------------------------------------------------

    def _check_and_open(self) -> None:
        make(self._path, PEOPLE)
        check_header(self._path, form=PEOPLE)
        # SQLite gives the files beside it the same mode.
        if self._path.stat().st_mode & OPEN_TO_OTHERS:
            raise StoreError(
                f"{self._path} is open to other users: close it (chmod 600 {self._path})"
            )
        check_content(self._path, PEOPLE)
        self._open()

    def _open(self) -> None:
        self._identity = identity_of(self._path)
        connection = self._connected()
        try:
            update(connection)
        except sqlite3.Error as error:
            self._close()
            raise self._cannot(error) from None

    def _connected(self) -> sqlite3.Connection:
        """Return the connection; open it if it was closed, or a failure has ended it."""
        if self._closed:
            raise StoreError(f"{self._path} is closed: the chat has stopped")
        if identity_of(self._path) != self._identity:
            self._close()
            raise StoreError(
                f"{self._path} was removed, moved or replaced: put it back, "
                f"or stop the daemon and start it again"
            )
        if self._connection is None:
            try:
                self._connection = _connect(self._path)
            except sqlite3.Error as error:
                raise self._cannot(error) from None
        return self._connection

    def _run(self, work: Work[T], *, scrubs: bool) -> T:
        connection = self._connected()
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._close()  # its state is unknown
            raise self._cannot(error) from None
        except BaseException:
            connection.rollback()
            raise
        if scrubs:
            self._scrub()
        return result

    def _scrub(self) -> None:
        try:
            [(busy, _, _)] = self._connected().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, StoreError):
            busy = True
        if busy:
            logger.warning(
                "what was deleted is still on the disk", extra={"file": f"{self._path}-wal"}
            )

    def _check_place(self) -> None:
        self._connected()
        try:
            with contextlib.closing(_connect(self._path)) as another:
                another.execute("SELECT key FROM server").fetchall()
        except sqlite3.Error as error:
            raise self._cannot(error) from None

    def _cannot(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"cannot use {self._path}: {error}")

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = connect(path, "rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        # A recovery code is shown once, so the account has to be on the disk by then.
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection
