"""Gives a remote client its session back after a break, or else its nick and its rooms."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve

from trio_chat.errors import Code, NoConnection, Refused
from trio_chat.protocol.commands import MAX_HISTORY
from trio_chat.protocol.events import (
    EntriesShown,
    LoggedIn,
    NickTaken,
    Refusal,
    SessionResumed,
    Welcomed,
)
from trio_chat.protocol.names import ANONYMOUS
from trio_chat.remote.calls import unless

if TYPE_CHECKING:
    from trio_chat.protocol.events import Hello, PersistentEntry
    from trio_chat.remote.session import RemoteSession
    from trio_chat.remote.socket import Socket

E = TypeVar("E")


class Resuming:
    """Makes a session go on over another connection. The first one of a client is no exception."""

    def __init__(self, session: RemoteSession, socket: Socket) -> None:
        self._session = session
        self._rooms = session.rooms
        self._socket = socket

    async def _exchange(self, kind: type[E], type: str, **fields: object) -> E:
        return await self._session.exchange(self._socket, kind, type, **fields)

    async def settle_in(self, hello: Hello) -> None:
        """Get back the nick and the rooms of the program."""
        session = self._session
        old = session.hello
        there = None if old is None else await self._resume(old, hello)
        refusal = None
        if there is None:
            if old is not None and old.log and hello.log != old.log:
                self._rooms.forget_positions()
            session.begin(hello)
            refusal = await self._log_in_again()
        if session.nick == ANONYMOUS and session.wanted_nick is not None:
            try:
                await self._exchange(NickTaken, "take_nick", nick=session.wanted_nick)
            except Refused:
                if old is None:
                    raise
        again = [name for name in self._rooms.names if there is None or name not in there]
        newest = {name: await self._join(name) for name in again}
        if there is None and session.anew:
            session.put_resumed(tuple(self._rooms.names))
        if refusal is not None:
            session.inbox.put(refusal)
        for name in self._rooms.names & again:
            await self._fill(name, newest[name])
        session.anew = False

    async def _log_in_again(self) -> Refusal | None:
        """Log in with the token, if there is one. If it is refused, the program is told."""
        if not self._session.token:
            return None
        try:
            await self._exchange(LoggedIn, "authenticate", token=self._session.token)
        except Refused as refused:
            if refused.code == Code.BAD_TOKEN:
                self._session.token = ""
            return Refusal(str(refused), refused.code)
        return None

    async def _resume(self, old: Hello, hello: Hello) -> set[str] | None:
        """The rooms of the resumed session; `None` if the server refuses to resume it.

        Raises `NoConnection` if the server cannot know now, as it is cut off from its store.
        """
        fields = {"client": old.client, "token": old.token, "positions": self._rooms.positions()}
        try:
            resumed = await self._exchange(SessionResumed, "resume", **fields)
        except Refused as refused:
            if refused.code == Code.CANNOT_WRITE:
                raise NoConnection(str(refused)) from None
            return None
        self._session.hello = evolve(hello, client=old.client, token=old.token)
        return {room.room for room in resumed.rooms}

    async def _join(self, name: str) -> int:
        """Join a room again; gives the newest position there."""
        try:
            fields = {"room": self._rooms.hold(name), **unless("", key=self._rooms.key(name))}
            return (await self._exchange(Welcomed, "join", **fields)).position
        except Refused:
            self._rooms.leave(name)
            return 0

    async def _fill(self, name: str, newest: int) -> None:
        """Pass on the entries that a room got during the break, as far as the server has them."""
        self._rooms.expect(name, newest)
        entries: list[PersistentEntry] = []
        with suppress(Refused):  # the server cannot read the log
            entries = await self._since(name)
        self._rooms.release(name, entries, newest)

    async def _since(self, name: str) -> list[PersistentEntry]:
        """The newest entries that a room lacks: `MAX_HISTORY` of them, or some more."""
        entries = await self._past(name, None)
        known = self._rooms.compare(name, entries)
        while entries and entries[0].position > known + 1 and len(entries) < MAX_HISTORY:
            older = await self._past(name, entries[0].position)
            if not older:
                break
            entries = older + entries
        return entries

    async def _past(self, name: str, before: int | None) -> list[PersistentEntry]:
        fields = {"room": name, "limit": MAX_HISTORY} | ({"before": before} if before else {})
        return (await self._exchange(EntriesShown, "show_history", **fields)).entries
