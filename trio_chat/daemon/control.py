"""Serves the control socket: one JSON object a line in, one out, for the daemon's owner alone.

A connection is for one request, `{"command": NAME}`, and its answer. What could not be done is
answered with `{"error": "one sentence"}`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from attrs import define, frozen

from trio_chat.errors import ChatError, ControlError

if TYPE_CHECKING:
    from trio_chat.daemon.control_path import ControlListener

# A request has a few dozen bytes.
REQUEST_BYTES: Final = 4096
# For a request to come, and for an answer to go.
SECONDS: Final = 10.0
# More than one person and a few scripts need at once.
CONNECTIONS: Final = 16

ROOT: Final = 0
CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: process, user and group

Response: TypeAlias = Mapping[str, object]

logger = logging.getLogger("trio_chat")


@frozen
class Command:
    """What a request of this name does.

    `run` gives the answer, or raises a `ChatError` whose message is the sentence to answer. `then`
    is called once the answer has been sent, unless that is an `error`; from then on the connection
    stays open to the end of `serve_control`, so that who asked can wait for it.
    """

    run: Callable[[], Awaitable[Response]]
    then: Callable[[], None] | None = None


async def serve_control(
    listener: ControlListener, commands: Mapping[str, Command], end: trio.Event
) -> None:
    """Answer requests until `end`.

    The path is free before those who still wait there are disconnected.
    """
    server = _Server(commands)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, server.serve, [listener], handler_nursery=connections)
            )
            await end.wait()
            accepting.cancel_scope.cancel("the daemon has ended")
        connections.cancel_scope.cancel("the daemon has ended")


@define
class _Server:
    commands: Mapping[str, Command]
    connections: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection; what goes wrong in it is its own."""
        self.connections += 1
        try:
            async with stream:
                await self._serve(stream)
        finally:
            self.connections -= 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        command: Command | None = None
        try:
            self._check(stream)
            command = self._command(await _request(stream))
            answer = await command.run()
        except ChatError as error:
            answer = {"error": str(error)}
        except Exception:
            logger.exception("a request to the control socket failed")
            answer = {"error": "that has failed; the daemon's log says why"}
        with trio.move_on_after(SECONDS), suppress(trio.BrokenResourceError):
            await stream.send_all(json.dumps(answer).encode() + b"\n")
        if command is not None and command.then is not None and "error" not in answer:
            command.then()
            await trio.sleep_forever()  # until the daemon has ended

    def _check(self, stream: trio.SocketStream) -> None:
        if peer_user(stream) not in (None, ROOT, os.geteuid()):
            logger.warning("another user was refused at the control socket")
            raise ControlError("this daemon belongs to another user")
        if self.connections > CONNECTIONS:
            raise ControlError("too many others are asking just now: try again")

    def _command(self, request: bytes) -> Command:
        try:
            asked = json.loads(request)
        except (ValueError, RecursionError):
            asked = None
        match asked:
            case {"command": str(name), **rest} if name in self.commands and not rest:
                return self.commands[name]
        names = ", ".join(self.commands)
        raise ControlError(f'a request is {{"command": NAME}}, where NAME is one of: {names}')


async def _request(stream: trio.SocketStream) -> bytes:
    """The first line, or what there is of it; raises `ControlError` if it is too long or late."""
    data = bytearray()
    with trio.move_on_after(SECONDS), suppress(trio.BrokenResourceError):
        while b"\n" not in data:
            if len(data) > REQUEST_BYTES:
                raise ControlError(f"a request has at most {REQUEST_BYTES} bytes")
            more = await stream.receive_some(REQUEST_BYTES)
            if not more:
                break
            data += more
        return bytes(data.partition(b"\n")[0])
    raise ControlError(f"there was no request within {SECONDS:g} seconds")


def peer_user(stream: trio.SocketStream) -> int | None:
    """The user id of who is at the other end; `None` where the system is not Linux.

    There the modes of the socket and its directory alone have to keep others out.
    """
    if sys.platform != "linux":
        return None
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, user, _ = CREDENTIALS.unpack(credentials)
    return int(user)
