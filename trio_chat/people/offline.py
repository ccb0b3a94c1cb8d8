"""Opens the accounts for an operator's command while no daemon uses them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from trio_chat.errors import StoreError
from trio_chat.people.opening import open_people
from trio_chat.people.store import people_path
from trio_chat.roomlog.sqlite.lock import real, take_lock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trio_chat.people.accounts import People

ANOTHER: Final = "name another store"
# A daemon that is asked needs no stop.
ASK_IT: Final = "name its control socket with --control"


@contextlib.asynccontextmanager
async def open_offline(rooms: Path) -> AsyncGenerator[People, None]:
    """Open the accounts beside a file of rooms, with its lock, for the length of a block.

    The file has to exist: root would make one that the daemon cannot write. Raises `StoreError`,
    also if a daemon uses the files.
    """
    path = people_path(rooms)
    if not path.exists():
        raise StoreError(f"there is no {path}: start the daemon once, which makes it")
    lock = take_lock(real(rooms), in_use=ASK_IT, otherwise=ANOTHER)
    try:
        async with open_people(path) as people:
            yield people
    finally:
        os.close(lock)
