"""The calls that in-process clients and remote clients have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trio_chat.protocol.commands import SOME_HISTORY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_chat.protocol.events import (
        Acted,
        Found,
        Limits,
        MembersListed,
        PersistentEntry,
        Said,
        Told,
        TopicSet,
        Welcomed,
    )
    from trio_chat.remote.inbox import RemoteEvent


class ChatClient(Protocol):
    """A client of a chat, in the chat's own process or elsewhere.

    `Chat.connect` gives one, and so does `trio_chat.remote.open_client`. A bot that is written for
    `ChatClient` runs with both.

    Iterating gives events until the client has left, or the chat has stopped. Each call returns its
    own result, and never waits for events to be read. The client's own messages are no events.

    `room` is the name of a room, in any case. `None` means the room that the client is in; it is
    refused if the client is in none, or in several.

    Every call raises `Refused` where a person would see `err: …`, and `ChatClosed` once the client
    has left or the chat has stopped. A remote client raises `NoConnection` if its connection breaks
    before the answer comes.
    """

    @property
    def id(self) -> str:
        """The client id, which entries carry as `author`."""
        ...

    @property
    def nick(self) -> str:
        """The current nick."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits that the chat sets, such as the characters of a message."""
        ...

    def __aiter__(self) -> AsyncIterator[RemoteEvent]:
        """Iterate over events."""
        ...

    async def take_nick(self, nick: str) -> None:
        """Take another nick."""
        ...

    async def join(self, room: str, *, key: str = "") -> Welcomed:
        """Join a room, and stay in the others; gives its topic and members.

        `key` is for a room that has one.
        """
        ...

    async def leave(self, room: str | None = None) -> None:
        """Leave a room."""
        ...

    async def say(self, text: str, room: str | None = None) -> Said:
        """Say something in a room; gives the message with its position and time.

        If the message waits for a moderator, it is refused with the code `held`.
        """
        ...

    async def act(self, text: str, room: str | None = None) -> Acted:
        """Do something in a room, as `/me` does; gives the action with its position and time."""
        ...

    async def tell(self, nick: str, text: str, *, client: str | None = None) -> Told:
        """Send a private message; gives it as its recipient gets it.

        With `client`, a client id, the message goes to that client whatever its nick is now. If
        that client has left, it is refused with the code `client_left`, or with `nick_passed_on`
        if someone else has the nick.
        """
        ...

    async def set_topic(self, text: str, room: str | None = None) -> TopicSet:
        """Set the topic of a room."""
        ...

    async def topic(self, room: str | None = None) -> str:
        """Give the topic of a room; empty if it has none."""
        ...

    async def history(
        self, room: str | None = None, limit: int = SOME_HISTORY, *, before: int | None = None
    ) -> list[PersistentEntry]:
        """Give the newest entries of a room, or the newest before a position; oldest first.

        `limit` is a number of entries from 1 to 500.
        """
        ...

    async def search(self, words: str, room: str | None = None) -> Found:
        """Give the newest entries of a room that have all these words; oldest first, at most 50.

        A search that takes too long stops early: then `stopped_at` of the result is the position
        before which it did not look. It is 0 otherwise.
        """
        ...

    async def rooms(self) -> list[str]:
        """Give the names of the chat's rooms, sorted; the first 200."""
        ...

    async def members(self, room: str | None = None) -> MembersListed:
        """Give the members of a room, sorted by nick; `more` is how many the list leaves out."""
        ...
