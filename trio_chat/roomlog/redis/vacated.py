"""Ends the lease of a node whose process has ended, for the parent that saw it end.

Its people then leave at once, and its name is free. Otherwise both would wait for the lease.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_chat.config.store_access import read_store_access
from trio_chat.roomlog.redis.checks import open_checked
from trio_chat.roomlog.redis.errors import EngineAway, EngineError
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.redis.opening import name_of

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings


async def end_lease(settings: Settings) -> None:
    """End the lease of the node with these settings, if their store is on Redis.

    If the engine does not do it, the lease ends by itself. Raises like `open_store`.
    """
    access = await trio.to_thread.run_sync(read_store_access, settings, abandon_on_cancel=True)
    if access is None:
        return
    engine = await open_checked(access)
    with suppress(EngineAway, EngineError):
        await engine.call("ZADD", f"{KEY}:leases", "XX", 0, name_of(settings))
    engine.close()
