"""Permissions: what a user may do in a room that has rules.

The hub asks before each command of a user in such a room (`User.ruled`). All else is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.config.trusted import is_trusted
from trio_chat.errors import Code, Refused
from trio_chat.hub import inbox
from trio_chat.moderation.fields import Role
from trio_chat.moderation.rules import RoomRules, Who
from trio_chat.moderation.spans import describe_end
from trio_chat.protocol import commands, past, presence
from trio_chat.protocol.rows import May

if TYPE_CHECKING:
    from trio_chat.hub.inbox import Record
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.moderation.fields import Penalty
    from trio_chat.protocol.names import Name

    Check: TypeAlias = Callable[["Authorize", User, Room], None]


class Authorize:
    """Says what a user may do, by the rules of rooms and the settings of the server."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(self, user: User, record: Record) -> None:
        """Raise `Refused` if a user may not do this: by rules, or while it is awaited."""
        if user.awaited and record.__class__ not in _BEFORE_INTRODUCTION:
            sentence = "say who you are first: your client sends NICK and USER"
            raise Refused(sentence, code=Code.NOT_INTRODUCED)
        if self._state.server.rules is not None:
            self._check_server(user, record)
        if (check := _CHECKS.get(record.__class__)) is None:
            return
        name: str | None = getattr(record, "room", None)
        room = user.only_room if name is None else user.rooms.get(name)
        if room is not None and room.rules is not None:
            check(self, user, room)

    def role(self, user: User, rules: RoomRules | None) -> Role:
        """Return the role of a user in a room with these rules."""
        if user.account is None:
            operates = user.session is not None and user.session.operates
        else:
            operates = user.keys[0] in self._state.operators
        if operates:
            return Role.SERVER
        return Role.NONE if rules is None else rules.role(*user.ids)

    def may(self, user: User) -> May:
        """Return whose commands a user may use, in any of its rooms."""
        roles = [self.role(user, room.rules) for room in user.rooms.values()]
        highest = max(roles, default=self.role(user, None))
        if highest < Role.OPERATOR:
            return May.ANYONE if user.account is None else May.ACCOUNTS
        return May.SERVER if highest is Role.SERVER else May.OPERATORS

    def who(self, user: User) -> Who:
        """Return a user as rules see it."""
        account = user.account
        return Who(
            user.person,
            self.tags(user),
            account is not None,
            user.since if account is None else account.since,
            user.ids[1:],
        )

    def tags(self, user: User) -> tuple[str, ...]:
        """Return the tags of a user's networks, the narrowest first.

        There are none for a user of this machine, or of another process.
        """
        place = user.session.link if user.session is not None else user.detached
        return () if place is None else self._state.tags.of_address(place.address)

    def guest_tags(self, user: User) -> tuple[str, ...]:
        """Return the tags of a guest's networks that rules may be about.

        Those of proxies are left out, as all their clients would be hit.
        """
        place = user.session.link if user.session is not None else user.detached
        if place is None or is_trusted(place.address, self._state.settings.trusted_proxies):
            return ()
        return self.tags(user)

    def penalty(self, kind: str, user: User, rules: RoomRules | None) -> Penalty | None:
        """Return the mute or ban that counts for a user now. Operators have none."""
        if rules is None or self.role(user, rules) >= Role.OPERATOR:
            return None
        return rules.penalty(kind, self.who(user), time.time())

    def why_banned(self, user: User, shown: str, rules: RoomRules | None) -> str:
        """Return the sentence about a ban of a user from a room; empty if there is none."""
        ban = self.penalty("ban", user, rules)
        return "" if ban is None else f"you are banned from {shown} {ban.describe(time.time())}"

    # --- the whole server -------------------------------------------------------------------------

    def is_concerned(self, user: User) -> bool:
        """Whether a rule of the server is about a user, even one whose time is over by now.

        The clock may be set back, so such a user is looked at again before each command.
        """
        if (rules := self._state.server.rules) is None:
            return False
        if self._is_newcomer(user, rules, 0.0):
            return True
        who = self.who(user)
        return any(rules.penalty(kind, who, 0.0) is not None for kind in ("ban", "mute"))

    def _is_newcomer(self, user: User, rules: RoomRules, now: float) -> bool:
        """Whether a user came with a raid on the server. The programs of this process never do."""
        is_local = user.session is not None and user.session.local
        if is_local or self.role(user, None) is Role.SERVER:
            return False
        return rules.is_newcomer(self.who(user), now)

    def server_ban(self, user: User) -> Penalty | None:
        """Return the ban that keeps a user out of the server now."""
        return self.penalty("ban", user, self._state.server.rules)

    def is_silenced(self, account: str) -> bool:
        """Whether an account is muted on the server or banned from it now, wherever it is."""
        if (rules := self._state.server.rules) is None:
            return False
        who, now = Who(account, account=True), time.time()
        return any(rules.penalty(kind, who, now) is not None for kind in ("ban", "mute"))

    def _check_server(self, user: User, record: Record) -> None:
        """Raise `Refused` if the rules of the server do not let a user do this.

        A guest in a banned network may only log in: people with older accounts may come in.
        """
        kind = record.__class__
        if kind not in AT_THE_DOOR and (ban := self.server_ban(user)) is not None:
            raise banned_from_server(ban)
        if kind in SPEAKING:
            self.check_silenced(user)
        makes_room = isinstance(record, commands.Join) and (
            record.name.casefolded not in self._state.rooms
        )
        if makes_room or kind is commands.Register:
            self._check_raid(user)

    def _check_raid(self, user: User) -> None:
        """Raise `Refused` if a user came with a raid on the whole server."""
        rules, now = self._state.server.rules, time.time()
        if rules is None or not self._is_newcomer(user, rules, now):
            return
        raid = rules.raid(now)
        end = "" if raid is None else f" {describe_end(raid.until, now)}"
        sentence = (
            f"because of a raid, newcomers can only read{end}; if you have an older account: "
            "/login NAME"
        )
        raise Refused(sentence, code=Code.NOT_ALLOWED)

    def check_silenced(self, user: User) -> None:
        """Raise `Refused` if a user is muted on the whole server, or came with a raid on it."""
        if (mute := self.penalty("mute", user, self._state.server.rules)) is not None:
            raise Refused(
                f"you are muted on this server {mute.describe(time.time())}", code=Code.MUTED
            )
        self._check_raid(user)

    def may_be_silenced(self, user: User) -> bool:
        """Whether rules may keep a user from saying something, in one of its rooms or anywhere."""
        if not user.ruled:
            return False
        rules = (room.rules for room in user.rooms.values())
        return self.is_concerned(user) or any(r is not None and r.may_silence for r in rules)

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
        if self.is_held(user, rules):
            raise Refused("new people may not set the topic here", code=Code.NOT_ALLOWED)

    def is_held(self, user: User, rules: RoomRules) -> bool:
        """Whether messages of a user wait for a moderator in a room with these rules."""
        return self.role(user, rules) is Role.NONE and rules.holds(self.who(user), time.time())

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

    def check_join(self, user: User, name: Name, rules: RoomRules, key: str) -> None:
        """Raise `Refused` if a user may not enter a room with this key. Its limit is not looked at.

        Nobody who may not enter for another reason learns whether the key is right.
        """
        shown = name.display
        if self.role(user, rules) >= Role.OPERATOR:
            return
        if banned := self.why_banned(user, shown, rules):
            raise Refused(banned, code=Code.BANNED)
        if not rules.is_let_in(self.who(user), time.time()):
            raise Refused(_ONLY[rules.setting("join")].format("enter"), code=Code.NOT_ALLOWED)
        if not rules.is_key(key) and not self.is_expected(user, name.casefolded, rules):
            missing = f"{shown} has a key: give it behind the name of the room"
            sentence = f"that is not the key of {shown}" if key else missing
            raise Refused(sentence, code=Code.BAD_KEY)

    def is_expected(self, user: User, room: str, rules: RoomRules) -> bool:
        """Whether a user comes into a room without its key, and even if it is full.

        That is somebody with a role or an invitation, or who is there with another device.
        """
        if self.role(user, rules) >= Role.OPERATOR:
            return True
        is_there = any(room in other.rooms for other in user.others)
        return is_there or rules.is_expected(self.who(user), time.time())

    def check_nick(self, user: User) -> None:
        """Raise `Refused` if a user may not take another nick: it is muted in one of its rooms."""
        for room in user.rooms.values():
            if self.penalty("mute", user, room.rules) is not None:
                sentence = f"you are muted in {room.shown}, and keep your nick until that ends"
                raise Refused(sentence, code=Code.MUTED)


