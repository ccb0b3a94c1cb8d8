"""The gate before a room: it lets a message pass, has it wait, or refuses it.

`trio_chat.hub.authorize` says before who may speak at all.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.errors import Code, Refused
from trio_chat.moderation.fields import Role
from trio_chat.moderation.rules import RoomRules
from trio_chat.moderation.spans import MINUTE
from trio_chat.protocol.events import Acted, Held, Noticed, Said

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User

# The kinds of held messages, as they are stored. A notice becomes a message.
KINDS: Final[dict[type[Said | Acted], str]] = {Said: "said", Noticed: "said", Acted: "acted"}


class Gate:
    """Says which messages pass.

    It is asked only for users in a room with rules, and if the server has a list of words.
    """

    def __init__(self, state: State, collect: Collect, authorize: Authorize) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize

    def check_pace(self, user: User, room: Room) -> None:
        """Raise `Refused` if a user has to wait, because the room is slow."""
        rules, pace = room.rules, room.pace
        if rules is None or pace is None or self._authorize.role(user, rules) >= Role.VOICE:
            return
        if self._authorize.is_held(user, rules):
            return  # their messages wait in any case
        ids, ago, now = (user.person, user.id), 0.0, time.time()
        if not self._collect.has_spoken(room.name, ids):
            ago = pace.ago(ids, trio.current_time())
            if user.account is None and user.since <= now:
                ago = min(ago, now - user.since)  # else a guest would come again for each message
        if (wait := math.ceil(rules.slow(now) - ago)) > 0:
            sentence = f"{room.shown} is slow: you may speak there again in {_wait(wait)}"
            raise Refused(sentence, code=Code.TOO_SOON)

    def admits(self, session: Session, room: Room, draft: Said | Acted) -> bool:
        """Whether a message goes into the room. If not, it is drafted as a held one."""
        user, rules = session.user, room.rules
        is_unwanted = self._has_words(user, draft.text, rules)
        if rules is not None and (
            self._authorize.is_held(user, rules) or (is_unwanted and rules.can_hold(time.time()))
        ):
            self._hold(session, room, draft)
            return False
        if is_unwanted:
            raise unwanted("message")
        self.note(user, room)
        return True

    def check_words(self, user: User, text: str, what: str, room: Room | None = None) -> None:
        """Raise `Refused` if a text holds a word of the server's list; `what` is its noun."""
        if self._has_words(user, text, None if room is None else room.rules):
            raise unwanted(what)

    def _has_words(self, user: User, text: str, rules: RoomRules | None) -> bool:
        words = self._state.words
        if words is None or self._authorize.role(user, rules) >= Role.VOICE:
            return False
        return (rules is None or rules.setting("words") == "on") and words.is_in(text)

    def note(self, user: User, room: Room) -> None:
        """Note a message that goes into the room, which the log has still to take."""
        if room.pace is not None:
            self._collect.note_spoken(room.name, (user.person, user.id))

    def _hold(self, session: Session, room: Room, draft: Said | Acted) -> None:
        user = session.user
        networks = () if user.account is not None else self._authorize.who(user).networks
        held = Held(
            *(room.name, room.shown, user.person, user.nick, KINDS[type(draft)], draft.text),
            networks=" ".join(f"net:{tag}" for tag in networks),
            device=user.device,
        )
        self._collect.draft(session, held)


def unwanted(what: str) -> Refused:
    """Return the refusal of a text with a word that is not wanted."""
    return Refused(f"the {what} holds a word that is not wanted here", code=Code.UNWANTED)


def _wait(seconds: int) -> str:
    """Say how long somebody has to wait."""
    if seconds < 2 * MINUTE:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    return f"{math.ceil(seconds / MINUTE)} minutes"
