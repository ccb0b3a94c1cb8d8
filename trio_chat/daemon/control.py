"""Serves the control socket: one JSON object a line in, one out, for the operator alone.

A connection is for one request and its answer. A request is `{"command": NAME}`, with the arguments
of the command as further keys. The answer to a failure is `{"error": "one sentence"}`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import trio
from attrs import define, field, frozen

from trio_chat.errors import ChatError, ControlError

if TYPE_CHECKING:
    from trio_chat.daemon.control_path import ControlListener

# Most requests have a few dozen bytes. A line to announce may have `message_chars`, 2000 by
# default, each of which JSON writes with up to 12 bytes.
REQUEST_BYTES: Final = 32_768
# The time in which a request has to come, and in which each part of an answer has to go.
SECONDS: Final = 10.0
# Requests that have come by the end are still answered, within this time.
LAST_SECONDS: Final = 1.0
# One person and a few scripts need fewer at once.
CONNECTIONS: Final = 16
# The beginning of the answer to a request that is unknown, or has other arguments.
UNKNOWN: Final = 'a request is {"command": NAME}'
# Rows of an answer that are sent together.
ROWS: Final = 100

ROOT: Final = 0
CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: process, user and group

Response: TypeAlias = Mapping[str, object]

logger = logging.getLogger("trio_chat")


@frozen
class Listing:
    """An answer with rows, which follow it as a line each: it says how many they are.

    Rows are taken from `rows` as they are sent, so that nobody waits while thousands are made.
    """

    answer: Response
    rows: Iterable[Response] = ()


@frozen
class Command:
    """The action for the requests of one name.

    `run` takes the arguments that `takes` names, each of its type, and may get those that
    `may_take` names. It gives the answer, or raises a
    `ChatError` whose message becomes the `error`. `then` is called once an answer without `error`
    has been sent. From then on the connection stays open to the end of `serve_control`, so that the
    other side can wait for it.
    """

    run: Callable[..., Awaitable[Response | Listing]]
    then: Callable[[], None] | None = None
    takes: Mapping[str, type] = field(factory=dict)
    may_take: Mapping[str, type] = field(factory=dict)

    def fits(self, arguments: Mapping[str, object]) -> bool:
        """Whether these are the arguments that it takes, each of the right type."""
        given = {name: type(value) for name, value in arguments.items()}
        return self.takes.items() <= given.items() <= {**self.takes, **self.may_take}.items()


async def serve_control(
    listener: ControlListener, commands: Mapping[str, Command], end: trio.Event
) -> None:
    """Answer requests until `end`; then free the path, and after that disconnect everyone.

    Clients that have connected by then still get their answers, within `LAST_SECONDS`. An upgrade
    ends the process, and they would not know whether their request was carried out.
    """
    server = _Server(commands)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, server.serve, [listener], handler_nursery=connections)
            )
            await end.wait()
            accepting.cancel_scope.cancel("the daemon has ended")
        with trio.move_on_after(LAST_SECONDS):
            await server.answered()
        connections.cancel_scope.cancel("the daemon has ended")


@define
class _Server:
    commands: Mapping[str, Command]
    connections: int = 0
    # Connections that have no answer yet; those that wait for the end have theirs.
    unanswered: int = 0
    all_answered: trio.Event = field(factory=trio.Event)

    async def answered(self) -> None:
        """Wait until all who have connected have their answers."""
        while self.unanswered:
            self.all_answered = trio.Event()
            await self.all_answered.wait()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            async with stream:
                then = await self._answer(stream)
                if then is not None:
                    then()
                    await trio.sleep_forever()  # until the daemon has ended
        finally:
            self.connections -= 1

    async def _answer(self, stream: trio.SocketStream) -> Callable[[], None] | None:
        """Answer the request; return what is to be called after the answer, if anything."""
        self.unanswered += 1
        try:
            return await self._answer_request(stream)
        finally:
            self.unanswered -= 1
            self.all_answered.set()

    async def _answer_request(self, stream: trio.SocketStream) -> Callable[[], None] | None:
        command: Command | None = None
        answer: Response
        rows: Iterator[Response] = iter(())
        try:
            self._check(stream)
            command, arguments = self._command(await _request(stream))
            found = await command.run(**arguments)
            listing = found if isinstance(found, Listing) else Listing(found)
            answer, rows = listing.answer, iter(listing.rows)
        except ChatError as error:
            answer = {"error": str(error)}
        except Exception:
            logger.exception("a request to the control socket failed")
            answer = {"error": "that has failed; the daemon's log says why"}
        await _send(stream, [answer])
        while some := list(islice(rows, ROWS)):
            if not await _send(stream, some):
                return None
        return command.then if command is not None and "error" not in answer else None

    def _check(self, stream: trio.SocketStream) -> None:
        if peer_user(stream) not in (None, ROOT, os.geteuid()):
            logger.warning("another user was refused at the control socket")
            raise ControlError("this daemon belongs to another user")
        if self.connections > CONNECTIONS:
            raise ControlError("too many others are asking just now: try again")

    def _command(self, request: bytes) -> tuple[Command, dict[str, object]]:
        try:
            asked: object = json.loads(request)
        except (ValueError, RecursionError):
            asked = None
        if isinstance(asked, dict):
            arguments = cast("dict[str, object]", asked)
            name = arguments.pop("command", None)
            command = self.commands.get(name) if isinstance(name, str) else None
            if command is not None and command.fits(arguments):
                return command, arguments
        names = ", ".join(self.commands)
        raise ControlError(f"{UNKNOWN}, where NAME is one of: {names}")


async def _request(stream: trio.SocketStream) -> bytes:
    """Read the first line, whole or not; raises `ControlError` if it is too long or late."""
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


async def _send(stream: trio.SocketStream, answers: Iterable[Response]) -> bool:
    """Send a line each; return whether the other side has taken them in time."""
    data = b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)
    with trio.move_on_after(SECONDS), suppress(trio.BrokenResourceError):
        await stream.send_all(data)
        return True
    return False


def peer_user(stream: trio.SocketStream) -> int | None:
    """Return the id of the user at the other end; `None` where the system is not Linux.

    On other systems the modes of the socket and its directory alone keep other users out.
    """
    if sys.platform != "linux":
        return None
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, user, _ = CREDENTIALS.unpack(credentials)
    return int(user)
