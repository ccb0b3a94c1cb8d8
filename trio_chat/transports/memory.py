"""In-process clients.

No socket and no dialect. Events come as objects, and each call has its own result.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

import trio

from trio_chat.errors import ChatClosed, Code, Refused
from trio_chat.hub.inbox import Call, Drained
from trio_chat.protocol import commands
from trio_chat.protocol.events import (
    Acted,
    EntriesShown,
    Found,
    MembersListed,
    RoomsListed,
    Said,
    TopicSet,
    TopicShown,
    size_of,
)
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.text import clean_text, parse_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Piece
    from trio_chat.hub.inbox import Item, Record
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.session import Session
    from trio_chat.protocol.events import Event, PersistentEntry

E = TypeVar("E")


class EventEncoding:
    """Renders an event as itself."""

    __slots__ = ()

    dialect = "in-process"
    ping = b""
    echoes = False

    def render(self, events: Sequence[Event]) -> list[Piece]:
        """Give the events."""
        return list(events)

    def join(self, pieces: Sequence[Piece]) -> list[Event]:
        """Give the events as a list."""
        return cast("list[Event]", list(pieces))


EVENTS = EventEncoding()


class EventLink:
    """A link that takes events, and counts them against the outbox limit as bytes would be."""

    __slots__ = (
        "_arrived",
        "_limit",
        "_queue",
        "_told",
        "address",
        "channel",
        "ended",
        "peer",
        "unsent_bytes",
    )

    def __init__(self, channel: trio.MemorySendChannel[Item], limit: int) -> None:
        self.peer = self.address = "in-process"
        self.channel = channel
        self.unsent_bytes = 0
        self.ended = False
        self._limit = limit
        # Whether the hub has been told that there is room again, since it last wrote.
        self._told = False
        self._queue: deque[Event] = deque()
        self._arrived = trio.Event()

    # --- for the hub ------------------------------------------------------------------------------

    def write(self, chunk: list[Event] | None, more: list[list[Event]] | None) -> int:
        """Take events; see `trio_chat.hub.session.Link`."""
        for one in [chunk or [], *(more or [])]:
            self._queue.extend(one)
            self.unsent_bytes += size_of(one)
        self._told = False
        self._arrived.set()
        return self.unsent_bytes

    async def drain(self) -> bool:
        """Not called for an in-process client, which takes its events itself."""
        await trio.lowlevel.checkpoint()
        return False

    def undelivered(self) -> int:
        """Nothing is between us and the client."""
        return 0

    def discard(self) -> None:
        """Forget what has not been taken."""
        self._queue.clear()
        self.unsent_bytes = 0

    def pause_reading(self) -> None:
        """Nothing: its calls wait for their own results, which is all it can send."""

    def resume_reading(self) -> None:
        """Nothing."""

    def drain_input(self) -> None:
        """Nothing: there is no reader."""

    def pause_for(self, pause: Pause) -> bool:
        """Nothing: there is no reader."""
        del pause
        return False

    def at_rest(self) -> None:
        """Nothing: there is no reader."""

    def release(self) -> None:
        """End the stream of events, once those that wait have been taken."""
        self.ended = True
        self._arrived.set()
        self.channel.close()

    # --- for the in-process client ----------------------------------------------------------------

    async def take(self) -> Event | None:
        """Wait for the next event; `None` is the end."""
        await trio.lowlevel.checkpoint()
        while not self._queue:
            if self.ended:
                return None
            if self._arrived.is_set():
                self._arrived = trio.Event()
            await self._arrived.wait()
        event = self._queue.popleft()
        self.unsent_bytes -= size_of([event])
        return event

    def has_room_again(self) -> bool:
        """Whether half of the outbox is free and the hub has not been told; true once each time."""
        if self._told or self.unsent_bytes >= self._limit // 2:
            return False
        self._told = True
        return True


class InProcessClient:
    """A client of a chat in the same program; made by `Chat.connect`.

    Iterating over it gives events (`trio_chat.protocol.events`) until it has left or the chat has
    stopped. The calls return or raise by their own result, and never wait for events to be read.
    Each raises `Refused` where a person would see `err: …`, and `ChatClosed` once there is no chat
    any more. One that is cancelled may or may not have been carried out.

    A client that does not read its events is lagging, but never dropped: past the outbox limit it
    gets no more of them; once it reads, it gets the persistent ones it has not had, or `Missed` in
    place of those that are kept no more.

    `room` is the name of a room; `None` means the one the client is in, if there is just one.
    """

    def __init__(self, client: Session, link: EventLink, settings: Settings) -> None:
        self._client = client
        self._link = link
        self._settings = settings
        self._nick = client.user.nick

    @property
    def id(self) -> str:
        """The client id, unique for ever; entries carry it as `author`."""
        return self._client.user.id

    @property
    def nick(self) -> str:
        """What this client is called."""
        return self._nick

    def __aiter__(self) -> InProcessClient:
        return self

    async def __anext__(self) -> Event:
        event = await self._link.take()
        if event is None:
            raise StopAsyncIteration
        if self._client.slow_consumer and self._link.has_room_again():
            # Once the chat has stopped, there is nothing more to come.
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await self._link.channel.send(Drained(self._client))
        return event

    async def take_nick(self, nick: str) -> None:
        """Be called `nick` from now on."""
        name = parse_nick(nick, self._settings.nick_chars)
        await self.perform(commands.TakeNick(name))
        self._nick = name.display

    async def join(self, room: str) -> str:
        """Go into a room, and stay in those it is in.

        Gives the room's casefolded name, which events carry as `room`.
        """
        name = self._room_name(room)
        await self.perform(commands.Join(parse_room(room, self._settings.room_chars)))
        return name

    async def leave(self, room: str | None = None) -> None:
        """Leave a room."""
        await self.perform(commands.Leave(self._maybe_room(room)))

    async def say(self, text: str, room: str | None = None) -> Said:
        """Say something in a room; gives it with its position, as the others get it."""
        record = commands.Say(
            self._text(text, "message", self._settings.message_chars), self._maybe_room(room)
        )
        return await self._ask(record, Said)

    async def act(self, text: str, room: str | None = None) -> Acted:
        """Do something in a room, as `/me` does."""
        record = commands.Act(
            self._text(text, "action", self._settings.message_chars), self._maybe_room(room)
        )
        return await self._ask(record, Acted)

    async def tell(self, nick: str, text: str) -> None:
        """Say something to one client alone."""
        name = parse_nick(nick, self._settings.nick_chars, reserved=True)
        await self.perform(
            commands.Tell(name, self._text(text, "message", self._settings.message_chars))
        )

    async def set_topic(self, text: str, room: str | None = None) -> TopicSet:
        """Give a room its topic."""
        record = commands.SetTopic(
            self._text(text, "topic", self._settings.topic_chars), self._maybe_room(room)
        )
        return await self._ask(record, TopicSet)

    async def topic(self, room: str | None = None) -> str:
        """The topic of a room, empty if it has none."""
        return (await self._ask(commands.ShowTopic(self._maybe_room(room)), TopicShown)).topic

    async def history(
        self,
        limit: int = commands.SOME_HISTORY,
        *,
        before: int | None = None,
        room: str | None = None,
    ) -> list[PersistentEntry]:
        """The newest persistent entries of a room, or those before a position, oldest first.

        At most `limit`, which may be 500.
        """
        if not 0 < limit <= commands.MAX_HISTORY:
            raise Refused(
                f"the limit must be from 1 to {commands.MAX_HISTORY}", code=Code.BAD_USAGE
            )
        record = commands.ShowHistory(limit, before, self._maybe_room(room))
        return (await self._ask(record, EntriesShown)).entries

    async def search(self, words: str, *, room: str | None = None) -> Found:
        """The newest persistent entries that hold all these words, oldest first; at most 50.

        A search that takes too long stops: then `stopped_at` of what it gives is the position
        before which it has not looked, and else 0.
        """
        text = self._text(words, "word", self._settings.message_chars)
        record = commands.Search(parse_words(text), self._maybe_room(room))
        return Found(await self._ask(record, EntriesShown))

    async def rooms(self) -> list[str]:
        """The names of the rooms there are, sorted; the first 200."""
        return (await self._ask(commands.ListRooms(), RoomsListed)).names

    async def members(self, room: str | None = None) -> list[str]:
        """The nicks of those in a room, sorted; the first 200."""
        record = commands.ListMembers(self._maybe_room(room))
        return [member.nick for member in (await self._ask(record, MembersListed)).members]

    def _room_name(self, room: str) -> str:
        return parse_room(room, self._settings.room_chars).casefolded

    def _maybe_room(self, room: str | None) -> str | None:
        return None if room is None else self._room_name(room)

    def _text(self, text: str, what: str, limit: int) -> str:
        if not text.strip():
            raise Refused(f"{what} is required", code=Code.BAD_TEXT)
        return clean_text(text, what=what, limit=limit)

    async def _ask(self, record: Record, kind: type[E]) -> E:
        for event in await self.perform(record):
            if isinstance(event, kind):
                return event
        raise AssertionError(f"{record} led to no {kind.__name__}")

    async def perform(self, record: Record) -> list[Event]:
        """Have a record carried out; gives the replies and entries that came of it."""
        call = Call(record)
        try:
            await self._link.channel.send((self._client, (call,), 0))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ChatClosed("this client has left the chat, or the chat has stopped") from None
        return await call.result()
