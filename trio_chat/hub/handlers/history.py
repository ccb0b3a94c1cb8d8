"""The past of a room: history and search, read from the log."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code
from trio_chat.hub.handlers.rooms import room_meant
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


class History:
    """Handles the records that read the log."""

    def __init__(self, state: State, decide: Decide, log: RoomLog) -> None:
        self._state = state
        self._decide = decide
        self._log = log
        self.handlers: Handlers = {
            commands.ShowHistory: self._look_up,
            commands.Search: self._look_up,
        }

    def _look_up(self, session: Session, record: commands.ShowHistory | commands.Search) -> None:
        room = room_meant(session.user, record.room)
        work = partial(self._read, session, room, record)
        self._decide.query(session, record, work)

    async def _read(
        self, session: Session, room: Room, record: commands.ShowHistory | commands.Search
    ) -> Event:
        try:
            if isinstance(record, commands.ShowHistory):
                entries = await self._log.before(room.name, record.before, record.limit)
            else:
                entries = await self._log.search(room.name, record.words, commands.MAX_FOUND)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": room.name})
            sentence = "the messages of this room cannot be read now; please try again later"
            return Refusal(sentence, Code.CANNOT_READ)
        if not session.local:
            entries = self._newest(entries)
        return EntriesShown(room.name, room.shown, entries)

    def _newest(self, entries: list[PersistentEntry]) -> list[PersistentEntry]:
        """As many of the newest as half an outbox holds, and one at the least."""
        space = self._state.settings.outbox_bytes // 2
        for index in range(len(entries) - 1, -1, -1):
            space -= _size(entries[index])
            if space < 0:
                return entries[min(index + 1, len(entries) - 1) :]
        return entries


def _size(entry: PersistentEntry) -> int:
    names = entry.nick + (entry.room_name if isinstance(entry, TopicSet) else "")
    return ENTRY_BYTES + len((names + entry.text).encode())
