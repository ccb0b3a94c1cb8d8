"""Fetches entries of rooms: the newest ones when a room is joined, older ones for its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_chat.errors import ChatClosed, NoConnection, Refused
from trio_chat.terminal.requests import Scroll
from trio_chat.terminal.window import Room

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.remote import RemoteClient
    from trio_chat.terminal.view import View

# Entries that are fetched when a room is joined, and when its reader scrolls to the top.
NEWEST: Final = 50
OLDER: Final = 100


class History:
    """Fetches entries for the rooms of a view; `draw_soon` is called when the view has changed."""

    def __init__(self, client: RemoteClient, view: View, draw_soon: Callable[[], None]) -> None:
        self._client = client
        self._view = view
        self._draw_soon = draw_soon
        # Rooms without their newest entries: a connection may break before these come.
        self._unfilled: dict[str, None] = {}
        # The room whose reader waits at the top, and the scrolling that was not possible.
        self._wanted: tuple[Room, Scroll] | None = None
        self._wants = trio.Event()

    async def fill(self, joined: str | None = None) -> None:
        """Fetch the newest entries of a room that was just joined, and of rooms that lack them."""
        if joined is not None:
            self._unfilled[joined] = None
        for name in list(self._unfilled):
            room = self._view.windows.rooms.get(name)
            filled = room is None or await self._fetch(room, NEWEST, self._view.fill)
            if not filled:
                return
            del self._unfilled[name]
        self._draw_soon()

    def scroll(self, request: Scroll) -> None:
        """Scroll the log on screen; at its top, older entries are fetched first."""
        self._wanted = None
        window = self._view.current
        if request.rows > 0:
            window.log.scroll_down(request.rows, request.columns)
            return
        lacking = window.log.scroll_up(-request.rows, request.columns, request.height)
        if lacking and isinstance(window, Room) and window.has_older and not window.log.is_full:
            self._wanted = (window, Scroll(-lacking, request.columns, request.height))
            self._wants.set()

    def scroll_to_end(self) -> None:
        """Show the newest line on screen."""
        self._wanted = None
        self._view.current.log.scroll_to_end()

    async def run(self) -> None:
        """Fetch older entries for readers who wait at the top."""
        while True:
            await self._wants.wait()
            self._wants = trio.Event()
            wanted = self._wanted
            if wanted is None:
                continue
            room, lacking = wanted
            self._view.fetching = True
            self._draw_soon()
            await self._fetch(room, OLDER, self._view.take_older)
            self._view.fetching = False
            if self._wanted is wanted:  # else the reader has gone elsewhere meanwhile
                room.log.scroll_up(-lacking.rows, lacking.columns, lacking.height)
            self._draw_soon()

    async def _fetch(
        self, room: Room, limit: int, take: Callable[[Room, list[PersistentEntry], int], None]
    ) -> bool:
        """Fetch entries from before the room's log; gives whether there was a connection."""
        if not self._client.connected:  # the call would wait until there is one
            return False
        limit = min(limit, self._client.limits.history)
        before = room.log.oldest or (room.position + 1 if room.position else None)
        try:
            entries = await self._client.history(room.key, limit, before=before)
        except NoConnection:
            return False
        except (Refused, ChatClosed) as error:
            if room.key in self._view.windows.rooms:  # else it was left meanwhile
                self._view.fail(f"older messages cannot be had: {error}", room)
            return True
        take(room, entries, limit)
        return True
