"""The remote client: its calls and its events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import trio

from trio_chat.errors import NoConnection
from trio_chat.protocol.commands import SOME_HISTORY
from trio_chat.protocol.events import (
    Acted,
    Departed,
    Done,
    EntriesShown,
    Found,
    Ignores,
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
from trio_chat.remote.accounts import AccountCalls
from trio_chat.remote.calls import unless
from trio_chat.remote.connections import Connections
from trio_chat.remote.moderation import ModerationCalls
from trio_chat.remote.session import PendingAnswer, RemoteSession

if TYPE_CHECKING:
    import ssl

    from trio_chat.protocol.events import Answer, Hello, Limits, Member, PersistentEntry, Usage
    from trio_chat.remote.inbox import RemoteEvent


class RemoteClient(AccountCalls, ModerationCalls):
    """A client of a chat elsewhere, made by `open_client`: see `ChatClient`.

    It connects again by itself if its connection breaks. Iterating gives `Disconnected` then, and
    `Resumed` once it is back. Calls wait for a connection while there is none. A call whose answer
    was cut off raises `NoConnection`: it may have been carried out, or not. A message that such a
    call has sent comes as an event.

    Only so many events wait for a program that does not read them. It gets `Missed` in place of
    the later ones.
    """

    @property
    def id(self) -> str:
        """The id that entries carry as `author`: the account's after a login, else the client's.

        It changes with `LoggedIn` and `LoggedOut`, and after a `Resumed` whose `anew` is true.
        """
        return self._session.id

    @property
    def nick(self) -> str:
        """The current nick."""
        return self._session.nick

    @property
    def device(self) -> int:
        """The number of this device among those that stay logged in; 0 without a token."""
        return self._session.device

    @property
    def limits(self) -> Limits:
        """The limits that the chat sets, from its `Hello`."""
        return self.hello.limits

    @property
    def connected(self) -> bool:
        """Whether there is a connection, by the last of `Disconnected` and `Resumed`."""
        return self._session.connected

    @property
    def hello(self) -> Hello:
        """The server's version and limits, as it said them when this client came."""
        if self._session.hello is None:
            raise NoConnection("the server has not said anything yet")
        return self._session.hello

    @property
    def commands(self) -> list[Usage]:
        """The commands that this client may type now. That changes with logins and roles."""
        return self._session.commands

    def __aiter__(self) -> RemoteClient:
        return self

    async def __anext__(self) -> RemoteEvent:
        event = await self._session.inbox.take()
        if event is None:
            raise StopAsyncIteration
        return event

    async def take_nick(self, nick: str) -> None:
        """Take another nick."""
        await self._ask(NickTaken, "take_nick", nick=nick)

    async def join(self, room: str, *, key: str = "") -> Welcomed:
        """Join a room, and stay in the others; gives its topic and members.

        `key` is for a room that has one. The client keeps it, to come back as a new one.
        """
        welcomed = await self._ask(Welcomed, "join", room=room, **unless("", key=key))
        self._session.rooms.keep_key(welcomed.room, key)
        return welcomed

    async def leave(self, room: str | None = None) -> None:
        """Leave a room."""
        await self._ask_in(room, Departed, "leave")

    async def say(self, text: str, room: str | None = None) -> Said:
        """Say something in a room; gives the message with its position and time."""
        return await self._ask_in(room, Said, "say", text=text)

    async def act(self, text: str, room: str | None = None) -> Acted:
        """Do something in a room, as `/me` does; gives the action with its position and time."""
        return await self._ask_in(room, Acted, "act", text=text)

    async def tell(self, nick: str, text: str, *, client: str | None = None) -> Told:
        """Send a private message; gives it as its recipient gets it. See `ChatClient`."""
        return await self._ask(Told, "tell", nick=nick, text=text, **unless(None, client=client))

    async def set_topic(self, text: str, room: str | None = None) -> TopicSet:
        """Set the topic of a room."""
        return await self._ask_in(room, TopicSet, "set_topic", text=text)

    async def topic(self, room: str | None = None) -> str:
        """Give the topic of a room; empty if it has none."""
        return (await self._ask_in(room, TopicShown, "show_topic")).topic

    async def history(
        self, room: str | None = None, limit: int = SOME_HISTORY, *, before: int | None = None
    ) -> list[PersistentEntry]:
        """Give the newest entries of a room, or the newest before a position; oldest first.

        `limit` is a number of entries from 1 to 500.
        """
        about = {"limit": limit, **unless(None, before=before)}
        return (await self._ask_in(room, EntriesShown, "show_history", **about)).entries

    async def search(self, words: str, room: str | None = None) -> Found:
        """Give the newest entries of a room that have all these words; oldest first, at most 50.

        A search that takes too long stops early: then `stopped_at` of the result is the position
        before which it did not look. It is 0 otherwise.
        """
        return Found(await self._ask_in(room, EntriesShown, "search", words=words))

    async def rooms(self) -> list[str]:
        """Give the names of the chat's rooms, sorted; the first 200."""
        return (await self._ask(RoomsListed, "list_rooms")).names

    async def members(self, room: str | None = None) -> MembersListed:
        """Give the members of a room, sorted by nick; `more` is how many the list leaves out."""
        return await self._ask_in(room, MembersListed, "list_members")

    async def ignore(self, target: str, room: str | None = None) -> list[Member]:
        """Ignore somebody; gives all whom this client ignores.

        `target` is a nick, or `@ID` for the author of an entry in a room.
        """
        return await self._ignore(target, room, ignored=True)

    async def unignore(self, target: str, room: str | None = None) -> list[Member]:
        """Ignore somebody no longer; see `ignore`."""
        return await self._ignore(target, room, ignored=False)

    async def ignored(self) -> list[Member]:
        """Give the people whom this client ignores."""
        return (await self._ask(Ignores, "ignore")).people

    async def _ignore(self, target: str, room: str | None, *, ignored: bool) -> list[Member]:
        name = self._room(room) if target.startswith("@") else room
        about = {"target": target, "ignored": ignored, **unless(None, room=name)}
        return (await self._ask(Ignores, "ignore", **about)).people

    async def command(self, line: str, room: str | None = None, *, echo: bool = False) -> Answer:
        """Have a typed line carried out, such as `/me waves`, in a room; gives the first answer.

        With `echo`, everything that the line leads to comes as an event too, even a refusal. So a
        terminal client can show all events in their order.
        """
        fields = {"line": line, **unless(None, room=room)}
        socket = await self._session.live()
        event = await self._session.answer(socket, "command", fields, echo=echo)
        if isinstance(event, SessionResumed):
            raise NoConnection("the server gave an answer that no typed line has")
        if isinstance(event, Welcomed):
            self._session.rooms.keep_key(event.room, "".join(line.split()[2:3]))
        return cast("Answer", event)

    async def ping(self) -> None:
        """Return once the server has answered."""
        await self._ask(Done, "ping")


@asynccontextmanager
async def open_client(
    url: str,
    *,
    nick: str | None = None,
    token: str = "",
    ssl_context: ssl.SSLContext | None = None,
    buffer: int = 1_000,
) -> AsyncGenerator[RemoteClient, None]:
    """Be a client of the chat at a URL such as `ws://localhost:8888/ws`, for the length of a block.

    `token` is that of a device, and logs the client in. If the server refuses it, the first event
    is that `Refusal`. `nick` is for a client that is not logged in. It is taken again if the client
    has to come back as a new one. `ssl_context` is for `wss`;
    the default checks certificates by those of the system. `buffer` is the number of events that
    may wait to be read.

    Raises `NoConnection` if the server cannot be reached now, `Refused` if the nick is not to be
    had, and `ValueError` for another kind of URL. Exceptions from the block come in an exception
    group, as a nursery raises them. Leaving the block leaves the chat within a second.
    """
    session, first = RemoteSession(nick, buffer, token), PendingAnswer()
    connections = Connections(session, url, ssl_context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connections.run, first)
        await first.done.wait()
        if first.failure is None:
            try:
                yield RemoteClient(session)
            finally:
                session.leave()
                nursery.cancel_scope.cancel()
    if first.failure is not None:
        raise first.failure