# The reason for an end in metrics and the log: not the text that the client reads.
BANNED: Final = "banned"


def banned_from_server(ban: Penalty) -> Refused:
    """Return the refusal of somebody whom the server does not let in."""
    older = "; if your account is older: /login NAME" if ban.spares else ""
    until = ban.describe(time.time())
    return Refused(f"you are banned from this server {until}{older}", code=Code.BANNED)


# The records of those who may do nothing but log in or leave, and those of their connections.
AT_THE_DOOR: Final = frozenset[type](
    {
        *(inbox.Connected, inbox.CameFrom, inbox.Secured, inbox.InputEnded, inbox.Broken),
        *(commands.Began, commands.Served, commands.Disconnected, commands.Quit),
        *(commands.Greet, commands.Resume, commands.Ping, commands.ShowGreeting, commands.Help),
        *(commands.LogIn, commands.Authenticate, commands.Recover),
        # A login does not have to be followed by an introduction.
        *(presence.AwaitIntroduction, presence.Introduce),
        *(commands.Refuse, commands.Answer, commands.SwitchEncoding),
        *(commands.LabelledCommand, inbox.Call),  # what is in them is asked about by itself
    }
)
# Muted people may do none of these. With another nick they would be heard all the same.
SPEAKING: Final = frozenset[type](
    {
        *(commands.Say, commands.Notify, commands.Act, commands.Tell),
        *(commands.SetTopic, commands.TakeNick, commands.Invite),
    }
)

_ONLY: Final = {
    "accounts": "only people with an account may {} here: /register, or /login NAME",
    "members": "only people with a role in the room may {} here: ask one of its operators",
    "voice": "only people with the role voice may {} here: ask one of the room's operators",
}

# A user that has yet to introduce itself may do nothing that others could notice.
_BEFORE_INTRODUCTION: Final = AT_THE_DOOR | {commands.TakeNick}

_CHECKS: Final[Mapping[type, Check]] = {
    commands.Say: Authorize.check_speak,
    commands.Notify: Authorize.check_speak,
    commands.Act: Authorize.check_speak,
    commands.Invite: Authorize.check_speak,
    commands.SetTopic: Authorize.check_topic,
    commands.ShowHistory: Authorize.check_history,
    commands.Search: Authorize.check_history,
    past.ShowMessages: Authorize.check_history,
}
