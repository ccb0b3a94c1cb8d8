"""Opens the log that settings name: with a checked engine, and this node's name."""

from __future__ import annotations

import logging
import math
import secrets
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.config.node import default_node
from trio_chat.config.store_access import read_store_access
from trio_chat.errors import SettingsError
from trio_chat.roomlog.redis.checks import PATIENCE, open_checked, warning_of
from trio_chat.roomlog.redis.connection import Connection
from trio_chat.roomlog.redis.log import open_redis_log
from trio_chat.roomlog.retention import retention

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from trio_chat.config.settings import Settings
    from trio_chat.roomlog.redis.log import RedisLog
    from trio_chat.roomlog.world import Place

logger = logging.getLogger("trio_chat")

CONNECT_SECONDS: Final = 2.0
# Settings with port 0 name no daemon.
ANY_PORT: Final = "0"


def name_of(settings: Settings) -> str:
    """Return the name of the node with these settings."""
    instance = settings.instance
    return settings.node or default_node(secrets.token_hex(4) if instance == ANY_PORT else instance)


async def check_store(settings: Settings) -> None:
    """Check that a successor with these settings could use the engine now, if they name one.

    Raises like `open_store`.
    """
    access = await trio.to_thread.run_sync(read_store_access, settings, abandon_on_cancel=True)
    if access is not None:
        (await open_checked(access, patience=0)).close()


@asynccontextmanager
async def open_store(
    settings: Settings, kept_rooms: Collection[str], place: Place | None
) -> AsyncGenerator[RedisLog, None]:
    """Open the log for the length of a block. `place` is that of a predecessor.

    Raises `StoreError` if the engine cannot be used, and `SettingsError` if the files that the
    settings name for it cannot.
    """
    access = await trio.to_thread.run_sync(read_store_access, settings, abandon_on_cancel=True)
    if access is None:
        raise SettingsError(f"{settings.shown_store} is no store on Redis")
    # A successor has the clients already, and its predecessor has just seen the engine.
    checked = await open_checked(access, patience=PATIENCE if place is None else math.inf)
    if (warning := warning_of(checked.info)) and place is None:
        logger.warning(warning)
    checked.close()
    name = name_of(settings) if place is None else place.name
    logger.info("node", extra={"node": name})
    async with open_redis_log(
        partial(Connection.open, access.address, access.password, CONNECT_SECONDS),
        retention(settings),
        name=name,
        lease=settings.lease,
        grace=settings.resume_grace,
        kept_rooms=kept_rooms,
        place=place,
    ) as log:
        yield log
