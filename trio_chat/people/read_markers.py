"""Read markers of accounts: up to when each account has read which room.

Markers move with nearly each message that somebody reads. So they are noted in memory, and written
together a little later.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from trio_chat.errors import StoreError
from trio_chat.protocol.read_markers import MOST_MARKERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from trio_chat.people.keeping import Keeping

    # Times in seconds since 1970 by rooms, by accounts.
    Markers: TypeAlias = dict[str, dict[str, float]]

logger = logging.getLogger("trio_chat")

# Seconds between two writes: a crash loses so much.
WRITE_SECONDS: Final = 10.0
# Accounts whose markers are written in one piece of work, as others wait for that.
PIECE_ACCOUNTS: Final = 100


class ReadMarkers:
    """Keeps the read markers of accounts, which are given by their ids."""

    def __init__(self, store: Keeping) -> None:
        self._store = store
        # Those that are to be written, and those of the last time: somebody who logs in may just
        # have read the store without them.
        self._noted: Markers = {}
        self._before: Markers = {}
        self._paused = False

    def note(self, account: str, room: str, until: float) -> None:
        """Note how far an account has read a room. This does not wait."""
        _move(self._noted.setdefault(account, {}), room, until)

    def recent(self) -> Markers:
        """Return the markers that a reader of the store may have missed. This does not wait."""
        recent: Markers = {}
        for markers in (self._before, self._noted):
            for account, rooms in markers.items():
                for room, until in rooms.items():
                    _move(recent.setdefault(account, {}), room, until)
        return recent

    def newest(self, account: str, kept: Mapping[str, float]) -> dict[str, float]:
        """Return the markers that the store had, or later ones. This does not wait."""
        found = dict(kept)
        for markers in (self._before, self._noted):
            for room, until in markers.get(account, {}).items():
                _move(found, room, until)
        return found

    def take(self, markers: Markers) -> None:
        """Note what a predecessor had noted. This does not wait."""
        for account, rooms in markers.items():
            for room, until in rooms.items():
                self.note(account, room, until)

    @trio.lowlevel.enable_ki_protection
    async def keep(self) -> NoReturn:
        """Write what is noted, again and again, until cancelled."""
        while True:
            await trio.sleep(WRITE_SECONDS)  # moves of that time are one write
            await self.write()

    async def write(self) -> None:
        """Write what is noted, unless the store is released.

        If that fails, it is logged and forgotten: the next marker of a room says more.
        """
        if self._paused or not self._noted:
            return
        self._before, self._noted = self._noted, {}
        accounts = iter(self._before.items())
        try:
            while some := list(islice(accounts, PIECE_ACCOUNTS)):
                await self._store.run(partial(_write, markers=some))
        except StoreError as error:
            logger.warning("read markers cannot be written", extra={"reason": str(error)})

    def pause(self) -> None:
        """Write nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Write again."""
        self._paused = False


def of_account(connection: sqlite3.Connection, account: str) -> dict[str, float]:
    """Return how far an account has read its rooms."""
    return dict(
        connection.execute("SELECT room, until FROM read_markers WHERE account = ?", (account,))
    )


def _write(
    connection: sqlite3.Connection, markers: Iterable[tuple[str, Mapping[str, float]]]
) -> None:
    for account, rooms in markers:
        connection.executemany(
            # The account may have been deleted meanwhile.
            "INSERT INTO read_markers (account, room, until) "
            "SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM accounts WHERE id = ?1) "
            "ON CONFLICT DO UPDATE SET until = excluded.until WHERE excluded.until > until",
            [(account, room, until) for room, until in rooms.items()],
        )
        connection.execute(
            "DELETE FROM read_markers WHERE account = ?1 AND room IN ("
            "SELECT room FROM read_markers WHERE account = ?1 ORDER BY until DESC "
            "LIMIT -1 OFFSET ?2)",
            (account, MOST_MARKERS),
        )


def _move(markers: dict[str, float], room: str, until: float) -> None:
    markers[room] = max(until, markers.get(room, 0.0))
