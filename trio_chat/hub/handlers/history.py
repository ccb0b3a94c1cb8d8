"""History and search of a room, read from the log."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.errors import Code, Refused, StoreError
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.ignoring import ignored_by, without
from trio_chat.hub.searches import Search, Searches
from trio_chat.hub.state import counted_as
from trio_chat.protocol import commands
from trio_chat.protocol.events import EntriesShown, Ruled, TopicSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")

# Bytes of a shown entry beside its text and names, at most: position, time and punctuation.
ENTRY_BYTES = 64
# Entries of a page that are read at first; each further step reads twice as many. Entries may have
# eight kilobytes, so few more are read than fit into an answer, and other pages are read in
# between.
PIECE = 32
# Entries that are read for one page, of which some may be of ignored people.
MOST_LOOKED_AT = 2 * commands.MAX_HISTORY


class History:
    """Handles the records that read the log."""

    def __init__(self, state: State, collect: Collect, log: RoomLog) -> None:
        self._state = state
        self._collect = collect
        self._log = log
        self._searches = Searches(log)
        self.handlers: Handlers = {
            commands.ShowHistory: self._show,
            commands.Search: self._search,
        }

    def _show(self, session: Session, record: commands.ShowHistory) -> None:
        room = room_meant(session.user, record.room)
        # Programs that count positions need to see each of them.
        counts = session.encoding.mirrors
        ignored = frozenset(() if counts else ignored_by(self._state, session.user))
        again, most = partial(self._show, session, record), self._most(session)
        page = Page(self._collect, self._log, room, most, record, ignored, again)
        self._collect.query(session, record, page)

    def _search(self, session: Session, record: commands.Search) -> None:
        room = room_meant(session.user, record.room)
        search = Search(room.name, record.words, room.position + 1)
        address = counted_as(session.link.address, self._state.settings.ipv6_prefix)
        again, most = partial(self._search, session, record), self._most(session)
        work = Finding(
            *(self._state, self._collect, self._searches, room, most, search, address), again
        )
        self._collect.query(session, record, work)

    def _most(self, session: Session) -> float:
        """Return the size of an answer, at most: half an outbox, or all of it in-process."""
        return math.inf if session.local else self._state.settings.outbox_bytes // 2


@define(eq=False)
class Page:
    """Looks up a page of a room's history, which leaves out what ignored people have said.

    If texts were removed meanwhile, it calls `again`.
    """

    _collect: Collect
    _log: RoomLog
    _room: Room
    _most: float
    _asked: commands.ShowHistory
    _ignored: frozenset[str]
    _again: Callable[[], None]
    _entries: list[PersistentEntry] | None = field(default=None, init=False)
    _seen: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = self._room.changed

    async def look(self) -> None:
        """Read the page in steps, until it is complete or fills the answer."""
        name, before, left = self._room.name, self._asked.before, self._asked.limit
        space, piece, looked_at = self._most, PIECE, 0
        entries: list[PersistentEntry] = []
        try:
            while left and space >= 0 and looked_at < MOST_LOOKED_AT:
                older = await self._log.before(name, before, min(piece, left))
                kept = without(older, self._ignored) if self._ignored else older
                entries[:0] = kept
                if len(older) < min(piece, left):
                    break
                left -= len(kept)
                looked_at += len(older)
                space -= sum(map(_size, kept))
                before, piece = older[0].position, 2 * piece
        except StoreError as error:
            _note(name, error)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": name})
        else:
            self._entries = entries

    def finish(self, session: Session) -> None:
        """Show the page, if it could be read in time."""
        if self._entries is None:
            raise _cannot_read()
        check_is_in(session, self._room)
        if self._room.changed != self._seen:
            self._again()
            return
        self._collect.reply(session, _shown(self._room, self._entries, self._most))


@define(eq=False)
class Finding:
    """Looks for the entries of a room that contain all the words.

    If texts were removed meanwhile, it calls `again`.
    """

    _state: State
    _collect: Collect
    _searches: Searches
    _room: Room
    _most: float
    _search: Search
    _address: str
    _again: Callable[[], None]
    _failed: bool = field(default=False, init=False)
    _seen: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = self._room.changed

    async def look(self) -> None:
        """Search to the end or to the limit of a search."""
        try:
            await self._searches.run(self._search, self._address)
        except StoreError as error:
            self._failed = True
            _note(self._room.name, error)
        except Exception:
            self._failed = True
            logger.exception("the room log cannot be read", extra={"room": self._room.name})

    def finish(self, session: Session) -> None:
        """Show the entries found so far, and the position where the search stopped early."""
        if self._failed:
            raise _cannot_read()
        check_is_in(session, self._room)
        if self._room.changed != self._seen:
            self._again()
            return
        search = self._search
        entries = search.entries
        if ignored := ignored_by(self._state, session.user):
            entries = without(entries, ignored)
        shown = _shown(self._room, entries, self._most, search.stopped_at)
        self._collect.reply(session, shown)


def _note(room: str, error: StoreError) -> None:
    """Log that a store is away, in one line."""
    logger.warning("the room log cannot be read", extra={"room": room, "reason": str(error)})


def check_is_in(session: Session, room: Room) -> None:
    """Raise `Refused` for somebody who had to leave a room with rules before the answer."""
    if room.rules is not None:
        room_meant(session.user, room.name)


def _cannot_read() -> Refused:
    sentence = "the messages of this room cannot be read now; please try again later"
    return Refused(sentence, code=Code.CANNOT_READ)


def _shown(
    room: Room, entries: list[PersistentEntry], most: float, stopped_at: int = 0
) -> EntriesShown:
    """Return as many of the newest entries as fit into this many bytes, and at least one."""
    begin = len(entries)
    while begin and (most := most - _size(entries[begin - 1])) >= 0:
        begin -= 1
    begin = min(begin, max(0, len(entries) - 1))
    return EntriesShown(room.name, room.shown, entries[begin:], stopped_at)


def _size(entry: PersistentEntry) -> int:
    names = entry.nick + (entry.room_name if isinstance(entry, (TopicSet, Ruled)) else "")
    return ENTRY_BYTES + len((names + entry.text).encode())
