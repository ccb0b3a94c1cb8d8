"""The interface of the store that keeps accounts. It has two forms: a file, and Redis.

Both run the same queries on the same tables. Others see all of a piece of work, or
nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

# It may run several times, and only the last run counts.
Work = Callable[[sqlite3.Connection], T]


class Keeping(Protocol):
    """A store of accounts. All methods that wait raise `StoreError` if it cannot be used."""

    async def run(self, work: Work[T], *, scrubs: bool = False) -> T:
        """Do a piece of work in a transaction of its own, and return its result.

        Work that has begun is done to its end, even if the caller is cancelled. If it raises, all
        is as before. If it `scrubs`, the store keeps no trace of what it has deleted.
        """
        ...

    async def check(self) -> None:
        """Check that a successor could use the store now."""
        ...

    async def pause(self) -> None:
        """Let go of the store, so that a successor can use it. Work waits until `resume`."""
        ...

    def resume(self) -> None:
        """Use the store again, if `pause` has let go of it."""
        ...
