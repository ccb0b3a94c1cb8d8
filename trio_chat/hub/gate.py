"""The gate before a room: it lets a message of a user in a room with rules pass, or refuses it.

`trio_chat.hub.authorize` says before who may speak at all.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import Code, Refused
from trio_chat.moderation.rules import Role
from trio_chat.moderation.spans import MINUTE

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.room import Room
    from trio_chat.hub.user import User


class Gate:
    """Says which messages pass. It is asked only for users in a room with rules."""

    def __init__(self, collect: Collect, authorize: Authorize) -> None:
        self._collect = collect
        self._authorize = authorize

    def check_pace(self, user: User, room: Room) -> None:
        """Raise `Refused` if a user has to wait, because the room is slow."""
        rules, pace = room.rules, room.pace
        if rules is None or pace is None or self._authorize.role(user, rules) >= Role.VOICE:
            return
        ids, ago = (user.person, user.id), 0.0
        if not self._collect.has_spoken(room.name, ids):
            ago = pace.ago(ids, trio.current_time())
            if user.account is None and user.since <= (now := time.time()):
                ago = min(ago, now - user.since)  # else a guest would come again for each message
        if (wait := math.ceil(rules.slow - ago)) > 0:
            sentence = f"{room.shown} is slow: you may speak there again in {_wait(wait)}"
            raise Refused(sentence, code=Code.TOO_SOON)

    def passed(self, user: User, room: Room) -> None:
        """Note that a message has passed, which the log has still to take."""
        if room.pace is not None:
            self._collect.note_spoken(room.name, (user.person, user.id))


def _wait(seconds: int) -> str:
    """Say how long somebody has to wait."""
    if seconds < 2 * MINUTE:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    return f"{math.ceil(seconds / MINUTE)} minutes"
