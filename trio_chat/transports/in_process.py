"""In-process clients: each call has its own result."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import evolve

from trio_chat.errors import ChatClosed, Code, Refused
from trio_chat.hub.handlers.sessions import limits_of
from trio_chat.hub.inbox import Connected, Drained
from trio_chat.hub.session import Session
from trio_chat.hub.user import User
from trio_chat.protocol import commands
from trio_chat.protocol.events import (
    Acted,
    EntriesShown,
    Found,
    Held,
    MembersListed,
    NickTaken,
    RoomsListed,
    Said,
    Told,
    TopicSet,
    TopicShown,
    Welcomed,
)
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.text import clean_text, is_blank, parse_words
from trio_chat.transports.event_link import EVENTS, EventLink

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.config.settings import Settings
    from trio_chat.hub.inbox import Item, Record
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.events import ClientEvent, Event, Limits, PersistentEntry
    from trio_chat.protocol.names import Name

E = TypeVar("E")

# The time that a client may take to leave the chat when the program is being cancelled.
LEAVE_SECONDS = 1.0
# The author of what the operator does from outside the chat.
OPERATOR = "the operator of the server"


class InProcessClient:
    """A client of a chat in the same program, made by `Chat.connect`: see `ChatClient`.

    A client that does not read its events is lagging, but is never disconnected for it. Past
    `outbox_bytes` it gets no more events. Once it reads, it gets the entries that it missed, or
    `Missed` in place of entries that are no longer kept.

    A call that is cancelled may or may not have been carried out.
    """

    def __init__(self, client: Session, link: EventLink, settings: Settings) -> None:
        self._client = client
        self._link = link
        self._settings = settings
        self._nick = client.user.nick

    @property
    def id(self) -> str:
        """The client id, unique for ever, which entries carry as `author`."""
        return self._client.user.id

    @property
    def nick(self) -> str:
        """The current nick."""
        return self._nick

    @property
    def limits(self) -> Limits:
        """The limits that the chat sets; this client may be in any number of rooms."""
        return evolve(limits_of(self._settings), rooms=self._settings.max_rooms)

    def __aiter__(self) -> InProcessClient:
        return self

    async def __anext__(self) -> ClientEvent:
        event = await self._link.take()
        if event is None:
            raise StopAsyncIteration
        if isinstance(event, NickTaken):
            self._nick = event.nick
        if self._client.slow_consumer and self._link.has_room_again():
            # Once the chat has stopped, there is nothing more to come.
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await self._link.channel.send(Drained(self._client))
        return event

    async def take_nick(self, nick: str) -> None:
        """Take another nick."""
        name = parse_nick(nick, self._settings.nick_chars)
        await self._link.perform(self._client, commands.TakeNick(name))
        self._nick = name.display

    async def join(self, room: str, *, key: str = "") -> Welcomed:
        """Join a room, and stay in the others; gives its topic and members.

        `key` is for a room that has one.
        """
        return await self._ask(Welcomed, commands.Join(self._name(room), key))

    async def leave(self, room: str | None = None) -> None:
        """Leave a room."""
        await self._link.perform(self._client, commands.Leave(self._room(room)))

    async def say(self, text: str, room: str | None = None) -> Said:
        """Say something in a room; gives the message with its position and time."""
        return await self._ask(Said, commands.Say(self._message(text), self._room(room)))

    async def act(self, text: str, room: str | None = None) -> Acted:
        """Do something in a room, as `/me` does; gives the action with its position and time."""
        return await self._ask(Acted, commands.Act(self._message(text, "action"), self._room(room)))

    async def tell(self, nick: str, text: str, *, client: str | None = None) -> Told:
        """Send a private message; gives it as its recipient gets it. See `ChatClient`."""
        name = parse_nick(nick, self._settings.nick_chars, reserved=True)
        return await self._ask(Told, commands.Tell(name, self._message(text), client))

    async def set_topic(self, text: str, room: str | None = None) -> TopicSet:
        """Set the topic of a room."""
        topic = _text(text, "topic", self._settings.topic_chars)
        return await self._ask(TopicSet, commands.SetTopic(topic, self._room(room)))

    async def topic(self, room: str | None = None) -> str:
        """Give the topic of a room; empty if it has none."""
        return (await self._ask(TopicShown, commands.ShowTopic(self._room(room)))).topic

    async def history(
        self,
        room: str | None = None,
        limit: int = commands.SOME_HISTORY,
        *,
        before: int | None = None,
    ) -> list[PersistentEntry]:
        """Give the newest entries of a room, or the newest before a position; oldest first.

        `limit` is a number of entries from 1 to 500.
        """
        if not 0 < limit <= commands.MAX_HISTORY:
            raise Refused(
                f"the limit must be from 1 to {commands.MAX_HISTORY}", code=Code.BAD_USAGE
            )
        record = commands.ShowHistory(limit, before, self._room(room))
        return (await self._ask(EntriesShown, record)).entries

    async def search(self, words: str, room: str | None = None) -> Found:
        """Give the newest entries of a room that have all these words; oldest first, at most 50.

        A search that takes too long stops early: then `stopped_at` of the result is the position
        before which it did not look. It is 0 otherwise.
        """
        record = commands.Search(parse_words(self._message(words, "word")), self._room(room))
        return Found(await self._ask(EntriesShown, record))

    async def rooms(self) -> list[str]:
        """Give the names of the chat's rooms, sorted; the first 200."""
        return (await self._ask(RoomsListed, commands.ListRooms())).names

    async def members(self, room: str | None = None) -> MembersListed:
        """Give the members of a room, sorted by nick; `more` is how many the list leaves out."""
        return await self._ask(MembersListed, commands.ListMembers(self._room(room)))

    def _name(self, room: str) -> Name:
        return parse_room(room, self._settings.room_chars)

    def _room(self, room: str | None) -> str | None:
        return None if room is None else self._name(room).casefolded

    def _message(self, text: str, what: str = "message") -> str:
        return _text(text, what, self._settings.message_chars)

    async def _ask(self, kind: type[E], record: Record) -> E:
        for event in await self._link.perform(self._client, record):
            if isinstance(event, kind):
                return event
            if isinstance(event, Held):
                raise event.refusal
        raise AssertionError(f"{record} led to no {kind.__name__}")


