"""The connections of a remote client: one after the other, with longer and longer waits."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import NoConnection, Refused
from trio_chat.protocol.events import Hello
from trio_chat.remote.resuming import Resuming
from trio_chat.remote.session import is_for_good
from trio_chat.remote.socket import CONNECT_SECONDS, SocketBroken, open_socket

if TYPE_CHECKING:
    import ssl

    from trio_chat.remote.session import PendingAnswer, RemoteSession
    from trio_chat.remote.socket import Socket

# Seconds before the first attempt to connect again. The wait doubles each time, up to the last one.
# Each wait is a random part of it, at least half: the clients of a server should not come at once.
FIRST_WAIT = 0.5
LAST_WAIT = 30.0


class Connections:
    """Makes the connections of a session, until the client ends."""

    def __init__(
        self, session: RemoteSession, url: str, ssl_context: ssl.SSLContext | None
    ) -> None:
        self._session = session
        self._url = url
        self._ssl_context = ssl_context
        self._wait = FIRST_WAIT
        # Whether this client closes a connection to try another one.
        self._tries_again = False

    async def run(self, first: PendingAnswer) -> None:
        """Connect again and again until the client ends; `first` tells how the first time went."""
        while self._session.ended is None:
            try:
                async with open_socket(self._url, self._ssl_context) as socket:
                    await self._serve(socket, first)
            except (NoConnection, ValueError) as error:
                first.set(None, error)
            if first.failure is not None:
                return
            if self._session.ended is None:
                await trio.sleep(self._wait * random.uniform(0.5, 1))  # noqa: S311 - it is no secret
                self._wait = min(2 * self._wait, LAST_WAIT)
        self._session.end()

    async def _serve(self, socket: Socket, first: PendingAnswer) -> None:
        """Use a connection until it ends."""
        session, self._tries_again = self._session, False
        greeted = session.await_hello()
        reason = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._begin, socket, greeted, first)
            try:
                await session.read(socket)
            except SocketBroken as broken:
                reason = str(broken)
                if is_for_good(broken.code) and not self._tries_again:
                    session.ended = reason
            session.lose(reason)
            nursery.cancel_scope.cancel()
        first.set(None, NoConnection(f"{self._url} does not serve this client: {reason}"))

    async def _begin(self, socket: Socket, greeted: PendingAnswer, first: PendingAnswer) -> None:
        """Resume, or begin as a new client; then let commands be sent."""
        with trio.move_on_after(CONNECT_SECONDS):
            await greeted.done.wait()
        try:
            if isinstance(greeted.event, Hello):
                await Resuming(self._session, socket).settle_in(greeted.event)
                self._wait = FIRST_WAIT
                await trio.lowlevel.checkpoint_if_cancelled()  # the connection may have broken
                self._session.open(socket)
                first.set(None)
                return
        except NoConnection:
            self._tries_again = True  # if it has not broken by itself
        except Refused as refused:
            first.set(None, refused)
            self._session.ended = str(refused)
        await socket.close()
