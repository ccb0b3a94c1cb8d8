"""Messages of rooms by times and ids, as clients of IRC ask for them.

The log knows positions. Times only increase with them, so a time is found by halving.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.asking import LOG, Asking
from trio_chat.hub.handlers.history import check_is_in
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.ignoring import ignored_by, without
from trio_chat.protocol import events, past
from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.protocol.message_ids import position_of
from trio_chat.roomlog.order import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog

# Entries read at once, and entries that are looked at for the messages among them, at most.
PAGE_ENTRIES: Final = 32
MOST_LOOKED_AT: Final = 5_000
# Bytes of a message beside its text, at most: names, time and id.
LINE_BYTES: Final = 300


class Past:
    """Handles the records about the past of rooms."""

    def __init__(self, state: State, collect: Collect, authorize: Authorize, log: RoomLog) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self._log = log
        self.handlers: Handlers = {
            past.ShowMessages: self._show_messages,
            past.ShowActiveRooms: self._show_active_rooms,
        }

    def _show_messages(self, session: Session, record: past.ShowMessages) -> None:
        room = room_meant(session.user, record.room)
        places = [self._place(room, mark) for mark in record.marks]
        limit = min(record.limit, past.MOST_MESSAGES)
        ask = partial(self._reader(session, room).show, record.side, places, limit)
        then = partial(self._messages_read, record, room, room.changed)
        self._collect.query(session, record, Asking(LOG, ask, then))

    def _messages_read(
        self,
        record: past.ShowMessages,
        room: Room,
        changed: int,
        session: Session,
        entries: list[PersistentEntry],
    ) -> None:
        check_is_in(session, room)
        if room.changed != changed:  # it may have texts that are removed
            self._show_messages(session, record)
            return
        self._collect.reply(session, events.EntriesShown(room.name, room.shown, entries))

    def _show_active_rooms(self, session: Session, record: past.ShowActiveRooms) -> None:
        user = session.user
        rooms = [room for room in user.rooms.values() if self._authorize.may_read(user, room)]
        readers = [self._reader(session, room) for room in rooms]
        ask = partial(_active, readers, record)
        self._collect.query(session, record, Asking(LOG, ask, self._active_rooms_read))

    def _active_rooms_read(self, session: Session, rooms: list[past.ActiveRoom]) -> None:
        here = [active for active in rooms if active.room in session.user.rooms]
        self._collect.reply(session, past.ActiveRooms(here))

    def _reader(self, session: Session, room: Room) -> Reader:
        ignored = frozenset(ignored_by(self._state, session.user))
        most = self._state.settings.outbox_bytes // 2
        return Reader(self._log, room.name, room.position, ignored, most)

    def _place(self, room: Room, mark: past.Mark) -> Place:
        """Return where a mark is. Raises `Refused` if no message of the room has its id."""
        if not mark.id:
            return Place(time=milliseconds(mark.time))
        position = position_of(mark.id, self._state.log, room.name)
        if position is None:
            raise Refused("no message of this room has this id", code=Code.CANNOT_READ)
        return Place(position=position)


@frozen
class Place:
    """A position, or if that is 0 a time in milliseconds since 1970."""

    position: int = 0
    time: int = 0


@define
class Reader:
    """Reads messages of a room up to a position, without those of ignored people.

    An answer has at most `most` bytes, but at least one message.
    """

    _log: RoomLog
    room: str
    _newest: int
    _ignored: frozenset[str]
    _most: int

    async def show(self, side: past.Side, places: list[Place], limit: int) -> list[PersistentEntry]:
        """Return what `ShowMessages` asks for, oldest first. Raises `StoreError`."""
        end = self._newest + 1
        ranges = [(await self._first(place), await self._next(place)) for place in places]
        if side == "latest":
            return await self.newest(ranges[0][1] if ranges else 1, end, limit)
        first, after = ranges[0]
        if side == "before":
            return await self.newest(1, first, limit)
        if side == "after":
            return await self._oldest(after, end, limit)
        if side == "around":
            older = await self.newest(1, first, limit // 2)
            return older + await self._oldest(first, end, limit - len(older))
        other_first, other_after = ranges[1]
        if first <= other_first:
            return await self._oldest(after, other_first, limit)
        return await self.newest(other_after, first, limit)

    async def _first(self, place: Place) -> int:
        """Return the position of the first entry at or after a place."""
        return place.position or await self._since(place.time)

    async def _next(self, place: Place) -> int:
        """Return the position of the first entry after a place."""
        return place.position + 1 if place.position else await self._since(place.time + 1)

    async def _since(self, time: int) -> int:
        """Return the first position whose entry is not older than a time."""
        low, high = 1, self._newest + 1
        while low < high:
            middle = (low + high) // 2
            # Entries that are no longer kept are older than all others.
            page = await self._log.before(self.room, middle + 1, 1)
            if page and milliseconds(page[-1].time) >= time:
                high = middle
            else:
                low = middle + 1
        return low

    async def newest(self, first: int, end: int, limit: int) -> list[PersistentEntry]:
        """Return the newest messages from a position up to another one, which is left out."""
        end = min(end, self._newest + 1)
        found: list[PersistentEntry] = []
        looked = size = 0
        while end > first and looked < MOST_LOOKED_AT:
            page = await self._log.before(self.room, end, PAGE_ENTRIES)
            if not page:
                break
            end = page[0].position
            looked += len(page)
            for entry in self._messages(entry for entry in page[::-1] if entry.position >= first):
                size += _size(entry)
                if len(found) >= limit or (found and size > self._most):
                    return found[::-1]
                found.append(entry)
        return found[::-1]

    async def _oldest(self, first: int, end: int, limit: int) -> list[PersistentEntry]:
        """Return the oldest messages from a position up to another one, which is left out."""
        end = min(end, self._newest + 1)
        found: list[PersistentEntry] = []
        looked = size = 0
        while first < end and looked < MOST_LOOKED_AT:
            page = await self._log.read(self.room, first - 1, PAGE_ENTRIES)
            if not page:
                break
            first = page[-1].position + 1
            looked += len(page)
            for entry in self._messages(entry for entry in page if entry.position < end):
                size += _size(entry)
                if len(found) >= limit or (found and size > self._most):
                    return found
                found.append(entry)
        return found

    def _messages(self, entries: Iterable[PersistentEntry]) -> list[PersistentEntry]:
        """Return those that are messages, and were not removed."""
        said = [e for e in entries if isinstance(e, (events.Said, events.Acted)) and e.text]
        return without(said, self._ignored) if self._ignored else list(said)


async def _active(readers: list[Reader], wanted: past.ShowActiveRooms) -> list[past.ActiveRoom]:
    """Return the rooms that `ShowActiveRooms` asks for. Raises `StoreError`."""
    begin, end = sorted((wanted.first, wanted.second))
    found = []
    for reader in readers:
        newest = await reader.newest(1, MAX_POSITION, 1)
        found += [past.ActiveRoom(reader.room, e.time) for e in newest if begin < e.time < end]
    backwards = wanted.first > wanted.second
    found.sort(key=lambda active: active.time, reverse=backwards)
    chosen = found[: min(wanted.limit, past.MOST_MESSAGES)]
    return chosen[::-1] if backwards else chosen


def _size(entry: PersistentEntry) -> int:
    return LINE_BYTES + len(entry.text.encode())
