"""A person as the others see one: nick and rooms, with a connection or without."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.protocol.names import ANONYMOUS

if TYPE_CHECKING:
    from trio_chat.dialects import Encoding
    from trio_chat.hub.inbox import Item
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session


@define(eq=False)
class Detached:
    """The state kept for a user whose connection broke; the user may come back until `until`.

    The user counts for the address that the connection came from. `positions` are those that the
    connection had reached, by room. `channel` is a clone of the hub's: the hub waits for this user.
    """

    peer: str
    address: str
    encoding: Encoding
    room_limit: int | None
    positions: dict[str, int]
    until: float
    channel: trio.MemorySendChannel[Item]
    # Around the wait for the end of that time.
    scope: trio.CancelScope = field(factory=trio.CancelScope)


class User:
    """One person. Folding entries changes `nick`, `keys` and `rooms`, and nothing else does.

    A user of another node has neither a session nor `detached` here.
    """

    __slots__ = (
        "detached",
        "drafted",
        "id",
        "keys",
        "leaving",
        "nick",
        "only_room",
        "resent_until",
        "rooms",
        "session",
        "token",
    )

    def __init__(self, id: str = "", nick: str = ANONYMOUS) -> None:
        # 96 random bits: unique for ever, on however many servers.
        self.id = id or secrets.token_urlsafe(12)
        self.nick = nick
        # The casefolded nick first, then what else no other nick may look like; none if anonymous.
        self.keys: tuple[str, ...] = ()
        self.rooms: dict[str, Room] = {}
        # The room it is in, if that is just one: what a record without a room means.
        self.only_room: Room | None = None
        self.session: Session | None = None
        self.detached: Detached | None = None
        # With this it can come back if its connection breaks.
        self.token = ""
        # So long, by Trio's clock, what has been sent a second time takes by the rate limit.
        self.resent_until = 0.0
        # The last turn with a draft of this user's.
        self.drafted = 0
        # Its leaving is drafted.
        self.leaving = False

    @property
    def positions(self) -> dict[str, int]:
        """The newest position that was delivered in each of its rooms."""
        return {room.name: room.position for room in self.rooms.values()}
