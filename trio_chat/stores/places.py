"""The stores that a command names, opened for reading or writing."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_chat.config.settings import Settings
from trio_chat.config.store_access import read_store_access
from trio_chat.config.store_url import SQLITE, is_store_url, parse_store_url, without_password
from trio_chat.errors import SettingsError, StoreError
from trio_chat.stores.copying import Copied, copy
from trio_chat.stores.replacement import replacing
from trio_chat.stores.source import check_source
from trio_chat.stores.sqlite_bulk import SqliteReader, SqliteWriter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.config.store_access import StoreAccess
    from trio_chat.stores.bulk import StoreReader, StoreWriter
    from trio_chat.stores.progress import Progress


def file_of(named: str) -> Path:
    """Return the path of a store in a file, named as `sqlite:PATH` or by its path alone.

    Raises `SettingsError` for a store that is no file.
    """
    path = named.removeprefix(SQLITE)
    if path == "memory":
        raise SettingsError("a store in memory cannot be read from outside: name a file")
    if is_store_url(path):
        raise SettingsError(
            f"{without_password(named)} is no file: give sqlite:PATH here, "
            f"or use trio-chat store copy"
        )
    if not path or "\0" in path:
        raise SettingsError(f"{named!r} is no file: give a path, or sqlite:PATH")
    return Path(path)


async def copy_store(
    source: str, target: str, progress: Progress, *, force: bool = False, password_file: str = ""
) -> tuple[Copied, bool]:
    """Copy all rooms of a store to another. Return what was copied, and whether others use it.

    Both are named as in the setting `store`. `password_file` has the password of those on Redis.
    Raises `SettingsError` for a wrong name, and `StoreError` if a store cannot be read or written.
    Then the target is as before.
    """
    accesses = [_access(named, password_file) for named in (source, target)]
    _check_different(source, target, accesses)
    async with (
        _reading(source, accesses[0]) as reader,
        _writing(target, accesses[1], force=force) as writer,
    ):
        return await copy(reader, writer, progress), await reader.in_use()


def _access(named: str, password_file: str) -> StoreAccess | None:
    """Return what a connection to a store on Redis needs; `None` for a file."""
    if not is_store_url(named):
        file_of(named)
        return None
    if parse_store_url(named).password:
        password_file = ""  # it is for the other store
    return read_store_access(Settings(store=named, store_password_file=password_file))


def _check_different(source: str, target: str, accesses: list[StoreAccess | None]) -> None:
    one, other = accesses
    if one is None and other is None:
        check_source(file_of(source), file_of(target))
    elif one is not None and other is not None and one.address == other.address:
        raise StoreError(f"{without_password(source)} is both source and target: give another")


@asynccontextmanager
async def _reading(named: str, access: StoreAccess | None) -> AsyncGenerator[StoreReader, None]:
    if access is None:
        with closing(SqliteReader(file_of(named))) as reader:
            yield reader
        return
    from trio_chat.stores import redis_bulk  # noqa: PLC0415 - it needs an extra

    with closing(redis_bulk.Engine(access)) as engine:
        yield redis_bulk.RedisReader(engine)


@asynccontextmanager
async def _writing(
    named: str, access: StoreAccess | None, *, force: bool
) -> AsyncGenerator[StoreWriter, None]:
    """Give a block a writer; after the block, the new store is in its place.

    A store without rooms may be there before.
    """
    if access is None:
        path = file_of(named)
        with (
            replacing(path, force=force or _is_empty(path), is_store=True) as new,
            closing(SqliteWriter(new)) as writer,
        ):
            yield writer
        return
    from trio_chat.stores import redis_bulk  # noqa: PLC0415 - it needs an extra

    with closing(redis_bulk.Engine(access)) as engine:
        copied = redis_bulk.RedisWriter(engine, force=force)
        await copied.begin()
        try:
            yield copied
            await copied.publish()
        except BaseException:
            with trio.move_on_after(redis_bulk.ABANDON_SECONDS, shield=True):
                await copied.abandon()
            raise


def _is_empty(path: Path) -> bool:
    """Whether a store has no rooms, as a daemon leaves it that nobody talked on."""
    try:
        with closing(SqliteReader(path)) as reader:
            return not reader.names()
    except StoreError:
        return False  # the replacement says why, if it matters
