"""A client of a chat elsewhere: its calls and its events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import NoConnection
from trio_chat.protocol.commands import SOME_HISTORY
from trio_chat.protocol.events import (
    Acted,
    Departed,
    Done,
    EntriesShown,
    Found,
    MembersListed,
    NickTaken,
    RoomsListed,
    Said,
    SessionResumed,
    Told,
    TopicSet,
    TopicShown,
    Welcomed,
)
from trio_chat.remote.session import PendingAnswer, RemoteSession

if TYPE_CHECKING:
    import ssl

    from trio_chat.protocol.events import Event, Hello, PersistentEntry
    from trio_chat.remote.inbox import RemoteEvent
    from trio_chat.remote.socket import Document


class RemoteClient:
    """A client of a chat elsewhere; made by `open_client`.

    Iterating over it gives events: those of `trio_chat.protocol.events`, and `Disconnected` and
    `Resumed`. It ends once the client has left, or another connection has taken it over. The calls
    return or raise by their own result and never wait for events to be read. Each raises `Refused`
    where a person would see `err: …`, `NoConnection` if the connection broke before the answer came
    (then it may have been done, or not), and `ChatClosed` once the client has left. While there is
    no connection they wait for one.

    What the client says itself is the result of the call that said it, and no event; unless the
    connection broke before the answer came. A program that does not read its events is given
    `Missed` in place of the oldest of those it did not read in time.

    `room` is the name of a room.
    """

    def __init__(self, session: RemoteSession) -> None:
        self._session = session
        self._ask = session.ask

    @property
    def id(self) -> str:
        """The client id; entries carry it as `author`. It changes if the client comes back anew."""
        return "" if self._session.hello is None else self._session.hello.client

    @property
    def nick(self) -> str:
        """What this client is called."""
        return self._session.nick

    @property
    def connected(self) -> bool:
        """Whether it is connected, by the last of `Disconnected` and `Resumed`; else calls wait."""
        return self._session.connected

    @property
    def hello(self) -> Hello:
        """What the server said of itself: its version, its limits, its command table."""
        if self._session.hello is None:
            raise NoConnection("the server has not said anything yet")
        return self._session.hello

    def __aiter__(self) -> RemoteClient:
        return self

    async def __anext__(self) -> RemoteEvent:
        event = await self._session.inbox.take()
        if event is None:
            raise StopAsyncIteration
        return event

    async def take_nick(self, nick: str) -> None:
        """Be called `nick` from now on."""
        await self._ask(NickTaken, "take_nick", nick=nick)

    async def join(self, room: str) -> Welcomed:
        """Go into a room, and stay in those it is in; gives its topic and members."""
        return await self._ask(Welcomed, "join", room=room)

    async def leave(self, room: str) -> None:
        """Leave a room."""
        await self._ask(Departed, "leave", room=room)

    async def say(self, text: str, room: str) -> Said:
        """Say something in a room; gives it with its position, as the others get it."""
        return await self._ask(Said, "say", room=room, text=text)

    async def act(self, text: str, room: str) -> Acted:
        """Do something in a room, as `/me` does."""
        return await self._ask(Acted, "act", room=room, text=text)

    async def tell(self, nick: str, text: str) -> Told:
        """Say something to one client alone."""
        return await self._ask(Told, "tell", nick=nick, text=text)

    async def set_topic(self, text: str, room: str) -> TopicSet:
        """Give a room its topic."""
        return await self._ask(TopicSet, "set_topic", room=room, text=text)

    async def topic(self, room: str) -> str:
        """The topic of a room, empty if it has none."""
        return (await self._ask(TopicShown, "show_topic", room=room)).topic

    async def history(
        self, room: str, limit: int = SOME_HISTORY, *, before: int | None = None
    ) -> list[PersistentEntry]:
        """The newest persistent entries of a room, or those before a position, oldest first."""
        fields: Document = {} if before is None else {"before": before}
        shown = await self._ask(EntriesShown, "show_history", room=room, limit=limit, **fields)
        return shown.entries

    async def search(self, words: str, room: str) -> Found:
        """The newest persistent entries of a room that hold all these words, oldest first.

        A search that takes too long stops: then `stopped_at` of what it gives is the position
        before which it has not looked, and else 0.
        """
        return Found(await self._ask(EntriesShown, "search", room=room, words=words))

    async def rooms(self) -> list[str]:
        """The names of the rooms there are, sorted; the first 200."""
        return (await self._ask(RoomsListed, "list_rooms")).names

    async def members(self, room: str) -> MembersListed:
        """Who is in a room."""
        return await self._ask(MembersListed, "list_members", room=room)

    async def command(self, line: str, room: str | None = None, *, echo: bool = False) -> Event:
        """Have a typed line carried out, such as `/me waves`, in a room; gives the first answer.

        With `echo`, what it leads to is an event too, a refusal as well, in its place among the
        others: for who shows what happens in its order.
        """
        fields: Document = {"line": line} if room is None else {"line": line, "room": room}
        socket = await self._session.live()
        event = await self._session.answer(socket, "command", fields, echo=echo)
        if isinstance(event, SessionResumed):
            raise NoConnection("the server gave an answer that no typed line has")
        return event

    async def ping(self) -> None:
        """Return once the server has answered."""
        await self._ask(Done, "ping")


@asynccontextmanager
async def open_client(
    url: str,
    *,
    nick: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    buffer: int = 1_000,
) -> AsyncGenerator[RemoteClient, None]:
    """Be a client of the chat at a URL such as `ws://localhost:8888/ws`, for the length of a block.

    `nick` is taken again if the client has to come back as a new one. `ssl_context` is for `wss`;
    the usual one if it is not given. `buffer` is how many events may wait to be read.

    Raises `NoConnection` if the server cannot be reached now, `Refused` if the nick cannot be had,
    and `ValueError` for what is no such URL. What the block itself raises comes in a group, as
    nurseries raise it. Leaving the block leaves the chat, within a second.
    """
    session, first = RemoteSession(url, nick, ssl_context, buffer), PendingAnswer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, first)
        await first.done.wait()
        if first.failure is None:
            try:
                yield RemoteClient(session)
            finally:
                session.leave()
                nursery.cancel_scope.cancel()
    if first.failure is not None:
        raise first.failure