def _text(text: str, what: str, limit: int) -> str:
    if is_blank(text):
        raise Refused(f"{what} is required", code=Code.BAD_TEXT)
    return clean_text(text, what=what, limit=limit)


@asynccontextmanager
async def in_process_client(
    channel: trio.MemorySendChannel[Item], settings: Settings, nick: str | None
) -> AsyncGenerator[InProcessClient, None]:
    """Be a client of the chat that receives from this channel, for the length of a block.

    Raises like `Chat.connect`.
    """
    with channel.clone() as own:
        link = EventLink(own, settings.outbox_bytes)
        session = Session(link, EVENTS, own, room_limit=None, local=True)
        async with _connected(session, link):
            client = InProcessClient(session, link, settings)
            if nick is not None:
                await client.take_nick(nick)
            yield client


async def perform_as_operator(
    channel: trio.MemorySendChannel[Item], settings: Settings, command: Command
) -> list[Event]:
    """Have a moderator's command carried out for the operator of the server, who is nobody.

    The operator is in no room, has no nick, and may act anywhere. Gives the replies and entries
    that came of it. Raises what refuses the command, and `ChatClosed`.
    """
    with channel.clone() as own:
        link = EventLink(own, settings.outbox_bytes)
        user = User(nick=OPERATOR)
        session = Session(link, EVENTS, own, room_limit=None, local=True, operates=True, user=user)
        async with _connected(session, link):
            return await link.perform(session, command)


@asynccontextmanager
async def _connected(session: Session, link: EventLink) -> AsyncGenerator[None, None]:
    """Have a session in the chat for the length of a block. Raises `ChatClosed`."""
    try:
        await link.channel.send((session, (Connected(),), 0))
    except trio.BrokenResourceError:
        raise ChatClosed("the chat has stopped") from None
    try:
        yield
    finally:
        with trio.move_on_after(LEAVE_SECONDS, shield=True), suppress(ChatClosed):
            await link.perform(session, commands.Disconnected("left"))
