"""A person as the others see one: nick and rooms, with a connection or without."""

from __future__ import annotations

import secrets
import time
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, evolve, field

from trio_chat.protocol.names import ANONYMOUS
from trio_chat.protocol.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.dialects import Encoding
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.protocol.events import Ousted
    from trio_chat.protocol.presence import About

# Most users share this, as long as they have none of their own.
NOWHERE: Final[Mapping[str, tuple[str, Ousted]]] = MappingProxyType({})


@define(eq=False)
class Detached:
    """The state of a user whose connection broke. The user may resume until `until`.

    The user counts for the address of that connection. `positions` are those that the connection
    had reached, by room. `channel` is a clone of the hub's channel, because the hub waits for this
    user.
    """

    peer: str
    address: str
    encoding: Encoding
    room_limit: int | None
    positions: dict[str, int]
    until: float
    channel: trio.MemorySendChannel[Item]
    # The scope of the wait for the end of the grace period.
    scope: trio.CancelScope = field(factory=trio.CancelScope)


class Account:
    """A person who has logged in: an id, and the users (devices) that are this person.

    `since` is when the account was made, in seconds since 1970.
    """

    __slots__ = ("id", "since", "users")

    def __init__(self, id: str, since: float) -> None:
        self.id = id
        self.since = since
        # In the order of their logins.
        self.users: dict[User, None] = {}

    @property
    def about(self) -> About:
        """The words of the person: those of the first device that has said any.

        A person is away once all its devices are.
        """
        told = [user.about for user in self.users if user.about is not UNKNOWN]
        if not told:
            return UNKNOWN
        away = told[0].away if all(user.about.away for user in self.users) else ""
        return told[0] if told[0].away == away else evolve(told[0], away=away)


def account_of(user: User) -> tuple[str, float]:
    """Return the id of a user's account, and when that was made; for nobody's, `""` and 0."""
    return ("", 0.0) if user.account is None else (user.account.id, user.account.since)


class User:
    """One presence in the chat.

    Only folding entries changes `account`, `expires`, `nick`, `keys` and `rooms`.

    Without an account it is a person by itself. A user of another process has neither a session nor
    `detached` here.
    """

    __slots__ = (
        "about",
        "account",
        "awaited",
        "detached",
        "device",
        "drafted",
        "expires",
        "heard",
        "id",
        "keys",
        "leaving",
        "nick",
        "only_room",
        "ousted",
        "person",
        "resent_until",
        "rooms",
        "ruled",
        "session",
        "since",
        "token",
    )

    def __init__(self, id: str = "", nick: str = ANONYMOUS, since: float = 0.0) -> None:
        # 96 random bits: unique for ever, on any number of servers.
        self.id = id or secrets.token_urlsafe(12)
        self.account: Account | None = None
        # The id that others see: the account's, or the user's own. With an account, `device` is
        # the user's own; it is empty if that says no more than `person`.
        self.person, self.device = self.id, ""
        self.nick = nick
        # Seconds since 1970.
        self.since = since or time.time()
        # The casefolded nick, then the other keys that no other nick may have. Empty if anonymous.
        self.keys: tuple[str, ...] = ()
        self.rooms: dict[str, Room] = {}
        # The rooms from which it was kicked in another process, until its leave is folded. It may
        # resume here before that.
        self.ousted: Mapping[str, tuple[str, Ousted]] = NOWHERE
        # Whether to ask before each command: one of the rooms may have rules, or it is `awaited`.
        self.ruled = False
        # The user's own words about itself, and whether it has yet to introduce itself.
        self.about: About = UNKNOWN
        self.awaited = False
        # The user's room, if it is the only one: a record without a room means that one.
        self.only_room: Room | None = None
        self.session: Session | None = None
        self.detached: Detached | None = None
        # A secret with which the user can resume after its connection broke.
        self.token = ""
        # The time, on Trio's clock, until which resent entries use up the rate limit.
        self.resent_until = 0.0
        # The time of the last input, on the clock of `perf_counter`.
        self.heard = perf_counter()
        # The last turn with a draft of this user.
        self.drafted = 0
        # When its login ends, in seconds since 1970; 0 for never.
        self.expires = 0.0
        # Whether a draft ends the user.
        self.leaving = False

    @property
    def others(self) -> list[User]:
        """The other users that are the same person."""
        return [] if self.account is None else [u for u in self.account.users if u is not self]

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of the person, and those of its devices if it has an account."""
        devices = () if self.account is None else self.account.users
        return (self.person, *(user.id for user in devices))

    def be(self, account: Account | None) -> None:
        """Become the person of an account, or a person by itself again."""
        if self.account is not None:
            del self.account.users[self]
        self.account = account
        if account is None:
            self.person, self.device = self.id, ""
        else:
            account.users[self] = None
            self.person, self.device = account.id, self.id

    @property
    def is_here(self) -> bool:
        """Whether the user belongs to this process: connected, or detached."""
        return self.session is not None or self.detached is not None

    @property
    def positions(self) -> dict[str, int]:
        """The newest position that was delivered in each room of the user."""
        return {room.name: room.position for room in self.rooms.values()}
