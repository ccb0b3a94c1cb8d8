"""Opens the accounts that a store keeps."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from trio_chat.people import ignored, rows
from trio_chat.people.accounts import People
from trio_chat.people.mail import receivers
from trio_chat.people.store import open_people_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trio_chat.people.keeping import Keeping


@contextlib.asynccontextmanager
async def open_people(path: Path, *, handed_over: bool = False) -> AsyncGenerator[People, None]:
    """Keep accounts in a file for the length of a block; see `open_people_store`.

    Raises `StoreError` if the file cannot be used.
    """
    async with open_people_store(path, handed_over=handed_over) as store:
        yield await people_in(store)


async def people_in(store: Keeping) -> People:
    """Return the accounts that a store keeps. Raises `StoreError`."""
    known, mailed, ignoring = await store.run(
        lambda it: (rows.known(it), receivers(it), ignored.everyone(it)), scrubs=True
    )
    return People(store, known, mailed, ignored.Ignored(store, ignoring))
