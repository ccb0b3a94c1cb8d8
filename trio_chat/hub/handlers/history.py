"""The past of a room: history and search, read from the log."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.errors import Code
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.searches import Search, Searches
from trio_chat.hub.state import counted_as
from trio_chat.protocol import commands
from trio_chat.protocol.events import EntriesShown, Event, Refusal, TopicSet

if TYPE_CHECKING:
    from trio_chat.hub.decide import Decide
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")

# Most bytes of a shown entry beside its text and names: position, time, signs between them.
ENTRY_BYTES = 64
# Entries of a page read at once, to begin with; then twice as many. Few more are read than fit into
# an answer, as entries may be eight kilobytes, and other pages get read in between.
PIECE = 32


class History:
    """Handles the records that read the log."""

    def __init__(self, state: State, decide: Decide, log: RoomLog) -> None:
        self._state = state
        self._decide = decide
        self._log = log
        self._searches = Searches(log)
        self.handlers: Handlers = {
            commands.ShowHistory: self._show,
            commands.Search: self._search,
        }

    def _show(self, session: Session, record: commands.ShowHistory) -> None:
        room = room_meant(session.user, record.room)
        self._decide.query(session, record, Page(self._log, room, self._most(session), record))

    def _search(self, session: Session, record: commands.Search) -> None:
        room = room_meant(session.user, record.room)
        search = Search(room.name, record.words, room.position + 1)
        address = counted_as(session.link.address, self._state.settings.ipv6_prefix)
        work = Finding(self._searches, room, self._most(session), search, address)
        self._decide.query(session, record, work)

    def _most(self, session: Session) -> float:
        """The bytes of an answer: half an outbox; in-process, all of it."""
        return math.inf if session.local else self._state.settings.outbox_bytes // 2


@define(eq=False)
class Page:
    """Looks up a page of a room's history."""

    _log: RoomLog
    _room: Room
    _most: float
    _asked: commands.ShowHistory
    _entries: list[PersistentEntry] | None = field(default=None, init=False)

    async def look(self) -> None:
        """Read it, in pieces, until it is whole or has all that fits into the answer."""
        name, before, left = self._room.name, self._asked.before, self._asked.limit
        space, piece = self._most, PIECE
        entries: list[PersistentEntry] = []
        try:
            while left and space >= 0:
                older = await self._log.before(name, before, min(piece, left))
                entries[:0] = older
                if len(older) < min(piece, left):
                    break
                left -= len(older)
                space -= sum(map(_size, older))
                before, piece = older[0].position, 2 * piece
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": name})
        else:
            self._entries = entries

    def answer(self) -> Event:
        """The page, if it could be read in time."""
        if self._entries is None:
            return _cannot_read()
        return _shown(self._room, self._entries, self._most)


@define(eq=False)
class Finding:
    """Looks for the entries of a room that hold some words."""

    _searches: Searches
    _room: Room
    _most: float
    _search: Search
    _address: str
    _failed: bool = field(default=False, init=False)

    async def look(self) -> None:
        """Search as far as that is to go."""
        try:
            await self._searches.run(self._search, self._address)
        except Exception:
            self._failed = True
            logger.exception("the room log cannot be read", extra={"room": self._room.name})

    def answer(self) -> Event:
        """The entries found so far, and where the search stopped if it did."""
        if self._failed:
            return _cannot_read()
        return _shown(self._room, self._search.entries, self._most, self._search.stopped_at)


def _cannot_read() -> Refusal:
    sentence = "the messages of this room cannot be read now; please try again later"
    return Refusal(sentence, Code.CANNOT_READ)


def _shown(
    room: Room, entries: list[PersistentEntry], most: float, stopped_at: int = 0
) -> EntriesShown:
    """As many of the newest as fit into so many bytes, and one at the least."""
    begin = len(entries)
    while begin and (most := most - _size(entries[begin - 1])) >= 0:
        begin -= 1
    begin = min(begin, max(0, len(entries) - 1))
    return EntriesShown(room.name, room.shown, entries[begin:], stopped_at)


def _size(entry: PersistentEntry) -> int:
    names = entry.nick + (entry.room_name if isinstance(entry, TopicSet) else "")
    return ENTRY_BYTES + len((names + entry.text).encode())
