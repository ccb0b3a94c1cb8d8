"""Pins: the one entry of a room that its operators show to all who come.

The rules have its position, and nothing of its text. So a pin ends with its entry.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.asking import LOG, Asking
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.moderation.fields import PIN, Role
from trio_chat.moderation.permission import check_rank
from trio_chat.protocol import commands, events
from trio_chat.protocol.events import SPOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog


class Pins:
    """Handles the records about pinned entries."""

    def __init__(self, collect: Collect, ruling: Ruling, log: RoomLog) -> None:
        self._collect = collect
        self._ruling = ruling
        self._log = log
        self.handlers: Handlers = {commands.Pin: self._pin, commands.ShowPin: self._show}

    def _pin(self, session: Session, record: commands.Pin) -> None:
        room = self._moderated(session, record.room)
        if record.entry:
            ask = partial(self._log.before, room.name, record.entry + 1, 1)
            then = partial(self._read, record, room.name)
            self._collect.query(session, record, Asking(LOG, ask, then))
        elif not (pinned := _position(room)):
            raise Refused(f"nothing is pinned in {room.shown}", code=Code.BAD_USAGE)
        else:
            self._ruling.rule(session, room, f"unpinned message {pinned}", {PIN: None})

    def _moderated(self, session: Session, name: str | None) -> Room:
        room, role = self._ruling.moderated(session, name)
        check_rank(role, Role.NONE, "pin messages")
        return room

    def _read(
        self,
        record: commands.Pin,
        name: str,
        session: Session,
        entries: Sequence[PersistentEntry],
    ) -> None:
        room = self._moderated(session, name)
        if not _found(entries, record.entry):
            raise Refused(f"there is no message {record.entry} any more", code=Code.BAD_USAGE)
        # Not its text: that may be removed from the history, and this may not.
        text = f"pinned message {record.entry}"
        self._ruling.rule(session, room, text, {PIN: str(record.entry)})

    def _show(self, session: Session, record: commands.ShowPin) -> None:
        if record.joined and record.room not in session.user.rooms:  # it has left, or was banned
            return
        room = room_meant(session.user, record.room)
        pinned = _position(room)
        if pinned:
            ask = partial(self._log.before, room.name, pinned + 1, 1)
            then = partial(self._shown, record, room.name, pinned, room.changed)
            self._collect.query(session, record, Asking(LOG, ask, then))
        elif not record.joined:
            self._collect.reply(session, events.PinShown(room.name, room.shown, []))

    def _shown(
        self,
        record: commands.ShowPin,
        name: str,
        pinned: int,
        changed: int,
        session: Session,
        entries: Sequence[PersistentEntry],
    ) -> None:
        if record.joined and name not in session.user.rooms:
            return
        room, found = room_meant(session.user, name), _found(entries, pinned)
        if room.changed != changed:  # it may have been removed
            self._show(session, record)
        elif found or not record.joined:
            self._collect.reply(session, events.PinShown(room.name, room.shown, found))


def _position(room: Room) -> int:
    """Return the position of the pinned entry of a room, or 0."""
    value = None if room.rules is None else room.rules.value(PIN)
    return 0 if value is None else int(value)


def _found(entries: Sequence[PersistentEntry], position: int) -> list[PersistentEntry]:
    """Return the last of these entries if it is the one, and its text was not removed."""
    return [e for e in entries[-1:] if e.position == position and isinstance(e, SPOKEN) and e.text]
