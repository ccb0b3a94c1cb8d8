"""Permissions: what a user may do in a room that has rules.

The hub asks before each command of a user in such a room (`User.ruled`). All else is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.errors import Code, Refused
from trio_chat.moderation.rules import Role, RoomRules, Who
from trio_chat.protocol import commands

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.moderation.rules import Penalty

    Check: TypeAlias = Callable[["Authorize", User, Room], None]


class Authorize:
    """Says what a user may do, by the rules of rooms and the settings of the server."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(self, user: User, record: Record) -> None:
        """Raise `Refused` if a user in a room with rules may not do this."""
        if (check := _CHECKS.get(record.__class__)) is None:
            return
        name: str | None = getattr(record, "room", None)
        room = user.only_room if name is None else user.rooms.get(name)
        if room is not None and room.rules is not None:
            check(self, user, room)

    def role(self, user: User, rules: RoomRules | None) -> Role:
        """Return the role of a user in a room with these rules."""
        if user.account is None:
            return Role.NONE
        if user.keys[0] in self._state.operators:
            return Role.SERVER
        return Role.NONE if rules is None else rules.role(user.person)

    def who(self, user: User) -> Who:
        """Return a user as rules see it."""
        account = user.account
        tag = self.tag(user)
        return Who(
            user.person,
            () if tag is None else (tag,),
            account is not None,
            0.0 if account is None else account.since,
        )

    def tag(self, user: User) -> str | None:
        """Return the tag of a user's network; `None` if nobody knows its address here."""
        place = user.session.link if user.session is not None else user.detached
        people = self._state.people
        return None if place is None or people is None else people.tag(place.address)

    def penalty(self, kind: str, user: User, rules: RoomRules | None) -> Penalty | None:
        """Return the mute or ban that counts for a user now. Operators have none."""
        if rules is None or self.role(user, rules) >= Role.OPERATOR:
            return None
        return rules.penalty(kind, self.who(user), time.time())

    def why_banned(self, user: User, shown: str, rules: RoomRules | None) -> str:
        """Return the sentence about a ban of a user from a room; empty if there is none."""
        ban = self.penalty("ban", user, rules)
        return "" if ban is None else f"you are banned from {shown} {ban.describe(time.time())}"

    # --- checks -----------------------------------------------------------------------------------

    def check_speak(self, user: User, room: Room) -> None:
        """Raise `Refused` if a user may say nothing in a room now."""
        rules = room.rules
        if rules is None or self.role(user, rules) >= Role.OPERATOR:
            return
        if (mute := self.penalty("mute", user, rules)) is not None:
            sentence = f"you are muted in {room.shown} {mute.describe(time.time())}"
            raise Refused(sentence, code=Code.MUTED)
        if not rules.may_speak(self.who(user)):
            raise Refused(_ONLY[rules.setting("speak")].format("speak"), code=Code.NOT_ALLOWED)

    def check_topic(self, user: User, room: Room) -> None:
        """Raise `Refused` if a user may not set the topic of a room."""
        self.check_speak(user, room)
        rules = room.rules
        if rules is None or self.role(user, rules) >= Role.OPERATOR:
            return
        if rules.setting("topic") == "operators":
            raise Refused("only operators of the room may set its topic", code=Code.NOT_ALLOWED)

    def may_read(self, user: User, room: Room) -> bool:
        """Whether a user may read what was said before in a room."""
        rules = room.rules
        if rules is None or rules.setting("history") == "all":
            return True
        return self.role(user, rules) > Role.NONE

    def check_history(self, user: User, room: Room) -> None:
        """Raise `Refused` if a user may not read what was said before in a room."""
        if not self.may_read(user, room):
            sentence = "only people with a role in the room may read its history"
            raise Refused(sentence, code=Code.NOT_ALLOWED)

    def check_join(self, user: User, shown: str, rules: RoomRules | None) -> None:
        """Raise `Refused` if a user may not enter a room."""
        if rules is None or self.role(user, rules) >= Role.OPERATOR:
            return
        if banned := self.why_banned(user, shown, rules):
            raise Refused(banned, code=Code.BANNED)
        if not rules.is_let_in(self.who(user), time.time()):
            raise Refused(_ONLY[rules.setting("join")].format("enter"), code=Code.NOT_ALLOWED)

    def check_nick(self, user: User) -> None:
        """Raise `Refused` if a user may not take another nick: it is muted in one of its rooms."""
        for room in user.rooms.values():
            if self.penalty("mute", user, room.rules) is not None:
                sentence = f"you are muted in {room.shown}, and keep your nick until that ends"
                raise Refused(sentence, code=Code.MUTED)


_ONLY: Final = {
    "accounts": "only people with an account may {} here: /register, or /login NAME",
    "members": "only people with a role in the room may {} here: ask one of its operators",
    "voice": "only people with the role voice may {} here: ask one of the room's operators",
}

_CHECKS: Final[Mapping[type, Check]] = {
    commands.Say: Authorize.check_speak,
    commands.Act: Authorize.check_speak,
    commands.SetTopic: Authorize.check_topic,
    commands.ShowHistory: Authorize.check_history,
    commands.Search: Authorize.check_history,
}
