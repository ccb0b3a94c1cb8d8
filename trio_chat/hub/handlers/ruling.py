"""Drafts the actions of moderators, by the rules of now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.room import Room
from trio_chat.moderation.fields import Role
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol import events
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.roomlog import RoomLog

# Fields of a room, at most: roles, mutes, bans and invitations. Those that are over count until the
# next change removes them.
MOST_FIELDS: Final = 10_000
# Rooms that one account may own, because rooms with owners are never forgotten.
MOST_CLAIMS: Final = 10


class Ruling:
    """Says what a moderator may do in a room, and drafts what the moderator does."""

    def __init__(self, state: State, collect: Collect, authorize: Authorize, log: RoomLog) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self._log = log

    def moderated(self, session: Session, name: str | None) -> tuple[Room, Role]:
        """Return the room that a command is about, and the asker's role in it."""
        room = room_meant(session.user, name)
        return room, self._authorize.role(session.user, room.rules)

    def ruled(self, session: Session, name: str | None) -> tuple[Room, Role]:
        """Return the same, of a command that may be about the whole server. Raises `Refused`."""
        place = self._place(session, name)
        return place, self._authorize.role(session.user, place.rules)

    def _place(self, session: Session, name: str | None) -> Room:
        if name == SERVER:
            if self._authorize.role(session.user, None) is not Role.SERVER:
                sentence = "only operators of the server may do that"
                raise Refused(sentence, code=Code.NOT_ALLOWED)
            return self._state.server
        if name is None or not session.operates:
            return room_meant(session.user, name)
        room = self._state.rooms.get(name)
        if self._collect.shares_log and (room is None or not room.is_followed):
            # The log keeps a process informed only of rooms with members there.
            raise Refused(f"enter {name} first: nobody here is in it", code=Code.NOT_IN_ROOM)
        return room or self._empty_room(name)

    def _empty_room(self, name: str) -> Room:
        """Return a room that the log knows, and that nobody is in. Raises `Refused`."""
        known = self._log.snapshot(name)
        if not known.position:
            raise Refused(f"there is no room {name}", code=Code.NOT_IN_ROOM)
        return Room(name, name, known)

    def rule(
        self,
        session: Session,
        room: Room,
        text: str,
        changes: Mapping[str, str | None],
        ousted: tuple[str, ...] = (),
        silenced: Iterable[str] = (),
        owns: str = "",
    ) -> None:
        """Draft an action. With it go the fields whose time is over, if there are too many.

        `ousted` users have to leave the room. Held messages of `silenced` persons and networks go.
        `owns` begins the sentence that refuses one more owner who has the most rooms.
        """
        user, rules = session.user, room.rules or RoomRules({})
        changed = {**rules.settling(changes), **changes}
        if rules.grown(changed) > max(rules.count, MOST_FIELDS):
            changed = {**dict.fromkeys(rules.over(time.time())), **changed}
            if rules.grown(changed) > MOST_FIELDS:
                sentence = f"{room.shown} has {MOST_FIELDS} rules, which is the most: undo some"
                raise Refused(sentence, code=Code.NOT_ALLOWED)
        version = self._log.snapshot(room.name).rules.version
        draft = events.Ruled(
            *(room.name, room.shown, user.person, user.nick, text, changed, version),
            ousted=ousted,
            silenced=tuple(silenced),
            device=user.device,
            bound=(Role.OWNER.word, MOST_CLAIMS, f"{owns} {MOST_CLAIMS} rooms, which is the most"),
        )
        self._collect.rule(session, draft)
