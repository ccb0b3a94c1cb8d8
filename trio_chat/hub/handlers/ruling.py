"""Drafts the actions of moderators, by the rules of now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.moderation.rules import Role, RoomRules
from trio_chat.protocol import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.roomlog import RoomLog

# Fields of a room, at most: roles, mutes, bans and invitations. Those that are over count until the
# next change removes them.
MOST_FIELDS: Final = 10_000


class Ruling:
    """Says what a moderator may do in a room, and drafts what the moderator does."""

    def __init__(self, collect: Collect, authorize: Authorize, log: RoomLog) -> None:
        self._collect = collect
        self._authorize = authorize
        self._log = log

    def moderated(self, session: Session, name: str | None) -> tuple[Room, Role]:
        """Return the room that a command is about, and the asker's role in it."""
        room = room_meant(session.user, name)
        return room, self._authorize.role(session.user, room.rules)

    def rule(
        self,
        session: Session,
        room: Room,
        text: str,
        changes: Mapping[str, str | None],
        ousted: tuple[str, ...] = (),
    ) -> None:
        """Draft an action. With it go the fields whose time is over, if there are too many."""
        user, rules = session.user, room.rules or RoomRules({})
        changed = dict(changes)
        if rules.grown(changed) > max(rules.count, MOST_FIELDS):
            changed = {**dict.fromkeys(rules.over(time.time())), **changed}
            if rules.grown(changed) > MOST_FIELDS:
                sentence = f"{room.shown} has {MOST_FIELDS} rules, which is the most: undo some"
                raise Refused(sentence, code=Code.NOT_ALLOWED)
        version = self._log.snapshot(room.name).rules.version
        draft = events.Ruled(
            *(room.name, room.shown, user.person, user.nick, text, changed, version),
            ousted=ousted,
            device=user.device,
        )
        self._collect.rule(session, draft)
