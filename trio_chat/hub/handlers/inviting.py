"""Invitations to rooms: they are told to the invited person, and may open a closed room to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.hub.enforce import invitation
from trio_chat.hub.handlers.messages import unreachable
from trio_chat.moderation.fields import Role
from trio_chat.moderation.permission import check_rank
from trio_chat.moderation.spans import DAY
from trio_chat.protocol import commands
from trio_chat.protocol.events import Notice

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.handlers.targets import Targets
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User

# Seconds for which an invitation by an operator counts.
INVITATION: Final = DAY


class Inviting:
    """Handles the record of an invitation."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        authorize: Authorize,
        targets: Targets,
        ruling: Ruling,
    ) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self._targets = targets
        self._ruling = ruling
        self.handlers: Handlers = {commands.Invite: self._invite}

    def _invite(self, session: Session, record: commands.Invite) -> None:
        room, role = self._ruling.moderated(session, record.room)
        if self._collect.waits_for_nick(session, record, record.name.casefolded):
            return
        user = self._state.named(record.name.casefolded)
        if user is not None and any(room.name in one.rooms for one in (user, *user.others)):
            raise Refused(f"{user.nick} is in {room.shown} already", code=Code.ALREADY_IN_ROOM)
        may_enter = user is not None and self._may_enter(user, room)
        if role >= Role.OPERATOR and not may_enter and room.rules is not None:
            self._let_in(session, record, room)
        elif user is None:
            nick = record.name.display
            raise Refused(f"no one here is called {nick}", code=Code.NO_SUCH_NICK)
        else:
            if not may_enter:
                check_rank(role, Role.NONE, "invite people")
            self._tell(session, user, room)

    def _may_enter(self, user: User, room: Room) -> bool:
        """Whether a user may enter a room without an invitation that says so."""
        rules = room.rules
        if rules is None or self._authorize.is_expected(user, room.name, rules):
            return True
        is_closed = not rules.is_key("") or 0 < rules.limit <= room.people
        return not is_closed and rules.is_let_in(self._authorize.who(user), time.time())

    def _let_in(self, session: Session, record: commands.Invite, room: Room) -> None:
        """Change the rules of a room. `trio_chat.hub.enforce` tells the invited person."""
        ids, nick = self._targets.holder(room, record.name)
        until = f"{time.time() + INVITATION:.0f}"
        self._ruling.rule(session, room, f"invited {nick} for a day", {f"invite {ids[0]}": until})

    def _tell(self, session: Session, invited: User, room: Room) -> None:
        if all(one.detached is not None for one in (invited, *invited.others)):
            raise unreachable(invited.nick)
        draft = invitation(session.user, room, invited.person)
        answer = Notice(f"you have invited {invited.nick} to {room.shown}")
        self._collect.draft(session, draft, answer if session.encoding.for_people else None)
