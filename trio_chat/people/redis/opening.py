"""Opens the accounts on Redis that settings name."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.config.store_access import read_store_access
from trio_chat.errors import SettingsError
from trio_chat.people.opening import people_in
from trio_chat.people.redis.news import News
from trio_chat.people.redis.store import open_redis_store
from trio_chat.roomlog.redis.checks import PATIENCE, open_checked
from trio_chat.roomlog.redis.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.config.settings import Settings
    from trio_chat.people.accounts import People

CONNECT_SECONDS: Final = 2.0


@asynccontextmanager
async def open_redis_people(
    settings: Settings, *, patience: float = PATIENCE
) -> AsyncGenerator[People, None]:
    """Open the accounts on Redis for the length of a block.

    A Redis that is away is waited for so many seconds. Raises `StoreError` if Redis cannot be used,
    and `SettingsError` if the files that the settings name for it cannot.
    """
    access = await trio.to_thread.run_sync(read_store_access, settings, abandon_on_cancel=True)
    if access is None:
        raise SettingsError(f"{settings.shown_store} is no store on Redis")
    (await open_checked(access, patience=patience)).close()
    connect = partial(Connection.open, access.address, access.password, CONNECT_SECONDS)
    async with open_redis_store(connect) as store:
        people = await people_in(store)
        people.news = News(store, people)
        yield people
